//! The drain: one thread that merges the rings, turns records into rows and hands over chunks. It
//! owns the programs, so that it alone decides when they are attached and taken out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use capture_format::ChunkBuilder;
use capture_format::limits::{CHUNK_BYTES, CHUNK_EVENT_ROWS};
use events::Kind;
use rustc_hash::FxHashMap;

use super::cgroups::Busy;
use super::cmdline::{self, Arguments};
use super::merge::{Flow, Merge, Pass};
use super::rows::{Order, Rows};
use super::sink::{Filled, Progress, Sent, Sink};
use crate::agent_events::EventReceiver;
use crate::background::Background;
use crate::clock::{boot_ns, wall_offset};
use crate::kernel::{LoadedPrograms, Lost};
use crate::runtimes::ContainerInfo;

/// How long a record may take from its time stamp to the ring before it counts as late.
const MARGIN: Duration = Duration::from_millis(2);
/// A chunk is closed at this age, so that a crash costs at most one second.
const CHUNK_AGE: Duration = Duration::from_millis(800);
/// How often counters of loss and clocks are compared.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// A change of wall clock against boot clock that is worth an event, ns. Slewing stays below.
const CLOCK_STEP: i64 = 1_000_000;
/// Loss rows that are written at once; more kinds of loss wait for the next chunk.
const MAX_LOSS_ROWS: usize = 4096;
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
    /// Nothing can have been lost before this, ns of the boot clock.
    pub attached: u64,
    /// The programs, attached.
    pub kernel: LoadedPrograms,
    /// Their rings.
    pub merge: Merge,
    /// Who is who, as of the scan.
    pub rows: Rows,
    /// Where chunks go.
    pub sink: Sink,
    /// Arguments that become known later.
    pub arguments: Receiver<Arguments>,
    /// What runtimes tell of containers.
    pub named: Receiver<ContainerInfo>,
    /// What is told while it runs.
    pub progress: Arc<Progress>,
    /// What threads of the agent have found out.
    pub inbox: EventReceiver,
    /// These threads.
    pub background: Vec<Background>,
}

/// The chunk that is being filled.
struct Filling {
    builder: ChunkBuilder,
    began: Instant,
    /// Chunks before it.
    sequence: u64,
    /// Events written before it.
    before: u64,
    /// Records since its size was looked at.
    since_size: u32,
}

/// Everything that the drain's thread owns.
pub struct Drain {
    kernel: LoadedPrograms,
    merge: Merge,
    rows: Rows,
    sink: Sink,
    arguments: Receiver<Arguments>,
    named: Receiver<ContainerInfo>,
    chunk: Filling,
    progress: Arc<Progress>,
    inbox: EventReceiver,
    background: Vec<Background>,
    chunk_age: Duration,
    pause: Duration,
    wall_offset: i64,
    losses_until: u64,
    /// Losses that are not written yet: from, to, and how many.
    losses: FxHashMap<Lost, Loss>,
    /// Losses that are written, with the number of their chunk, which may never be taken.
    told: Vec<(u64, Lost, Loss)>,
    lost_by: FxHashMap<(&'static str, Option<Kind>), u64>,
    outcome: Outcome,
}

/// From, to (ns of the boot clock), and how many.
type Loss = (u64, u64, u64);

impl Drain {
    /// For rings of this size; `live` hands chunks over as soon as possible.
    pub fn new(parts: Parts, ring_bytes: u64, live: bool) -> Self {
        let Parts { attached, kernel, merge, rows, mut sink, arguments, named, progress, inbox, background } =
            parts;
        let pause = LONGEST_PAUSE.mul_f64((ring_bytes as f64 / LONGEST_PAUSE_RING as f64).clamp(0.05, 1.0));
        Self {
            kernel,
            merge,
            rows,
            chunk: Filling {
                builder: sink.builder(),
                began: Instant::now(),
                sequence: 0,
                before: 0,
                since_size: 0,
            },
            sink,
            arguments,
            named,
            progress,
            inbox,
            background,
            chunk_age: if live { LONGEST_PAUSE } else { CHUNK_AGE },
            pause,
            wall_offset: wall_offset(),
            losses_until: attached,
            losses: FxHashMap::default(),
            told: Vec::new(),
            lost_by: FxHashMap::default(),
            outcome: Outcome::default(),
        }
    }

