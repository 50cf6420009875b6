//! The drain: one thread that merges the ring buffers, turns records into rows and hands over chunks. It owns the
//! programs, so that it alone decides when they are attached and detached.

mod current_chunk;
mod finish;
mod losses;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::cgroups::Busy;
use super::cmdline::{self, Arguments};
use super::merge::{Flow, Merge, Pass, Record};
use super::progress::Progress;
use super::rows::RowWriter;
use super::sink::ChunkSender;
use super::source::{Kernel, RecordSource};
use crate::agent_events::EventReceiver;
use crate::background::Background;
use crate::clock::Clock;
use crate::kernel::EventLoss;
use crate::readers::Reader;
use crate::runtimes::ContainerInfo;
use current_chunk::{CurrentChunk, DrainOutput};
use losses::LossLedger;

/// How long a record may take from its time stamp to the ring buffer before it counts as late.
const MARGIN: Duration = Duration::from_millis(2);
/// A chunk is closed at this age, so that a crash costs at most one second.
const CHUNK_AGE: Duration = Duration::from_millis(800);
/// How often loss counters are read and clocks are compared.
const HOUSEKEEPING: Duration = Duration::from_secs(1);
/// How often all files are defined again.
const FILES_RENEWED: Duration = Duration::from_secs(10);
/// The same after a directory or mount has another path.
const FILES_RENAMED: Duration = Duration::from_millis(100);
/// A change of wall clock against boot clock that is worth an event, ns. Slewing stays below.
const CLOCK_STEP: i64 = 1_000_000;
/// The longest pause between two passes with ring buffers of the default size; smaller ones fill sooner.
const PAUSE_MAX: Duration = Duration::from_millis(20);
/// Bytes of the ring buffers of the longest pause.
const PAUSE_MAX_RING: u64 = 4 << 20;
/// A difference of boot and monotonic clock that no reading of them explains, ns.
const SUSPENDED_LEAST: u64 = 1_000_000;
/// How long the drain waits until it tries a full queue again.
const RETRY: Duration = Duration::from_millis(1);

/// The result of a recording.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Events written.
    pub events: u64,
    /// Events lost, as far as they were counted.
    pub lost: u64,
    /// Lost events by stage and kind, as text.
    pub lost_by: Vec<(String, u64)>,
    /// Events by container, most first.
    pub busiest: Vec<Busy>,
    /// Whether any container matched `--container`, or everything was recorded.
    pub matched: bool,
    /// Records that could not be decoded.
    pub damaged: u64,
}

