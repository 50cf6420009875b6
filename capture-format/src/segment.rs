//! What is in a file: segments, and where their chunks are.

use std::sync::Arc;

use crate::{header::Header, metadata::MetadataIndex, summary::ChunkSummary};

/// Where a chunk is, and what is in it; [`crate::CaptureFile::read_chunk`] reads it.
#[derive(Clone, Debug)]
pub struct ChunkEntry {
    /// Start of the chunk's block, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes of the block.
    pub len: u64,
    /// The chunk's segment as an index into [`crate::CaptureFile::segments`].
    pub segment: usize,
    /// The chunk's content in short: time range, tables, values.
    pub summary: ChunkSummary,
}

/// One run of a recorder within a file.
#[derive(Clone, Debug)]
pub struct Segment {
    /// Host, clocks, options and schema.
    pub header: Arc<Header>,
    /// Chunks in the order of the file.
    pub chunks: Vec<ChunkEntry>,
    /// Names and labels of the segment's cgroups.
    pub metadata: MetadataIndex,
    /// Whether the segment has a trailer. Without one it is still being written, or its recorder died.
    pub complete: bool,
    /// Start of the segment, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes up to the end of the last block.
    pub len: u64,
}
