//! Medians and spreads.

use serde_json::{Value, json};

/// Of several rounds. The machines that this runs on drift, so that no mean and no deviation is given: the middle, and how
/// far it went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// The median.
    pub middle: f64,
    /// The least.
    pub least: f64,
    /// The greatest.
    pub most: f64,
}

impl Spread {
    /// Of these; `None` of none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let middle = if values.len() % 2 == 1 {
            values[upper]
        } else {
            f64::midpoint(values[upper - 1], values[upper])
        };
        Some(Self { middle, least, most })
    }

    /// Whether all are on one side of 1.
    pub fn is_clear(&self) -> bool {
        self.least > 1.0 || self.most < 1.0
    }

    /// For `--json`.
    pub fn json(&self) -> Value {
        json!({ "median": self.middle, "min": self.least, "max": self.most })
    }
}

/// Three significant digits, or all before the point.
pub fn short(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    match digits {
        2.. => group(&format!("{value:.0}")),
        1 => format!("{value:.1}"),
        0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// With a comma before each three digits.
pub fn group(digits: &str) -> String {
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_odd_and_even() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { middle: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(Spread::of([1.0, 4.0, 2.0, 3.0]).unwrap().middle, 2.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn clear_is_on_one_side() {
        let clear = |least, most| Spread { middle: 1.0, least, most }.is_clear();
        assert!(clear(1.01, 1.2));
        assert!(clear(0.8, 0.99));
        assert!(!clear(0.99, 1.2));
        assert!(!clear(1.0, 1.2));
    }

    #[test]
    fn three_digits() {
        assert_eq!(short(0.0), "0.00");
        assert_eq!(short(0.1234), "0.123");
        assert_eq!(short(1.234), "1.23");
        assert_eq!(short(12.34), "12.3");
        assert_eq!(short(1234.5), "1,234");
        assert_eq!(group("1234567"), "1,234,567");
        assert_eq!(group("-123456"), "-123,456");
        assert_eq!(group("123"), "123");
    }
}
