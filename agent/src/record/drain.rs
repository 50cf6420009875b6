//! The drain: one thread that merges the rings, turns records into rows and hands over chunks. It
//! owns the programs, so that it alone decides when they are attached and taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use capture_format::ChunkBuilder;
use capture_format::limits::{CHUNK_BYTES, CHUNK_EVENT_ROWS};

use super::cgroups::Busy;
use super::clock::{boot_ns, wall_offset};
use super::cmdline::Arguments;
use super::merge::{Flow, Merge, Pass};
use super::rows::{Order, Rows};
use super::sink::{Progress, Sent, Sink};
use crate::kernel::{Capture, Lost};

/// How long a record may take from its time stamp to the ring before it counts as late.
const MARGIN: Duration = Duration::from_millis(2);
/// A chunk is closed at this age, so that a crash costs at most one second.
const CHUNK_AGE: Duration = Duration::from_millis(800);
/// How often counters of loss and clocks are compared.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A change of wall clock against boot clock that is worth an event, ns. Slewing stays below.
const CLOCK_STEP: i64 = 1_000_000;
/// How long the end may wait for a stalled output.
const END_PATIENCE: Duration = Duration::from_secs(3);
/// The longest pause between two passes with rings of the default size; smaller rings fill sooner.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE_RING: u64 = 8 << 20;

/// What a capture came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events written.
    pub events: u64,
    /// Events that are known to be lost.
    pub lost: u64,
    /// Events that the output did not take in time.
    pub unwritten: u64,
    /// Those that are lost, by stage and kind.
    pub lost_by: Vec<(String, u64)>,
    /// The busiest containers.
    pub busiest: Vec<Busy>,
    /// Records that could not be understood.
    pub damaged: u64,
}

/// How the drain is told to end.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Ends the capture; wake the drain's thread after this.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What the drain works with.
pub struct Parts {
    /// The programs, attached.
    pub kernel: Capture,
    /// Their rings.
    pub merge: Merge,
    /// Who is who, as of the scan.
    pub rows: Rows,
    /// Where chunks go.
    pub sink: Sink,
    /// Arguments that become known later.
    pub arguments: Receiver<Arguments>,
    /// What is told while it runs.
    pub progress: Arc<Progress>,
}

/// The chunk that is being filled.
struct Filling {
    builder: ChunkBuilder,
    began: Instant,
    /// Events written before it.
    before: u64,
    /// Records since its size was looked at.
    since_size: u32,
}

/// Everything that the drain's thread owns.
pub struct Drain {
    kernel: Capture,
    merge: Merge,
    rows: Rows,
    sink: Sink,
    arguments: Receiver<Arguments>,
    chunk: Filling,
    progress: Arc<Progress>,
    chunk_age: Duration,
    pause: Duration,
    wall_offset: i64,
    losses_until: u64,
    lost: Vec<(Lost, u64)>,
    outcome: Outcome,
}

impl Drain {
    /// For rings of this size; `live` hands chunks over as soon as possible.
    pub fn new(parts: Parts, ring_bytes: u64, live: bool) -> Self {
        let Parts { kernel, merge, rows, mut sink, arguments, progress } = parts;
        let pause = LONGEST_PAUSE.mul_f64((ring_bytes as f64 / LONGEST_PAUSE_RING as f64).clamp(0.05, 1.0));
        Self {
            kernel,
            merge,
            rows,
            chunk: Filling { builder: sink.builder(), began: Instant::now(), before: 0, since_size: 0 },
            sink,
            arguments,
            progress,
            chunk_age: if live { LONGEST_PAUSE } else { CHUNK_AGE },
            pause,
            wall_offset: wall_offset(),
            losses_until: boot_ns(),
            lost: Vec::new(),
            outcome: Outcome::default(),
        }
    }

    /// Runs until told to stop, or until nobody takes the chunks any more.
    pub fn run(mut self, stop: &Stop) -> Outcome {
        super::prefer_this_thread();
        self.rows.clock(&mut self.chunk.builder, boot_ns(), self.wall_offset, 0);
        let mut housekeeping = Instant::now();
        while !stop.is_set() && !self.progress.failed.load(Ordering::Acquire) {
            let watermark = boot_ns().saturating_sub(MARGIN.as_nanos() as u64);
            while let Ok(known) = self.arguments.try_recv() {
                self.rows.processes.set_args(known.pid, known.start, &known.args);
            }
            self.merge.pull_lifecycle();
            let pass = self.pass(watermark);
            self.obey();
            if housekeeping.elapsed() >= HOUSEKEEPING {
                housekeeping = Instant::now();
                self.check_clock();
                self.collect_losses();
                self.kernel.flush_log();
            }
            if self.chunk.began.elapsed() >= self.chunk_age {
                self.flush();
            }
            self.rest(pass);
        }
        self.finish()
    }

    /// Sleeps as long as the rings can take it.
    fn rest(&self, pass: Pass) {
        if pass == Pass::Stopped {
            thread::park_timeout(Duration::from_millis(1));
        } else if self.merge.fill() < 125 {
            thread::park_timeout(self.pause);
        }
    }

