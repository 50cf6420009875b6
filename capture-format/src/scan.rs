//! Finds the segments of a file: backwards from trailer to trailer; where that fails, forwards from block to block; after
//! damage, by searching for the next block.

use std::sync::Arc;

use crate::{
    block::{self, BlockHeader, BlockKind, HEADER_LEN, MAGIC, TRAILER_LEN},
    compression::Compression,
    error::{Damage, FormatError},
    header::Header,
    index::{self, Index, Trailer},
    limits::MAX_INDEX_MEMORY,
    metadata::{MetadataIndex, MetadataRecord},
    segment::{ChunkEntry, Segment},
    source::Source,
    summary::ChunkSummary,
};

pub(crate) struct FoundSegments {
    pub(crate) segments: Vec<Segment>,
    pub(crate) damage: Vec<Damage>,
}

/// All segments of a file.
pub(crate) fn find_segments(source: &Source, len: u64) -> Result<FoundSegments, FormatError> {
    let mut start = [0; COMPRESSION_MAGIC];
    let read = source.read_at(0, &mut start)?;
    if let Some(compression) = Compression::of(&start[..read]) {
        return Err(FormatError::Compressed(compression));
    }
    let mut scan = Scan { source, segments: Vec::new(), damage: Vec::new(), memory: 0, blocks: 0 };
    let mut end = len;
    let mut parts = Vec::new();
    while let Ok((trailer, tag)) = scan.trailer(end) {
        let start = end - trailer.segment_len;
        let before = scan.segments.len();
        match scan.indexed(start, end, trailer, tag) {
            Ok(()) => {}
            Err(e @ FormatError::Io { .. }) => return Err(e),
            Err(e @ FormatError::Limit { what: MEMORY, .. }) => return Err(e),
            Err(_) => scan.forward(start, end)?,
        }
        parts.push(scan.segments.split_off(before));
        end = start;
        if end == 0 {
            break;
        }
    }
    if end > 0 {
        scan.forward(0, end)?;
    }
    let front = std::mem::take(&mut scan.segments);
    let mut segments: Vec<Segment> = front.into_iter().chain(parts.into_iter().rev().flatten()).collect();
    for (i, segment) in segments.iter_mut().enumerate() {
        segment.chunks.iter_mut().for_each(|c| c.segment = i);
    }
    let mut damage = scan.damage;
    damage.sort_by_key(|d| d.offset);
    if segments.is_empty() {
        let version = damage.iter().position(|d| matches!(d.cause, FormatError::Version { .. }));
        match version {
            Some(i) => return Err(damage.swap_remove(i).cause),
            None if scan.blocks == 0 => return Err(FormatError::NotACapture),
            None => {}
        }
    }
    Ok(FoundSegments { segments, damage })
}

/// The name of the limit on a reader's memory in errors.
pub(crate) const MEMORY: &str = "memory for the index";
/// Bytes that are enough to recognize a compressed file.
const COMPRESSION_MAGIC: usize = 8;
/// Bytes to read at once when searching for a block.
const WINDOW: usize = 256 << 10;

fn at_least(offset: u64, what: &'static str, found: u64, least: u64) -> Result<(), FormatError> {
    if found >= least {
        return Ok(());
    }
    Err(FormatError::invalid(offset, what, format_args!("at least {least}"), found))
}

struct Scan<'a> {
    source: &'a Source,
    segments: Vec<Segment>,
    damage: Vec<Damage>,
    memory: usize,
    blocks: u64,
}

/// A segment that is being found.
struct OpenSegment {
    tag: u32,
    header: Option<Arc<Header>>,
    segment: Segment,
}

