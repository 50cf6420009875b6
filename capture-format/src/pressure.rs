//! Why a chunk was compressed less.

/// What a recorder was short of when it compressed a chunk less than usual, as in the chunk's summary.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure(u8);

impl Pressure {
    /// Nothing: the chunk is compressed as usual.
    pub const NONE: Self = Self(0);
    /// More chunks waited for the encoder.
    pub const QUEUE: Self = Self(1);
    /// The buffers that events come from, such as ring buffers, were nearly full.
    pub const BUFFERS: Self = Self(2);

    /// Whether the chunk is compressed as usual.
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }

    /// Both reasons.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether it includes all reasons of `other`.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) const fn from_byte(byte: u8) -> Self {
        Self(byte)
    }

    pub(crate) const fn to_byte(self) -> u8 {
        self.0
    }
}
