//! Losses from where they are counted to the rows that report them.

use events::Kind;
use rustc_hash::FxHashMap;

use super::current_chunk::CurrentChunk;
use crate::kernel::EventLoss;
use crate::record::rows::{LossSpan, RowWriter};

/// Loss rows that are written at once; the others wait for the next time.
const ROWS_MAX: usize = 4096;

/// What losses are summed by: all of a [`EventLoss`] but its count, which is 0.
type LossKey = EventLoss;

/// A loss that is written to a chunk, which may never be taken.
#[derive(Clone, Copy, Debug)]
struct WrittenLoss {
    /// [`CurrentChunk::sequence`].
    chunk: u64,
    key: LossKey,
    span: LossSpan,
}

/// A place and a kind, for the summary at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct StageKind {
    stage: &'static str,
    kind: Option<Kind>,
}

/// All losses of a recording.
#[derive(Debug)]
pub(super) struct LossLedger {
    /// Up to when losses were collected.
    collected: u64,
    /// Losses that are not written yet.
    unwritten: FxHashMap<LossKey, LossSpan>,
    /// Losses in the chunk at hand.
    written: Vec<WrittenLoss>,
    totals: FxHashMap<StageKind, u64>,
    total: u64,
}

impl LossLedger {
    /// Nothing was lost until this time.
    pub fn new(attached: u64) -> Self {
        Self {
            collected: attached,
            unwritten: FxHashMap::default(),
            written: Vec::new(),
            totals: FxHashMap::default(),
            total: 0,
        }
    }

    /// Losses are collected up to this time.
    pub fn set_collected(&mut self, now: u64) {
        self.collected = now;
    }

    /// Adds events that were lost since the last collection.
    pub fn add(&mut self, lost: EventLoss, now: u64) {
        self.total += lost.count;
        let span = self.unwritten.entry(LossKey { count: 0, ..lost }).or_insert(LossSpan {
            from: self.collected,
            to: now,
            count: 0,
        });
        span.to = now;
        span.count += lost.count;
        *self.totals.entry(StageKind { stage: lost.stage, kind: lost.kind }).or_default() += lost.count;
    }

    /// Events lost in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Writes losses to the chunk, at most [`ROWS_MAX`] rows.
    pub fn write(&mut self, rows: &mut RowWriter, chunk: &mut CurrentChunk) {
        let sequence = chunk.sequence();
        self.written.retain(|written| written.chunk == sequence);
        let keys: Vec<LossKey> = self.unwritten.keys().take(ROWS_MAX).copied().collect();
        for key in keys {
            if let Some(span) = self.unwritten.remove(&key) {
                rows.loss(chunk.builder(), &key, span);
                self.written.push(WrittenLoss { chunk: sequence, key, span });
            }
        }
    }

    /// Writes all losses to a chunk that takes the place of one that was given up: those in that one, and the others.
    pub fn write_again(&mut self, rows: &mut RowWriter, chunk: &mut CurrentChunk) {
        let sequence = chunk.sequence();
        let given_up = self.written.drain(..).filter(|written| written.chunk == sequence);
        let given_up = given_up.map(|WrittenLoss { key, span, .. }| (key, span));
        for (key, span) in given_up.chain(self.unwritten.drain()) {
            rows.loss(chunk.builder(), &key, span);
        }
    }

    /// Lost events by stage and kind, sorted.
    pub fn by_stage_and_kind(&self) -> Vec<(String, u64)> {
        let name = |kind: Option<Kind>| kind.map_or("any", |kind| kind.decl().name);
        let text = |(at, count): (&StageKind, &u64)| (format!("{} {}", at.stage, name(at.kind)), *count);
        let mut by: Vec<(String, u64)> = self.totals.iter().map(text).collect();
        by.sort();
        by
    }
}
