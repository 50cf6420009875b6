//! The value of a field in one event.

use std::fmt;

use crate::text::escape::{Place, escaped};

/// A field's value in one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// The event has no such thing.
    Missing,
    /// A number, a duration, a time, or 0 and 1 for false and true.
    Int(i128),
    /// Text.
    Bytes(&'a [u8]),
}

/// Numbers in decimal, text escaped as everywhere; nothing for what is missing.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => Ok(()),
            Self::Int(value) => write!(f, "{value}"),
            Self::Bytes(bytes) => f.write_str(&escaped(bytes, Place::Free)),
        }
    }
}
