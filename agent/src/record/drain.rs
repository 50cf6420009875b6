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
use super::sink::{Progress, Sink};
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
    /// By stage and kind.
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

/// Everything that the drain's thread owns.
pub struct Drain {
    kernel: Capture,
    merge: Merge,
    rows: Rows,
    sink: Sink,
    arguments: Receiver<Arguments>,
    builder: ChunkBuilder,
    progress: Arc<Progress>,
    chunk_began: Instant,
    chunk_events: u64,
    /// Records since the size of the chunk was looked at.
    since_size: u32,
    chunk_age: Duration,
    pause: Duration,
    wall_offset: i64,
    losses_until: u64,
    lost: Vec<(Lost, u64)>,
    outcome: Outcome,
}

impl Drain {
    /// With programs that are attached and a scan that is done.
    pub fn new(
        kernel: Capture,
        merge: Merge,
        rows: Rows,
        mut sink: Sink,
        arguments: Receiver<Arguments>,
        progress: Arc<Progress>,
        ring_bytes: u64,
        live: bool,
    ) -> Self {
        let builder = sink.builder();
        let pause = LONGEST_PAUSE.mul_f64((ring_bytes as f64 / LONGEST_PAUSE_RING as f64).clamp(0.05, 1.0));
        Self {
            kernel,
            merge,
            rows,
            sink,
            arguments,
            builder,
            progress,
            chunk_began: Instant::now(),
            chunk_events: 0,
            since_size: 0,
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
        self.rows.clock(&mut self.builder, boot_ns(), self.wall_offset, 0);
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
            }
            if self.chunk_began.elapsed() >= self.chunk_age {
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
        let Self {
            merge,
            rows,
            builder,
            sink,
            progress,
            chunk_events,
            since_size,
            chunk_began,
            wall_offset,
            ..
        } = self;
        // A chunk that could not be handed over before the pass comes first.
        if is_full(rows, builder, *chunk_events)
            && !hand_over(rows, builder, sink, progress, chunk_events, chunk_began, *wall_offset)
        {
            return Pass::Stopped;
        }
        merge.pass(watermark, |record| {
            rows.add(builder, record);
            *since_size += 1;
            let full = rows.events - *chunk_events >= CHUNK_EVENT_ROWS as u64
                || (*since_size >= 512 && {
                    *since_size = 0;
                    builder.approx_bytes() >= CHUNK_BYTES
                });
            if full && !hand_over(rows, builder, sink, progress, chunk_events, chunk_began, *wall_offset) {
                return Flow::Stop;
            }
            Flow::Go
        })
    }

    /// Closes the chunk, if there is anything in it and room for it.
    fn flush(&mut self) -> bool {
        let Self { rows, builder, sink, progress, chunk_events, chunk_began, wall_offset, .. } = self;
        if builder.is_empty() {
            *chunk_began = Instant::now();
            return true;
        }
        hand_over(rows, builder, sink, progress, chunk_events, chunk_began, *wall_offset)
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
            self.rows.clock(&mut self.builder, boot_ns(), offset, step);
        }
    }

    fn collect_losses(&mut self) {
        let now = boot_ns();
        let mut losses = self.kernel.take_losses();
        losses.extend(self.merge.take_dropped());
        for lost in losses {
            if self.rows.loss(&mut self.builder, self.losses_until, now, &lost) {
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
            self.rows.unfinished(&mut self.builder, task, end);
        }
        self.collect_losses();
        while !self.flush() && Instant::now() < deadline && !self.progress.failed.load(Ordering::Acquire) {
            thread::sleep(Duration::from_millis(1));
        }
        let unwritten = self.rows.events - self.chunk_events;
        if unwritten > 0 {
            // The output did not take them in time.
            self.outcome.lost += unwritten;
            self.outcome.lost_by.push(("writer".to_owned(), unwritten));
        }
        self.rows.settle();
        self.outcome.events = self.chunk_events;
        self.outcome.damaged = self.rows.damaged;
        self.outcome.busiest = self.rows.cgroups.busiest();
        let by = self.lost.iter();
        let by = by.map(|(lost, count)| (format!("{} {}", lost.stage, lost.kind.decl().name), *count));
        self.outcome.lost_by.extend(by);
        self.outcome
    }
}

fn is_full(rows: &Rows, builder: &ChunkBuilder, chunk_events: u64) -> bool {
    rows.events - chunk_events >= CHUNK_EVENT_ROWS as u64 || builder.approx_bytes() >= CHUNK_BYTES
}

/// Exchanges the chunk for an empty one. False if there is no room for it now.
fn hand_over(
    rows: &mut Rows,
    builder: &mut ChunkBuilder,
    sink: &mut Sink,
    progress: &Progress,
    chunk_events: &mut u64,
    chunk_began: &mut Instant,
    wall_offset: i64,
) -> bool {
    builder.set_wall_offset(wall_offset);
    let next = sink.builder();
    let full = std::mem::replace(builder, next);
    match sink.send(full) {
        Ok(()) => {
            rows.next_chunk();
            *chunk_events = rows.events;
            *chunk_began = Instant::now();
            progress.events.store(rows.events, Ordering::Relaxed);
            true
        }
        Err((full, again)) => {
            sink.keep(std::mem::replace(builder, full));
            if !again {
                progress.failed.store(true, Ordering::Release);
            }
            false
        }
    }
}
