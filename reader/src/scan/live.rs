//! Chunks that come directly from the recorder, shown or filtered by the same queries and views as chunks of a
//! file.

use std::io;
use std::ops::ControlFlow;
use std::sync::Arc;

use capture_format::{
    Chunk, ChunkBuilder, CopyCache, FormatError, Header, MetadataKey, MetadataRecord, copy_rows,
};
use events::Kind;
use jiff::tz::TimeZone;
use rustc_hash::FxHashSet;

use crate::derive::Wanted;
use crate::model::{Binding, ChunkView};
use crate::text::time::{Span, TimeError};

use super::incoming::{ArrivedChunk, Incoming};
use super::open::MatchedChunk;
use super::privacy::Privacy;
use super::query::{ChunkRelevance, LossTally, Query};
use super::report::ScanReport;
use super::sink::EventSink;

/// A query on a running capture.
#[derive(Debug)]
pub struct Live {
    incoming: Incoming,
    /// Cgroups known to be selected.
    accepted: Arc<FxHashSet<u64>>,
    /// Cgroups known not to be selected.
    rejected: FxHashSet<u64>,
    /// Events dropped because their containers were not identified in time.
    unnamed: u64,
    /// Lost events that might have passed the expression, of shown chunks.
    lost: LossTally,
}

impl Live {
    /// A query on the capture with this header. Times of day in the query are in `zone`.
    ///
    /// # Errors
    /// If a time in the query is relative to the end of the capture.
    pub fn new(header: Header, mut query: Query, zone: TimeZone) -> Result<Self, TimeError> {
        let start = header.created;
        if let Some(filter) = &mut query.filter {
            filter.resolve(&Span { start, end: None, zone })?;
        }
        Ok(Self {
            incoming: Incoming::new(Binding::new(Arc::new(header)), query),
            accepted: Arc::default(),
            rejected: FxHashSet::default(),
            unnamed: 0,
            lost: LossTally::default(),
        })
    }

    /// Adds container metadata, and removes that of cgroups that no longer exist.
    pub fn learn(&mut self, records: &[MetadataRecord], forgotten: &[MetadataKey]) {
        records.iter().for_each(|record| self.incoming.names.add(record));
        for key in forgotten {
            self.incoming.names.forget(key);
            self.rejected.remove(&key.cgroup);
            if self.accepted.contains(&key.cgroup) {
                Arc::make_mut(&mut self.accepted).remove(&key.cgroup);
            }
        }
    }

    /// Sets which cgroups are selected and which are not, by id.
    pub fn decide(&mut self, accepted: &[u64], rejected: &[u64]) {
        if !accepted.is_empty() {
            Arc::make_mut(&mut self.accepted).extend(accepted);
        }
        self.rejected.extend(rejected);
    }

    /// Events dropped since the last call because their containers were not identified in time.
    pub fn take_unnamed(&mut self) -> u64 {
        std::mem::take(&mut self.unnamed)
    }

    /// Lost events that might have passed the expression, in the chunks shown since the last call. Without an
    /// expression, losses are shown among the events instead.
    pub fn take_lost(&mut self) -> LossTally {
        std::mem::take(&mut self.lost)
    }

    fn open(&mut self, builder: ChunkBuilder, lost: &mut LossTally) -> Result<MatchedChunk, FormatError> {
        let chunk = Box::new(Chunk::from_builder(builder)?);
        self.incoming.open(chunk, ChunkRelevance::Read, lost)
    }

    /// Passes the matching events to `sink`.
    ///
    /// # Errors
    /// If the sink fails, or the chunk does not fit the schema.
    pub fn show(&mut self, builder: ChunkBuilder, sink: &mut dyn EventSink) -> io::Result<ControlFlow<()>> {
        let mut lost = LossTally::default();
        let open = self.open(builder, &mut lost).map_err(io::Error::other)?;
        if self.incoming.query.filter.as_ref().is_some_and(|filter| !filter.asks_for_loss()) {
            self.lost.add(&lost);
        }
        self.incoming.send(open, sink)
    }

