//! The escape rule for bytes of unknown origin. It is reversible, and its output is valid UTF-8 on one line without
//! characters that move the cursor or change the reading direction.
//!
//! A backslash becomes `\\`; newline, tab, carriage return and escape become `\n`, `\t`, `\r`, `\e`;
//! every other control byte, DEL, each byte of invalid UTF-8 and each byte of a control or
//! invisible formatting character becomes `\xNN`. In quoted text, the quote becomes `\"`; in a
//! column that ends at a space, a space becomes `\x20`; between angle brackets, these become `\x3c` and `\x3e`.

use std::borrow::Cow;

/// The context of the text in the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Between double quotes.
    Quoted,
    /// In a column that ends at the next space.
    Word,
    /// Between angle brackets.
    Angle,
    /// Where neither quotes nor spaces matter (JSON and CSV add their own quotes).
    Free,
}

const PLAIN: u8 = 0;
const WIDE: u8 = 0xff;

/// For each byte: [`PLAIN`], the letter to write after the backslash (`x` with hex digits), or [`WIDE`] for the first byte
/// of a multi-byte character.
const fn classes(place: Place) -> [u8; 256] {
    let mut table = [PLAIN; 256];
    let mut i = 0;
    while i < 256 {
        table[i] = match i as u8 {
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\t' => b't',
            b'\r' => b'r',
            0x1b => b'e',
            0..=0x1f | 0x7f => b'x',
            b'"' if matches!(place, Place::Quoted) => b'"',
            b' ' if matches!(place, Place::Word) => b'x',
            b'<' | b'>' if matches!(place, Place::Angle) => b'x',
            0x80.. => WIDE,
            _ => PLAIN,
        };
        i += 1;
    }
    table
}

static QUOTED: [u8; 256] = classes(Place::Quoted);
static WORD: [u8; 256] = classes(Place::Word);
static ANGLE: [u8; 256] = classes(Place::Angle);
static FREE: [u8; 256] = classes(Place::Free);

/// Appends `bytes`, escaped for `place`.
pub fn escape(bytes: &[u8], place: Place, out: &mut Vec<u8>) {
    let table = match place {
        Place::Quoted => &QUOTED,
        Place::Word => &WORD,
        Place::Angle => &ANGLE,
        Place::Free => &FREE,
    };
    let mut rest = bytes;
    while !rest.is_empty() {
        let plain = rest.iter().position(|b| table[*b as usize] != PLAIN).unwrap_or(rest.len());
        out.extend_from_slice(&rest[..plain]);
        rest = &rest[plain..];
        let Some(first) = rest.first() else { return };
        match table[*first as usize] {
            WIDE => {
                let (length, printable) = wide(rest);
                if printable {
                    out.extend_from_slice(&rest[..length]);
                } else {
                    rest[..length].iter().for_each(|b| hex(*b, out));
                }
                rest = &rest[length..];
            }
            b'x' => {
                hex(*first, out);
                rest = &rest[1..];
            }
            letter => {
                out.extend_from_slice(&[b'\\', letter]);
                rest = &rest[1..];
            }
        }
    }
}

/// `bytes` as escaped text; borrowed if nothing has to be escaped.
pub fn escaped(bytes: &[u8], place: Place) -> Cow<'_, str> {
    let mut out = Vec::with_capacity(bytes.len());
    escape(bytes, place, &mut out);
    match std::str::from_utf8(bytes) {
        Ok(text) if out.len() == bytes.len() => Cow::Borrowed(text),
        _ => Cow::Owned(String::from_utf8_lossy(&out).into_owned()),
    }
}

/// Appends `bytes` between double quotes.
pub fn quote(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    escape(bytes, Place::Quoted, out);
    out.push(b'"');
}

fn hex(byte: u8, out: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.extend_from_slice(&[b'\\', b'x', DIGITS[byte as usize >> 4], DIGITS[byte as usize & 15]]);
}

/// The length of the character at the start of `bytes` (1 if it is not valid UTF-8), and whether it is printable.
fn wide(bytes: &[u8]) -> (usize, bool) {
    let window = &bytes[..bytes.len().min(4)];
    let valid = match std::str::from_utf8(window) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&window[..e.valid_up_to()]).unwrap_or(""),
    };
    match valid.chars().next() {
        Some(c) => (c.len_utf8(), !hidden(c)),
        None => (1, false),
    }
}

/// Characters that hide or disguise text: controls, invisible characters, changes of direction.
fn hidden(c: char) -> bool {
    matches!(c as u32,
        0x80..=0x9f | 0xad | 0x61c | 0x115f..=0x1160 | 0x180e | 0x200b..=0x200f | 0x2028..=0x202e
        | 0x2060..=0x206f | 0x3164 | 0xfeff | 0xffa0 | 0xfff9..=0xfffb | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a | 0xe0000..=0xe0fff)
}

/// Escapes unprintable characters in a message whose parts may be escaped already, or may contain names chosen by others
/// (such as errors of libraries). Line breaks and existing escapes stay as they are.
pub fn defused(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c == '\n' || !(c.is_control() || hidden(c));
    if text.chars().all(is_plain) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for c in text.chars() {
        let mut buffer = [0; 4];
        let bytes = c.encode_utf8(&mut buffer).as_bytes();
        if is_plain(c) { out.extend_from_slice(bytes) } else { escape(bytes, Place::Free, &mut out) }
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The bytes from which [`escape`] made this text; `None` if the text contains an unknown escape.
pub fn unescape(text: &str) -> Option<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(byte) = bytes.get(i) {
        i += 1;
        if *byte != b'\\' {
            out.push(*byte);
            continue;
        }
        let letter = *bytes.get(i)?;
        i += 1;
        out.push(match letter {
            b'\\' | b'"' => letter,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'e' => 0x1b,
            b'x' => {
                let digits = text.get(i..i + 2)?;
                i += 2;
                u8::from_str_radix(digits, 16).ok()?
            }
            _ => return None,
        });
    }
    Some(out)
}

#[cfg(test)]
mod tests;
