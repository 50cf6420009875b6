//! One file, or standard output: a segment that is written from its header to its end.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use capture_format::{EncodedBlock, FormatError, Header, MetadataRecord, SegmentWriter};

use crate::store::output::Output;

/// A segment that is being written.
pub struct Segment {
    writer: SegmentWriter<Output>,
    /// The same file once more, for what is asked of it by another thread.
    pub file: Option<Arc<File>>,
    /// Its path, if it is a file.
    pub path: Option<PathBuf>,
    /// When it was begun.
    pub began: Instant,
    /// Chunks in it.
    pub chunks: u64,
}

impl Segment {
    /// Writes the header.
    ///
    /// # Errors
    /// That fails.
    pub fn begin(output: Output, header: &Header) -> Result<Self, FormatError> {
        let (file, path) = match &output {
            Output::File { file, path, .. } if file.metadata().is_ok_and(|meta| meta.is_file()) => {
                let other = file.try_clone().map_err(FormatError::io("open the file once more"))?;
                (Some(Arc::new(other)), Some(path.clone()))
            }
            _ => (None, None),
        };
        let writer = SegmentWriter::new(output, header)?;
        Ok(Self { writer, file, path, began: Instant::now(), chunks: 0 })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes_written()
    }

    /// Bytes that its end would take.
    pub fn bytes_to_finish(&self) -> u64 {
        self.writer.bytes_to_finish()
    }

    /// Writes a chunk; if that fails the file is as it was before.
    ///
    /// # Errors
    /// That fails.
    pub fn write(&mut self, block: &mut EncodedBlock) -> Result<(), FormatError> {
        match self.writer.write_block(block) {
            Ok(_) => {
                self.chunks += 1;
                Ok(())
            }
            Err(error) => Err(self.cut_back(error)),
        }
    }

    /// Writes what is known of containers; if that fails the file is as it was before.
    ///
    /// # Errors
    /// That fails.
    pub fn name(&mut self, names: &[MetadataRecord]) -> Result<(), FormatError> {
        self.writer.write_metadata(names).map_err(|error| self.cut_back(error))
    }

    /// Writes index and trailer; if that fails they are not there.
    ///
    /// # Errors
    /// That fails.
    pub fn end(&mut self) -> Result<(), FormatError> {
        self.writer.end().map_err(|error| self.cut_back(error))
    }

    fn cut_back(&mut self, error: FormatError) -> FormatError {
        // What cannot be cut is a damaged block at the end, which a reader passes over.
        let _ = self.writer.take_back(Output::cut);
        error
    }
}

/// Whether writing failed for want of room.
pub fn is_full(error: &FormatError) -> bool {
    matches!(error, FormatError::Io { source, .. } if super::space::is_full(source))
}
