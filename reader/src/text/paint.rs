//! Colours of text on a terminal. Text of unknown origin is escaped before, so that it contains no colours of its own.

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paint {
    /// It is not.
    #[default]
    Plain,
    /// With the escape sequences of ECMA-48 that every terminal has: eight colours and bold.
    Color,
}

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// The name of a syscall, or of another kind of event: bold.
    Name,
    /// A path, an address, or what a descriptor stands for: cyan.
    File,
    /// A result that is an error: red.
    Failure,
}

/// Ends any style.
const RESET: &[u8] = b"\x1b[0m";

impl Style {
    const fn sequence(self) -> &'static [u8] {
        match self {
            Self::Name => b"\x1b[1m",
            Self::File => b"\x1b[36m",
            Self::Failure => b"\x1b[31m",
        }
    }
}

impl Paint {
    /// Appends what `write` appends, in a style.
    pub fn write(self, style: Style, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self == Self::Plain {
            return write(out);
        }
        out.extend_from_slice(style.sequence());
        write(out);
        out.extend_from_slice(RESET);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_have_a_style_of_their_own() {
        let painted = |paint: Paint| {
            let mut out = b"a ".to_vec();
            paint.write(Style::Failure, &mut out, |out| out.extend_from_slice(b"-1"));
            out.push(b' ');
            paint.write(Style::Name, &mut out, |out| out.extend_from_slice(b"b"));
            String::from_utf8(out).unwrap()
        };
        assert_eq!(painted(Paint::Plain), "a -1 b");
        assert_eq!(painted(Paint::Color), "a \x1b[31m-1\x1b[0m \x1b[1mb\x1b[0m");
    }
}