/// Stops the drain.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Requests the end.
    pub fn set(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether the end was requested.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What other threads send to the drain.
pub struct Inputs {
    /// Arguments of processes that ran before the recording.
    pub arguments: Receiver<Arguments>,
    /// What container runtimes report.
    pub containers: Receiver<ContainerInfo>,
    /// Events of the agent's own threads.
    pub agent_events: EventReceiver,
    /// Readers of the output, if that is a pipe.
    pub readers: Option<Receiver<Reader>>,
}

/// What a drain is made of.
pub struct Parts<K, S, C> {
    /// The programs, attached.
    pub kernel: K,
    /// Their ring buffers.
    pub merge: Merge<S>,
    /// Processes and cgroups as of the scan.
    pub rows: RowWriter,
    /// Where chunks go.
    pub sink: ChunkSender,
    /// What other threads send.
    pub inputs: Inputs,
    /// Threads that end with the drain.
    pub background: Vec<Background>,
    /// The thread that lists open connections; its last pass belongs before the end of the hooks.
    pub connections: Option<Background>,
    /// Counters that the session reads.
    pub progress: Arc<Progress>,
    /// The time.
    pub clock: C,
}

/// The intervals of a drain.
#[derive(Clone, Copy, Debug)]
pub struct DrainTiming {
    /// When the programs were attached, ns of the boot clock.
    pub attached: u64,
    /// The age at which a chunk is closed.
    chunk_age: Duration,
    /// The pause between two passes.
    pause: Duration,
}

impl DrainTiming {
    /// For CPUs' own ring buffers of `ring_bytes` each. `live` hands chunks over as soon as possible.
    pub fn new(attached: u64, ring_bytes: u64, live: bool) -> Self {
        let part = (ring_bytes as f64 / PAUSE_MAX_RING as f64).clamp(0.05, 1.0);
        Self { attached, chunk_age: if live { PAUSE_MAX } else { CHUNK_AGE }, pause: PAUSE_MAX.mul_f64(part) }
    }
}

/// Everything that the drain's thread owns.
pub struct Drain<K, S, C> {
    kernel: K,
    merge: Merge<S>,
    rows: RowWriter,
    chunk: CurrentChunk,
    output: DrainOutput,
    losses: LossLedger,
    inputs: Inputs,
    background: Vec<Background>,
    connections: Option<Background>,
    timing: DrainTiming,
    clock: C,
    /// Boot clock minus monotonic clock as the programs know it, ns.
    suspended: u64,
    /// When losses and clocks were last read.
    housekeeping: Instant,
    /// When all files were last defined again.
    files_renewed: Instant,
}

impl<K: Kernel, S: RecordSource, C: Clock> Drain<K, S, C> {
    /// A drain that has not begun.
    pub fn new(parts: Parts<K, S, C>, timing: DrainTiming) -> Self {
        let Parts { kernel, merge, rows, mut sink, inputs, background, connections, progress, clock } = parts;
        let chunk = CurrentChunk::new(sink.builder(), clock.wall_offset(), clock.now());
        Self {
            kernel,
            merge,
            rows,
            chunk,
            output: DrainOutput { sink, progress },
            losses: LossLedger::new(timing.attached),
            inputs,
            background,
            connections,
            timing,
            suspended: clock.suspended_ns(),
            housekeeping: clock.now(),
            files_renewed: clock.now(),
            clock,
        }
    }

    /// Runs until it is stopped, or until nothing takes the chunks any more.
    pub fn run(mut self, stop: &Stop) -> Outcome {
        crate::background::prefer_this_thread();
        self.begin();
        while !stop.is_set() && !self.output.has_failed() {
            let pass = self.round();
            self.rest(pass);
        }
        self.finish().deliver()
    }

    /// Writes the offset of the wall clock, which every recording begins with.
    fn begin(&mut self) {
        self.chunk.write_clock(&mut self.rows, self.clock.boot_ns(), 0);
    }

    /// Takes everything that there is now.
    fn round(&mut self) -> Pass {
        self.output.beat();
        self.follow_suspend();
        let now = self.clock.boot_ns();
        self.rows.set_time(now);
        let watermark = now.saturating_sub(MARGIN.as_nanos() as u64);
        while let Ok(known) = self.inputs.arguments.try_recv() {
            self.rows.set_args(&known);
        }
        self.take_readers();
        self.merge.pull_lifecycle();
        self.output.set_fill(self.merge.fill());
        let pass = self.pass(watermark);
        self.take_agent_events();
        self.take_container_infos();
        self.update_allowed();
        self.renew_files();
        if self.clock.now().duration_since(self.housekeeping) >= HOUSEKEEPING {
            self.keep_house();
        }
        if self.merge.take_stale() {
            self.resync();
        }
        if self.clock.now().duration_since(self.chunk.began()) >= self.timing.chunk_age {
            self.flush();
        }
        pass
    }

    /// Pauses as long as the ring buffers allow.
    fn rest(&self, pass: Pass) {
        /// A ring buffer that is fuller than this, in thousandths, is read again at once.
        const FULL: u64 = 125;
        if pass == Pass::Stopped {
            self.clock.park(RETRY);
        } else if self.merge.fill() < FULL {
            self.clock.park(self.timing.pause);
        }
    }

    fn pass(&mut self, watermark: u64) -> Pass {
        let Self { merge, rows, chunk, output, clock, .. } = self;
        // A chunk that could not be handed over before the pass comes first.
        if chunk.is_full(rows) && !chunk.hand_over(rows, output, clock) {
            return Pass::Stopped;
        }
        merge.pass(watermark, |record| {
            match record {
                Record::Cpu(stream, record) => rows.add_of_cpu(chunk.builder(), stream, record),
                Record::Whole(record) => rows.add(chunk.builder(), record),
            }
            if chunk.may_be_full(rows) && !chunk.hand_over(rows, output, clock) {
                return Flow::Stop;
            }
            Flow::Go
        })
    }

    /// Writes the events of the agent's own threads, as far as the chunk has room.
    fn take_agent_events(&mut self) {
        while !self.chunk.is_full(&self.rows)
            && let Some(event) = self.inputs.agent_events.next()
        {
            self.rows.add_agent_event(self.chunk.builder(), &event);
        }
    }

    /// Closes the chunk, if it has events or updates that must not wait. False if the queue is full.
    fn flush(&mut self) -> bool {
        if self.chunk.is_empty() && !self.rows.has_updates() {
            self.chunk.restart(self.clock.now());
            return true;
        }
        self.chunk.hand_over(&mut self.rows, &mut self.output, &self.clock)
    }

    fn take_readers(&mut self) {
        if let Some(readers) = &self.inputs.readers {
            readers.try_iter().for_each(|reader| self.rows.set_reader(reader));
        }
    }

    fn take_container_infos(&mut self) {
        while let Ok(info) = self.inputs.containers.try_recv() {
            self.rows.learn(info);
        }
    }

    /// Takes cgroups that are not wanted out of the kernel's set.
    fn update_allowed(&mut self) {
        for cgroup in self.rows.take_disallowed() {
            if let Err(error) = self.kernel.set_allowed(cgroup, false) {
                tracing::warn!(%error, cgroup, "cannot remove a cgroup from the filter");
            }
        }
        for cgroup in self.rows.take_disallowed_io() {
            if let Err(error) = self.kernel.set_allowed_io(cgroup, false) {
                tracing::warn!(%error, cgroup, "cannot remove a cgroup from the filter of block I/O");
            }
        }
    }

    fn keep_house(&mut self) {
        self.housekeeping = self.clock.now();
        self.check_clock();
        self.collect_losses();
        self.write_losses();
        self.rows.check_timeouts();
        self.kernel.flush_log();
    }

    /// Has the kernel side define all files again, if there is a reason, or after a time, so that no path is older than that.
    fn renew_files(&mut self) {
        let now = self.clock.now();
        let since = now.duration_since(self.files_renewed);
        let is_renamed = since >= FILES_RENAMED && self.rows.take_renamed();
        if self.rows.take_files_due() || is_renamed || since >= FILES_RENEWED {
            self.files_renewed = now;
            self.kernel.renew_files();
            self.rows.files_renewed();
        }
    }

    /// After lifecycle events were dropped: processes are scanned again.
    fn resync(&mut self) {
        self.rows.missed_lifecycle();
        match self.kernel.scan_tasks() {
            Ok(tasks) => {
                self.rows.resync(&tasks);
                self.inputs.arguments = cmdline::read_in_background(&tasks);
            }
            Err(error) => {
                tracing::warn!(%error, "cannot scan processes: their names may be wrong from here on");
            }
        }
    }

    /// After the machine was suspended: the programs read a clock that stood still meanwhile.
    fn follow_suspend(&mut self) {
        let suspended = self.clock.suspended_ns();
        if suspended.abs_diff(self.suspended) >= SUSPENDED_LEAST {
            self.suspended = suspended;
            self.kernel.set_clock_offset(suspended);
        }
    }

    fn check_clock(&mut self) {
        let offset = self.clock.wall_offset();
        let step = offset - self.chunk.wall_offset();
        // The chunk so far has the old offset.
        if step.abs() >= CLOCK_STEP && self.flush() {
            self.chunk.set_wall_offset(offset);
            self.chunk.write_clock(&mut self.rows, self.clock.boot_ns(), step);
        }
    }

    /// Takes over what was lost since the last call, wherever it was counted.
    fn collect_losses(&mut self) {
        let now = self.clock.boot_ns();
        let mut losses = self.kernel.take_losses();
        losses.extend(self.merge.take_dropped());
        losses.extend(self.inputs.agent_events.take_dropped());
        for lost in losses {
            if self.rows.concerns(&lost) {
                self.add_loss(lost, now);
            }
        }
        self.losses.set_collected(now);
    }

    fn add_loss(&mut self, lost: EventLoss, now: u64) {
        self.losses.add(lost, now);
        self.output.set_lost(self.losses.total());
    }

    /// Writes the losses that are not written yet, as far as the chunk has room: the others add up.
    fn write_losses(&mut self) {
        if !self.chunk.is_full(&self.rows) {
            self.losses.write(&mut self.rows, &mut self.chunk);
        }
    }
}
