//! The types of the values of fields.

use super::words::Words;

/// The type of a field's values: how a literal is read, which literals there can be, and which operators apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldType {
    /// A whole number.
    Number,
    /// A whole number that is never negative: an id, a count.
    Unsigned,
    /// A number of bytes; literals may carry a unit.
    Size,
    /// A number with up to two decimals, in hundredths.
    Hundredths,
    /// A port, 0 to 65535.
    Port,
    /// Nanoseconds; literals may carry a unit.
    Duration,
    /// Wall-clock time, nanoseconds since 1970.
    Time,
    /// `true` or `false`, as 1 or 0.
    Bool,
    /// Bytes, mostly text.
    Text,
    /// An IP address; literals may be networks.
    Address,
    /// An IP address with a port.
    SockAddr,
    /// A signal, by name or number.
    Signal,
    /// An error, by name or number.
    Errno,
    /// `SUCCESS`, or an error by name or number.
    Outcome,
    /// The name of a kind of event.
    Kind,
    /// The name of a syscall.
    Call,
    /// The name of a syscall, or of another kind of event.
    EventType,
    /// One of a few words.
    OneOf(&'static Words),
    /// Some of a few words, joined by `|`.
    Flags(&'static Words),
    /// A path or a socket address.
    File,
    /// A number or text, depending on the syscall: [`crate::syscalls::ArgType`].
    Any,
}

/// What the values of a field look like: what output and operators depend on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number without a unit.
    Number,
    /// Hundredths of such a number.
    Hundredths,
    /// Nanoseconds.
    Duration,
    /// Nanoseconds since 1970.
    Time,
    /// 1 or 0.
    Bool,
    /// A short name that stands for a number.
    Code,
    /// An IP address, with or without a port.
    Address,
    /// Text.
    Text,
    /// A number or text.
    Any,
}

impl FieldType {
    /// The name that `ktape fields` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Number | Self::Unsigned | Self::Hundredths => "number",
            Self::Size => "size",
            Self::Port => "port",
            Self::Duration => "duration",
            Self::Time => "time",
            Self::Bool => "bool",
            Self::Text | Self::File => "text",
            Self::Address | Self::SockAddr => "address",
            Self::Signal => "signal",
            Self::Errno | Self::Outcome => "error",
            Self::Kind | Self::Call | Self::EventType => "name",
            Self::OneOf(_) => "word",
            Self::Flags(_) => "flags",
            Self::Any => "any",
        }
    }

    /// What its values look like. No wildcard arm: the compiler names a forgotten type.
    pub const fn shape(self) -> Shape {
        match self {
            Self::Number | Self::Unsigned | Self::Size | Self::Port => Shape::Number,
            Self::Hundredths => Shape::Hundredths,
            Self::Duration => Shape::Duration,
            Self::Time => Shape::Time,
            Self::Bool => Shape::Bool,
            Self::Signal | Self::Errno | Self::Outcome => Shape::Code,
            Self::Address | Self::SockAddr => Shape::Address,
            Self::Text
            | Self::Kind
            | Self::Call
            | Self::EventType
            | Self::OneOf(_)
            | Self::Flags(_)
            | Self::File => Shape::Text,
            Self::Any => Shape::Any,
        }
    }

    /// Whether values are numbers, so that `<` and `>` apply.
    pub const fn is_ordered(self) -> bool {
        match self.shape() {
            Shape::Number | Shape::Hundredths | Shape::Duration | Shape::Time | Shape::Any => true,
            Shape::Bool | Shape::Code | Shape::Address | Shape::Text => false,
        }
    }

    /// Whether values are shown as text, so that `contains` and its like apply.
    pub const fn is_text(self) -> bool {
        match self.shape() {
            Shape::Number | Shape::Hundredths | Shape::Duration | Shape::Time | Shape::Bool => false,
            Shape::Code | Shape::Address | Shape::Text | Shape::Any => true,
        }
    }

    /// The words that it is limited to, if they are few.
    pub const fn words(self) -> Option<&'static Words> {
        match self {
            Self::OneOf(words) | Self::Flags(words) => Some(words),
            Self::Number
            | Self::Unsigned
            | Self::Hundredths
            | Self::Size
            | Self::Port
            | Self::Duration
            | Self::Time
            | Self::Bool
            | Self::Text
            | Self::Address
            | Self::SockAddr
            | Self::Signal
            | Self::Errno
            | Self::Outcome
            | Self::Kind
            | Self::Call
            | Self::EventType
            | Self::File
            | Self::Any => None,
        }
    }
}
