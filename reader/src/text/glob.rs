//! Shell patterns on bytes: `*` (any bytes, `/` too), `?` (one byte), `[a-z]`, `[!a-z]`, `\` before a
//! byte that is meant as it stands.

/// Whether all of `text` fits the pattern. Takes at most their lengths multiplied.
pub fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where to go on if this attempt fails: after the last `*`, one byte later.
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

/// How much of the pattern stands for this one byte, if it fits.
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

/// The length of the set at the start, and whether the byte is in it; `None` if it is not closed.
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
