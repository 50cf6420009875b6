use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};

use agent_ebpf::records::block::{Block, Request};
use agent_ebpf::records::{Cgroup, Exit, Fork, Header, Syscall, TaskInfo};
use capture_format::limits::CHUNK_EVENT_ROWS;
use events::{KINDS, Kind};
use ktape_reader::model::schema;

use super::finish::{Ending, OUTPUT_TIMEOUT};
use super::*;
use crate::agent_events::{AgentEvent, EventSender, HostSample};
use crate::containers::ContainerFilter;
use crate::kernel::{LoadError, ScannedTask};
use crate::record::cgroups::Cgroups;
use crate::record::chunk::FilledChunk;
use crate::record::decode::{Plain, bytes_of};
use crate::record::merge::WAITING_MAX;
use crate::record::processes::Processes;
use crate::record::rows::Scope;
use crate::record::sink::{QUEUE, SinkOutput};
use crate::record::source::Sources;
use crate::record::testing::{MemoryRing, SeenChunk, SeenLoss, no_hierarchy};

/// The boot clock when a test begins, ns.
const START: u64 = 1_000_000_000_000;
const WALL: i64 = 77_000_000;
const RING: usize = 16 << 20;

/// What the drain has done to the kernel, and what that answers.
#[derive(Default)]
struct KernelState {
    calls: Vec<String>,
    losses: Vec<Lost>,
    tasks: Vec<ScannedTask>,
    blocks: Vec<Block>,
    scan_fails: bool,
}

#[derive(Clone, Default)]
struct TestKernel(Rc<RefCell<KernelState>>);

impl TestKernel {
    fn log(&self, call: impl Into<String>) {
        self.0.borrow_mut().calls.push(call.into());
    }

