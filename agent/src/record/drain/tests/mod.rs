mod finish;
mod losses;
mod rounds;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use agent_ebpf::records::block::{Block, Request};
use agent_ebpf::records::uring::Request as UringRequest;
use agent_ebpf::records::{Cgroup, Exit, Fork, Header, TaskInfo};
use capture_format::limits::CHUNK_EVENT_ROWS;
use events::{KINDS, Kind};
use ktape_reader::model::schema;

use super::finish::{Ending, OUTPUT_TIMEOUT};
use super::*;
use crate::agent_events::{AgentEvent, EventSender, HostSample};
use crate::containers::ContainerFilter;
use crate::kernel::{LoadError, OpenCall, ScannedTask};
use crate::record::cgroups::Cgroups;
use crate::record::chunk::FilledChunk;
use crate::record::decode::{Plain, bytes_of};
use crate::record::merge::WAITING_MAX;
use crate::record::processes::Processes;
use crate::record::rows::Scope;
use crate::record::sink::{ChunkReceiver, QUEUE};
use crate::record::source::Sources;
use crate::record::test_records;
use crate::record::testing::{MemoryRing, SeenChunk, SeenLoss, no_hierarchy};

/// The boot clock when a test begins, ns.
const START: u64 = 1_000_000_000_000;
const WALL: i64 = 77_000_000;
const RING: usize = 16 << 20;

/// What the drain has done to the kernel, and what that answers.
#[derive(Default)]
struct KernelState {
    calls: Vec<String>,
    losses: Vec<EventLoss>,
    tasks: Vec<ScannedTask>,
    blocks: Vec<Block>,
    urings: Vec<UringRequest>,
    open: Vec<OpenCall>,
    scan_fails: bool,
}

#[derive(Clone, Default)]
struct TestKernel(Rc<RefCell<KernelState>>);

impl TestKernel {
    fn log(&self, call: impl Into<String>) {
        self.0.borrow_mut().calls.push(call.into());
    }

    fn lose(&self, lost: EventLoss) {
        self.0.borrow_mut().losses.push(lost);
    }

    fn calls(&self) -> Vec<String> {
        self.0.borrow_mut().calls.drain(..).collect()
    }
}

impl Kernel for TestKernel {
    fn set_allowed(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        self.log(format!("allow {cgroup}: {allow}"));
        Ok(())
    }

    fn set_allowed_io(&mut self, cgroup: u64, allow: bool) -> Result<(), LoadError> {
        self.log(format!("allow io {cgroup}: {allow}"));
        Ok(())
    }

    fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError> {
        self.log("scan");
        let state = self.0.borrow();
        if state.scan_fails { Err(LoadError::Missing("task_iter")) } else { Ok(state.tasks.clone()) }
    }

    fn take_losses(&mut self) -> Vec<EventLoss> {
        std::mem::take(&mut self.0.borrow_mut().losses)
    }

    fn detach_events(&mut self) {
        self.log("detach events");
    }

    fn detach_all(&mut self) {
        self.log("detach all");
    }

    fn blocks_in_flight(&self, _now: u64) -> Vec<Block> {
        self.0.borrow().blocks.clone()
    }

    fn urings_in_flight(&self, _now: u64) -> Vec<UringRequest> {
        self.0.borrow().urings.clone()
    }

    fn open_calls(&self) -> Vec<OpenCall> {
        self.0.borrow().open.clone()
    }

    fn set_clock_offset(&mut self, offset: u64) {
        self.log(format!("offset {offset}"));
    }

    fn renew_files(&mut self) {}

    fn flush_log(&mut self) {}
}

/// A clock that advances only when a test advances it, or while the drain waits.
#[derive(Clone)]
struct TestClock(Rc<ClockState>);

struct ClockState {
    base: Instant,
    passed: Cell<Duration>,
    wall: Cell<i64>,
    suspended: Cell<u64>,
    /// Called for each wait.
    on_wait: RefCell<Option<Box<dyn FnMut()>>>,
}

impl TestClock {
    fn new() -> Self {
        Self(Rc::new(ClockState {
            base: Instant::now(),
            passed: Cell::new(Duration::ZERO),
            wall: Cell::new(WALL),
            suspended: Cell::new(0),
            on_wait: RefCell::new(None),
        }))
    }

    fn advance(&self, by: Duration) {
        self.0.passed.set(self.0.passed.get() + by);
    }

    fn passed(&self) -> Duration {
        self.0.passed.get()
    }
}

impl Clock for TestClock {
    fn boot_ns(&self) -> u64 {
        START + self.passed().as_nanos() as u64
    }

    fn wall_offset(&self) -> i64 {
        self.0.wall.get()
    }

    fn suspended_ns(&self) -> u64 {
        self.0.suspended.get()
    }

    fn now(&self) -> Instant {
        self.0.base + self.passed()
    }

    fn park(&self, at_most: Duration) {
        self.sleep(at_most);
    }

