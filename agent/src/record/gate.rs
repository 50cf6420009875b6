//! With a filter that needs names, a container is recorded before it is known whether it is wanted. Chunks with such
//! events wait here until that is decided, and then go on without those that are not.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use capture_format::{ChunkBuilder, FormatError};

use super::sink::{Filled, Progress};
use ktape_reader::scan::Live;

/// Rows that may wait, bytes of memory: what comes then has to go without a decision.
const WAITING: usize = 64 << 20;

/// Lets chunks through.
pub struct Gate {
    filter: Option<Live>,
    waiting: VecDeque<Filled>,
    bytes: usize,
    progress: Arc<Progress>,
}

impl Gate {
    /// With the filters of the command line, if there are any.
    pub fn new(filter: Option<Live>, progress: Arc<Progress>) -> Self {
        Self { filter, waiting: VecDeque::new(), bytes: 0, progress }
    }

    /// Takes a chunk. Those that may go on, in their order, each with the number of lost events that it tells of.
    ///
    /// # Errors
    /// A chunk was not filled by the schema.
    pub fn pass(&mut self, filled: Filled) -> Result<Vec<(ChunkBuilder, u64)>, FormatError> {
        let Some(filter) = &mut self.filter else { return Ok(vec![(filled.builder, filled.lost)]) };
        filter.learn(&filled.along.names, &filled.along.forgotten);
        filter.decide(&filled.along.accepted, &filled.along.rejected);
        let decided = filled.along.undecided_since.unwrap_or(u64::MAX);
        self.bytes += filled.builder.approx_bytes();
        self.waiting.push_back(filled);
        let mut ready = Vec::new();
        while let Some(first) = self.waiting.front() {
            if first.along.chunk >= decided && self.bytes <= WAITING {
                break;
            }
            ready.extend(self.next()?);
        }
        Ok(ready)
    }

    /// The rest: what is not decided by now never will be.
    ///
    /// # Errors
    /// A chunk was not filled by the schema.
    pub fn finish(&mut self) -> Result<Vec<(ChunkBuilder, u64)>, FormatError> {
        let mut ready = Vec::new();
        while !self.waiting.is_empty() {
            ready.extend(self.next()?);
        }
        Ok(ready)
    }

    fn next(&mut self) -> Result<Option<(ChunkBuilder, u64)>, FormatError> {
        let Some(Filled { builder, lost, along }) = self.waiting.pop_front() else { return Ok(None) };
        let Some(filter) = &mut self.filter else { return Ok(Some((builder, lost))) };
        self.bytes = self.bytes.saturating_sub(builder.approx_bytes());
        let builder = filter.filter(builder, along.undecided)?;
        self.progress.undecided.fetch_add(filter.take_unnamed(), Ordering::Relaxed);
        Ok(Some((builder, lost)))
    }
}