    fn lose(&self, lost: Lost) {
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

    fn scan_tasks(&mut self) -> Result<Vec<ScannedTask>, LoadError> {
        self.log("scan");
        let state = self.0.borrow();
        if state.scan_fails { Err(LoadError::Missing("task_iter")) } else { Ok(state.tasks.clone()) }
    }

    fn take_losses(&mut self) -> Vec<Lost> {
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

    fn flush_log(&mut self) {}
}

/// A clock that goes on only when it is told to, or when the drain waits.
#[derive(Clone)]
struct TestClock(Rc<ClockState>);

struct ClockState {
    base: Instant,
    passed: Cell<Duration>,
    wall: Cell<i64>,
    /// Called for each wait.
    on_wait: RefCell<Option<Box<dyn FnMut()>>>,
}

impl TestClock {
    fn new() -> Self {
        Self(Rc::new(ClockState {
            base: Instant::now(),
            passed: Cell::new(Duration::ZERO),
            wall: Cell::new(WALL),
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
    output: SinkOutput,
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
            Sink::dropping(schema.clone(), progress.clone())
        } else {
            Sink::waiting(schema.clone())
        };
        let (agent_events, events) = crate::agent_events::channel();
        let (containers, infos) = channel();
        let (arguments, arguments_out) = sync_channel(16);
        let rings = || (0..2).map(|_| MemoryRing::new(RING)).collect();
        let cgroups = Cgroups::none(no_hierarchy(), filter);
        let (kernel, clock) = (TestKernel::default(), TestClock::new());
        let parts = Parts {
            kernel: kernel.clone(),
            merge: Merge::new(Sources { events: rings(), lifecycle: rings() }),
            rows: RowWriter::new(&schema, Processes::new(false), cgroups, Scope::new(&KINDS, None)),
            sink,
            inputs: Inputs { arguments: arguments_out, containers: infos, agent_events: events },
            background: Vec::new(),
            progress: progress.clone(),
            clock: clock.clone(),
        };
        let mut drain = Drain::new(parts, Pace::new(START - 5, RING as u64, live));
        drain.begin();
        Self { drain, kernel, clock, output, agent_events, containers, arguments, progress }
    }

    /// Puts a record into the event ring buffer of a CPU. False if there is no room: the kernel would count it.
    fn event<T: Plain>(&mut self, cpu: usize, record: &T) -> bool {
        self.drain.merge.sources_mut().0[cpu].push(bytes_of(record))
    }

    fn lifecycle<T: Plain>(&mut self, cpu: usize, record: &T) -> bool {
        self.drain.merge.sources_mut().1[cpu].push(bytes_of(record))
    }

    /// `count` calls on a CPU, each 1 ns after the one before.
    fn calls(&mut self, cpu: usize, from: u64, count: u64) {
        for i in 0..count {
            assert!(self.event(cpu, &call(from + i, 10)));
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

fn call(time: u64, pid: u32) -> Syscall {
    Syscall { head: head(Kind::Syscall, time, pid), key: 39, ..Syscall::default() }
}

fn exit(time: u64, pid: u32) -> Exit {
    Exit { head: head(Kind::Exit, time, pid), ..Exit::default() }
}

fn lost(stage: &'static str, kind: Option<Kind>, cgroup: Option<u64>, count: u64) -> Lost {
    Lost { cpu: Some(1), kind, cgroup, stage, count }
}

/// Stage, kind, cgroup and count of losses.
fn summary(losses: &[SeenLoss]) -> Vec<(&str, Option<Kind>, u64, u64)> {
    losses.iter().map(|loss| (&*loss.stage, loss.kind, loss.cgroup, loss.count)).collect()
}

fn total(losses: &[SeenLoss]) -> u64 {
    losses.iter().map(|loss| loss.count).sum()
}

const LATER: Duration = Duration::from_millis(3);

#[test]
fn records_of_all_cpus_become_rows_in_the_order_of_their_time() {
    let mut bench = Bench::new();
    bench.event(0, &call(START + 1, 10));
    bench.event(1, &call(START + 2, 11));
    bench.event(0, &call(START + 3, 10));
    bench.lifecycle(1, &exit(START + 3, 10));
    bench.round_after(LATER);
    // It comes after the rows of later ones.
    bench.event(1, &call(START + 2, 12));
    bench.round_after(LATER);
    let seen = bench.flushed();
    assert_eq!(seen.times(Kind::Syscall), [START + 1, START + 2, START + 3, START + 2]);
    assert_eq!(
        seen.events().iter().map(|event| event.late).collect::<Vec<_>>(),
        [false, false, false, true, false]
    );
    assert_eq!(seen.times(Kind::Exit), [START + 3]);
    assert_eq!((seen.clock_steps(), seen.wall_offset()), (vec![0], WALL));
}

#[test]
fn a_record_waits_until_no_earlier_one_can_come() {
    let mut bench = Bench::new();
    bench.event(0, &call(START, 10));
    bench.round_after(MARGIN - Duration::from_nanos(1));
    assert_eq!(bench.drain.rows.events(), 0);
    bench.round_after(Duration::from_nanos(1));
    assert_eq!(bench.drain.rows.events(), 1);
}

#[test]
fn a_chunk_is_closed_when_it_is_full_or_old() {
    let mut bench = Bench::new();
    bench.calls(0, START, CHUNK_EVENT_ROWS as u64 + 7);
    assert_eq!(bench.round_after(LATER), Pass::Done);
    let chunks = bench.chunks();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].events().len(), CHUNK_EVENT_ROWS);
    bench.round_after(CHUNK_AGE - Duration::from_nanos(1));
    assert_eq!(bench.chunks().len(), 0);
    bench.round_after(Duration::from_nanos(1));
    assert_eq!(bench.chunks().iter().map(|chunk| chunk.events().len()).collect::<Vec<_>>(), [7]);
    bench.round_after(CHUNK_AGE);
    assert_eq!(bench.chunks().len(), 0, "an empty chunk is not handed over");
    assert_eq!(bench.progress.events.load(Ordering::Relaxed), CHUNK_EVENT_ROWS as u64 + 7);
    assert_eq!(bench.progress.beats.load(Ordering::Relaxed), 4);
}

#[test]
fn every_stage_of_loss_becomes_a_row() {
    let mut bench = Bench::new();
    let stages = ["ring", "recursion", "storage", "map"];
    for (i, stage) in stages.into_iter().enumerate() {
        bench.kernel.lose(lost(stage, Some(Kind::Syscall), Some(7), 10 + i as u64));
    }
    bench.kernel.lose(lost("ring", Some(Kind::Switch), None, 3));
    // Beyond the queue of the agent's own threads.
    let mut dropped = 0;
    while dropped < 5 {
        dropped +=
            u64::from(!bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(1)))));
    }
    bench.round_after(HOUSEKEEPING);
    let seen = bench.flushed();
    let losses = seen.losses();
    assert_eq!(
        summary(&losses),
        [
            ("map", Some(Kind::Syscall), 7, 13),
            ("queue", Some(Kind::SampleHost), 0, 5),
            ("recursion", Some(Kind::Syscall), 7, 11),
            ("ring", Some(Kind::Syscall), 7, 10),
            ("ring", Some(Kind::Switch), 0, 3),
            ("storage", Some(Kind::Syscall), 7, 12),
        ]
    );
    let second = HOUSEKEEPING.as_nanos() as u64;
    assert!(losses.iter().all(|loss| (loss.from, loss.to) == (START - 5, START + second)));
    assert_eq!(losses[0].cpu, Some(1));
    assert_eq!(bench.progress.lost.load(Ordering::Relaxed), 54);
    // The next loss counts from here on.
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 1));
    bench.round_after(HOUSEKEEPING);
    let losses = bench.flushed().losses();
    assert_eq!(summary(&losses), [("ring", Some(Kind::Syscall), 7, 1)]);
    assert_eq!((losses[0].from, losses[0].to), (START + second, START + 2 * second));
}

