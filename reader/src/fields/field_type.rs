//! The types of the values of fields.

/// The type of a field's values: how a literal is read, and which operators apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A whole number.
    Number,
    /// Nanoseconds; literals may carry a unit.
    Duration,
    /// Wall-clock time, nanoseconds since 1970.
    Time,
    /// `true` or `false`, as 1 or 0.
    Bool,
    /// Bytes, mostly text.
    Text,
    /// A number or text, depending on the event.
    Any,
}

impl FieldType {
    /// The name that `ktape fields` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::Duration => "duration",
            Self::Time => "time",
            Self::Bool => "bool",
            Self::Text => "text",
            Self::Any => "any",
        }
    }
}
