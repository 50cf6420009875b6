//! The chunk that is being filled, and where it goes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use capture_format::ChunkBuilder;
use capture_format::limits::{CHUNK_BYTES, CHUNK_EVENT_ROWS};

use crate::clock::Clock;
use crate::record::chunk::FilledChunk;
use crate::record::progress::Progress;
use crate::record::rows::RowWriter;
use crate::record::sink::{ChunkSender, Sent};

/// The drain's output: the queue to the next stage, and the shared counters.
pub(super) struct DrainOutput {
    pub sink: ChunkSender,
    pub progress: Arc<Progress>,
}

impl DrainOutput {
    /// Whether a stage has ended, so that nothing takes chunks any more.
    pub fn has_failed(&self) -> bool {
        self.progress.failed.load(Ordering::Acquire)
    }

    /// Reports that the drain makes progress.
    pub fn beat(&self) {
        self.progress.beats.fetch_add(1, Ordering::Relaxed);
    }

    /// Reports how full the fullest ring buffer is, in thousandths.
    pub fn set_fill(&self, fill: u64) {
        self.progress.fill.store(fill, Ordering::Relaxed);
    }

    pub fn set_lost(&self, lost: u64) {
        self.progress.lost.store(lost, Ordering::Relaxed);
    }
}

/// The chunk that is being filled.
pub(super) struct CurrentChunk {
    builder: ChunkBuilder,
    wall_offset: i64,
    began: Instant,
    /// Chunks before it.
    sequence: u64,
    /// Events written before it.
    events_before: u64,
    /// Records since its size was last measured.
    since_size: u32,
}

impl CurrentChunk {
    pub fn new(builder: ChunkBuilder, wall_offset: i64, now: Instant) -> Self {
        Self { builder, wall_offset, began: now, sequence: 0, events_before: 0, since_size: 0 }
    }

    #[inline]
    pub fn builder(&mut self) -> &mut ChunkBuilder {
        &mut self.builder
    }

    pub fn is_empty(&self) -> bool {
        self.builder.is_empty()
    }

    /// Wall clock minus boot clock, ns.
    pub fn wall_offset(&self) -> i64 {
        self.wall_offset
    }

    pub fn set_wall_offset(&mut self, offset: i64) {
        self.wall_offset = offset;
    }

    /// Writes a clock event: the offset of the wall clock, and its `step`, ns.
    pub fn write_clock(&mut self, rows: &mut RowWriter, time: u64, step: i64) {
        rows.clock(&mut self.builder, time, self.wall_offset, step);
    }

    /// When the chunk was begun.
    pub fn began(&self) -> Instant {
        self.began
    }

    /// Restarts the age of the chunk at `now`.
    pub fn restart(&mut self, now: Instant) {
        self.began = now;
    }

    /// The number of chunks before it.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Events in chunks before it.
    pub fn events_before(&self) -> u64 {
        self.events_before
    }

    #[inline]
    fn has_all_events(&self, rows: &RowWriter) -> bool {
        rows.events() - self.events_before >= CHUNK_EVENT_ROWS as u64
    }

    pub fn is_full(&self, rows: &RowWriter) -> bool {
        self.has_all_events(rows) || self.builder.approx_bytes() >= CHUNK_BYTES
    }

    /// Like [`Self::is_full`], but cheap enough for every record: measures the size in bytes only every 512 records.
    #[inline]
    pub fn may_be_full(&mut self, rows: &RowWriter) -> bool {
        const EVERY: u32 = 512;
        self.since_size += 1;
        self.has_all_events(rows)
            || (self.since_size >= EVERY && {
                self.since_size = 0;
                self.builder.approx_bytes() >= CHUNK_BYTES
            })
    }

    /// Sends the chunk to the next stage and begins an empty one. False if the queue is full; the chunk then stays.
    pub fn hand_over<C: Clock>(&mut self, rows: &mut RowWriter, output: &mut DrainOutput, clock: &C) -> bool {
        self.builder.set_wall_offset(self.wall_offset);
        let builder = self.replace(output.sink.builder());
        let filled = FilledChunk { builder, lost: rows.lost(), updates: rows.take_updates() };
        let back = match output.sink.send(filled) {
            Sent::Taken => {
                self.next(rows, output, clock);
                return true;
            }
            Sent::Dropped(chunk) => {
                rows.give_back(chunk.updates);
                output.sink.keep(chunk.builder);
                self.next(rows, output, clock);
                return true;
            }
            Sent::Full(back) => back,
            Sent::Gone(back) => {
                output.progress.failed.store(true, Ordering::Release);
                back
            }
        };
        let FilledChunk { builder, updates, .. } = *back;
        rows.give_back(updates);
        let unused = self.replace(builder);
        output.sink.keep(unused);
        false
    }

    fn next<C: Clock>(&mut self, rows: &mut RowWriter, output: &DrainOutput, clock: &C) {
        rows.next_chunk();
        self.events_before = rows.events();
        self.sequence += 1;
        self.began = clock.now();
        output.progress.events.store(rows.events(), Ordering::Relaxed);
    }

    /// Puts another builder in its place.
    pub fn replace(&mut self, builder: ChunkBuilder) -> ChunkBuilder {
        std::mem::replace(&mut self.builder, builder)
    }

    /// Its rows.
    pub fn into_builder(mut self) -> ChunkBuilder {
        self.builder.set_wall_offset(self.wall_offset);
        self.builder
    }
}