#[test]
fn losses_of_other_containers_are_not_written() {
    let id = "a".repeat(64);
    let mut bench = Bench::with(ContainerFilter::new(vec![id.parse().unwrap()]), false);
    bench.lifecycle(0, &mkdir(START, 7, &format!("/docker/{id}")));
    bench.lifecycle(0, &mkdir(START, 8, "/system.slice/x"));
    bench.round_after(LATER);
    assert_eq!(bench.kernel.calls(), ["allow 8: false"]);
    for (cgroup, count) in [(Some(7), 1), (Some(8), 2), (None, 4)] {
        bench.kernel.lose(lost("ring", Some(Kind::Syscall), cgroup, count));
    }
    bench.round_after(HOUSEKEEPING);
    let losses = bench.flushed().losses();
    assert_eq!(losses.iter().map(|loss| loss.count).collect::<Vec<_>>(), [4, 1]);
}

fn mkdir(time: u64, id: u64, path: &str) -> Cgroup {
    let mut cgroup = Cgroup {
        head: head(Kind::CgroupMkdir, time, 1),
        id,
        moved_pid: 0,
        moved_tid: 0,
        threadgroup: 0,
        uid: 0,
        reserved: 0,
        path_len: path.len() as u32,
        path: [0; agent_ebpf::records::CGROUP_PATH],
    };
    cgroup.path[..path.len()].copy_from_slice(path.as_bytes());
    cgroup
}

#[test]
fn a_blocked_output_stops_the_event_rings_and_not_the_lifecycle() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64 + 10);
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    let read = bench.drain.rows.events();
    bench.lifecycle(0, &exit(START + 100, 10));
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    assert_eq!(bench.drain.rows.events(), read, "nothing more is read");
    assert!(
        bench.drain.merge.is_busy(),
        "the event ring buffer fills up, and the kernel counts what is lost"
    );
    bench.drain.rest(Pass::Stopped);
    let (_, lifecycle) = bench.drain.merge.sources_mut();
    assert_eq!(lifecycle[0].backlog(), 0, "the lifecycle ring buffer is emptied");
    // The output takes chunks again.
    assert_eq!(bench.chunks().len(), QUEUE);
    assert_eq!(bench.round_after(LATER), Pass::Done);
    let chunks = bench.chunks();
    assert_eq!(chunks[0].times(Kind::Syscall).len(), CHUNK_EVENT_ROWS);
    let rest = bench.flushed();
    assert_eq!((rest.times(Kind::Syscall).len(), rest.times(Kind::Exit)), (10, vec![START + 100]));
}

