//! A capture from a pipe, read front to back without seeking.

use std::{io::Read, sync::Arc};

use bytes::Bytes;

use crate::{
    block::{self, BlockHeader, BlockKind, HEADER_LEN},
    chunk::Chunk,
    compression::Compression,
    error::{Damage, FormatError},
    header::Header,
    index,
    metadata::MetadataRecord,
    summary::ChunkSummary,
};

/// An item of a stream.
#[derive(Debug)]
#[non_exhaustive]
pub enum StreamItem {
    /// A segment begins.
    Header(Arc<Header>),
    /// A chunk of the segment.
    Chunk(Box<Chunk>),
    /// Names and labels of cgroups, possibly of earlier events.
    Metadata(Vec<MetadataRecord>),
    /// The segment ends.
    End {
        /// Whether it has a trailer.
        complete: bool,
    },
    /// Unreadable bytes were skipped.
    Damage(Damage),
}

/// Bytes to read at once.
const READ: usize = 256 << 10;

/// Reads a capture front to back. Memory is bounded by the largest block.
#[derive(Debug)]
pub struct StreamReader<R: Read> {
    reader: R,
    buffer: Vec<u8>,
    /// Bytes of the buffer that are consumed.
    pos: usize,
    /// Position of the buffer's first byte in the stream.
    base: u64,
    ended: bool,
    /// Where skipping of unreadable bytes began, and why.
    skipping: Option<(u64, FormatError)>,
    header: Option<Arc<Header>>,
    blocks: u64,
}

