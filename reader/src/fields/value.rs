//! The value of a field in one event.

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