impl Scan<'_> {
    /// The trailer that ends at `end`, with its tag.
    fn trailer(&self, end: u64) -> Result<(Trailer, u32), FormatError> {
        let offset = end.checked_sub(TRAILER_LEN as u64).ok_or(FormatError::NotACapture)?;
        let header = self.source.block_header(offset, end)?;
        header.check_version(offset)?;
        if header.kind != BlockKind::Trailer || header.len() != TRAILER_LEN as u64 {
            return Err(FormatError::NotACapture);
        }
        let trailer = Trailer::decode(offset, &self.source.summary(offset, &header)?)?;
        if trailer.segment_len < TRAILER_LEN as u64 {
            return Err(FormatError::NotACapture);
        }
        FormatError::limit(offset, "length of a segment", trailer.segment_len, end)?;
        Ok((trailer, header.tag))
    }

    /// Counts memory that is kept while the file is open.
    fn keep(&mut self, offset: u64, bytes: usize) -> Result<(), FormatError> {
        self.memory += bytes;
        FormatError::limit(offset, MEMORY, self.memory as u64, MAX_INDEX_MEMORY as u64)
    }

    /// The segment from `start` to `end`, by its indexes.
    fn indexed(&mut self, start: u64, end: u64, trailer: Trailer, tag: u32) -> Result<(), FormatError> {
        let mut parts: Vec<(u64, Index)> = Vec::new();
        let mut before = trailer.segment_len;
        let mut at = trailer.index;
        while at != 0 {
            let offset = start.saturating_add(at);
            FormatError::limit(offset, "place of an index", at, before - 1)?;
            let header = self.source.block_header(offset, end)?;
            header.check_version(offset)?;
            header.check_kind(offset, BlockKind::Index)?;
            header.check_tag(offset, tag)?;
            let mut part = index::decode_index(offset, &self.source.body(offset, &header)?)?;
            let chunks: usize = part.chunks.iter().map(|c| size_of::<ChunkEntry>() + c.summary.len()).sum();
            let metadata: usize = part.metadata.iter().map(MetadataRecord::bytes).sum();
            self.keep(offset, size_of::<Index>() + chunks + metadata)?;
            before = at;
            at = part.previous;
            // One copy of the header is enough, in case the header block is unreadable.
            if at != 0 {
                part.header = Vec::new();
            }
            parts.push((offset, part));
        }
        parts.reverse();
        let Some((first_offset, first)) = parts.first() else { return Err(FormatError::NotACapture) };
        let mut damaged = None;
        let header = match self.header_at(start, end) {
            Ok(header) if header.tag() == tag => header,
            other => {
                let cause = other.err().unwrap_or(FormatError::NoHeader { offset: start, tag });
                damaged = Some(cause);
                Header::decode(*first_offset, &first.header)?
            }
        };
        self.keep(start, size_of::<Segment>() + header.memory(first.header.len()))?;
        let mut segment = Segment {
            header: Arc::new(header),
            chunks: Vec::new(),
            metadata: MetadataIndex::default(),
            complete: true,
            offset: start,
            len: end - start,
        };
        let mut free = 0;
        for (offset, part) in &parts {
            for chunk in &part.chunks {
                let chunk_end = chunk.offset.saturating_add(chunk.len);
                at_least(*offset, "place of a chunk", chunk.offset, free)?;
                at_least(*offset, "length of a chunk's block", chunk.len, HEADER_LEN as u64)?;
                FormatError::limit(*offset, "end of a chunk", chunk_end, trailer.segment_len)?;
                free = chunk_end;
                let summary = ChunkSummary::decode(*offset, &chunk.summary)?;
                let entry = ChunkEntry { offset: start + chunk.offset, len: chunk.len, segment: 0, summary };
                segment.chunks.push(entry);
            }
            let grown: usize = part.metadata.iter().map(|record| segment.metadata.add_counted(record)).sum();
            self.keep(*offset, grown)?;
        }
        if let Some(cause) = damaged {
            // The header's length is unknown, so the damage extends to the first chunk or index.
            let next = segment.chunks.first().map_or(*first_offset, |c| c.offset.min(*first_offset));
            self.damaged(start, next - start, cause)?;
        }
        self.blocks += 1;
        self.segments.push(segment);
        Ok(())
    }

    fn header_at(&self, offset: u64, end: u64) -> Result<Header, FormatError> {
        let block = self.source.block_header(offset, end)?;
        if block.kind != BlockKind::Header {
            return Err(FormatError::NoHeader { offset, tag: block.tag });
        }
        block.check_version(offset)?;
        Header::decode(offset, &index::info_body(offset, &self.source.body(offset, &block)?)?)
    }

    /// Everything between `start` and `end`, block by block.
    fn forward(&mut self, start: u64, end: u64) -> Result<(), FormatError> {
        let mut at = start;
        let mut open: Option<OpenSegment> = None;
        while at < end {
            let header = match self.usable(at, end) {
                Ok(header) => header,
                Err(e @ FormatError::Io { .. }) => return Err(e),
                Err(cause) => {
                    let next = self.resync(at, end)?;
                    self.damaged(at, next - at, cause)?;
                    at = next;
                    continue;
                }
            };
            self.blocks += 1;
            let result = match header.check_version(at) {
                Ok(()) => self.block(at, &header, &mut open),
                Err(e) => Err(e),
            };
            match result {
                Ok(()) => {}
                Err(e @ FormatError::Io { .. }) => return Err(e),
                Err(e @ FormatError::Limit { what: MEMORY, .. }) => return Err(e),
                Err(cause) => self.damaged(at, header.len(), cause)?,
            }
            at += header.len();
        }
        self.close(open)
    }

    /// The header of the block at `at`, if its length is right: another block follows, or the end, or the checksum of the body
    /// matches. (A block that was cut when its recorder died may be followed by another segment.)
    fn usable(&self, at: u64, end: u64) -> Result<BlockHeader, FormatError> {
        let header = self.source.block_header(at, end)?;
        let next = at + header.len();
        let mut magic = [0; MAGIC.len()];
        let room = (end - next).min(MAGIC.len() as u64) as usize;
        let found = self.source.read_at(next, &mut magic[..room])?;
        if magic[..found] != MAGIC[..found] {
            self.source.body(at, &header)?;
        }
        Ok(header)
    }

    /// The next block after the damaged one at `at`, or the end.
    fn resync(&self, at: u64, end: u64) -> Result<u64, FormatError> {
        let mut from = at + 1;
        let mut window = vec![0; WINDOW];
        while from < end {
            let room = (end - from).min(WINDOW as u64) as usize;
            let found = self.source.read_at(from, &mut window[..room])?;
            if found == 0 {
                break;
            }
            let mut place = 0;
            let mut next = from + found as u64;
            while let Some(i) = block::find_magic(&window[..found], place) {
                let offset = from + i as u64;
                if i > 0 && found - i < MAGIC.len() && offset + (MAGIC.len() as u64) < end {
                    // The rest of the magic is in the next window.
                    next = offset;
                    break;
                }
                match self.source.block_header(offset, end) {
                    Ok(_) => return Ok(offset),
                    // A block that the end of the file cuts: the caller meets it again and reports it.
                    Err(FormatError::Truncated { what: "a block", .. }) => return Ok(offset),
                    Err(e @ FormatError::Io { .. }) => return Err(e),
                    Err(_) => place = i + 1,
                }
            }
            from = next;
        }
        Ok(end)
    }

    fn damaged(&mut self, offset: u64, len: u64, cause: FormatError) -> Result<(), FormatError> {
        // A segment of another version is one damage, not one for each of its blocks.
        if let Some(last) = self.damage.last_mut()
            && let (FormatError::Version { found: a, .. }, FormatError::Version { found: b, .. }) =
                (&last.cause, &cause)
            && a == b
            && last.offset + last.len == offset
        {
            last.len += len;
            return Ok(());
        }
        self.damage.push(Damage { offset, len, cause });
        self.keep(offset, size_of::<Damage>())
    }

    /// Adds a block to the open segment, or opens another segment.
    fn block(
        &mut self,
        at: u64,
        block: &BlockHeader,
        open: &mut Option<OpenSegment>,
    ) -> Result<(), FormatError> {
        if block.kind == BlockKind::Header || open.as_ref().is_none_or(|o| o.tag != block.tag) {
            self.close(open.take())?;
            *open = Some(OpenSegment {
                tag: block.tag,
                header: None,
                segment: Segment {
                    header: Arc::default(),
                    chunks: Vec::new(),
                    metadata: MetadataIndex::default(),
                    complete: false,
                    offset: at,
                    len: 0,
                },
            });
        }
        let Some(OpenSegment { header, segment, .. }) = open.as_mut() else { return Ok(()) };
        segment.len = at + block.len() - segment.offset;
        match block.kind {
            BlockKind::Header => {
                let raw = index::info_body(at, &self.source.body(at, block)?)?;
                let decoded = Header::decode(at, &raw)?;
                self.keep(at, size_of::<Segment>() + decoded.memory(raw.len()))?;
                *header = Some(Arc::new(decoded));
            }
            BlockKind::Chunk => {
                let summary = ChunkSummary::decode(at, &self.source.summary(at, block)?)?;
                self.keep(at, size_of::<ChunkEntry>() + summary.memory())?;
                segment.chunks.push(ChunkEntry { offset: at, len: block.len(), segment: 0, summary });
            }
            BlockKind::Metadata => {
                let records = index::decode_metadata(at, &self.source.body(at, block)?)?;
                let grown = records.iter().map(|record| segment.metadata.add_counted(record)).sum();
                self.keep(at, grown)?;
            }
            BlockKind::Index => {
                // It repeats what was read before, except what is damaged.
                let index = index::decode_index(at, &self.source.body(at, block)?)?;
                if header.is_none() {
                    let decoded = Header::decode(at, &index.header)?;
                    self.keep(at, size_of::<Segment>() + decoded.memory(index.header.len()))?;
                    *header = Some(Arc::new(decoded));
                }
                let grown = index.metadata.iter().map(|record| segment.metadata.add_counted(record)).sum();
                self.keep(at, grown)?;
            }
            BlockKind::Trailer => {
                let trailer = Trailer::decode(at, &self.source.summary(at, block)?)?;
                segment.complete = trailer.segment_len == segment.len;
                self.close(open.take())?;
            }
            BlockKind::Unknown(_) => {}
        }
        Ok(())
    }

    /// Ends a segment. Without a header its chunks are unreadable.
    fn close(&mut self, open: Option<OpenSegment>) -> Result<(), FormatError> {
        let Some(OpenSegment { tag, header, mut segment }) = open else { return Ok(()) };
        match header {
            Some(header) => {
                segment.header = header;
                self.segments.push(segment);
            }
            None => {
                for chunk in &segment.chunks {
                    let cause = FormatError::NoHeader { offset: chunk.offset, tag };
                    self.damaged(chunk.offset, chunk.len, cause)?;
                }
            }
        }
        Ok(())
    }
}
