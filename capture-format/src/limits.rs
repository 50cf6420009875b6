//! The limits of the format. Writers keep them; readers check them before they allocate memory. `docs/format.md` lists them
//! all; public here are those that a program has to keep itself when it fills chunks.

/// Largest summary of a block, in bytes.
pub(crate) const MAX_SUMMARY: usize = 1 << 20;
/// Largest body of a block, in bytes.
pub(crate) const MAX_BODY: usize = 64 << 20;
/// Largest uncompressed header, index or metadata body, in bytes.
pub(crate) const MAX_INFO: usize = 16 << 20;
/// Largest compression ratio of a header, index or metadata body.
pub(crate) const MAX_INFO_RATIO: u64 = 1_000;
/// Most bytes of headers, metadata, summaries and reports of damage that a reader keeps of one file.
pub(crate) const MAX_INDEX_MEMORY: usize = 256 << 20;
/// Largest uncompressed frame of a chunk, in bytes.
pub(crate) const MAX_FRAME: usize = 64 << 20;
/// Largest compression ratio of a frame of a chunk.
pub(crate) const MAX_FRAME_RATIO: u64 = 65_536;
/// Most bytes of the decoded columns of one chunk.
pub(crate) const MAX_DECODED: u64 = 256 << 20;
/// Most tables in a schema.
pub(crate) const MAX_TABLES: usize = 256;
/// Most columns in a table.
pub(crate) const MAX_COLUMNS: usize = 128;
/// Most rows of a table in one chunk.
pub const MAX_ROWS: usize = 1 << 17;
/// Most values in one list column of a chunk.
pub const MAX_LIST_VALUES: usize = 1 << 20;
/// Most values in one list.
pub const MAX_LIST: usize = 64;
/// Most distinct strings in a chunk.
pub const MAX_STRINGS: usize = 1 << 20;
/// Most bytes of all strings in a chunk.
pub const MAX_STRING_BYTES: usize = 48 << 20;
/// Most distinct values of one column in a summary.
pub(crate) const MAX_SUMMARY_VALUES: usize = 1024;
/// Most bytes of all values of one column in a summary.
pub(crate) const MAX_SUMMARY_BYTES: usize = 64 << 10;

/// Event rows at which a writer should close a chunk.
pub const CHUNK_EVENT_ROWS: usize = 1 << 16;
/// Bytes of memory at which a writer should close a chunk, whatever its rows.
pub const CHUNK_BYTES: usize = 16 << 20;
