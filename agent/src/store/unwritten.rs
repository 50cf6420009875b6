//! Events that reached the writer and could not be written, until a chunk can report them as lost.

use std::sync::Arc;

use capture_format::{ChunkSummary, EncodeOptions, EncodedBlock, Encoder, FormatError, Schema};
use events::{Kind, RECORDED};

use crate::containers::Hierarchy;
use crate::record::unwritten_rows;
use ktape_reader::model::event_table;

/// Counts of events that no file reports as lost yet.
pub struct Unwritten {
    schema: Arc<Schema>,
    hierarchy: Hierarchy,
    /// zstd's level for the chunk that reports them.
    level: i32,
    /// By kind; `None` for events that the unwritten chunks themselves reported as lost, of whatever kind.
    counts: Vec<(Option<Kind>, u64)>,
    /// From the earliest start to the latest end, boot ns.
    span: Option<(u64, u64)>,
    wall_offset: i64,
}

impl Unwritten {
    /// Nothing unwritten yet.
    pub fn new(schema: Arc<Schema>, hierarchy: Hierarchy, level: i32) -> Self {
        Self { schema, hierarchy, level, counts: Vec::new(), span: None, wall_offset: 0 }
    }

    /// Counts the events of a chunk, and the `lost` events that it would have reported. Returns the number of its events.
    pub fn add(&mut self, summary: &ChunkSummary, lost: u64) -> u64 {
        let mut events = 0;
        for kind in RECORDED.iter().filter(|kind| !kind.is_about_recording()) {
            let rows = u64::from(summary.rows(event_table(kind)));
            self.count(Some(kind), rows);
            events += rows;
        }
        self.count(None, lost);
        let (from, to) = (summary.start_min, summary.end_max);
        self.span = Some(self.span.map_or((from, to), |(a, b)| (a.min(from), b.max(to))));
        self.wall_offset = summary.wall_offset;
        events
    }

    fn count(&mut self, kind: Option<Kind>, more: u64) {
        match self.counts.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += more,
            None if more > 0 => self.counts.push((kind, more)),
            None => {}
        }
    }

    /// A chunk of loss records for these events; `None` if there are none. They stay counted until [`Self::clear`].
    ///
    /// # Errors
    /// zstd cannot allocate memory.
    pub fn loss_block(&self) -> Result<Option<EncodedBlock>, FormatError> {
        let Some(span) = self.span.filter(|_| !self.counts.is_empty()) else { return Ok(None) };
        let mut builder = unwritten_rows(&self.schema, self.hierarchy.clone(), &self.counts, span);
        builder.set_wall_offset(self.wall_offset);
        let mut encoder = Encoder::new(EncodeOptions { level: self.level, ..EncodeOptions::default() })?;
        encoder.encode(&builder).map(Some)
    }

    /// Forgets all counts, after the chunk of [`Self::loss_block`] was written.
    pub fn clear(&mut self) {
        self.counts.clear();
        self.span = None;
    }
}