#[test]
fn lifecycle_records_beyond_16_mib_are_lost_and_processes_are_scanned_again() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64);
    assert_eq!(bench.round_after(LATER), Pass::Stopped);
    let fits = WAITING_MAX / size_of::<Fork>();
    let extra = 100;
    for i in 0..(fits + extra) as u32 {
        let fork = Fork {
            head: head(Kind::Fork, START + 1_000_000, 10),
            child_pid: i,
            child_tid: i,
            ..Fork::default()
        };
        if !bench.lifecycle(1, &fork) {
            bench.round_after(LATER);
            assert!(bench.lifecycle(1, &fork));
        }
    }
    bench.round_after(HOUSEKEEPING);
    assert_eq!(bench.kernel.calls(), Vec::<String>::new());
    let task = TaskInfo {
        pid: 10,
        tid: 10,
        call: u32::MAX,
        comm: *b"scanned\0\0\0\0\0\0\0\0\0",
        leader_comm: *b"scanned\0\0\0\0\0\0\0\0\0",
        ..TaskInfo::default()
    };
    bench.kernel.0.borrow_mut().tasks = vec![ScannedTask { info: task, exe: Vec::new() }];
    // The output takes chunks again: first what was kept is written, then the processes are scanned.
    let mut forks = 0;
    let mut losses = Vec::new();
    while bench.kernel.calls().is_empty() {
        for chunk in bench.chunks() {
            forks += chunk.times(Kind::Fork).len();
            losses.extend(chunk.losses());
        }
        bench.round_after(LATER);
    }
    let now = bench.clock.boot_ns();
    bench.event(0, &call(now, 10));
    bench.round_after(HOUSEKEEPING);
    bench.round_after(HOUSEKEEPING);
    bench.drain.flush();
    let chunks = bench.chunks();
    for chunk in &chunks {
        forks += chunk.times(Kind::Fork).len();
        losses.extend(chunk.losses());
    }
    assert_eq!(forks, fits);
    assert_eq!(summary(&losses), [("queue", Some(Kind::Fork), 7, extra as u64)]);
    let last = chunks.iter().rfind(|chunk| chunk.times(Kind::Syscall) == [now]).unwrap();
    let view = last.view();
    let names: Vec<&[u8]> = (0..view.task_rows() as u32).map(|row| view.task(row).name).collect();
    assert!(names.contains(&&b"scanned"[..]), "{names:?}");
}

#[test]
fn losses_that_find_no_room_add_up_until_there_is_some() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64);
    bench.round_after(LATER);
    for _ in 0..3 {
        bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 2));
        bench.round_after(HOUSEKEEPING);
    }
    let before = bench.chunks();
    assert!(before.iter().all(|chunk| chunk.losses().is_empty()));
    bench.round_after(HOUSEKEEPING);
    assert!(bench.drain.flush());
    let losses: Vec<SeenLoss> = bench.chunks().iter().flat_map(SeenChunk::losses).collect();
    assert_eq!(summary(&losses), [("ring", Some(Kind::Syscall), 7, 6)]);
    assert_eq!(losses[0].from, START - 5);
}

