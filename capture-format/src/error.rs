//! What can be wrong with a file, and where.

use std::{fmt, io};

use crate::schema::{ColumnType, TableId};

/// Why bytes could not be read, or rows not be written.
///
/// `offset` is a position in the file (or stream); for what is inside a compressed chunk it is the
/// position of the chunk's block.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// The operating system refused.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The file does not begin with a block and no block was found further on.
    #[error("not a ktape capture: no block found")]
    NotACapture,
    /// Written by another version of the format.
    #[error("at byte {offset}: format version {}.{}, this reader knows {}.{}", .found >> 8, .found & 0xff, .expected >> 8, .expected & 0xff)]
    Version {
        /// Where.
        offset: u64,
        /// The version that this reader knows: major in the high byte, minor in the low byte.
        expected: u16,
        /// The version found.
        found: u16,
    },
    /// No block begins here.
    #[error("at byte {offset}: no block begins here (magic {found:016x}, expected {expected:016x})")]
    Magic {
        /// Where.
        offset: u64,
        /// The magic, read as a little-endian number.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A checksum does not match.
    #[error("at byte {offset}: checksum of {part} is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Where the part begins.
        offset: u64,
        /// Which part.
        part: &'static str,
        /// The checksum stored.
        expected: u32,
        /// The checksum of the bytes found.
        found: u32,
    },
    /// The file or the data ends too early.
    #[error("at byte {offset}: {what} is cut: {found} bytes of {expected}")]
    Truncated {
        /// Where the part begins.
        offset: u64,
        /// Which part.
        what: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// A count or a length is above its limit.
    #[error("at byte {offset}: {what} is {found}, the limit is {limit}")]
    Limit {
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// The limit.
        limit: u64,
        /// The number found.
        found: u64,
    },
    /// A value that must not occur.
    #[error("at byte {offset}: {what} is {found}, expected {expected}")]
    Invalid {
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// What would be right.
        expected: String,
        /// The value found.
        found: u64,
    },
    /// A struct could not be decoded.
    #[error("at byte {offset}: {what}: {message}")]
    Decode {
        /// Where.
        offset: u64,
        /// Of what.
        what: &'static str,
        /// The decoder's reason.
        message: String,
    },
    /// A block whose segment has no readable header.
    #[error("at byte {offset}: a block of a segment whose header is missing (segment tag {tag:08x})")]
    NoHeader {
        /// Where.
        offset: u64,
        /// The tag of the segment.
        tag: u32,
    },
    /// Something within one column of a chunk.
    #[error("table {table}, column {column}: {source}")]
    Column {
        /// The table.
        table: TableId,
        /// The column's index.
        column: u16,
        /// What is wrong.
        #[source]
        source: Box<FormatError>,
    },
    /// A column was asked for as another type than it has.
    #[error("table {table}, column {column} is {found:?}, asked for as {asked}")]
    ColumnType {
        /// The table.
        table: TableId,
        /// The column's index.
        column: u16,
        /// How it was asked for.
        asked: &'static str,
        /// Its type, None if there is no such column.
        found: Option<ColumnType>,
    },
    /// A schema that contradicts itself.
    #[error("schema: {0}")]
    Schema(String),
    /// Rows cannot be copied into a chunk that has another schema.
    #[error("the two chunks have different schemas")]
    SchemaMismatch,
}

impl FormatError {
    /// An I/O error with what was tried.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The same error, told of a column.
    pub(crate) fn in_column(self, table: TableId, column: usize) -> Self {
        Self::Column { table, column: column as u16, source: Box::new(self) }
    }

    /// Checks `found` against a limit.
    pub(crate) fn limit(offset: u64, what: &'static str, found: u64, limit: u64) -> Result<(), Self> {
        if found > limit { Err(Self::Limit { offset, what, limit, found }) } else { Ok(()) }
    }
}

/// A part of a file that could not be read.
#[derive(Debug)]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file or stream.
    pub offset: u64,
    /// How many bytes it spans.
    pub len: u64,
    /// What is wrong.
    pub cause: FormatError,
}

impl Damage {
    /// Whether it is nothing but a block whose end is missing at the end of a file (or stream) of so many bytes: what a
    /// recorder leaves that was killed, or is about to write.
    pub fn is_cut_end(&self, bytes: u64) -> bool {
        matches!(self.cause, FormatError::Truncated { .. }) && self.offset + self.len >= bytes
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {} are unreadable: {}", self.offset, self.offset + self.len, self.cause)
    }
}
