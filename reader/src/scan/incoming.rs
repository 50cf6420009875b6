//! Chunks that arrive one by one: from a pipe, a growing file or the recorder itself.

use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use capture_format::{Chunk, ChunkSummary, FormatError};
use events::KindSet;

use crate::derive::Wanted;
use crate::filter::Filter;
use crate::model::{Binding, ContainerNames, Context};

use super::columns::ChunkMatches;
use super::derived::{Derived, Deriver, matched};
use super::open::{ChunkQuery, ChunkSource, MatchedChunk, OrderedChunk};
use super::query::{ChunkRelevance, LossTally, Query};
use super::report::ScanReport;
use super::sink::EventSink;

/// A chunk that has arrived.
#[derive(Debug)]
pub struct ArrivedChunk<'a> {
    /// The events that match, in chunks: none if none can, or with those that are computed from the chunk's events.
    pub matches: &'a [ChunkMatches<'a>],
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
    /// Computes events that follow from others, if some are wanted.
    deriver: Option<Deriver>,
}

impl Incoming {
    pub(super) fn new(binding: Binding, query: Query) -> Self {
        let start = binding.header.created;
        let (binding, names) = (Arc::new(binding), ContainerNames::default());
        Self { binding, query, names, start, number: 0, decode: true, deriver: None }
    }

    /// The same; columns are decoded when they are used.
    pub(super) fn undecoded(self) -> Self {
        Self { decode: false, ..self }
    }

    /// The same with events that are computed from others.
    pub(super) fn deriving(self, wanted: Wanted) -> Self {
        let wanted = wanted.and(self.query.filter.as_ref().map_or(Wanted::default(), Filter::wanted));
        Self { deriver: (!wanted.kinds.is_empty()).then(|| Deriver::new(wanted)), ..self }
    }

    /// Whether chunks without matches are needed, too.
    pub(super) fn needs_all(&self) -> bool {
        self.deriver.is_some()
    }

    /// Adds what follows from a chunk to it.
    pub(super) fn with_derived(&mut self, open: MatchedChunk, report: &mut ScanReport) -> Vec<MatchedChunk> {
        let Some(deriver) = &mut self.deriver else { return vec![open] };
        let derived = deriver.chunk(open.view(), &self.query);
        let mut all = vec![open];
        // A damaged column is reported when the chunk is passed.
        if let Ok(derived) = derived {
            all.extend(self.matched(vec![derived], report));
        }
        all
    }

    /// What follows from the end.
    pub(super) fn finish(&mut self, report: &mut ScanReport) -> Vec<MatchedChunk> {
        let derived = self.deriver.as_mut().map(Deriver::finish).unwrap_or_default();
        self.matched(derived, report)
    }

    fn matched(&self, derived: Vec<Derived>, report: &mut ScanReport) -> Vec<MatchedChunk> {
        let context = Context { names: &self.names, start: self.start };
        let chunks = derived.into_iter().flat_map(|(chunks, binding)| {
            chunks.into_iter().map(move |chunk| (chunk, binding.clone())).collect::<Vec<_>>()
        });
        let matched: Vec<MatchedChunk> =
            chunks.filter_map(|(chunk, binding)| matched(chunk, &binding, (&self.query, &context))).collect();
        report.matching += matched.iter().map(|chunk| chunk.matching).sum::<u64>();
        matched
    }

    /// Passes what follows from the end to `take`.
    pub(super) fn pass_end(
        &mut self,
        report: &mut ScanReport,
        take: &mut dyn FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for chunk in self.finish(report) {
            let summary = chunk.view().chunk.summary().clone();
            if self.pass(&summary, std::slice::from_ref(&chunk), report, take).is_break() {
                return ControlFlow::Break(());
            }
        }
        ControlFlow::Continue(())
    }

    /// Passes a chunk to `take`, and reports columns that it could not use.
    pub(super) fn pass(
        &self,
        summary: &ChunkSummary,
        open: &[MatchedChunk],
        report: &mut ScanReport,
        take: &mut dyn FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let context = Context { names: &self.names, start: self.start };
        let wall = |boot: u64| (boot as i64).saturating_add(summary.wall_offset);
        let tables = self.binding.events.iter().filter(|table| summary.rows(table.id) > 0);
        let matches: Vec<ChunkMatches<'_>> = open.iter().map(|open| open.matches(&context)).collect();
        let flow = take(&ArrivedChunk {
            matches: &matches,
            ends: (wall(summary.end_min), wall(summary.end_max)),
            kinds: tables.filter_map(|table| table.kind).fold(KindSet::EMPTY, KindSet::with),
            lost: report.lost.total,
        });
        // Columns that cannot be decoded count as empty.
        if let Some((chunk, cause)) = open.first().and_then(|open| {
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
