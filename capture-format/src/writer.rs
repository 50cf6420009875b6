//! Writes a segment, front to back, never going back.

use std::io::Write;

use crate::{
    block::{self, BlockKind},
    encode::EncodedBlock,
    error::FormatError,
    header::Header,
    index::{self, Index, IndexEntry, Trailer},
    metadata::MetadataRecord,
};

/// An index is written, and its memory freed, when it has grown to this many bytes.
const INDEX_BYTES: usize = 1 << 20;

/// Writes one segment. Each block is given to the writer whole, in one call, and flushed.
#[derive(Debug)]
pub struct SegmentWriter<W: Write> {
    out: W,
    tag: u32,
    written: u64,
    pending: Index,
    pending_bytes: usize,
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a segment.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails, [`FormatError::Limit`] if the header is too large.
    pub fn new(out: W, header: &Header) -> Result<Self, FormatError> {
        let raw = header.encode()?;
        let block = index::info_block(BlockKind::Header, &raw)?;
        let pending = Index { header: raw, ..Index::default() };
        let mut writer = Self { out, tag: header.tag(), written: 0, pending, pending_bytes: 0 };
        writer.put(block)?;
        Ok(writer)
    }

    /// Writes a chunk; where its block begins, in bytes from the start of the segment.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails. What a failed call has written is a damaged block for the reader; a
    /// later call may succeed.
    pub fn write_block(&mut self, block: EncodedBlock) -> Result<u64, FormatError> {
        let offset = self.written;
        let len = block.block.len() as u64;
        self.put(block.block)?;
        let summary = block.summary.encode()?;
        self.pending_bytes += summary.len() + 24;
        self.pending.chunks.push(IndexEntry { offset, len, summary });
        self.write_full_index()?;
        Ok(offset)
    }

    /// Writes what became known of cgroups.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails, [`FormatError::Limit`] if a single record is too large.
    pub fn write_metadata(&mut self, records: &[MetadataRecord]) -> Result<(), FormatError> {
        let mut rest = records;
        while !rest.is_empty() {
            // As many as fit into one block, at least one.
            let mut bytes = 0;
            let fits = rest.iter().take_while(|record| {
                bytes += record_bytes(record);
                bytes <= INDEX_BYTES
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            rest = later;
            self.put(index::encode_metadata(batch)?)?;
            self.pending_bytes += batch.iter().map(record_bytes).sum::<usize>();
            self.pending.metadata.extend_from_slice(batch);
            self.write_full_index()?;
        }
        Ok(())
    }

    /// Bytes written so far.
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// Where the segment is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Where the segment is written to, for syncing. Nothing may be written to it.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// Writes index and trailer.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn finish(mut self) -> Result<W, FormatError> {
        let index = self.write_index()?;
        let segment_len = self.written + block::TRAILER_LEN as u64;
        let trailer = Trailer { segment_len, index }.encode();
        self.put(block::build(BlockKind::Trailer, &trailer, &[]))?;
        Ok(self.out)
    }

    fn write_full_index(&mut self) -> Result<(), FormatError> {
        if self.pending_bytes >= INDEX_BYTES { self.write_index().map(drop) } else { Ok(()) }
    }

    /// Writes the pending part of the index; where it is.
    fn write_index(&mut self) -> Result<u64, FormatError> {
        let offset = self.written;
        self.put(index::encode_index(&self.pending)?)?;
        self.pending.previous = offset;
        self.pending.chunks.clear();
        self.pending.metadata.clear();
        self.pending_bytes = 0;
        Ok(offset)
    }

    fn put(&mut self, mut block: Vec<u8>) -> Result<(), FormatError> {
        block::seal(&mut block, self.tag);
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            match self.out.write(rest) {
                Ok(0) => {
                    return Err(FormatError::io("write a block")(std::io::ErrorKind::WriteZero.into()));
                }
                Ok(n) => {
                    self.written += n as u64;
                    rest = &rest[n..];
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(FormatError::io("write a block")(e)),
            }
        }
        self.out.flush().map_err(FormatError::io("flush a block"))
    }
}

/// Bytes that a record takes in a block before compression.
fn record_bytes(record: &MetadataRecord) -> usize {
    40 + record.values.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>()
}
