//! Writes a segment front to back, without seeking.

use std::io::Write;

use crate::{
    block::{self, BlockKind},
    encode::EncodedBlock,
    error::FormatError,
    header::Header,
    index::{self, Index, IndexEntry, Trailer},
    metadata::MetadataRecord,
};

/// Size before compression at which an index is written and its memory freed.
const INDEX_BYTES: usize = 1 << 20;

/// Writes one segment. Passes each block to the writer in one call, if the writer takes it whole, and flushes it.
#[derive(Debug)]
pub struct SegmentWriter<W: Write> {
    out: W,
    tag: u32,
    written: u64,
    /// Up to the end of the last complete block.
    whole: u64,
    pending: Index,
    pending_bytes: usize,
}

impl<W: Write> SegmentWriter<W> {
    /// Begins a segment by writing its header.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails, [`FormatError::Limit`] if the header is too large.
    pub fn new(out: W, header: &Header) -> Result<Self, FormatError> {
        let raw = header.encode()?;
        let mut block = index::info_block(BlockKind::Header, &raw)?;
        let pending = Index { header: raw, ..Index::default() };
        let mut writer = Self { out, tag: header.tag(), written: 0, whole: 0, pending, pending_bytes: 0 };
        writer.put(&mut block)?;
        Ok(writer)
    }

    /// Writes a chunk; returns the start of its block, in bytes from the start of the segment.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails; the segment then lacks the chunk. Readers see a partly written block as damage,
    /// unless it is [taken back](Self::take_back). A later call may succeed, even with the same block.
    pub fn write_block(&mut self, block: &mut EncodedBlock) -> Result<u64, FormatError> {
        if self.pending_bytes >= INDEX_BYTES {
            self.write_index()?;
        }
        let summary = block.summary.encode()?;
        let offset = self.written;
        self.put(&mut block.block)?;
        self.pending_bytes += summary.len() + 24;
        self.pending.chunks.push(IndexEntry { offset, len: block.block.len() as u64, summary });
        Ok(offset)
    }

    /// Removes a partly written block after a failed write. `cut` must truncate the output to the given length, in bytes from
    /// the start of the segment, and continue writing there.
    ///
    /// # Errors
    /// [`FormatError::Io`] if `cut` fails.
    pub fn take_back(
        &mut self,
        cut: impl FnOnce(&mut W, u64) -> std::io::Result<()>,
    ) -> Result<(), FormatError> {
        cut(&mut self.out, self.whole).map_err(FormatError::io("take back a cut block"))?;
        self.written = self.whole;
        Ok(())
    }

    /// Writes names and labels of cgroups, in as many blocks as needed.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails, [`FormatError::Limit`] if a single record takes more than 16 MiB.
    pub fn write_metadata(&mut self, records: &[MetadataRecord]) -> Result<(), FormatError> {
        let mut rest = records;
        while !rest.is_empty() {
            // As many records as fit into one block, but at least one.
            let mut bytes = 0;
            let fits = rest.iter().take_while(|record| {
                bytes += record.bytes();
                bytes <= INDEX_BYTES
            });
            let (batch, later) = rest.split_at(fits.count().max(1));
            rest = later;
            if self.pending_bytes >= INDEX_BYTES {
                self.write_index()?;
            }
            self.put(&mut index::encode_metadata(batch)?)?;
            self.pending_bytes += batch.iter().map(MetadataRecord::bytes).sum::<usize>();
            self.pending.metadata.extend_from_slice(batch);
        }
        Ok(())
    }

    /// Bytes written so far, including those of a partly written block.
    pub fn bytes_written(&self) -> u64 {
        self.written
    }

    /// The writer that the segment is written to.
    pub fn get_ref(&self) -> &W {
        &self.out
    }

    /// Bytes that index and trailer would take now, at most. For a writer that must keep enough disk space in reserve.
    pub fn bytes_to_finish(&self) -> u64 {
        // Incompressible data grows by less than 1%.
        let raw = self.pending.header.len() + self.pending_bytes;
        (raw + raw / 100 + 1024) as u64
    }

    /// Writes index and trailer. Write nothing after it has succeeded. After a failure and [`Self::take_back`] it may be
    /// tried again.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn end(&mut self) -> Result<(), FormatError> {
        let index = self.write_index()?;
        let segment_len = self.written + block::TRAILER_LEN as u64;
        let trailer = Trailer { segment_len, index }.encode();
        self.put(&mut block::build(BlockKind::Trailer, &trailer, &[]))
    }

    /// Writes index and trailer, and returns the writer.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn finish(mut self) -> Result<W, FormatError> {
        self.end()?;
        Ok(self.out)
    }

    /// Writes the pending part of the index; returns its position.
    fn write_index(&mut self) -> Result<u64, FormatError> {
        let offset = self.written;
        self.put(&mut index::encode_index(&self.pending)?)?;
        self.pending.previous = offset;
        self.pending.chunks.clear();
        self.pending.metadata.clear();
        self.pending_bytes = 0;
        Ok(offset)
    }

    fn put(&mut self, block: &mut [u8]) -> Result<(), FormatError> {
        block::seal(block, self.tag);
        let mut rest = &*block;
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
        self.out.flush().map_err(FormatError::io("flush a block"))?;
        self.whole = self.written;
        Ok(())
    }
}
