//! A capture in a file: its segments and chunks, and access to any single chunk.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;

use crate::{
    block::{BlockHeader, BlockKind, HEADER_LEN},
    chunk::Chunk,
    error::{Damage, FormatError},
    header::Header,
    metadata::MetadataIndex,
    scan,
    summary::ChunkSummary,
};

/// Where a chunk is, and what is in it; [`CaptureFile::read_chunk`] reads it.
#[derive(Clone, Debug)]
pub struct ChunkEntry {
    /// Start of the chunk's block, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes of the block.
    pub len: u64,
    /// The chunk's segment as an index into [`CaptureFile::segments`].
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

pub(crate) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A source of bytes that several threads may read from.
pub(crate) enum Source {
    #[cfg(unix)]
    File(File),
    Shared(Mutex<Box<dyn ReadSeek>>),
}

impl Source {
    fn from_file(file: File) -> Self {
        #[cfg(unix)]
        return Self::File(file);
        #[cfg(not(unix))]
        return Self::Shared(Mutex::new(Box::new(file)));
    }

    fn len(&self) -> io::Result<u64> {
        match self {
            #[cfg(unix)]
            Self::File(file) => file.metadata().map(|m| m.len()),
            Self::Shared(reader) => {
                reader.lock().unwrap_or_else(PoisonError::into_inner).seek(SeekFrom::End(0))
            }
        }
    }

    /// Fills the buffer; returns fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FormatError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_some(offset + done as u64, &mut buffer[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(FormatError::io("read the capture")(e)),
            }
        }
        Ok(done)
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::File(file) => std::os::unix::fs::FileExt::read_at(file, buffer, offset),
            Self::Shared(reader) => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.seek(SeekFrom::Start(offset))?;
                reader.read(buffer)
            }
        }
    }

    /// Exactly these bytes.
    pub(crate) fn bytes(&self, offset: u64, len: usize, what: &'static str) -> Result<Vec<u8>, FormatError> {
        let mut buffer = vec![0; len];
        let found = self.read_at(offset, &mut buffer)? as u64;
        if found < len as u64 {
            return Err(FormatError::Truncated { offset, what, expected: len as u64, found });
        }
        Ok(buffer)
    }

    /// The header of the block at `offset`, which must end before `end`.
    pub(crate) fn block_header(&self, offset: u64, end: u64) -> Result<BlockHeader, FormatError> {
        let mut bytes = [0; HEADER_LEN];
        let expected = HEADER_LEN as u64;
        let room = end.saturating_sub(offset);
        let found = (self.read_at(offset, &mut bytes)? as u64).min(room);
        if found < expected {
            return Err(FormatError::Truncated { offset, what: "a block header", expected, found });
        }
        let header = BlockHeader::parse(&bytes, offset)?;
        if header.len() > room {
            return Err(FormatError::Truncated {
                offset,
                what: "a block",
                expected: header.len(),
                found: room,
            });
        }
        Ok(header)
    }

    /// The checked summary of a block.
    pub(crate) fn summary(&self, offset: u64, header: &BlockHeader) -> Result<Vec<u8>, FormatError> {
        let at = offset + HEADER_LEN as u64;
        let summary = self.bytes(at, header.summary_len, "a summary")?;
        header.check_summary(at, &summary)?;
        Ok(summary)
    }

    /// The checked body of a block.
    pub(crate) fn body(&self, offset: u64, header: &BlockHeader) -> Result<Vec<u8>, FormatError> {
        let at = offset + (HEADER_LEN + header.summary_len) as u64;
        let body = self.bytes(at, header.body_len, "a body")?;
        header.check_body(at, &body)?;
        Ok(body)
    }
}

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
    /// [`FormatError::Io`]; [`FormatError::NotACapture`] if there is no block in the file; [`FormatError::Version`] if there
    /// are only blocks of another version; [`FormatError::Limit`] if headers, summaries and metadata take more than 256 MiB.
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
