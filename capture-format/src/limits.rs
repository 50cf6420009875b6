//! The limits that writers keep and readers check before they take memory. All are part of the
//! format: `docs/format.md` lists them.

/// Largest summary of a block, in bytes.
pub const MAX_SUMMARY: usize = 1 << 20;
/// Largest body of a block, in bytes.
pub const MAX_BODY: usize = 64 << 20;
/// Largest uncompressed header, index or metadata body, in bytes.
pub const MAX_INFO: usize = 16 << 20;
/// Most bytes that one compressed byte of a header, index or metadata body may become.
pub const MAX_INFO_RATIO: u64 = 1_000;
/// Most bytes of uncompressed headers, metadata and summaries that a reader keeps of one file.
pub const MAX_INDEX_MEMORY: usize = 256 << 20;
/// Largest uncompressed frame of a chunk, in bytes.
pub const MAX_FRAME: usize = 64 << 20;
/// Most bytes that one compressed byte of a frame may become.
pub const MAX_FRAME_RATIO: u64 = 65_536;
/// Most bytes that the columns of one chunk may take when decoded.
pub const MAX_DECODED: u64 = 256 << 20;
/// Most tables of a schema.
pub const MAX_TABLES: usize = 256;
/// Most columns of a table.
pub const MAX_COLUMNS: usize = 128;
/// Most rows of a table in one chunk.
pub const MAX_ROWS: usize = 1 << 17;
/// Most values of one list column in one chunk.
pub const MAX_LIST_VALUES: usize = 1 << 20;
/// Most values of one list.
pub const MAX_LIST: usize = 64;
/// Most distinct strings of a chunk.
pub const MAX_STRINGS: usize = 1 << 20;
/// Most bytes of all strings of a chunk.
pub const MAX_STRING_BYTES: usize = 48 << 20;
/// Most distinct values that a summary keeps of one column.
pub const MAX_SUMMARY_VALUES: usize = 1024;
/// Most bytes of values that a summary keeps of one column.
pub const MAX_SUMMARY_BYTES: usize = 64 << 10;

/// Event rows at which a writer should close a chunk.
pub const CHUNK_EVENT_ROWS: usize = 1 << 16;
/// Bytes of memory at which a writer should close a chunk, whatever its rows.
pub const CHUNK_BYTES: usize = 16 << 20;
