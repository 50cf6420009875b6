//! Values that outlive their chunk.

use crate::fields::Value;

/// A value of a field, kept: part of a group's key, or what `first` and `last` found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Datum {
    /// The event does not have the field, or the value is unknown.
    #[default]
    Missing,
    /// A number; its unit is that of the field.
    Number(i128),
    /// Text, as bytes.
    Text(Box<[u8]>),
    /// In a tree: all values below the same parent that did not fit into memory, together.
    Other,
}

impl From<Value<'_>> for Datum {
    fn from(value: Value<'_>) -> Self {
        match value {
            Value::Missing => Self::Missing,
            Value::Int(number) => Self::Number(number),
            Value::Bytes(text) => Self::Text(text.into()),
        }
    }
}

impl Datum {
    /// The same value, borrowed; missing for [`Self::Other`].
    pub fn value(&self) -> Value<'_> {
        match self {
            Self::Missing | Self::Other => Value::Missing,
            Self::Number(number) => Value::Int(*number),
            Self::Text(text) => Value::Bytes(text),
        }
    }

    /// Bytes of memory that it refers to.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Missing | Self::Number(_) | Self::Other => 0,
        }
    }
}