#[test]
fn a_step_of_the_wall_clock_begins_a_chunk() {
    let mut bench = Bench::new();
    bench.calls(0, START, 1);
    bench.round_after(LATER);
    bench.clock.0.wall.set(WALL + CLOCK_STEP - 1);
    bench.round_after(HOUSEKEEPING);
    assert_eq!(bench.chunks().pop().unwrap().wall_offset(), WALL, "slewing is no step");
    bench.calls(0, START + 9, 1);
    bench.round_after(LATER);
    bench.clock.0.wall.set(WALL + 5_000_000);
    bench.round_after(HOUSEKEEPING);
    bench.drain.flush();
    let chunks = bench.chunks();
    let offsets: Vec<(i64, Vec<i64>)> =
        chunks.iter().map(|chunk| (chunk.wall_offset(), chunk.clock_steps())).collect();
    assert_eq!(offsets, [(WALL, vec![]), (WALL + 5_000_000, vec![5_000_000])]);
}

#[test]
fn what_other_threads_send_is_taken_over() {
    let mut bench = Bench::new();
    let info = TaskInfo { pid: 10, tid: 10, leader_start: 3, call: u32::MAX, ..TaskInfo::default() };
    bench.drain.rows.resync(&[ScannedTask { info, exe: b"/bin/a".to_vec() }]);
    bench.arguments.send(Arguments { pid: 10, start: 3, args: b"a\0--password=x\0".to_vec() }).unwrap();
    bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(START))));
    let key = capture_format::MetadataKey { boot_id: [1; 16], cgroup: 7, birth: 0 };
    bench
        .containers
        .send(ContainerInfo {
            key,
            id: "a".repeat(64),
            values: vec![("container.name".into(), "web".into())],
        })
        .unwrap();
    bench.calls(0, START, 1);
    bench.round_after(CHUNK_AGE);
    let filled: Vec<FilledChunk> = bench.output.chunks.try_iter().collect();
    assert_eq!(filled[0].updates.names.len(), 1);
    assert_eq!((filled[0].updates.chunk, filled[0].lost), (0, 0));
    let seen = SeenChunk::new(filled.into_iter().next().unwrap().builder);
    assert_eq!(seen.times(Kind::SampleHost), [START]);
    let view = seen.view();
    let process = (0..view.process_rows() as u32)
        .map(|row| view.process(row))
        .find(|process| process.pid == 10)
        .unwrap();
    assert_eq!(process.exe, b"/bin/a");
    assert!(
        process.args.starts_with(b"a\0--password=") && !process.args.ends_with(b"x\0"),
        "secrets are masked"
    );
}

#[test]
fn updates_go_with_an_empty_chunk_when_there_are_no_events() {
    let mut bench = Bench::new();
    bench.drain.flush();
    bench.chunks();
    let key = capture_format::MetadataKey { boot_id: [1; 16], cgroup: 7, birth: 0 };
    bench
        .containers
        .send(ContainerInfo {
            key,
            id: "a".repeat(64),
            values: vec![("container.name".into(), "web".into())],
        })
        .unwrap();
    bench.round_after(CHUNK_AGE);
    let filled: Vec<FilledChunk> = bench.output.chunks.try_iter().collect();
    assert_eq!(filled.len(), 1);
    assert!(filled[0].builder.is_empty());
    assert_eq!(filled[0].updates.names.len(), 1);
}

