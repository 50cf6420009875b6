//! Chunks that arrive one by one: from a pipe, a growing file or the recorder itself.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use capture_format::{Chunk, FormatError};

use crate::model::{Binding, ContainerNames, Context};

use super::open::{ChunkQuery, ChunkSource, MatchedChunk, OrderedChunk};
use super::query::{ChunkRelevance, LossTally, Query};
use super::sink::EventSink;

/// A query and the state of the capture that it runs on.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The current segment.
    pub(super) binding: Arc<Binding>,
    pub(super) query: Query,
    pub(super) names: ContainerNames,
    /// Start of the capture, wall-clock ns.
    start: i64,
    /// Number of events in the chunks so far.
    number: u64,
}

impl Incoming {
    pub(super) fn new(binding: Binding, query: Query) -> Self {
        let start = binding.header.created;
        Self { binding: Arc::new(binding), query, names: ContainerNames::default(), start, number: 0 }
    }

    /// Counts the events of a chunk that cannot match.
    pub(super) fn pass_over(&mut self, chunk: &Chunk) {
        self.number += chunk.event_rows();
    }

    /// Selects the rows of the next chunk.
    ///
    /// # Errors
    /// If the chunk is damaged.
    pub(super) fn open(
        &mut self,
        chunk: Box<Chunk>,
        relevance: ChunkRelevance,
        tally: &mut LossTally,
    ) -> Result<MatchedChunk, FormatError> {
        let first_number = self.number;
        self.number += chunk.event_rows();
        let context = &Context { names: &self.names, start: self.start };
        let source = ChunkSource { chunk, binding: Arc::clone(&self.binding), first_number };
        MatchedChunk::new(source, ChunkQuery { query: &self.query, relevance, context, decode: true }, tally)
    }

    /// Passes the matching events of a chunk to the sink and flushes it. Late events are not put in order.
    ///
    /// # Errors
    /// If the sink fails.
    pub(super) fn send(&self, chunk: MatchedChunk, sink: &mut dyn EventSink) -> io::Result<ControlFlow<()>> {
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
