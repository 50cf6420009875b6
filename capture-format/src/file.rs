//! A capture in a file: its segments and chunks, and access to any single chunk.

use std::{
    fs::File,
    io::{Read, Seek},
    path::Path,
    sync::Mutex,
};

use bytes::Bytes;

use crate::{
    block::{BlockKind, HEADER_LEN},
    chunk::Chunk,
    error::{Damage, FormatError},
    metadata::MetadataIndex,
    scan,
    segment::{ChunkEntry, Segment},
    source::Source,
    summary::ChunkSummary,
};

/// A capture in a file.
pub struct CaptureFile {
    source: Source,
    len: u64,
    segments: Vec<Segment>,
    damage: Vec<Damage>,
    metadata: MetadataIndex,
}

impl std::fmt::Debug for CaptureFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CaptureFile")
            .field("len", &self.len)
            .field("segments", &self.segments.len())
            .field("damage", &self.damage)
            .finish_non_exhaustive()
    }
}

impl CaptureFile {
    /// Opens a file and finds its chunks: by the indexes of its segments, or, where a segment has none, by hopping from block
    /// to block. Does not read the chunks themselves. Of a file that is being written it finds what is complete now.
    ///
    /// # Errors
    /// [`FormatError::Io`]; [`FormatError::NotACapture`] if there is no block in the file; [`FormatError::Compressed`]
    /// if it is compressed as a whole; [`FormatError::Version`] if there are only blocks of another version; [`FormatError::Limit`] if headers, summaries and metadata take more than 256 MiB.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, FormatError> {
        let file = File::open(path).map_err(FormatError::io("open the capture"))?;
        Self::load(Source::from_file(file))
    }

    /// Opens a capture in memory, or anything else that can seek.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn from_reader(reader: impl Read + Seek + Send + 'static) -> Result<Self, FormatError> {
        Self::load(Source::Shared(Mutex::new(Box::new(reader))))
    }

    fn load(source: Source) -> Result<Self, FormatError> {
        let len = source.len().map_err(FormatError::io("find the length of the capture"))?;
        let found = scan::find_segments(&source, len)?;
        let mut metadata = MetadataIndex::default();
        found.segments.iter().for_each(|s| metadata.merge(&s.metadata));
        Ok(Self { source, len, segments: found.segments, damage: found.damage, metadata })
    }

    /// Segments in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The chunks of all segments in the order of the file.
    pub fn chunks(&self) -> impl Iterator<Item = &ChunkEntry> {
        self.segments.iter().flat_map(|s| &s.chunks)
    }

    /// The metadata of all segments, joined.
    pub fn metadata(&self) -> &MetadataIndex {
        &self.metadata
    }

    /// Damage found while opening, in the order of the file. Damage within a chunk shows only when the chunk is read.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// Length of the file when it was opened.
    pub fn bytes(&self) -> u64 {
        self.len
    }

    /// Reads a chunk and checks its checksums. Columns are decompressed on first access. Several threads may do this at once.
    ///
    /// # Errors
    /// [`FormatError::Io`], or what is wrong with the chunk's block, with its place. Other chunks are not affected.
    pub fn read_chunk(&self, entry: &ChunkEntry) -> Result<Chunk, FormatError> {
        let offset = entry.offset;
        let segment = self.segments.get(entry.segment).ok_or_else(|| {
            let expected = format_args!("below {}", self.segments.len());
            FormatError::invalid(offset, "segment of a chunk", expected, entry.segment as u64)
        })?;
        let header = self.source.block_header(offset, self.len)?;
        header.check_version(offset)?;
        header.check_kind(offset, BlockKind::Chunk)?;
        header.check_tag(offset, segment.header.tag())?;
        if header.len() != entry.len {
            let what = "length of a chunk's block";
            return Err(FormatError::invalid(offset, what, entry.len, header.len()));
        }
        let at = offset + HEADER_LEN as u64;
        let mut bytes =
            Bytes::from(self.source.bytes(at, header.summary_len + header.body_len, "a block")?);
        let summary = bytes.split_to(header.summary_len);
        header.check_summary(at, &summary)?;
        header.check_body(at + header.summary_len as u64, &bytes)?;
        let summary = ChunkSummary::decode(at, &summary)?;
        if summary != entry.summary {
            let expected = "the same as in the index";
            return Err(FormatError::malformed(offset, "summary of a chunk", expected, "a different one"));
        }
        Chunk::parse(segment.header.schema.clone(), summary, bytes, offset)
    }
}
