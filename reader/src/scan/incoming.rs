//! Chunks that arrive one by one: from a pipe, from a file that grows, from the recorder itself.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use capture_format::{Chunk, FormatError};

use crate::model::{Binding, ContainerNames, Context};

use super::open::{Asked, ChunkSource, OpenChunk, OrderedChunk};
use super::query::{ChunkRelevance, LossTally, Query};
use super::sink::Sink;

/// A query, and what is known by now of the capture that it is asked of.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The segment that chunks belong to now.
    pub(super) binding: Arc<Binding>,
    pub(super) query: Query,
    pub(super) names: ContainerNames,
    /// When the capture started, wall-clock ns.
    start: i64,
    /// Events of the chunks so far.
    number: u64,
}

impl Incoming {
    pub(super) fn new(binding: Binding, query: Query) -> Self {
        let start = binding.header.created;
        Self { binding: Arc::new(binding), query, names: ContainerNames::default(), start, number: 0 }
    }

    /// Counts a chunk whose events are not wanted.
    pub(super) fn pass_over(&mut self, chunk: &Chunk) {
        self.number += chunk.event_rows();
    }

    /// Selects the rows of the next chunk.
    ///
    /// # Errors
    /// If something in it is damaged.
    pub(super) fn open(
        &mut self,
        chunk: Box<Chunk>,
        relevance: ChunkRelevance,
        tally: &mut LossTally,
    ) -> Result<OpenChunk, FormatError> {
        let first_number = self.number;
        self.number += chunk.event_rows();
        let context = &Context { names: &self.names, start: self.start };
        let source = ChunkSource { chunk, binding: Arc::clone(&self.binding), first_number };
        OpenChunk::new(source, Asked { query: &self.query, relevance, context, decode: true }, tally)
    }

    /// Hands the events of a chunk to a sink, and has them shown at once. Events that were written late come late.
    ///
    /// # Errors
    /// If the sink fails.
    pub(super) fn send(&self, chunk: OpenChunk, sink: &mut dyn Sink) -> io::Result<ControlFlow<()>> {
        let mut chunk: OrderedChunk = chunk.in_order();
        let context = Context { names: &self.names, start: self.start };
        while let Some(found) = chunk.pop() {
            let Some(event) = chunk.event(&context, found) else { continue };
            if sink.event(event)?.is_break() {
                sink.flush()?;
                return Ok(ControlFlow::Break(()));
            }
        }
        sink.flush()?;
        Ok(ControlFlow::Continue(()))
    }
}
