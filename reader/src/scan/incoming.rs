//! Chunks that arrive one by one: from a pipe, a growing file or the recorder itself.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use capture_format::{Chunk, ChunkSummary, FormatError};
use events::KindSet;

use crate::model::{Binding, ContainerNames, Context};

use super::columns::ChunkMatches;
use super::open::{ChunkQuery, ChunkSource, MatchedChunk, OrderedChunk};
use super::query::{ChunkRelevance, LossTally, Query};
use super::report::ScanReport;
use super::sink::EventSink;

/// A chunk that has arrived.
#[derive(Debug)]
pub struct ArrivedChunk<'a> {
    /// The events that match; `None` if none can.
    pub matches: Option<ChunkMatches<'a>>,
    /// When the first and the last of its events ended, wall-clock ns.
    pub ends: (i64, i64),
    /// The kinds of all its events, as far as this version knows them.
    pub kinds: KindSet,
    /// Events so far that were lost and might have matched.
    pub lost: u64,
}

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
    /// Whether all columns of tables with matches are decoded at once.
    decode: bool,
}

impl Incoming {
    pub(super) fn new(binding: Binding, query: Query) -> Self {
        let start = binding.header.created;
        let (binding, names) = (Arc::new(binding), ContainerNames::default());
        Self { binding, query, names, start, number: 0, decode: true }
    }

    /// The same; columns are decoded when they are used.
    pub(super) fn undecoded(self) -> Self {
        Self { decode: false, ..self }
    }

    /// Passes a chunk to `take`, and reports columns that it could not use.
    pub(super) fn pass(
        &self,
        summary: &ChunkSummary,
        open: Option<&MatchedChunk>,
        report: &mut ScanReport,
        take: &mut dyn FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let context = Context { names: &self.names, start: self.start };
        let wall = |boot: u64| (boot as i64).saturating_add(summary.wall_offset);
        let tables = self.binding.events.iter().filter(|table| summary.rows(table.id) > 0);
        let flow = take(&ArrivedChunk {
            matches: open.map(|open| open.matches(&context)),
            ends: (wall(summary.end_min), wall(summary.end_max)),
            kinds: tables.filter_map(|table| table.kind).fold(KindSet::EMPTY, KindSet::with),
            lost: report.lost.total,
        });
        // Columns that cannot be decoded count as empty.
        if let Some((chunk, cause)) = open.and_then(|open| {
            let chunk = open.view().chunk;
            Some((chunk, chunk.failure()?))
        }) {
            report.damaged.chunk(Path::new("-"), chunk.place().1, &cause);
        }
        flow
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
        MatchedChunk::new(
            source,
            ChunkQuery { query: &self.query, relevance, context, decode: self.decode },
            tally,
        )
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
