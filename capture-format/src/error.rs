//! What can be wrong with a capture, and where.

use std::{fmt, io};

use crate::{
    column_type::{ColumnType, TableId},
    compression::Compression,
};

/// Why bytes could not be read, or rows could not be written.
///
/// `offset` is a position in bytes from the start of the file or stream. Inside a chunk it is the position of the
/// chunk's block, since a position in decompressed data would be of no use. It is `None` where no file is involved:
/// for rows that are about to be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "fields whose name says all")]
pub enum FormatError {
    /// The operating system reported an error.
    #[error("{what}: {source}")]
    Io {
        /// What was tried, such as "read the capture".
        what: &'static str,
        #[source]
        source: io::Error,
    },
    /// The file does not begin with a block, and there is none further on.
    #[error("not a ktape capture: no block found")]
    NotACapture,
    /// The file or stream is compressed as a whole.
    #[error("not a ktape capture: it is {}-compressed; decompress it first with `{}`", .0.name(), .0.command())]
    Compressed(Compression),
    /// The file was written in another version of the format.
    #[error(
        "at byte {offset}: format version {}, this reader knows {}; read it with the ktape release that wrote it",
        VersionText(*.found), VersionText(*.expected)
    )]
    Version {
        offset: u64,
        /// The only version that this crate reads: major in the high byte, minor in the low byte.
        expected: u16,
        found: u16,
    },
    /// No block begins here.
    #[error("at byte {offset}: no block begins here (magic {found:016x}, expected {expected:016x})")]
    Magic {
        offset: u64,
        /// The magic as a little-endian number.
        expected: u64,
        found: u64,
    },
    /// A checksum (CRC-32) does not match.
    #[error("at byte {offset}: checksum of {part} is {found:08x}, expected {expected:08x}")]
    Checksum {
        /// Where the part begins.
        offset: u64,
        part: &'static str,
        /// The checksum stored in the file.
        expected: u32,
        /// The checksum of the bytes in the file.
        found: u32,
    },
    /// The file or stream ends in the middle of something.
    #[error("at byte {offset}: {what} is cut: {found} bytes of {expected}")]
    Truncated {
        /// Where the part begins.
        offset: u64,
        what: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes up to the end of the file.
        found: u64,
    },
    /// Data within an intact block ends too early.
    #[error("at byte {offset}: {what} ends too early: {found} bytes left, expected {expected}")]
    TooShort {
        offset: u64,
        what: &'static str,
        /// Bytes needed.
        expected: u64,
        /// Bytes left.
        found: u64,
    },
    /// A count or a length is above its limit.
    #[error("{}{what} is {found}, the limit is {limit}", At(*.offset))]
    Limit { offset: Option<u64>, what: &'static str, limit: u64, found: u64 },
    /// A number that the format does not allow here.
    #[error("{}{what} is {found}, expected {expected}", At(*.offset))]
    Invalid {
        offset: Option<u64>,
        what: &'static str,
        /// What the format allows, in words.
        expected: String,
        found: u64,
    },
    /// Something other than a single number is wrong: a struct, a compressed frame, two copies that differ.
    #[error("{}{what}: expected {expected}, found {found}", At(*.offset))]
    Malformed {
        offset: Option<u64>,
        what: &'static str,
        /// What the format allows, in words.
        expected: String,
        /// What is there, in words.
        found: String,
    },
    /// A chunk of a segment whose header cannot be read; without its schema the chunk has no meaning.
    #[error(
        "at byte {offset}: this block belongs to a segment whose header is missing (segment tag {tag:08x})"
    )]
    NoHeader {
        offset: u64,
        /// The tag that the block shares with its segment's header.
        tag: u32,
    },
    /// Something is wrong within one column of a chunk.
    #[error("table {table}, column {column}: {source}")]
    Column {
        table: TableId,
        /// The column's index in the table.
        column: u16,
        #[source]
        source: Box<FormatError>,
    },
    /// The caller requested a column as another type than it has.
    #[error("table {table}, column {column} is {found:?}, requested as {requested}")]
    ColumnType {
        table: TableId,
        /// The column's index in the table.
        column: u16,
        requested: &'static str,
        /// The column's type, `None` if there is no such column.
        found: Option<ColumnType>,
    },
    /// A schema that contradicts itself.
    #[error("{}schema: {what}: expected {expected}, found {found}", At(*.offset))]
    Schema {
        /// Where the header with the schema is.
        offset: Option<u64>,
        /// The table or column.
        what: String,
        /// What the format allows, in words.
        expected: String,
        /// What is there, in words.
        found: String,
    },
    /// Rows cannot be copied into a chunk that has another schema.
    #[error("the two chunks have different schemas")]
    SchemaMismatch,
}

/// The place that an error message begins with, if there is one.
struct At(Option<u64>);

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |offset| write!(f, "at byte {offset}: "))
    }
}

/// A version of the format as people write it.
struct VersionText(u16);

impl fmt::Display for VersionText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 8, self.0 & 0xff)
    }
}

impl FormatError {
    /// Makes an I/O error of this type; `what` says what was tried, such as "open the capture". For `map_err`.
    pub fn io(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { what, source }
    }

    /// The same error, with the column it occurred in.
    pub(crate) fn in_column(self, table: TableId, column: usize) -> Self {
        Self::Column { table, column: column as u16, source: Box::new(self) }
    }

    /// The same error with the place of the header, if it is about a schema.
    pub(crate) fn in_header(self, header: u64) -> Self {
        match self {
            Self::Schema { what, expected, found, .. } => {
                Self::Schema { offset: Some(header), what, expected, found }
            }
            other => other,
        }
    }

    /// Refuses `found` above `limit`.
    pub(crate) fn limit(
        offset: impl Into<Option<u64>>,
        what: &'static str,
        found: u64,
        limit: u64,
    ) -> Result<(), Self> {
        if found > limit { Err(Self::Limit { offset: offset.into(), what, limit, found }) } else { Ok(()) }
    }

    /// A number that is not what `expected` says.
    pub(crate) fn invalid(
        offset: impl Into<Option<u64>>,
        what: &'static str,
        expected: impl fmt::Display,
        found: u64,
    ) -> Self {
        Self::Invalid { offset: offset.into(), what, expected: expected.to_string(), found }
    }

    /// The same in words.
    pub(crate) fn malformed(
        offset: impl Into<Option<u64>>,
        what: &'static str,
        expected: impl fmt::Display,
        found: impl fmt::Display,
    ) -> Self {
        let (expected, found) = (expected.to_string(), found.to_string());
        Self::Malformed { offset: offset.into(), what, expected, found }
    }
}

/// A part of a file that cannot be read. What is before and behind it can.
#[derive(Debug)]
#[allow(missing_docs, reason = "fields whose name says all")]
pub struct Damage {
    /// Where it begins, in bytes from the start of the file or stream.
    pub offset: u64,
    /// Bytes that it spans.
    pub len: u64,
    pub cause: FormatError,
}

impl Damage {
    /// Whether this is only an incomplete block at the end of a file (or stream) of `bytes` bytes: what a recorder leaves
    /// when it is killed, or while it writes.
    pub fn is_cut_end(&self, bytes: u64) -> bool {
        matches!(self.cause, FormatError::Truncated { .. }) && self.offset + self.len >= bytes
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {} to {} are unreadable: {}", self.offset, self.offset + self.len, self.cause)
    }
}

#[cfg(test)]
mod tests;
