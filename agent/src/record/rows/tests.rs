use agent_ebpf::records::cpu::{SwitchWords, sort};
use agent_ebpf::records::net::{Net, tcp};
use agent_ebpf::records::sched::class;
use agent_ebpf::records::{Change, Exit, Fork, Rename, TaskInfo};
use agent_ebpf::records::{oom::Oom, signals::Signal};
use events::{KINDS, NO_CALL, UNKNOWN};
use ktape_reader::model::column;

use super::loss::LossSpan;
use super::*;
use crate::agent_events::{
    AgentEvent, CgroupSample, DiskSample, FsSample, HostSample, Phase, SleepPlace, Stall, Waker,
};
use crate::containers::ContainerFilter;
use crate::kernel::EventLoss;
use crate::record::cpu_stream::{CpuStream, StreamThread};
use crate::record::decode::bytes_of;
use crate::record::test_records::{
    Call, call, call_with, cgroup, comm, exec, exec_given, exit, fork, head, key, openat,
};
use crate::record::testing::{SeenChunk, no_hierarchy, rows_of, switch_record};

mod block;
mod entered;
mod uring;

/// A writer and its chunk.
struct Writer {
    rows: RowWriter,
    builder: ChunkBuilder,
    stream: CpuStream,
}

impl Writer {
    fn new(kinds: &[Kind], tree_root: Option<u32>, filter: ContainerFilter) -> Self {
        let schema = Arc::new(ktape_reader::model::schema());
        let cgroups = Cgroups::none(no_hierarchy(), filter);
        let rows = RowWriter::new(&schema, Processes::new(false), cgroups, Scope::new(kinds, tree_root));
        Self { rows, builder: ChunkBuilder::new(schema), stream: CpuStream::new(1) }
    }

    /// Everything is recorded.
    fn open() -> Self {
        Self::new(&KINDS, None, ContainerFilter::default())
    }

    fn add<T: decode::Plain>(&mut self, record: &T) {
        self.rows.add(&mut self.builder, bytes_of(record));
    }

    /// Adds a record of the CPU's own ring buffer.
    fn add_of_cpu(&mut self, record: &[u8]) {
        if !self.stream.follow(record) {
            self.rows.add_of_cpu(&mut self.builder, &mut self.stream, record);
        }
    }

    fn call(&mut self, call: &Call) {
        call.records().iter().for_each(|record| self.add_of_cpu(record));
    }

    fn close(self) -> SeenChunk {
        assert_eq!(self.rows.damaged(), 0);
        SeenChunk::new(self.builder)
    }
}

