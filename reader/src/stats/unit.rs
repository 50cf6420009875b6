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
