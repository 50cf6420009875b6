//! The types of columns, and the numbers of the tables that they refer to.

use std::fmt;

use crate::derive::{Decode, Encode};

/// The number of a table, chosen by the author of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct TableId(pub u16);

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// The type of a column's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Encode, Decode)]
pub enum ColumnType {
    /// Unsigned numbers.
    U64,
    /// Signed numbers.
    I64,
    /// Byte strings, each stored once in the chunk.
    Bytes,
    /// Row numbers of a dictionary table.
    Ref(TableId),
    /// Lists of at most 64 unsigned numbers.
    U64List {
        /// The U64 column of the same table that groups the rows: lists of rows with equal keys are stored together.
        key: u16,
    },
    /// Lists of at most 64 byte strings.
    BytesList {
        /// As for `U64List`.
        key: u16,
    },
}

impl ColumnType {
    /// The table that values refer to.
    pub(crate) fn reference(self) -> Option<TableId> {
        match self {
            Self::Ref(to) => Some(to),
            Self::U64 | Self::I64 | Self::Bytes | Self::U64List { .. } | Self::BytesList { .. } => None,
        }
    }

    /// Bytes that each row takes when decoded; of a list column without the values, which have a limit of their own.
    pub(crate) fn decoded_bytes(self) -> u64 {
        match self {
            Self::Bytes | Self::Ref(_) => 4,
            Self::U64 | Self::I64 | Self::U64List { .. } | Self::BytesList { .. } => 8,
        }
    }
}