impl<R: Read> StreamReader<R> {
    /// Reads a stream that begins with a segment.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: Vec::new(),
            pos: 0,
            base: 0,
            ended: false,
            skipping: None,
            header: None,
            blocks: 0,
        }
    }

    /// The next item, `None` at the end. Skips blocks of unknown kind.
    ///
    /// # Errors
    /// [`FormatError::Io`] if reading fails; [`FormatError::NotACapture`] at the end of a stream without any block;
    /// [`FormatError::Compressed`] if it is compressed as a whole; [`FormatError::Version`] if it begins with another version. Damage is an item, not an error.
    pub fn next_item(&mut self) -> Result<Option<StreamItem>, FormatError> {
        loop {
            let available = self.fill(HEADER_LEN)?;
            if available == 0 {
                return self.at_end();
            }
            let offset = self.offset();
            if offset == 0
                && let Some(compression) = Compression::of(&self.buffer[self.pos..])
            {
                return Err(FormatError::Compressed(compression));
            }
            let header = match self.header(offset) {
                Ok(header) => header,
                Err(cause) => {
                    self.skip(1, cause)?;
                    continue;
                }
            };
            if let Some(damage) = self.skipped(offset) {
                return Ok(Some(StreamItem::Damage(damage)));
            }
            let len = header.len() as usize;
            let found = self.fill(len)?;
            if found < len {
                let (expected, found) = (len as u64, found as u64);
                self.skip(HEADER_LEN, FormatError::Truncated { offset, what: "a block", expected, found })?;
                continue;
            }
            if let Err(cause) = self.check(offset, &header) {
                self.skip(HEADER_LEN, cause)?;
                continue;
            }
            self.blocks += 1;
            if header.kind == BlockKind::Header && self.header.take().is_some() {
                // The block is not consumed: the next call reads it again.
                return Ok(Some(StreamItem::End { complete: false }));
            }
            let result = self.block(offset, &header);
            self.pos += len;
            match result {
                Ok(Some(item)) => return Ok(Some(item)),
                Ok(None) => {}
                Err(cause @ FormatError::Version { .. }) if self.blocks == 1 => return Err(cause),
                Err(cause) => {
                    return Ok(Some(StreamItem::Damage(Damage { offset, len: len as u64, cause })));
                }
            }
        }
    }

    fn offset(&self) -> u64 {
        self.base + self.pos as u64
    }

    /// Makes `wanted` bytes available if the stream has them; returns the number of available bytes.
    fn fill(&mut self, wanted: usize) -> Result<usize, FormatError> {
        while self.buffer.len() - self.pos < wanted && !self.ended {
            if self.pos > 0 {
                self.buffer.drain(..self.pos);
                self.base += self.pos as u64;
                self.pos = 0;
            }
            let len = self.buffer.len();
            // In steps, so that a false length allocates no memory.
            let step = (wanted - len).max(READ).min(len.max(READ));
            self.buffer.resize(len + step, 0);
            let read = self.reader.read(&mut self.buffer[len..]);
            self.buffer.truncate(len + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => self.ended = true,
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(FormatError::io("read the capture")(e)),
            }
        }
        Ok(self.buffer.len() - self.pos)
    }

    fn header(&self, offset: u64) -> Result<BlockHeader, FormatError> {
        let rest = &self.buffer[self.pos..];
        let Some(bytes) = rest.first_chunk::<HEADER_LEN>() else {
            let (expected, found) = (HEADER_LEN as u64, rest.len() as u64);
            return Err(FormatError::Truncated { offset, what: "a block header", expected, found });
        };
        BlockHeader::parse(bytes, offset)
    }

    fn parts(&self, header: &BlockHeader) -> (&[u8], &[u8]) {
        let start = self.pos + HEADER_LEN;
        self.buffer[start..start + header.summary_len + header.body_len].split_at(header.summary_len)
    }

    fn check(&self, offset: u64, header: &BlockHeader) -> Result<(), FormatError> {
        let (summary, body) = self.parts(header);
        let at = offset + HEADER_LEN as u64;
        header.check_summary(at, summary)?;
        header.check_body(at + header.summary_len as u64, body)
    }

    /// Skips at least `by` bytes, up to the next position at which a block may begin.
    fn skip(&mut self, by: usize, cause: FormatError) -> Result<(), FormatError> {
        if self.skipping.is_none() {
            self.skipping = Some((self.offset(), cause));
        }
        self.pos = (self.pos + by).min(self.buffer.len());
        loop {
            if let Some(found) = block::find_magic(&self.buffer, self.pos) {
                self.pos = found;
                return Ok(());
            }
            self.pos = self.buffer.len();
            if self.fill(1)? == 0 {
                return Ok(());
            }
        }
    }

    /// Ends skipping at `offset`; returns what was skipped.
    fn skipped(&mut self, offset: u64) -> Option<Damage> {
        let (start, cause) = self.skipping.take()?;
        Some(Damage { offset: start, len: offset - start, cause })
    }

    fn at_end(&mut self) -> Result<Option<StreamItem>, FormatError> {
        if self.blocks == 0 {
            return Err(FormatError::NotACapture);
        }
        if let Some(damage) = self.skipped(self.offset()) {
            return Ok(Some(StreamItem::Damage(damage)));
        }
        Ok(self.header.take().map(|_| StreamItem::End { complete: false }))
    }

    fn block(&mut self, offset: u64, header: &BlockHeader) -> Result<Option<StreamItem>, FormatError> {
        header.check_version(offset)?;
        let (summary, body) = self.parts(header);
        match header.kind {
            BlockKind::Header => {
                let found = Arc::new(Header::decode(offset, &index::info_body(offset, body)?)?);
                self.header = Some(found.clone());
                Ok(Some(StreamItem::Header(found)))
            }
            BlockKind::Unknown(_) => Ok(None),
            BlockKind::Index => {
                let index = index::decode_index(offset, body)?;
                if self.is_current(header.tag) {
                    return Ok(None);
                }
                let found = Arc::new(Header::decode(offset, &index.header)?);
                self.header = Some(found.clone());
                Ok(Some(StreamItem::Header(found)))
            }
            BlockKind::Trailer => Ok(self.header.take().map(|_| StreamItem::End { complete: true })),
            BlockKind::Metadata => Ok(Some(StreamItem::Metadata(index::decode_metadata(offset, body)?))),
            BlockKind::Chunk => {
                let current = self.header.as_ref().filter(|h| h.tag() == header.tag);
                let current = current.ok_or(FormatError::NoHeader { offset, tag: header.tag })?;
                let summary = ChunkSummary::decode(offset + HEADER_LEN as u64, summary)?;
                let body = Bytes::copy_from_slice(body);
                let chunk = Chunk::parse(current.schema.clone(), summary, body, offset)?;
                Ok(Some(StreamItem::Chunk(Box::new(chunk))))
            }
        }
    }

    fn is_current(&self, tag: u32) -> bool {
        self.header.as_ref().is_some_and(|h| h.tag() == tag)
    }
}
