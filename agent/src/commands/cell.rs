//! Text in a column of a table.

use ktape_reader::text::escape::{Place, escaped};

/// A value as text, whole.
pub fn text(value: &str) -> String {
    escaped(value.as_bytes(), Place::Free).into_owned()
}

/// A value as text, cut to the width of a column in characters.
pub fn cut(value: &str, width: usize) -> String {
    let value = text(value);
    if value.chars().count() <= width {
        return value;
    }
    value.chars().take(width - 3).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_values_are_cut() {
        assert_eq!(cut("a\tb", 32), "a\\tb");
        assert_eq!(cut(&"x".repeat(32), 32), "x".repeat(32));
        assert_eq!(cut(&"x".repeat(33), 32), "x".repeat(29) + "...");
        assert_eq!(text(&"x".repeat(33)), "x".repeat(33));
    }
}