    /// Passes a chunk to `take`, with the events that match, and adds what was lost and how many matched to the report.
    ///
    /// # Errors
    /// If the chunk does not fit the schema.
    pub fn pass(
        &mut self,
        builder: ChunkBuilder,
        report: &mut ScanReport,
        take: &mut dyn FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, FormatError> {
        let open = self.open(builder, &mut report.lost)?;
        report.chunks_read += 1;
        report.matching += open.matching;
        let summary = open.view().chunk.summary().clone();
        let open = self.incoming.with_derived(open, report);
        Ok(self.incoming.pass(&summary, &open, report, take))
    }

    /// Passes events that are computed from others and follow from the end to `take`.
    pub fn pass_end(
        &mut self,
        report: &mut ScanReport,
        take: &mut dyn FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
    ) {
        let _ = self.incoming.pass_end(report, take);
    }

    /// The same with events that are computed from others, for [`Self::pass`].
    #[must_use]
    pub fn deriving(self, wanted: Wanted) -> Self {
        Self { incoming: self.incoming.deriving(wanted), ..self }
    }

    /// A chunk with the matching events and all events about the recording itself (`loss`, `clock`). With `by_cgroup`,
    /// only of [selected](Self::decide) cgroups.
    ///
    /// # Errors
    /// If the chunk does not fit the schema.
    pub fn filter(&mut self, builder: ChunkBuilder, by_cgroup: bool) -> Result<ChunkBuilder, FormatError> {
        if self.incoming.query.filter.is_none() && !by_cgroup {
            return Ok(builder);
        }
        self.incoming.query.cgroups = by_cgroup.then(|| Arc::clone(&self.accepted));
        // If only the expression selects, nothing is hidden: such a capture is one of the whole host.
        let mut privacy = by_cgroup.then(|| Privacy::of(&self.incoming.query)).flatten();
        let opened = self.open(builder, &mut LossTally::default());
        // Drops the second reference, so that `Arc::make_mut` does not copy the set.
        self.incoming.query.cgroups = None;
        let open = opened?;
        let inside = by_cgroup.then(|| {
            let view = open.view();
            (0..view.cgroup_rows() as u32)
                .map(|row| self.accepted.contains(&view.cgroup(row).id))
                .collect::<Vec<_>>()
        });
        let mut out = ChunkBuilder::new(Arc::clone(&self.incoming.binding.header.schema));
        out.set_wall_offset(open.view().chunk.summary().wall_offset);
        let mut cache = CopyCache::new();
        if let Some(inside) = &inside {
            self.unnamed += unnamed(open.view(), inside, &self.rejected);
            if let Some(privacy) = &mut privacy {
                let hidden = privacy.hidden(open.view(), &open.selections(), Some(inside));
                cache.hide(open.view().chunk, hidden);
            }
        }
        for (table, rows) in open.selected() {
            if !table.event.kind.is_some_and(Kind::is_about_recording) {
                copy_rows(open.view().chunk, &mut out, table.event.id, rows, &mut cache)?;
            }
        }
        let view = open.view();
        for rows in view.tables().filter(|rows| rows.event.kind.is_some_and(Kind::is_about_recording)) {
            let is_wanted = |row: &u32| match (&inside, view.subject_cgroup(rows, *row as usize)) {
                (Some(inside), Some(cgroup)) => !is_other(view, inside, cgroup),
                _ => true,
            };
            let own: Vec<u32> = (0..rows.len() as u32).filter(is_wanted).collect();
            copy_rows(view.chunk, &mut out, rows.event.id, &own, &mut cache)?;
        }
        Ok(out)
    }
}

/// Whether a cgroup belongs to a container that is not selected.
fn is_other(view: &ChunkView<'_>, inside: &[bool], cgroup: u32) -> bool {
    !view.cgroup(cgroup).chain.is_empty() && inside.get(cgroup as usize) != Some(&true)
}

/// Number of events of containers that are neither selected nor rejected yet.
fn unnamed(view: &ChunkView<'_>, inside: &[bool], rejected: &FxHashSet<u64>) -> u64 {
    let is_unnamed: Vec<bool> = (0..view.cgroup_rows() as u32)
        .map(|row| is_other(view, inside, row) && !rejected.contains(&view.cgroup(row).id))
        .collect();
    let of = |cgroup: Option<u32>| cgroup.is_some_and(|row| is_unnamed.get(row as usize) == Some(&true));
    let events = view.tables().filter(|rows| !rows.event.kind.is_some_and(Kind::is_about_recording));
    events.map(|rows| (0..rows.len()).filter(|row| of(view.subject_cgroup(rows, *row))).count() as u64).sum()
}
