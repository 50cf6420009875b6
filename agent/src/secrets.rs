//! Values after well-known secret flags in arguments are not recorded.

use std::borrow::Cow;

/// The text that replaces a secret.
const MASK: &[u8] = b"******";

/// Words that make a name secret wherever it ends with them (`MYSQL_PASSWORD`, `PGPASSWORD`,
/// `--dbPassword`), in lower case, without dashes and underscores.
const WORDS: [&[u8]; 13] = [
    b"password",
    b"passwd",
    b"passphrase",
    b"secret",
    b"apikey",
    b"accesskey",
    b"secretkey",
    b"privatekey",
    b"authtoken",
    b"accesstoken",
    b"credential",
    b"credentials",
    b"authorization",
];

/// Shorter words, which must be the whole name, or its last part after a separator.
const PARTS: [&[u8]; 4] = [b"pass", b"pwd", b"token", b"auth"];

/// Longer names are none of flags.
const NAME_MAX: usize = 64;

/// Masks the arguments of one exec after another.
#[derive(Debug, Default)]
pub struct Masker {
    keep: bool,
    /// The last ones without secrets: a search along `PATH` passes the same ones several times.
    harmless: Vec<u8>,
}

impl Masker {
    /// With `keep`, nothing is masked.
    pub fn new(keep: bool) -> Self {
        Self { keep, harmless: Vec::new() }
    }

    /// Whether nothing is masked.
    pub fn keeps(&self) -> bool {
        self.keep
    }

    /// The same as [`mask`].
    pub fn mask<'a>(&mut self, args: &'a [u8]) -> Cow<'a, [u8]> {
        if self.keep || args == self.harmless {
            return Cow::Borrowed(args);
        }
        let masked = mask(args);
        if matches!(masked, Cow::Borrowed(_)) {
            args.clone_into(&mut self.harmless);
        }
        masked
    }
}

/// The same arguments, each NUL-terminated, with secrets replaced: the values of `--password x`,
/// `--password=x` and `PASSWORD=x`, and the password between user and host in a URL.
pub fn mask(args: &[u8]) -> Cow<'_, [u8]> {
    let hides = |arg: &[u8]| is_secret(split(arg).0) || url_secret(arg).is_some();
    if !args.split(|b| *b == 0).any(hides) {
        return Cow::Borrowed(args);
    }
    let mut out = Vec::with_capacity(args.len());
    let mut value_follows = false;
    let mut rest = args;
    while !rest.is_empty() {
        let len = rest.iter().position(|b| *b == 0).unwrap_or(rest.len());
        let arg = &rest[..len];
        let (name, value) = split(arg);
        // A value may begin with one dash; with two it is the next flag.
        if std::mem::take(&mut value_follows) && !arg.starts_with(b"--") {
            out.extend_from_slice(MASK);
        } else if is_secret(name) && value.is_some() {
            out.extend_from_slice(name);
            out.push(b'=');
            out.extend_from_slice(MASK);
        } else if let Some((start, end)) = url_secret(arg) {
            out.extend_from_slice(&arg[..start]);
            out.extend_from_slice(MASK);
            out.extend_from_slice(&arg[end..]);
        } else {
            value_follows = arg.starts_with(b"-") && is_secret(name);
            out.extend_from_slice(arg);
        }
        if len < rest.len() {
            out.push(0);
        }
        rest = rest.get(len + 1..).unwrap_or_default();
    }
    Cow::Owned(out)
}

fn split(arg: &[u8]) -> (&[u8], Option<&[u8]>) {
    match arg.iter().position(|b| *b == b'=') {
        Some(at) => (&arg[..at], Some(&arg[at + 1..])),
        None => (arg, None),
    }
}

fn is_secret(name: &[u8]) -> bool {
    let dashes = name.iter().take_while(|b| **b == b'-').count();
    let name = &name[dashes..];
    // In lower case, and without separators. On the stack: this is done for each argument of each exec.
    let (mut lower, mut bare, mut bare_len) = ([0; NAME_MAX], [0; NAME_MAX], 0);
    if name.len() > NAME_MAX {
        return false;
    }
    for (lower, byte) in lower.iter_mut().zip(name) {
        *lower = byte.to_ascii_lowercase();
        if byte.is_ascii_alphanumeric() {
            bare[bare_len] = *lower;
            bare_len += 1;
        } else if !b"-_.".contains(byte) {
            // A path or a sentence is no name of a flag.
            return false;
        }
    }
    let (name, bare) = (&lower[..name.len()], &bare[..bare_len]);
    let is_part = |part: &&[u8]| {
        name.strip_suffix(*part).is_some_and(|before| before.last().is_none_or(|b| b"-_.".contains(b)))
    };
    if PARTS.iter().any(is_part) {
        return true;
    }
    WORDS.iter().any(|word| bare.ends_with(word))
}

/// Where the password of `scheme://user:password@host` starts and ends.
fn url_secret(arg: &[u8]) -> Option<(usize, usize)> {
    let scheme = arg.windows(3).position(|w| w == b"://")? + 3;
    let authority = &arg[scheme..];
    let authority = &authority[..authority.iter().position(|b| *b == b'/').unwrap_or(authority.len())];
    let at = authority.iter().rposition(|b| *b == b'@')?;
    let colon = authority[..at].iter().position(|b| *b == b':')?;
    Some((scheme + colon + 1, scheme + at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masker_masks_the_same_arguments_the_same_way() {
        let mut masker = Masker::new(false);
        for _ in 0..2 {
            assert_eq!(&*masker.mask(b"ls\0-l\0"), b"ls\0-l\0");
            assert_eq!(&*masker.mask(b"x\0--token\0y\0"), b"x\0--token\0******\0");
        }
        assert_eq!(&*Masker::new(true).mask(b"x\0--token\0y\0"), b"x\0--token\0y\0");
    }

    #[test]
    fn masks_values_and_nothing_else() {
        for (args, want) in [
            ("mysql\0--password=geheim\0db\0", "mysql\0--password=******\0db\0"),
            ("tool\0--token\0abc\0x\0", "tool\0--token\0******\0x\0"),
            ("env\0MYSQL_PASSWORD=a\0true\0", "env\0MYSQL_PASSWORD=******\0true\0"),
            ("env\0PGPASSWORD=a\0true\0", "env\0PGPASSWORD=******\0true\0"),
            ("tool\0--privateKey=a\0", "tool\0--privateKey=******\0"),
            ("tool\0--api-key\0-a\0", "tool\0--api-key\0******\0"),
            ("tool\0--db-secret\0--verbose\0", "tool\0--db-secret\0--verbose\0"),
            ("curl\0https://me:pw@host/a:b@c\0", "curl\0https://me:******@host/a:b@c\0"),
            ("curl\0https://host:80/\0", "curl\0https://host:80/\0"),
            ("echo\0password\0x\0", "echo\0password\0x\0"),
            ("ls\0--bypass\0x\0", "ls\0--bypass\0x\0"),
            ("sh\0-c\0echo my password\0", "sh\0-c\0echo my password\0"),
            ("cut\0--token\0ab", "cut\0--token\0******"),
            ("", ""),
        ] {
            assert_eq!(mask(args.as_bytes()), want.as_bytes(), "{args:?}");
        }
    }
}
