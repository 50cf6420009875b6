//! Paths that are hard to record, for the workload and for the tests.

/// Length of the longest path that the kernel accepts, in bytes without the NUL (`PATH_MAX` - 1).
pub const LONGEST: usize = 4095;

/// A nonexistent absolute path of this length, with components that the kernel accepts.
pub fn of_length(length: usize) -> Vec<u8> {
    let mut path = Vec::with_capacity(length);
    while path.len() < length {
        // All names differ, so that a truncated path is not the prefix of another path.
        path.push(b'/');
        let name = format!("none-{length}-{}-", path.len());
        path.extend(name.bytes().take(length - path.len()));
    }
    path
}

/// Paths with bytes that can confuse a terminal, a JSON parser or a UTF-8 decoder.
pub const NASTY: &[&[u8]] = &[
    b"/none/new\nline",
    b"/none/tab\tand\rreturn",
    b"/none/\x1b[31mred\x1b[0m",
    b"/none/\x07bell\x08\x0b\x0c\x7f",
    b"/none/quote\"back\\slash'",
    b"/none/invalid\xff\xfe\xc3",
    b"/none/overlong\xc0\xaf\xed\xa0\x80",
    "/none/\u{202e}rtl\u{2028}sep\u{fffd}".as_bytes(),
    "/none/gr\u{fc}n \u{1f4fc}".as_bytes(),
    b"/none/\\x41\\n",
    b"/none/trailing space ",
    b"",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_exact_and_names_valid() {
        for length in 1..=LONGEST + 1 {
            let path = of_length(length);
            assert_eq!(path.len(), length);
            assert_eq!(path[0], b'/');
            assert!(path.split(|b| *b == b'/').all(|name| name.len() < 256));
        }
        assert_eq!(of_length(12), b"/none-12-1-/");
    }
}
