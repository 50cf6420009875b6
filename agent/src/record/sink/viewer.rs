//! The viewer's stage: shows chunks as they are recorded.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use capture_format::{ChunkBuilder, FormatError};

use super::encoder::Demand;
use crate::record::chunk::{ContainerUpdates, FilledChunk};
use crate::record::pending::{PendingChunks, ReadyChunk};
use crate::record::progress::Progress;

/// Shows chunks as they are recorded.
pub trait Viewer: Send + 'static {
    /// Takes what became known of containers, ahead of the chunk that it came with.
    fn learn(&mut self, updates: &ContainerUpdates);

    /// Takes a chunk. False if no more are wanted.
    ///
    /// # Errors
    ///
    /// It cannot be shown.
    fn show(&mut self, builder: ChunkBuilder) -> Result<bool, FormatError>;
}

/// Hands chunks to a viewer, in the order in which they are released.
pub(super) struct ViewerStage<V> {
    viewer: V,
    pending: PendingChunks,
    progress: Arc<Progress>,
}

impl<V: Viewer> ViewerStage<V> {
    pub fn new(viewer: V, pending: PendingChunks, progress: Arc<Progress>) -> Self {
        Self { viewer, pending, progress }
    }

    /// Shows all chunks, until there are no more or the viewer wants no more; the latter ends the recording.
    /// Returns the viewer.
    ///
    /// # Errors
    /// A chunk cannot be shown.
    pub fn run(mut self, chunks: impl IntoIterator<Item = FilledChunk>) -> Result<V, FormatError> {
        for filled in chunks {
            if self.take(filled)? == Demand::Ended {
                return Ok(self.end());
            }
        }
        let rest = self.pending.finish()?;
        if self.show(rest)? == Demand::Ended {
            return Ok(self.end());
        }
        Ok(self.viewer)
    }

    /// The viewer wants no more.
    fn end(self) -> V {
        self.progress.failed.store(true, Ordering::Release);
        self.viewer
    }

    fn take(&mut self, filled: FilledChunk) -> Result<Demand, FormatError> {
        self.viewer.learn(&filled.updates);
        let ready = self.pending.push(filled)?;
        self.show(ready)
    }

    fn show(&mut self, chunks: Vec<ReadyChunk>) -> Result<Demand, FormatError> {
        for ReadyChunk { builder, .. } in chunks {
            if !self.viewer.show(builder)? {
                return Ok(Demand::Ended);
            }
        }
        Ok(Demand::More)
    }
}
