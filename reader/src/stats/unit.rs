//! What the numbers of a column are: the unit follows from the fields and the arithmetic.

use crate::fields::{FieldType, Shape};
use crate::text::units;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Base {
    /// Anything; a number without a unit.
    Plain,
    /// Nanoseconds.
    Duration,
    /// Bytes.
    Size,
    /// Wall-clock ns since 1970.
    Time,
    /// A part of a whole, from 0 to 1.
    Share,
    /// Values of a field that are not numbers.
    Field(FieldType),
}

/// The unit of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unit {
    /// What is counted.
    pub base: Base,
    /// Whether it is a rate: their number per second.
    pub per_second: bool,
}

impl Unit {
    /// A number.
    pub const PLAIN: Self = Self::of(Base::Plain);

    /// Units of `base`.
    pub const fn of(base: Base) -> Self {
        Self { base, per_second: false }
    }

    /// The unit of the numbers of a field.
    pub const fn of_field(ty: FieldType) -> Self {
        Self::of(match ty {
            FieldType::Size => Base::Size,
            _ => match ty.shape() {
                Shape::Duration => Base::Duration,
                Shape::Time => Base::Time,
                Shape::Number | Shape::Hundredths | Shape::Any => Base::Plain,
                Shape::Bool | Shape::Code | Shape::Address | Shape::Text => Base::Field(ty),
            },
        })
    }

    /// Their number per second.
    #[must_use]
    pub const fn per_second(self) -> Self {
        Self { per_second: true, ..self }
    }

    /// Whether it is a part of a whole: a share, or time per time.
    pub(super) fn is_part(self) -> bool {
        self == Self::of(Base::Share) || self == Self::of(Base::Duration).per_second()
    }

    /// Whether the sum of both has a meaning: `1 - share(...)` has one, `count + 5ms` has none.
    pub(super) fn adds_to(self, other: Self) -> bool {
        let is_number = |unit: Self| unit.is_plain() || unit.is_part();
        let (time, duration) = (Self::of(Base::Time), Self::of(Base::Duration));
        self == other
            || is_number(self) && is_number(other)
            || self == time && other == duration
            || self == duration && other == time
    }

    /// Whether one can be greater than the other.
    pub(super) fn compares_with(self, other: Self) -> bool {
        let is_number = |unit: Self| unit.base == Base::Plain || unit.is_part();
        self.base == other.base || is_number(self) && is_number(other)
    }

    /// What it is, for messages.
    pub(super) fn name(self) -> &'static str {
        match (self.base, self.per_second) {
            (Base::Plain, false) => "a number",
            (Base::Plain, true) => "a number per second",
            (Base::Duration, false) => "a duration",
            (Base::Duration, true) | (Base::Share, _) => "a part of a whole",
            (Base::Size, false) => "bytes",
            (Base::Size, true) => "bytes per second",
            (Base::Time, _) => "a time",
            (Base::Field(_), _) => "values that are no numbers",
        }
    }

    /// Whether it is a number without a unit.
    pub fn is_plain(self) -> bool {
        self == Self::PLAIN
    }
}

/// A number as it is written in an expression: `100`, `0.5`, `5ms`, `1MiB`; `None` if it is none.
pub(super) fn literal(text: &str) -> Option<(f64, Unit)> {
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some((number, Unit::PLAIN));
    }
    if let Ok(ns) = units::duration(text) {
        return Some((ns as f64, Unit::of(Base::Duration)));
    }
    units::size(text).ok().map(|bytes| (bytes as f64, Unit::of(Base::Size)))
}

#[cfg(test)]
mod tests {
    use crate::stats::{Plan, Question};

    fn error(column: &str, having: Option<&str>) -> String {
        let question = Question {
            columns: vec![column.to_owned()],
            having: having.map(str::to_owned),
            ..Question::default()
        };
        Plan::new(&question).map_or_else(|error| error.to_string(), |_| String::new())
    }

    #[test]
    fn sums_of_different_units_are_errors() {
        let wrong = "`count + 5ms` is not a column: it adds or subtracts a number and a duration";
        assert_eq!(error("count + 5ms", None), wrong);
        assert!(error("sum(evt.latency) - sum(evt.buflen)", None).ends_with("a duration and bytes"));
        for column in [
            "max(evt.time) - min(evt.time)",
            "max(evt.time) - 5s",
            "1 - share(evt.latency)",
            "1 - rate(switch.ran)",
            "sum(evt.latency) + 5ms",
            "2 * sum(evt.buflen) + 1MiB",
            "100% - share",
        ] {
            assert_eq!(error(column, None), "", "{column}");
        }
    }

    #[test]
    fn comparisons_need_units_that_fit() {
        let of = |having: &str| error("count", Some(having));
        assert_eq!(of("count > 5ms"), "`count > 5ms` compares a number with a duration");
        assert_eq!(of("sum(evt.latency) > 1MiB"), "`sum(evt.latency) > 1MiB` compares a duration with bytes");
        for having in ["count(evt.failed = true) > 10%", "count(evt.failed = true) > 10 %", "10% < rate"] {
            assert!(
                of(having).contains("compares a number with a part of a whole: write share(...)"),
                "{having}"
            );
        }
        for having in [
            "share(evt.failed = true) > 10 %",
            "count(evt.failed = true) / count >= 10%",
            "rate(switch.ran) > 50%",
            "max(evt.latency) > 5000000",
            "(count > 5 or sum(evt.buflen) > 1MiB) and (sum(evt.latency) - 5ms) / count > 1us",
            "((count > 5))",
        ] {
            assert_eq!(of(having), "", "{having}");
        }
        assert!(of("(count > 5 or count").contains("is not a comparison of columns"));
    }
}