#[test]
fn a_live_view_that_is_too_slow_never_blocks_the_drain() {
    let mut bench = Bench::with(ContainerFilter::default(), true);
    for i in 0..QUEUE as u64 + 3 {
        bench.calls(0, START + i, 2);
        assert_eq!(bench.round_after(PAUSE_MAX), Pass::Done);
    }
    assert_eq!(bench.progress.unshown.load(Ordering::Relaxed), 6);
    assert_eq!(bench.chunks().len(), QUEUE);
    bench.calls(0, START + 100, 2);
    bench.round_after(PAUSE_MAX);
    assert_eq!(bench.chunks().iter().map(|chunk| chunk.events().len()).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_drain_ends_when_its_output_has_ended() {
    let mut bench = Bench::new();
    bench.calls(0, START, CHUNK_EVENT_ROWS as u64);
    let Bench { drain, progress, clock, output, .. } = bench;
    drop(output);
    clock.advance(LATER);
    let outcome = drain.run(&Stop::default());
    assert!(progress.failed.load(Ordering::Acquire));
    assert_eq!((outcome.events, outcome.lost), (0, CHUNK_EVENT_ROWS as u64));
    assert!(clock.passed() < Duration::from_millis(50), "an output that has ended is not waited for");
}

#[test]
fn the_end_detaches_scans_in_between_and_writes_what_is_in_flight() {
    let mut bench = Bench::new();
    let info =
        TaskInfo { cgroup: 7, pid: 10, tid: 10, call: 0, call_start: START - 100, ..TaskInfo::default() };
    let mut request = Request { bytes: 512, ..Request::default() };
    request.origin.first = START - 50;
    let block = Block { head: head(Kind::Block, START, 10), request };
    {
        let mut state = bench.kernel.0.borrow_mut();
        state.tasks = vec![ScannedTask { info, exe: Vec::new() }];
        state.blocks = vec![block];
    }
    // Within the margin: read at the end all the same.
    bench.calls(1, START, 2);
    bench.agent_events.send(AgentEvent::SampleHost(Box::new(HostSample::unknown(START))));
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 4));
    let Ending { outcome, unsent } = bench.drain.finish();
    assert!(unsent.is_none());
    assert_eq!(bench.kernel.calls(), ["detach events", "scan", "detach all"]);
    assert_eq!((outcome.events, outcome.lost, outcome.damaged), (5, 4, 0));
    assert_eq!(outcome.lost_by, [("ring syscall".to_owned(), 4)]);
    let chunks: Vec<SeenChunk> =
        bench.output.chunks.try_iter().map(|filled| SeenChunk::new(filled.builder)).collect();
    assert_eq!(chunks.len(), 1);
    assert_eq!(chunks[0].times(Kind::Syscall), [START, START + 1, START]);
    assert_eq!(chunks[0].numbers(Kind::Syscall, "dur"), [0, 0, 100]);
    assert_eq!(chunks[0].numbers(Kind::Block, "dur"), [50]);
    assert_eq!(chunks[0].times(Kind::SampleHost), [START]);
    assert_eq!(summary(&chunks[0].losses()), [("ring", Some(Kind::Syscall), 7, 4)]);
    assert_eq!(chunks[0].clock_steps(), [0, 0], "the last row tells when the recording ended");
}

#[test]
fn the_end_waits_for_a_record_that_is_being_written() {
    let mut bench = Bench::new();
    bench.calls(0, START, 1);
    bench.drain.merge.sources_mut().0[0].set_busy(true);
    let clock = bench.clock.clone();
    let Ending { outcome, .. } = bench.drain.finish();
    // It is never finished, so it is neither read nor counted.
    assert_eq!((outcome.events, outcome.lost), (0, 0));
    assert!(clock.passed() >= OUTPUT_TIMEOUT);
}

#[test]
fn an_output_that_resumes_in_time_loses_nothing_at_the_end() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, CHUNK_EVENT_ROWS as u64 + 10);
    let chunks = Rc::new(RefCell::new(Vec::new()));
    let Bench { drain, clock, output, .. } = bench;
    let (seen, late) = (chunks.clone(), clock.clone());
    *clock.0.on_wait.borrow_mut() = Some(Box::new(move || {
        if late.passed() > OUTPUT_TIMEOUT - Duration::from_millis(500) {
            seen.borrow_mut().extend(output.chunks.try_iter());
        }
    }));
    let Ending { outcome, unsent } = drain.finish();
    assert!(unsent.is_none());
    assert_eq!((outcome.events, outcome.lost), (CHUNK_EVENT_ROWS as u64 + 10 + QUEUE as u64, 0));
    if let Some(on_wait) = &mut *clock.0.on_wait.borrow_mut() {
        on_wait();
    }
    let calls: usize = chunks
        .borrow_mut()
        .drain(..)
        .map(|filled| SeenChunk::new(filled.builder).times(Kind::Syscall).len())
        .sum();
    assert_eq!(calls as u64, outcome.events);
}

