//! Shell patterns on bytes: `*` (any bytes, including `/`), `?` (one byte), `[a-z]`, `[!a-z]`, and `\` before a byte to
//! match literally.

/// Whether the pattern matches all of `text`. Takes time proportional to the product of the lengths at most.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to continue if this attempt fails: after the last `*`, one byte later in the text.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(p) == Some(&b'*') {
            p += 1;
            retry = Some((p, t));
            continue;
        }
        match text.get(t) {
            None if p == pattern.len() => return true,
            Some(byte) => {
                if let Some(length) = one(&pattern[p..], *byte) {
                    p += length;
                    t += 1;
                    continue;
                }
            }
            None => return false,
        }
        let Some((after, from)) = retry else { return false };
        retry = Some((after, from + 1));
        p = after;
        t = from + 1;
    }
}

/// The length of the pattern element at the start, if it matches this byte.
fn one(pattern: &[u8], byte: u8) -> Option<usize> {
    match *pattern.first()? {
        b'?' => Some(1),
        b'\\' if pattern.len() > 1 => (pattern[1] == byte).then_some(2),
        b'[' => match set(pattern, byte) {
            Some((length, inside)) => inside.then_some(length),
            None => (byte == b'[').then_some(1),
        },
        plain => (plain == byte).then_some(1),
    }
}

/// The length of the set at the start, and whether it contains the byte; `None` if it is not closed.
fn set(pattern: &[u8], byte: u8) -> Option<(usize, bool)> {
    let mut i = 1;
    let negated = matches!(pattern.get(i), Some(b'!' | b'^'));
    i += usize::from(negated);
    let first = i;
    let mut inside = false;
    loop {
        let low = *pattern.get(i)?;
        if low == b']' && i > first {
            return Some((i + 1, inside != negated));
        }
        if pattern.get(i + 1) == Some(&b'-') && pattern.get(i + 2).is_some_and(|b| *b != b']') {
            inside |= (low..=pattern[i + 2]).contains(&byte);
            i += 3;
        } else {
            inside |= low == byte;
            i += 1;
        }
    }
}

#[cfg(test)]
mod tests;