    /// Runs until told to stop, or until nobody takes the chunks any more.
    pub fn run(mut self, stop: &Stop) -> Outcome {
        crate::background::prefer_this_thread();
        self.rows.clock(&mut self.chunk.builder, boot_ns(), self.wall_offset, 0);
        let mut housekeeping = Instant::now();
        while !stop.is_set() && !self.progress.failed.load(Ordering::Acquire) {
            self.progress.beats.fetch_add(1, Ordering::Relaxed);
            let watermark = boot_ns().saturating_sub(MARGIN.as_nanos() as u64);
            while let Ok(known) = self.arguments.try_recv() {
                self.rows.processes.set_args(known.pid, known.start, &known.args);
            }
            self.merge.pull_lifecycle();
            let pass = self.pass(watermark);
            self.take_made();
            self.learn();
            self.obey();
            if housekeeping.elapsed() >= HOUSEKEEPING {
                housekeeping = Instant::now();
                self.check_clock();
                self.collect_losses();
                self.write_losses();
                self.rows.cgroups.look_after();
                self.kernel.flush_log();
            }
            if self.merge.take_stale() {
                self.resync();
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

    /// Writes what threads of the agent have found out, as far as the chunk has room.
    fn take_made(&mut self) {
        while !self.chunk.is_full(&self.rows)
            && let Some(made) = self.inbox.next()
        {
            self.rows.made(&mut self.chunk.builder, &made);
        }
    }

    /// Closes the chunk, if there is anything in it or to be told with it, and room for it.
    fn flush(&mut self) -> bool {
        if self.chunk.builder.is_empty() && !self.rows.cgroups.has_news() {
            self.chunk.began = Instant::now();
            return true;
        }
        self.chunk.hand_over(&mut self.rows, &mut self.sink, &self.progress, self.wall_offset)
    }

    /// Takes over what runtimes told.
    fn learn(&mut self) {
        while let Ok(told) = self.named.try_recv() {
            self.rows.cgroups.learn(told);
        }
    }

    fn obey(&mut self) {
        for order in self.rows.take_orders() {
            let Order::Forget(cgroup) = order;
            if let Err(error) = self.kernel.set_allowed(cgroup, false) {
                tracing::warn!(%error, cgroup, "cannot take a cgroup out of the filter");
            }
        }
    }

    /// After lifecycle events were dropped.
    fn resync(&mut self) {
        self.rows.cgroups.missed();
        match self.kernel.scan_tasks() {
            Ok(tasks) => {
                self.rows.processes.resync(&tasks);
                self.arguments = cmdline::read_in_background(&tasks);
            }
            Err(error) => tracing::warn!(%error, "names of processes may be wrong from here on"),
        }
    }

    fn check_clock(&mut self) {
        let offset = wall_offset();
        let step = offset - self.wall_offset;
        // The chunk so far belongs to the old offset.
        if step.abs() >= CLOCK_STEP && self.flush() {
            self.wall_offset = offset;
            self.rows.clock(&mut self.chunk.builder, boot_ns(), offset, step);
        }
    }

    /// Takes the counters of loss over into what is to be written.
    fn collect_losses(&mut self) {
        let now = boot_ns();
        let mut losses = self.kernel.take_losses();
        losses.extend(self.merge.take_dropped());
        losses.extend(self.inbox.take_dropped());
        for lost in losses {
            if self.rows.concerns(&lost) {
                self.note_lost(lost, now);
            }
        }
        self.losses_until = now;
    }

    fn note_lost(&mut self, lost: Lost, now: u64) {
        self.outcome.lost += lost.count;
        self.progress.lost.store(self.outcome.lost, Ordering::Relaxed);
        let key = Lost { count: 0, ..lost };
        let pending = self.losses.entry(key).or_insert((self.losses_until, now, 0));
        pending.1 = now;
        pending.2 += lost.count;
        *self.lost_by.entry((lost.stage, lost.kind)).or_default() += lost.count;
    }

    /// Writes what is known to be lost, as far as the chunk has room: what finds none is added up.
    fn write_losses(&mut self) {
        if self.chunk.is_full(&self.rows) {
            return;
        }
        let sequence = self.chunk.sequence;
        self.told.retain(|(chunk, ..)| *chunk == sequence);
        let keys: Vec<Lost> = self.losses.keys().take(MAX_LOSS_ROWS).copied().collect();
        for lost in keys {
            if let Some((from, to, count)) = self.losses.remove(&lost) {
                self.rows.loss(&mut self.chunk.builder, from, to, &Lost { count, ..lost });
                self.told.push((sequence, lost, (from, to, count)));
            }
        }
    }

    fn finish(mut self) -> Outcome {
        let deadline = Instant::now() + END_PATIENCE;
        let end = boot_ns();
        for thread in &mut self.background {
            thread.stop();
        }
        self.kernel.detach_floods();
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
        let may_go_on =
            |drain: &Self| Instant::now() < deadline && !drain.progress.failed.load(Ordering::Acquire);
        let mut complete = false;
        while !complete && may_go_on(&self) {
            self.merge.pull_lifecycle();
            complete = self.pass(u64::MAX) == Pass::Done && !self.merge.is_busy();
            if !complete {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.rows.cgroups.ask_no_more();
        for thread in std::mem::take(&mut self.background) {
            thread.finish();
        }
        self.take_made();
        self.learn();
        let mut tasks = in_flight.iter();
        while complete && let Some(task) = tasks.next() {
            self.rows.unfinished(&mut self.chunk.builder, task, end);
            while self.chunk.is_full(&self.rows) && !self.flush() && may_go_on(&self) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        let blocks = if complete { self.kernel.blocks_in_flight(end) } else { Vec::new() };
        for block in &blocks {
            if let Some(lost) = self.rows.block_missed(block) {
                self.note_lost(lost, end);
                continue;
            }
            self.rows.block_unfinished(&mut self.chunk.builder, block);
            while self.chunk.is_full(&self.rows) && !self.flush() && may_go_on(&self) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.merge.drop_rest();
        self.collect_losses();
        self.write_losses();
        // The last word, so that the file tells how long nothing happened.
        self.rows.clock(&mut self.chunk.builder, end, self.wall_offset, 0);
        let mut flushed = self.flush();
        while !flushed && may_go_on(&self) {
            thread::sleep(Duration::from_millis(1));
            flushed = self.flush();
        }
        self.rows.settle();
        if !flushed {
            self.give_up_chunk();
        }
        self.kernel.flush_log();
        self.outcome.events = self.chunk.before;
        self.outcome.damaged = self.rows.damaged;
        self.outcome.busiest = self.rows.cgroups.busiest();
        let name = |kind: &Option<Kind>| kind.map_or("any", |kind| kind.decl().name);
        let by = self.lost_by.iter();
        let mut by: Vec<(String, u64)> =
            by.map(|((stage, kind), count)| (format!("{stage} {}", name(kind)), *count)).collect();
        by.sort();
        self.outcome.lost_by = by;
        if !flushed {
            let along = self.rows.cgroups.take_along();
            self.sink.send_last(Filled { builder: self.chunk.builder, lost: self.rows.lost_told, along });
        }
        self.outcome
    }

    /// Leaves a chunk that nobody takes in time: what it held is lost, and only that is written.
    fn give_up_chunk(&mut self) {
        let unwritten = self.rows.events - self.chunk.before;
        // Losses that were written into it count again below.
        self.rows.next_chunk();
        let stuck = std::mem::replace(&mut self.chunk.builder, self.sink.builder());
        drop(stuck);
        self.chunk.builder.set_wall_offset(self.wall_offset);
        let now = boot_ns();
        let lost = Lost { cpu: None, kind: None, cgroup: None, stage: "writer", count: unwritten };
        if unwritten > 0 {
            self.note_lost(lost, now);
        }
        let sequence = self.chunk.sequence;
        let told = self.told.drain(..).filter(|(chunk, ..)| *chunk == sequence);
        let told = told.map(|(_, lost, loss)| (lost, loss));
        for (lost, (from, to, count)) in told.chain(self.losses.drain()) {
            self.rows.loss(&mut self.chunk.builder, from, to, &Lost { count, ..lost });
        }
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
        let filled = Filled { builder: full, lost: rows.lost_told, along: rows.cgroups.take_along() };
        let sent = match sink.send(filled) {
            Sent::Dropped(chunk) => {
                rows.cgroups.give_back(chunk.along);
                Sent::Taken
            }
            sent => sent,
        };
        let back = match sent {
            Sent::Taken | Sent::Dropped(_) => {
                rows.next_chunk();
                self.before = rows.events;
                self.sequence += 1;
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
        let Filled { builder, along, .. } = *back;
        rows.cgroups.give_back(along);
        sink.keep(std::mem::replace(&mut self.builder, builder));
        false
    }
}