    fn sleep(&self, duration: Duration) {
        self.advance(duration);
        if let Some(on_wait) = &mut *self.0.on_wait.borrow_mut() {
            on_wait();
        }
    }
}

/// A drain with two CPUs, and all that is around it.
struct Bench {
    drain: Drain<TestKernel, MemoryRing, TestClock>,
    kernel: TestKernel,
    clock: TestClock,
    output: ChunkReceiver,
    agent_events: EventSender,
    containers: Sender<ContainerInfo>,
    arguments: SyncSender<Arguments>,
    progress: Arc<Progress>,
}

impl Bench {
    fn new() -> Self {
        Self::with(ContainerFilter::default(), false)
    }

    fn with(filter: ContainerFilter, live: bool) -> Self {
        let (schema, progress) = (Arc::new(schema()), Arc::new(Progress::default()));
        let (sink, output) = if live {
            ChunkSender::dropping(schema.clone(), progress.clone())
        } else {
            ChunkSender::waiting(schema.clone(), progress.clone())
        };
        let (agent_events, events) = crate::agent_events::channel();
        let (containers, infos) = channel();
        let (arguments, arguments_out) = sync_channel(16);
        let rings = || (0..2).map(|_| MemoryRing::new(RING)).collect();
        let cgroups = Cgroups::none(no_hierarchy(), filter);
        let (kernel, clock) = (TestKernel::default(), TestClock::new());
        let parts = Parts {
            kernel: kernel.clone(),
            merge: Merge::new(Sources { cpus: rings(), events: rings(), lifecycle: rings() }),
            rows: RowWriter::new(&schema, Processes::new(false), cgroups, Scope::new(&KINDS, None)),
            sink,
            inputs: Inputs {
                arguments: arguments_out,
                containers: infos,
                agent_events: events,
                readers: None,
            },
            background: Vec::new(),
            connections: None,
            progress: progress.clone(),
            clock: clock.clone(),
        };
        let mut drain = Drain::new(parts, DrainTiming::new(START - 5, RING as u64, live));
        drain.begin();
        Self { drain, kernel, clock, output, agent_events, containers, arguments, progress }
    }

    /// Puts a call into the ring buffer of a CPU. False if there is no room: the kernel would count it.
    fn call(&mut self, cpu: usize, call: &test_records::Call) -> bool {
        call.records().iter().all(|record| self.drain.merge.cpu_mut(cpu).push(record))
    }

    fn lifecycle<T: Plain>(&mut self, cpu: usize, record: &T) -> bool {
        self.drain.merge.sources_mut().1[cpu].push(bytes_of(record))
    }

    /// `count` calls on a CPU, each 1 ns after the one before.
    fn calls(&mut self, cpu: usize, from: u64, count: u64) {
        for i in 0..count {
            assert!(self.call(cpu, &call(from + i, 10)));
        }
    }

    /// A round after this time.
    fn round_after(&mut self, time: Duration) -> Pass {
        self.clock.advance(time);
        self.drain.round()
    }

    /// All chunks that were handed over.
    fn chunks(&self) -> Vec<SeenChunk> {
        self.output.chunks.try_iter().map(|filled| SeenChunk::new(filled.builder)).collect()
    }

    /// Hands over the chunk at hand and opens it.
    fn flushed(&mut self) -> SeenChunk {
        assert!(self.drain.flush());
        self.chunks().pop().unwrap()
    }

    /// Fills the queue to the encoder.
    fn block_output(&mut self) {
        for i in 0..QUEUE as u64 {
            self.calls(0, START + i, 1);
            self.round_after(MARGIN + Duration::from_nanos(10));
            assert!(self.drain.flush());
        }
    }
}

fn head(kind: Kind, time: u64, pid: u32) -> Header {
    Header { time, cgroup: 7, pid, tid: pid, kind: kind as u8, ..Header::default() }
}

fn call(time: u64, pid: u32) -> test_records::Call {
    test_records::Call { dur: 0, ..test_records::call(time, pid, "getpid") }
}

fn exit(time: u64, pid: u32) -> Exit {
    Exit { head: head(Kind::Exit, time, pid), ..Exit::default() }
}

fn lost(stage: &'static str, kind: Option<Kind>, cgroup: Option<u64>, count: u64) -> EventLoss {
    EventLoss { cpu: Some(1), kind, cgroup, stage, count }
}

/// Stage, kind, cgroup and count of losses.
fn summary(losses: &[SeenLoss]) -> Vec<(&str, Option<Kind>, u64, u64)> {
    losses.iter().map(|loss| (&*loss.stage, loss.kind, loss.cgroup, loss.count)).collect()
}

fn total(losses: &[SeenLoss]) -> u64 {
    losses.iter().map(|loss| loss.count).sum()
}

const LATER: Duration = Duration::from_millis(3);

fn mkdir(time: u64, id: u64, path: &str) -> Cgroup {
    test_records::cgroup(Kind::CgroupMkdir, time, id, path)
}
