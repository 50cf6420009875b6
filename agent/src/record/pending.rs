//! With a filter that needs names, the events of a container are recorded before it is known whether it is wanted.
//! Chunks with such events wait here until a runtime has named their containers, or time is up; then they go on
//! without the events of those that are not wanted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use capture_format::{ChunkBuilder, FormatError};

use super::chunk::FilledChunk;
use super::progress::Progress;
use ktape_reader::scan::Live;

/// Bytes of rows that may wait. Beyond, the oldest chunk goes on as if its pending containers were not wanted.
const PENDING_MAX: usize = 64 << 20;

/// A chunk that is ready to be encoded or shown.
#[derive(Debug)]
pub struct ReadyChunk {
    /// Its rows.
    pub builder: ChunkBuilder,
    /// How many lost events its loss rows report.
    pub lost: u64,
}

/// Chunks that wait until their containers are known, in the order in which they were filled.
pub struct PendingChunks {
    filter: Option<Live>,
    waiting: VecDeque<FilledChunk>,
    bytes: usize,
    bytes_max: usize,
    progress: Arc<Progress>,
}

impl PendingChunks {
    /// With the filters of the command line; without any, nothing waits.
    pub fn new(filter: Option<Live>, progress: Arc<Progress>) -> Self {
        Self { filter, waiting: VecDeque::new(), bytes: 0, bytes_max: PENDING_MAX, progress }
    }

    /// Fewer bytes may wait.
    #[cfg(test)]
    pub(super) fn with_max(self, bytes_max: usize) -> Self {
        Self { bytes_max, ..self }
    }

    /// Takes a chunk; returns those that may go on now, in their order.
    ///
    /// # Errors
    /// A chunk was not filled by the schema.
    pub fn push(&mut self, filled: FilledChunk) -> Result<Vec<ReadyChunk>, FormatError> {
        let Some(filter) = &mut self.filter else {
            return Ok(vec![ReadyChunk { builder: filled.builder, lost: filled.lost }]);
        };
        filter.learn(&filled.updates.names, &filled.updates.forgotten);
        filter.decide(&filled.updates.accepted, &filled.updates.rejected);
        let pending_since = filled.updates.pending_since.unwrap_or(u64::MAX);
        self.bytes += filled.builder.approx_bytes();
        self.waiting.push_back(filled);
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.front() {
            if first.updates.chunk >= pending_since && self.bytes <= self.bytes_max {
                break;
            }
            ready.extend(self.pop()?);
        }
        Ok(ready)
    }

    /// Returns the rest: containers that are pending at the end are not wanted.
    ///
    /// # Errors
    /// A chunk was not filled by the schema.
    pub fn finish(&mut self) -> Result<Vec<ReadyChunk>, FormatError> {
        let mut ready = Vec::new();
        while !self.waiting.is_empty() {
            ready.extend(self.pop()?);
        }
        Ok(ready)
    }

    fn pop(&mut self) -> Result<Option<ReadyChunk>, FormatError> {
        let Some(FilledChunk { builder, lost, updates }) = self.waiting.pop_front() else { return Ok(None) };
        let Some(filter) = &mut self.filter else { return Ok(Some(ReadyChunk { builder, lost })) };
        self.bytes = self.bytes.saturating_sub(builder.approx_bytes());
        let builder = filter.filter(builder, updates.has_pending)?;
        self.progress.unidentified.fetch_add(filter.take_unnamed(), Ordering::Relaxed);
        Ok(Some(ReadyChunk { builder, lost }))
    }
}
