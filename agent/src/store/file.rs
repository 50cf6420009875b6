//! The file that is being written, or standard output: one segment, from its header to its trailer.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use capture_format::{EncodedBlock, FormatError, Header, MetadataRecord, SegmentWriter};

use super::file_system::{self, FileSystem};
use super::output::Output;

/// Passes bytes on to the output: to a file by way of its file system.
struct OutputWriter {
    output: Output,
    file_system: Arc<dyn FileSystem>,
}

impl Write for OutputWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.output {
            Output::File { file, .. } => self.file_system.write(file, bytes),
            Output::Stdout(stdout) => stdout.lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.output {
            Output::File { file, .. } => file.flush(),
            Output::Stdout(stdout) => stdout.lock().flush(),
        }
    }
}

/// A segment that is being written.
pub struct SegmentFile {
    writer: SegmentWriter<OutputWriter>,
    /// A second handle of a regular file, for free space and fsync; `None` for pipes and devices.
    pub file: Option<Arc<File>>,
    /// Path of a regular file.
    pub path: Option<PathBuf>,
    /// When the header was written.
    pub began: Instant,
    /// Chunks written to it.
    pub chunks: u64,
}

impl SegmentFile {
    /// Writes the header.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails, [`FormatError::Limit`] if the header is too large.
    pub fn begin(
        output: Output,
        header: &Header,
        file_system: &Arc<dyn FileSystem>,
    ) -> Result<Self, FormatError> {
        let (file, path) = match &output {
            Output::File { file, path, .. } if file.metadata().is_ok_and(|meta| meta.is_file()) => {
                let other = file.try_clone().map_err(FormatError::io("open the file once more"))?;
                (Some(Arc::new(other)), Some(path.clone()))
            }
            _ => (None, None),
        };
        let output = OutputWriter { output, file_system: file_system.clone() };
        let writer = SegmentWriter::new(output, header)?;
        Ok(Self { writer, file, path, began: Instant::now(), chunks: 0 })
    }

    /// Bytes written so far.
    pub fn bytes(&self) -> u64 {
        self.writer.bytes_written()
    }

    /// Bytes that index and trailer would take now, at most.
    pub fn bytes_to_finish(&self) -> u64 {
        self.writer.bytes_to_finish()
    }

    /// Writes a chunk. After an error the file is as it was before.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn write(&mut self, block: &mut EncodedBlock) -> Result<(), FormatError> {
        match self.writer.write_block(block) {
            Ok(_) => {
                self.chunks += 1;
                Ok(())
            }
            Err(error) => Err(self.truncate(error)),
        }
    }

    /// Writes metadata of containers. After an error the file is as it was before.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn write_metadata(&mut self, records: &[MetadataRecord]) -> Result<(), FormatError> {
        self.writer.write_metadata(records).map_err(|error| self.truncate(error))
    }

    /// Writes index and trailer. After an error neither is in the file.
    ///
    /// # Errors
    /// [`FormatError::Io`] if writing fails.
    pub fn end(&mut self) -> Result<(), FormatError> {
        self.writer.end().map_err(|error| self.truncate(error))
    }

    /// Removes the rest of a block that could not be written whole. Where that fails, the rest is a damaged block at the
    /// end, which readers skip.
    fn truncate(&mut self, error: FormatError) -> FormatError {
        let _ = self.writer.take_back(|writer, bytes| writer.output.truncate(bytes));
        error
    }
}

/// Whether writing failed for lack of space.
pub fn is_full(error: &FormatError) -> bool {
    matches!(error, FormatError::Io { source, .. } if file_system::is_full(source))
}
