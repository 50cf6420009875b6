//! Events that reached the writer and could not be written.

use std::sync::Arc;

use capture_format::{ChunkSummary, EncodeOptions, EncodedBlock, Encoder, FormatError, Schema};
use events::{KINDS, Kind};

use crate::containers::Hierarchy;
use crate::record::unwritten_rows;
use ktape_reader::model::event_table;

/// What is to be told.
pub struct Unwritten {
    schema: Arc<Schema>,
    hierarchy: Hierarchy,
    level: i32,
    /// By kind; `None` for what the chunks themselves told as lost.
    counts: Vec<(Option<Kind>, u64)>,
    /// From the earliest start to the latest end, boot ns.
    span: Option<(u64, u64)>,
    wall_offset: i64,
}

impl Unwritten {
    /// Nothing yet.
    pub fn new(schema: Arc<Schema>, hierarchy: Hierarchy, level: i32) -> Self {
        Self { schema, hierarchy, level, counts: Vec::new(), span: None, wall_offset: 0 }
    }

    /// Counts what is in a chunk, and what it would have told as lost; how many events it has.
    pub fn add(&mut self, summary: &ChunkSummary, lost: u64) -> u64 {
        let mut all = 0;
        for kind in KINDS.into_iter().filter(|kind| !kind.is_about_recording()) {
            let rows = u64::from(summary.rows(event_table(kind)));
            self.count(Some(kind), rows);
            all += rows;
        }
        self.count(None, lost);
        let (from, to) = (summary.start_min, summary.end_max);
        self.span = Some(self.span.map_or((from, to), |(a, b)| (a.min(from), b.max(to))));
        self.wall_offset = summary.wall_offset;
        all
    }

    fn count(&mut self, kind: Option<Kind>, more: u64) {
        match self.counts.iter_mut().find(|(other, _)| *other == kind) {
            Some((_, count)) => *count += more,
            None if more > 0 => self.counts.push((kind, more)),
            None => {}
        }
    }

    /// A chunk that tells it, if there is anything to tell. Until [`Self::told`] it stays.
    ///
    /// # Errors
    /// zstd has no memory.
    pub fn block(&self) -> Result<Option<EncodedBlock>, FormatError> {
        let Some((from, to)) = self.span.filter(|_| !self.counts.is_empty()) else { return Ok(None) };
        let mut builder = unwritten_rows(&self.schema, self.hierarchy.clone(), &self.counts, (from, to));
        builder.set_wall_offset(self.wall_offset);
        let mut encoder = Encoder::new(EncodeOptions { level: self.level, ..EncodeOptions::default() })?;
        encoder.encode(&builder).map(Some)
    }

    /// It was written.
    pub fn told(&mut self) {
        self.counts.clear();
        self.span = None;
    }
}
