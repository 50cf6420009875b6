//! Statistics and number formats of the report.

use serde_json::{Value, json};

/// Median and range of a figure over several rounds. Machines drift while they are measured, which would make a mean and a
/// standard deviation misleading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// Of an even number of values, the mean of the middle two.
    pub median: f64,
    /// Smallest value.
    pub min: f64,
    /// Greatest value.
    pub max: f64,
}

impl Spread {
    /// The spread of `values`; `None` if there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[upper]
        } else {
            f64::midpoint(values[upper - 1], values[upper])
        };
        Some(Self { median, min, max })
    }

    /// Object for `--json`.
    pub fn json(&self) -> Value {
        json!({ "median": self.median, "min": self.min, "max": self.max })
    }
}

/// Formats a number with three significant digits, or with all digits before the decimal point if there are more.
pub fn three_digits(value: f64) -> String {
    let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
    match digits {
        2.. => with_commas(&format!("{value:.0}")),
        1 => format!("{value:.1}"),
        0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

/// Groups digits by thousands: `1234567` becomes `1,234,567`.
pub fn with_commas(digits: &str) -> String {
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
    fn median_of_odd_and_even_counts() {
        let spread = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { median: 2.0, min: 1.0, max: 3.0 });
        assert_eq!(Spread::of([1.0, 4.0, 2.0, 3.0]).unwrap().median, 2.5);
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn numbers_have_three_significant_digits() {
        assert_eq!(three_digits(0.0), "0.00");
        assert_eq!(three_digits(0.1234), "0.123");
        assert_eq!(three_digits(1.234), "1.23");
        assert_eq!(three_digits(12.34), "12.3");
        assert_eq!(three_digits(1234.5), "1,234");
        assert_eq!(with_commas("1234567"), "1,234,567");
        assert_eq!(with_commas("-123456"), "-123,456");
        assert_eq!(with_commas("123"), "123");
    }
}