    fn pass(&mut self, watermark: u64) -> Pass {
        let Self { merge, rows, chunk, sink, progress, wall_offset, .. } = self;
        // A chunk that could not be handed over before the pass comes first.
        if chunk.is_full(rows) && !chunk.hand_over(rows, sink, progress, *wall_offset) {
            return Pass::Stopped;
        }
        merge.pass(watermark, |record| {
            rows.add(&mut chunk.builder, record);
            if chunk.may_be_full(rows) && !chunk.hand_over(rows, sink, progress, *wall_offset) {
                return Flow::Stop;
            }
            Flow::Go
        })
    }

    /// Closes the chunk, if there is anything in it and room for it.
    fn flush(&mut self) -> bool {
        if self.chunk.builder.is_empty() {
            self.chunk.began = Instant::now();
            return true;
        }
        self.chunk.hand_over(&mut self.rows, &mut self.sink, &self.progress, self.wall_offset)
    }

    fn obey(&mut self) {
        for order in self.rows.take_orders() {
            let Order::Forget(cgroup) = order;
            if let Err(error) = self.kernel.set_allowed(cgroup, false) {
                tracing::warn!(%error, cgroup, "cannot take a cgroup out of the filter");
            }
        }
    }

    fn check_clock(&mut self) {
        let offset = wall_offset();
        let step = offset - self.wall_offset;
        if step.abs() >= CLOCK_STEP {
            // The chunk so far belongs to the old offset.
            self.flush();
            self.wall_offset = offset;
            self.rows.clock(&mut self.chunk.builder, boot_ns(), offset, step);
        }
    }

    fn collect_losses(&mut self) {
        let now = boot_ns();
        let mut losses = self.kernel.take_losses();
        losses.extend(self.merge.take_dropped());
        for lost in losses {
            if self.rows.loss(&mut self.chunk.builder, self.losses_until, now, &lost) {
                self.count_lost(&lost);
            }
        }
        self.losses_until = now;
    }

    fn count_lost(&mut self, lost: &Lost) {
        self.outcome.lost += lost.count;
        self.progress.lost.store(self.outcome.lost, Ordering::Relaxed);
        let same = |known: &&mut (Lost, u64)| known.0.kind == lost.kind && known.0.stage == lost.stage;
        match self.lost.iter_mut().find(same) {
            Some((_, count)) => *count += lost.count,
            None => self.lost.push((*lost, lost.count)),
        }
    }

    fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + END_PATIENCE;
        self.kernel.detach_syscalls();
        let end = boot_ns();
        let in_flight = match self.kernel.scan_tasks() {
            Ok(tasks) => tasks,
            Err(error) => {
                tracing::warn!(%error, "the calls that have not returned are not known");
                Vec::new()
            }
        };
        self.kernel.detach_all();
        self.kernel.flush_log();
        // A program that was running when its hook was detached finishes within this.
        thread::sleep(MARGIN);
        loop {
            self.merge.pull_lifecycle();
            if self.pass(u64::MAX) == Pass::Done {
                break;
            }
            if Instant::now() >= deadline || self.progress.failed.load(Ordering::Acquire) {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        for task in &in_flight {
            self.rows.unfinished(&mut self.chunk.builder, task, end);
        }
        self.collect_losses();
        while !self.flush() && Instant::now() < deadline && !self.progress.failed.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        let unwritten = self.rows.events - self.chunk.before;
        if unwritten > 0 {
            self.outcome.unwritten = unwritten;
        }
        self.rows.settle();
        self.outcome.events = self.chunk.before;
        self.outcome.damaged = self.rows.damaged;
        self.outcome.busiest = self.rows.cgroups.busiest();
        let by = self.lost.iter();
        let by = by.map(|(lost, count)| (format!("{} {}", lost.stage, lost.kind.decl().name), *count));
        self.outcome.lost_by.extend(by);
        self.outcome
    }
}

impl Filling {
    fn is_full(&self, rows: &Rows) -> bool {
        rows.events - self.before >= CHUNK_EVENT_ROWS as u64 || self.builder.approx_bytes() >= CHUNK_BYTES
    }

    /// The same for every record: its size in bytes is looked at now and then.
    #[inline]
    fn may_be_full(&mut self, rows: &Rows) -> bool {
        const EVERY: u32 = 512;
        self.since_size += 1;
        rows.events - self.before >= CHUNK_EVENT_ROWS as u64
            || (self.since_size >= EVERY && {
                self.since_size = 0;
                self.builder.approx_bytes() >= CHUNK_BYTES
            })
    }

    /// Exchanges the chunk for an empty one. False if there is no room for it now.
    fn hand_over(&mut self, rows: &mut Rows, sink: &mut Sink, progress: &Progress, wall_offset: i64) -> bool {
        self.builder.set_wall_offset(wall_offset);
        let full = std::mem::replace(&mut self.builder, sink.builder());
        let back = match sink.send(full) {
            Sent::Taken => {
                rows.next_chunk();
                self.before = rows.events;
                self.began = Instant::now();
                progress.events.store(rows.events, Ordering::Relaxed);
                return true;
            }
            Sent::Full(back) => back,
            Sent::Gone(back) => {
                progress.failed.store(true, Ordering::Release);
                back
            }
        };
        sink.keep(std::mem::replace(&mut self.builder, *back));
        false
    }
}
