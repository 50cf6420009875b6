//! Aggregate functions, and what has to be kept of the events of a group for them.

use crate::fields::{Field, FieldType};

/// A function of the values of a field in the events of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Function {
    /// Number of events; with a field, of those that have a value.
    Count,
    /// Sum of the values; 0 if there are none.
    Sum,
    /// Arithmetic mean.
    Avg,
    /// Least value.
    Min,
    /// Greatest value.
    Max,
    /// Standard deviation of the sample (n-1); missing for fewer than two values.
    Stddev,
    /// The value that this part of all values does not exceed, 0 to 1.
    Quantile(f64),
    /// Number of different values.
    Distinct,
    /// The value of the event that started first.
    First,
    /// The value of the event that started last.
    Last,
}

impl Function {
    /// The functions that are words; percentiles are `p` and a number.
    const WORDS: [(&'static str, Self); 12] = [
        ("count", Self::Count),
        ("sum", Self::Sum),
        ("avg", Self::Avg),
        ("min", Self::Min),
        ("max", Self::Max),
        ("stddev", Self::Stddev),
        ("median", Self::Quantile(0.5)),
        ("distinct", Self::Distinct),
        ("first", Self::First),
        ("last", Self::Last),
        ("any", Self::First),
        ("mean", Self::Avg),
    ];

    /// The function of this name.
    pub fn named(name: &str) -> Option<Self> {
        if let Some((_, function)) = Self::WORDS.iter().find(|(word, _)| *word == name) {
            return Some(*function);
        }
        let percent: f64 = name.strip_prefix('p')?.parse().ok()?;
        let is_plain = name[1..].bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        (is_plain && (0.0..=100.0).contains(&percent)).then_some(Self::Quantile(percent / 100.0))
    }

    /// Names of functions, for messages.
    pub fn names() -> impl Iterator<Item = &'static str> {
        Self::WORDS.iter().map(|(word, _)| *word).chain(["p50", "p90", "p99", "p99.9", "rate", "share"])
    }

    /// Whether it can be computed only from numbers.
    pub(super) fn needs_numbers(self) -> bool {
        match self {
            Self::Sum | Self::Avg | Self::Min | Self::Max | Self::Stddev | Self::Quantile(_) => true,
            Self::Count | Self::Distinct | Self::First | Self::Last => false,
        }
    }

    /// What it is computed from.
    pub(super) fn gathered(self) -> Gathered {
        match self {
            Self::Count => Gathered::Count,
            Self::Sum | Self::Avg => Gathered::Sum,
            Self::Min | Self::Max => Gathered::Extremes,
            Self::Stddev => Gathered::Moments,
            Self::Quantile(_) => Gathered::Quantiles,
            Self::Distinct => Gathered::Distinct,
            Self::First => Gathered::First,
            Self::Last => Gathered::Last,
        }
    }
}

/// What is kept of the values of a field in the events of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gathered {
    Count,
    Sum,
    Extremes,
    Moments,
    Quantiles,
    Distinct,
    First,
    Last,
}

/// What is kept of which events. Columns that need the same share it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Gathering {
    pub(super) kind: Gathered,
    /// `None` for the number of events alone.
    pub(super) field: Option<(Field, FieldType)>,
    /// Only of events that pass this one of the plan's conditions.
    pub(super) condition: Option<usize>,
}
