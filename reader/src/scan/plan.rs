//! The chunks that a query has to read.

use std::sync::Arc;

use capture_format::{ChunkEntry, FormatError};

use crate::model::{Binding, Context};

use super::input::Capture;
use super::open::{ChunkQuery, ChunkSource, MatchedChunk};
use super::query::{ChunkRelevance, LossTally, Query};

/// A chunk that may have matches.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkPlan<'a> {
    pub(super) capture: &'a Capture,
    pub(super) entry: &'a ChunkEntry,
    binding: &'a Arc<Binding>,
    first_number: u64,
    relevance: ChunkRelevance,
    /// Earliest end of its events, wall-clock ns.
    pub(super) from: i64,
}

impl ChunkPlan<'_> {
    /// Whether a query has matches in it.
    pub(super) fn relevance_to(&self, query: &Query) -> ChunkRelevance {
        query.relevance(self.binding, &self.entry.summary)
    }

    /// The number of its events.
    pub(super) fn events(&self) -> u64 {
        let tables = self.binding.events.iter();
        tables.map(|table| u64::from(self.entry.summary.rows(table.id))).sum()
    }

    /// Reads the chunk and selects its rows.
    ///
    /// # Errors
    /// If the chunk cannot be read or is damaged.
    pub(super) fn open(
        &self,
        query: &Query,
        context: &Context<'_>,
        decode: bool,
        lost: &mut LossTally,
    ) -> Result<MatchedChunk, FormatError> {
        self.open_as(query, self.relevance, context, decode, lost)
    }

    /// The same, if it is of this relevance.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_as(
        &self,
        query: &Query,
        relevance: ChunkRelevance,
        context: &Context<'_>,
        decode: bool,
        lost: &mut LossTally,
    ) -> Result<MatchedChunk, FormatError> {
        let source = ChunkSource {
            chunk: Box::new(self.capture.file.read_chunk(self.entry)?),
            binding: Arc::clone(self.binding),
            first_number: self.first_number,
        };
        let Context { names, start } = *context;
        let context = &Context { names, start };
        MatchedChunk::new(source, ChunkQuery { query, relevance, context, decode }, lost)
    }
}

/// The chunks that may have matches, by the end of their earliest event.
pub(super) fn by_time<'a>(captures: &'a [Capture], query: &Query) -> Vec<ChunkPlan<'a>> {
    let mut plans: Vec<ChunkPlan<'a>> = captures.iter().flat_map(|c| of_capture(c, query)).collect();
    plans.sort_by_key(|plan| plan.from);
    let mut number = 0;
    for plan in &mut plans {
        plan.first_number = number;
        number += plan.events();
    }
    plans.retain(|plan| plan.relevance != ChunkRelevance::Skip);
    plans
}

/// The chunks of a capture that may have matches, in file order.
pub(super) fn by_place<'a>(capture: &'a Capture, query: &Query) -> impl Iterator<Item = ChunkPlan<'a>> {
    of_capture(capture, query).filter(|plan| plan.relevance != ChunkRelevance::Skip)
}

fn of_capture<'a>(capture: &'a Capture, query: &Query) -> impl Iterator<Item = ChunkPlan<'a>> {
    capture.file.chunks().map(move |entry| {
        let binding = &capture.bindings[entry.segment];
        let summary = &entry.summary;
        ChunkPlan {
            capture,
            entry,
            binding,
            first_number: 0,
            relevance: query.relevance(binding, summary),
            from: (summary.end_min as i64).saturating_add(summary.wall_offset),
        }
    })
}