#[test]
fn a_stalled_output_is_given_up_after_three_seconds_and_everything_is_counted() {
    let mut bench = Bench::new();
    bench.block_output();
    // A loss row in the chunk that is given up must be in the last one again.
    bench.kernel.lose(lost("ring", Some(Kind::Syscall), Some(7), 3));
    bench.round_after(HOUSEKEEPING);
    let at_hand = CHUNK_EVENT_ROWS as u64;
    bench.calls(0, START + 100, at_hand + 10);
    bench.lifecycle(1, &exit(START + 200_000_000, 10));
    bench.round_after(LATER);
    let before = bench.clock.passed();
    let Ending { outcome, unsent } = bench.drain.finish();
    let waited = bench.clock.passed() - before;
    assert!(waited >= OUTPUT_TIMEOUT && waited < OUTPUT_TIMEOUT + Duration::from_millis(50), "{waited:?}");
    assert_eq!(outcome.events, QUEUE as u64, "only those that were handed over");
    assert_eq!(outcome.lost, 3 + at_hand + 10 + 1);
    let by = |text: &str, count| (text.to_owned(), count);
    assert_eq!(
        outcome.lost_by,
        [by("queue exit", 1), by("queue syscall", 10), by("ring syscall", 3), by("writer any", at_hand)]
    );
    let unsent = unsent.unwrap();
    assert_eq!(unsent.chunk.lost, outcome.lost);
    let seen = SeenChunk::new(unsent.chunk.builder);
    assert!(seen.events().is_empty());
    assert_eq!(seen.wall_offset(), WALL);
    let losses = seen.losses();
    assert_eq!(total(&losses), outcome.lost);
    assert_eq!(
        summary(&losses),
        [
            ("queue", Some(Kind::Syscall), 7, 10),
            ("queue", Some(Kind::Exit), 7, 1),
            ("ring", Some(Kind::Syscall), 7, 3),
            ("writer", None, 0, at_hand),
        ]
    );
}

#[test]
fn the_last_chunk_is_handed_over_when_the_output_resumes_after_the_end() {
    let mut bench = Bench::new();
    bench.block_output();
    bench.calls(0, START + 100, 5);
    let Bench { drain, output, .. } = bench;
    let ending = drain.finish();
    assert!(ending.unsent.is_some());
    assert_eq!(output.chunks.try_iter().count(), QUEUE);
    assert_eq!(ending.deliver().lost, 5);
    let last = output.chunks.try_recv().unwrap();
    assert_eq!(last.lost, 5);
}

#[test]
fn a_scan_that_fails_costs_only_the_calls_in_flight() {
    let mut bench = Bench::new();
    bench.kernel.0.borrow_mut().scan_fails = true;
    bench.calls(0, START, 3);
    let Ending { outcome, unsent } = bench.drain.finish();
    assert!(unsent.is_none());
    assert_eq!((outcome.events, outcome.lost), (3, 0));
}

#[test]
fn smaller_rings_are_read_more_often() {
    let pause = |ring_bytes| Pace::new(0, ring_bytes, false).pause;
    assert_eq!(pause(8 << 20), PAUSE_MAX);
    assert_eq!(pause(1 << 30), PAUSE_MAX);
    assert_eq!(pause(4 << 20), PAUSE_MAX / 2);
    assert_eq!(pause(64 << 10), PAUSE_MAX / 20);
    let mut bench = Bench::new();
    let before = bench.clock.passed();
    bench.drain.rest(Pass::Done);
    assert_eq!(bench.clock.passed() - before, PAUSE_MAX);
    bench.calls(0, START, RING as u64 / 64 / 4);
    let before = bench.clock.passed();
    bench.drain.rest(Pass::Done);
    assert_eq!(bench.clock.passed(), before, "a ring buffer that fills up is read again at once");
}
