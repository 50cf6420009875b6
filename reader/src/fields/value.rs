//! The value of a field in one event.

use std::fmt;

use crate::text::escape::{Place, escaped};

/// A field's value in one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The event does not have the field, or the value is unknown.
    Missing,
    /// A number, a duration or a time in ns, or 0 and 1 for false and true.
    Int(i128),
    /// Text.
    Bytes(&'a [u8]),
}

/// How much of a text there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// All of it, as far as is known.
    Whole,
    /// The beginning.
    Cut,
    /// Nothing.
    Unread,
}

/// Numbers in decimal, escaped text; nothing for missing values.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => Ok(()),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bytes(bytes) => f.write_str(&escaped(bytes, Place::Free)),
        }
    }
}

/// A number.
#[inline]
pub(super) fn number(value: impl Into<i128>) -> Value<'static> {
    Value::Int(value.into())
}

/// A number, or missing.
#[inline]
pub(super) fn optional(value: Option<impl Into<i128>>) -> Value<'static> {
    value.map_or(Value::Missing, number)
}

/// A number, missing if 0.
#[inline]
pub(super) fn nonzero(value: u64) -> Value<'static> {
    if value == 0 { Value::Missing } else { number(value) }
}

/// Text, missing if empty.
#[inline]
pub(super) fn text(bytes: &[u8]) -> Value<'_> {
    if bytes.is_empty() { Value::Missing } else { Value::Bytes(bytes) }
}