#[test]
fn a_call_is_written_with_the_arguments_and_strings_that_it_has() {
    let mut writer = Writer::open();
    writer.call(&openat(5, 10, "/etc/hosts"));
    writer.call(&Call { args: vec![3, 88, 99], ..call(6, 10, "close") });
    writer.call(&call(7, 10, "getpid"));
    writer.call(&Call { args: vec![3, 4, 5, 6, 7, 8], ..call(8, 10, "pread64") });
    let seen = writer.close();
    assert_eq!(seen.times(Kind::Syscall), [5, 6, 7, 8]);
    let keys = ["openat", "close", "getpid", "pread64"].map(|name| u64::from(key(name)));
    assert_eq!(seen.numbers(Kind::Syscall, "nr"), keys);
    assert_eq!(seen.numbers(Kind::Syscall, "dur"), [100; 4]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    let calls = ktape_reader::model::CallColumns::new(rows);
    // The pointer of the path says nothing, and what is beyond the last argument is no argument.
    assert_eq!(calls.args(0).len(), 4);
    assert_eq!((calls.args(0)[0], calls.args(0)[2]), (-100i64 as u64, 0x8_0000));
    assert_eq!(calls.args(1), [3]);
    assert!(calls.args(2).is_empty());
    assert_eq!((calls.args(3)[0], calls.args(3)[2], calls.args(3)[3]), (3, 5, 6));
    let strings = rows.table.list_bytes(rows.event.known(column(Kind::Syscall, "strs")).unwrap()).unwrap();
    let strings: Vec<&[u8]> = strings.get(0).iter().map(|id| rows.table.chunk().str(*id)).collect();
    assert_eq!(strings, [b"/etc/hosts"]);
}

#[test]
fn the_path_of_an_exec_goes_to_the_call_that_returns_from_it() {
    let mut writer = Writer::open();
    writer.add(&exec(5, 10, "ls"));
    let unread = flags::STR0_UNREAD | flags::STR1_UNREAD;
    writer.call(&Call { ret: 0, flags: unread, sort: sort::LONG, ..call_with(6, 10, "execve", ["", ""]) });
    let seen = writer.close();
    assert_eq!(seen.texts(Kind::Exec, "path"), ["/bin/ls"]);
    assert_eq!(seen.texts(Kind::Exec, "args"), ["ls\0-v\0"]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    assert_eq!(rows.flags(0) & (flags::STR0_UNREAD | flags::STR1_UNREAD), 0);
    let strings = rows.table.list_bytes(rows.event.known(column(Kind::Syscall, "strs")).unwrap()).unwrap();
    let strings: Vec<&[u8]> = strings.get(0).iter().map(|id| rows.table.chunk().str(*id)).collect();
    assert_eq!(strings, [&b"/bin/ls"[..], b"ls\0-v\0"]);
}

#[test]
fn a_failed_exec_has_its_own_arguments_with_secrets_masked() {
    let mut writer = Writer::open();
    writer.add(&exec(5, 10, "ls"));
    writer.add(&exec_given(6, 10, "/bin/x", b"x\0--password\0hunter2\0"));
    writer.call(&Call { ret: -2, sort: sort::LONG_ENTERED, ..call_with(7, 10, "execve", ["", ""]) });
    let seen = writer.close();
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Syscall).next().unwrap();
    let strings = rows.table.list_bytes(rows.event.known(column(Kind::Syscall, "strs")).unwrap()).unwrap();
    let strings: Vec<&[u8]> = strings.get(0).iter().map(|id| rows.table.chunk().str(*id)).collect();
    assert_eq!(strings, [&b"/bin/x"[..], b"x\0--password\0******\0"]);
}

#[test]
fn a_changed_parent_is_not_an_event() {
    let mut writer = Writer::open();
    writer.add(&fork(1, 1, 10));
    writer.add(&fork(2, 10, 20));
    writer.call(&call(3, 20, "getpid"));
    let head = Header { class: Change::CLASS, ..head(Kind::Fork, 4, 20) };
    writer.add(&Change { head, ppid: 1, ..Change::default() });
    writer.call(&call(5, 20, "getpid"));
    writer.add(&Exit { ppid: 77, ..exit(6, 20, 0) });
    let seen = writer.close();
    let view = seen.view();
    let parents = |kind| -> Vec<u64> {
        rows_of(&view, kind)
            .map(|(rows, row)| view.process(view.process_of(rows.task(row).unwrap()).unwrap()).ppid)
            .collect()
    };
    assert_eq!(seen.times(Kind::Fork), [1, 2]);
    assert_eq!(parents(Kind::Syscall), [10, 1]);
    assert_eq!(parents(Kind::Exit), [77]);
}

#[test]
fn an_event_is_about_the_process_as_it_was_then() {
    let mut writer = Writer::open();
    writer.add(&fork(1, 10, 20));
    writer.call(&call(2, 20, "getpid"));
    writer.add(&exec(3, 20, "ls"));
    writer.call(&call(4, 20, "getpid"));
    writer.add(&Rename { head: head(Kind::Rename, 5, 20), comm: comm("new"), ppid: 10, ..Rename::default() });
    writer.call(&call(6, 20, "getpid"));
    writer.add(&exit(7, 20, 9));
    writer.call(&call(6, 20, "getpid"));
    let seen = writer.close();
    let view = seen.view();
    let names: Vec<(&[u8], &[u8], u64)> = rows_of(&view, Kind::Syscall)
        .map(|(rows, row)| {
            let task = rows.task(row).unwrap();
            let process = view.process(view.process_of(task).unwrap());
            (view.task(task).name, process.exe, process.ppid)
        })
        .collect();
    let expected: [(&[u8], &[u8], u64); 4] =
        [(b"sh", b"", 10), (b"ls", b"/bin/ls", 10), (b"new", b"/bin/ls", 10), (b"new", b"/bin/ls", 10)];
    assert_eq!(names, expected);
    assert_eq!(seen.numbers(Kind::Fork, "child_pid"), [20]);
    assert_eq!(seen.texts(Kind::Exec, "old_comm"), ["sh"]);
    assert_eq!(seen.texts(Kind::Rename, "comm"), ["new"]);
    assert_eq!(seen.numbers(Kind::Exit, "signal"), [9]);
}

#[test]
fn an_event_before_the_latest_one_is_marked_late() {
    let mut writer = Writer::open();
    for time in [5, 9, 7, 9] {
        writer.call(&call(time, 10, "getpid"));
    }
    // Events that the agent makes are behind the ring buffers, and mark nothing.
    writer.rows.clock(&mut writer.builder, 4, 0, 0);
    writer.call(&call(9, 10, "getpid"));
    let late: Vec<bool> = writer.close().events().iter().map(|event| event.late).collect();
    assert_eq!(late, [false, false, true, false, false]);
}

#[test]
fn records_that_are_too_short_or_of_no_kind_are_counted_as_damaged() {
    let mut writer = Writer::open();
    let records: [Vec<u8>; 12] = [
        bytes_of(&head(Kind::Syscall, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Fork, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Exec, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Exit, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Rename, 1, 10)).to_vec(),
        bytes_of(&head(Kind::CgroupMkdir, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Switch, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Block, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Net, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Signal, 1, 10)).to_vec(),
        bytes_of(&head(Kind::Stall, 1, 10)).to_vec(),
        vec![0; 40],
    ];
    for record in &records {
        writer.rows.add(&mut writer.builder, record);
    }
    // Of a CPU's own ring buffer: too short, of no type, without its lengths, and with a string that ends after it.
    let string = openat(1, 10, "/x").record();
    let mut long = string.clone();
    long[72] = 9;
    let no_type = Call { sort: 7, ..call(1, 10, "getpid") }.record();
    let of_cpu = [
        string[..16].to_vec(),
        no_type,
        string[..72].to_vec(),
        long,
        switch_record(1, &SwitchWords::default())[..72].to_vec(),
    ];
    of_cpu.iter().for_each(|record| writer.add_of_cpu(record));
    assert_eq!(writer.rows.damaged(), (records.len() + of_cpu.len()) as u64);
    assert!(writer.builder.is_empty());
    assert_eq!(writer.rows.events(), 0);
}

#[test]
fn a_switch_refers_to_both_threads() {
    let mut writer = Writer::open();
    writer.add_of_cpu(&switch_record(
        5,
        &SwitchWords {
            ids: [10, 10],
            cgroup: 7,
            ran: 1,
            off_cpu: 2,
            runnable: 3,
            next_cgroup: 8,
            next_ids: [20, 21],
            flags: 0,
            class: class(2, true),
        },
    ));
    let seen = writer.close();
    let number = |name| seen.numbers(Kind::Switch, name)[0];
    assert_eq!(["state", "preempted", "ran", "off_cpu", "runnable"].map(number), [2, 1, 1, 2, 3]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Switch).next().unwrap();
    let next = rows.reference(column(Kind::Switch, "next"), 0).unwrap();
    assert_eq!((view.task(next).tid, view.cgroup(view.cgroup_of(next).unwrap()).id), (21, 8));
}

#[test]
fn a_socket_that_closes_has_counters() {
    let mut writer = Writer::open();
    let mut net =
        Net { head: head(Kind::Net, 50, 10), birth: 20, sent: 5, received: 6, family: 2, ..Net::default() };
    (net.old, net.new, net.counted) = (tcp::SYN_SENT as u8, tcp::ESTABLISHED as u8, 1);
    writer.add(&net);
    (net.old, net.new) = (tcp::ESTABLISHED as u8, tcp::CLOSE as u8);
    writer.add(&net);
    let seen = writer.close();
    assert_eq!(seen.texts(Kind::Net, "new"), ["ESTABLISHED", "CLOSE"]);
    assert_eq!(seen.numbers(Kind::Net, "sent"), [UNKNOWN, 5]);
    assert_eq!(seen.numbers(Kind::Net, "received"), [UNKNOWN, 6]);
    assert_eq!(seen.numbers(Kind::Net, "dur"), [30, 30]);
}

#[test]
fn signals_and_victims_of_oom_refer_to_two_processes() {
    let mut writer = Writer::open();
    let signal = Signal {
        head: head(Kind::Signal, 5, 10),
        target_pid: 20,
        target_tid: 20,
        target_cgroup: 8,
        signal: 9,
        ..Signal::default()
    };
    writer.add(&signal);
    let oom = Oom {
        head: head(Kind::Oom, 6, 20),
        trigger_pid: 10,
        trigger_tid: 10,
        trigger_cgroup: 7,
        limited: 8,
        limited_known: 1,
        limit: 2,
        ..Oom::default()
    };
    writer.add(&oom);
    let seen = writer.close();
    assert_eq!(
        (seen.numbers(Kind::Signal, "signal"), seen.numbers(Kind::Signal, "target_pid")),
        (vec![9], vec![20])
    );
    assert_eq!(seen.numbers(Kind::Oom, "limit"), [2 * u64::from(crate::kernel::page_size())]);
    assert_eq!(seen.numbers(Kind::Oom, "anon"), [UNKNOWN]);
    let view = seen.view();
    let (rows, _) = rows_of(&view, Kind::Oom).next().unwrap();
    let trigger = rows.reference(column(Kind::Oom, "trigger"), 0).unwrap();
    assert_eq!(view.task(trigger).tid, 10);
}

#[test]
fn of_a_process_tree_only_descendants_are_written() {
    let mut writer = Writer::new(&KINDS, Some(10), ContainerFilter::default());
    writer.add(&fork(1, 10, 20));
    writer.add(&Fork { tree: 0, ..fork(2, 50, 60) });
    writer.add(&exec(3, 20, "ls"));
    writer.add(&exec(4, 60, "ls"));
    writer.add(&exit(5, 20, 0));
    // Another process with the id of one that has exited.
    writer.add(&exec(6, 20, "ls"));
    let seen = writer.close();
    assert_eq!(seen.times(Kind::Fork), [1]);
    assert_eq!(seen.times(Kind::Exec), [3]);
    assert_eq!(seen.times(Kind::Exit), [5]);
}

#[test]
fn kinds_that_are_not_wanted_still_name_processes() {
    let mut writer = Writer::new(&[Kind::Syscall], None, ContainerFilter::default());
    writer.add(&fork(1, 10, 20));
    writer.add(&exec(2, 20, "ls"));
    writer.call(&call(3, 20, "getpid"));
    let seen = writer.close();
    assert_eq!(seen.events().len(), 1);
    assert_eq!(seen.view().task(0).name, b"ls");
}

#[test]
fn cgroups_that_are_unwanted_or_removed_leave_the_kernels_set() {
    let id = "a".repeat(64);
    let filter = ContainerFilter::new(vec![id.parse().unwrap()]);
    let mut writer = Writer::new(&KINDS, None, filter);
    writer.add(&cgroup(Kind::CgroupMkdir, 1, 70, &format!("/docker/{id}")));
    assert!(writer.rows.take_disallowed().is_empty());
    writer.add(&cgroup(Kind::CgroupMkdir, 2, 80, "/system.slice/x"));
    assert_eq!(writer.rows.take_disallowed(), [80]);
    writer.add(&cgroup(Kind::CgroupAttach, 3, 70, ""));
    writer.add(&cgroup(Kind::CgroupRmdir, 4, 70, ""));
    writer.add(&cgroup(Kind::CgroupRmdir, 5, 80, ""));
    assert_eq!(writer.rows.take_disallowed(), [70]);
    let concerns = |cgroup: Option<u64>, writer: &mut Writer| {
        writer.rows.concerns(&EventLoss { cpu: None, kind: None, cgroup, stage: "ring", count: 1 })
    };
    assert!(
        concerns(Some(70), &mut writer) && concerns(None, &mut writer) && !concerns(Some(80), &mut writer)
    );
    let seen = writer.close();
    assert_eq!(seen.times(Kind::CgroupMkdir), [1]);
    assert_eq!(seen.numbers(Kind::CgroupAttach, "moved_tid"), [21]);
    assert_eq!(seen.times(Kind::CgroupRmdir), [4]);
}

#[test]
fn a_loss_is_written_with_its_place_and_time() {
    let mut writer = Writer::open();
    let lost =
        EventLoss { cpu: Some(3), kind: Some(Kind::Syscall), cgroup: Some(7), stage: "ring", count: 0 };
    writer.rows.loss(&mut writer.builder, &lost, LossSpan { from: 5, to: 9, count: 11 });
    assert_eq!(writer.rows.lost(), 11);
    assert_eq!(writer.rows.events(), 0, "a loss is no event");
    writer.rows.next_chunk();
    assert_eq!(writer.rows.lost(), 0);
    let losses = writer.close().losses();
    assert_eq!(losses.len(), 1);
    let loss = &losses[0];
    assert_eq!((&*loss.stage, loss.kind, loss.cgroup), ("ring", Some(Kind::Syscall), 7));
    assert_eq!((loss.cpu, loss.count, loss.from, loss.to), (Some(3), 11, 5, 9));
}

#[test]
fn events_of_the_agent_are_written_if_wanted() {
    let events = || {
        let stall = Stall {
            time: 5,
            dur: 3,
            phase: Phase::Unfinished,
            pid: 10,
            tid: 11,
            uid: 0,
            cgroup: 7,
            place: Arc::new(SleepPlace {
                call: key("close"),
                args: [4, 5, 6, 7, 8, 9],
                wait: b"io_schedule".to_vec(),
                ..SleepPlace::UNKNOWN
            }),
            waker: Some(Waker { pid: 20, tid: 20, cgroup: 7 }),
        };
        [
            AgentEvent::Sample(Box::new(CgroupSample { threads: 4, ..CgroupSample::unknown(1) })),
            AgentEvent::SampleHost(Box::new(HostSample { cpus: 2, ..HostSample::unknown(2) })),
            AgentEvent::SampleDisk(Box::new(DiskSample { dev: b"vda".to_vec(), ..DiskSample::unknown(3) })),
            AgentEvent::SampleFs(Box::new(FsSample { mount: b"/".to_vec(), ..FsSample::unknown(4) })),
            AgentEvent::Stall(Box::new(Stall { phase: Phase::Still, ..stall.clone() })),
            AgentEvent::Stall(Box::new(stall)),
        ]
    };
    let mut writer = Writer::open();
    events().iter().for_each(|event| writer.rows.add_agent_event(&mut writer.builder, event));
    let seen = writer.close();
    assert_eq!(seen.numbers(Kind::Sample, "threads"), [4]);
    assert_eq!(seen.numbers(Kind::Sample, "mem"), [UNKNOWN]);
    assert_eq!(seen.numbers(Kind::SampleHost, "cpus"), [2]);
    assert_eq!(seen.texts(Kind::SampleDisk, "dev"), ["vda"]);
    assert_eq!(seen.texts(Kind::SampleFs, "mount"), ["/"]);
    assert_eq!(seen.texts(Kind::Stall, "wait"), ["io_schedule"]);
    assert_eq!(seen.numbers(Kind::Stall, "nr"), [u64::from(key("close"))]);
    assert_eq!(seen.texts(Kind::Stall, "phase"), ["unfinished"]);
    assert_eq!(seen.texts(Kind::StallOngoing, "phase"), ["still"]);
    assert_eq!(seen.texts(Kind::StallOngoing, "wait"), ["io_schedule"]);
    let view = seen.view();
    let (ongoing, _) = rows_of(&view, Kind::StallOngoing).next().unwrap();
    assert_eq!(ongoing.flags(0), 0);
    let (rows, _) = rows_of(&view, Kind::Stall).next().unwrap();
    let args = rows.table.list_u64(rows.event.known(column(Kind::Stall, "args")).unwrap()).unwrap();
    assert_eq!(args.get(0), [4]);
    assert_eq!(rows.flags(0), flags::UNFINISHED | flags::AT_END);
    let waker = rows.reference(column(Kind::Stall, "waker"), 0).unwrap();
    assert_eq!(view.task(waker).tid, 20);
    drop(view);

    let mut writer = Writer::new(&[Kind::Syscall], None, ContainerFilter::default());
    events().iter().for_each(|event| writer.rows.add_agent_event(&mut writer.builder, event));
    assert!(writer.builder.is_empty());
}

#[test]
fn a_call_in_flight_is_written_as_unfinished() {
    let mut writer = Writer::open();
    let task = |call, call_start| ScannedTask {
        info: TaskInfo { cgroup: 7, pid: 10, tid: 11, call, call_start, args: [3; 6], ..TaskInfo::default() },
        exe: Vec::new(),
    };
    let tasks = [
        task(NO_CALL, 0),
        task(key("openat"), 40),
        task(key("linkat"), 0),
        // It began while the hooks were detached.
        task(key("close"), 101),
    ];
    tasks.iter().for_each(|task| writer.rows.unfinished(&mut writer.builder, task, 100));
    let seen = writer.close();
    assert_eq!(seen.numbers(Kind::Syscall, "dur"), [60, 0]);
    let view = seen.view();
    let bits: Vec<u32> = rows_of(&view, Kind::Syscall).map(|(rows, row)| rows.flags(row)).collect();
    let both = flags::UNFINISHED | flags::AT_END | flags::STR0_UNREAD;
    assert_eq!(bits, [both, both | flags::START_UNKNOWN | flags::STR1_UNREAD]);
}

#[test]
fn events_are_counted_for_their_containers() {
    let mut writer = Writer::open();
    let id = "a".repeat(64);
    writer.add(&cgroup(Kind::CgroupMkdir, 1, 7, &format!("/docker/{id}")));
    for time in 2..5 {
        writer.call(&call(time, 10, "getpid"));
    }
    let thread = StreamThread { cgroup: 1, pid: 11, tid: 11, uid: 0 };
    writer.call(&Call { thread, ..call(6, 11, "getpid") });
    assert_eq!(writer.rows.events(), 5);
    let busiest = writer.rows.busiest();
    assert_eq!(busiest, [busy(Some(id), 4), busy(None, 1)]);
}

fn busy(container: Option<String>, events: u64) -> Busy {
    Busy { container, name: String::new(), events }
}
