use std::io::Cursor;

use capture_format::{CaptureFile, Header};
use events::{Kind, UNKNOWN, flags, task_state};

use crate::model::testing::{TestCall, TestChunk, TestSwitch, WALL, call, file, header, openat};
use crate::scan::{Capture, Captures, Query};
use crate::stats::{Cell, Datum, Plan, Question};

const S: u64 = 1_000_000_000;
/// When the processes of these captures started; the captures began before.
const BORN: u64 = 1;

/// What threads did: thread id, state, call, file, ns; in the order of time.
type Parts = Vec<(u64, String, String, String, u64)>;

fn captures(header: &Header, chunks: Vec<TestChunk>) -> Captures {
    let bytes = file(header, chunks, &[]);
    Captures::new(vec![Capture::new("test", CaptureFile::from_reader(Cursor::new(bytes)).unwrap())])
}

fn parts_within(captures: &Captures, from: Option<u64>, to: Option<u64>) -> Parts {
    let wall = |boot: u64| boot as i64 + WALL;
    let mut query = Query::parse("evt.category = thread_state").unwrap();
    (query.from, query.to) = (from.map(wall), to.map(wall));
    let by = ["thread.tid", "evt.time", "thread_state.state", "thread_state.call", "fd.name"];
    let question = Question {
        by: by.map(str::to_owned).to_vec(),
        columns: vec!["sum(thread_state.dur)".to_owned()],
        sort: vec!["thread.tid".to_owned(), "evt.time".to_owned()],
        ..Question::default()
    };
    let (answer, _) = captures.query(query).unwrap().answer(&Plan::new(&question).unwrap());
    let rows = answer.rows.iter().map(|row| {
        let Cell::Number(time) = row.cells[0] else { panic!("{row:?}") };
        let text = |at: usize| match &row.key[at] {
            Datum::Text(text) => String::from_utf8_lossy(text).into_owned(),
            Datum::Number(number) => number.to_string(),
            Datum::Missing | Datum::Other => "-".to_owned(),
        };
        (text(0).parse().unwrap(), text(2), text(3), text(4), time as u64)
    });
    rows.collect()
}

fn parts(captures: &Captures) -> Parts {
    parts_within(captures, None, None)
}

fn part(tid: u64, state: &str, call: &str, file: &str, ns: u64) -> (u64, String, String, String, u64) {
    (tid, state.to_owned(), call.to_owned(), file.to_owned(), ns)
}

/// A capture that began at boot time 0, with a thread 10 and one that gets the CPU in between.
fn two_threads(fill: impl FnOnce(&mut TestChunk, u32, u32)) -> TestChunk {
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let a = chunk.task(10, 10, "a", host);
    let b = chunk.task(20, 20, "b", host);
    fill(&mut chunk, a, b);
    chunk
}

fn entered(to: u32, off_cpu: u64, runnable: u64) -> TestSwitch {
    TestSwitch { off_cpu, runnable, ..TestSwitch::new(0, task_state::RUNNABLE, to) }
}

#[test]
fn a_call_in_which_a_thread_sleeps_has_all_of_its_states() {
    let chunk = two_threads(|chunk, a, b| {
        // `a` runs until 2 s, calls `openat` at 1.9 s, sleeps, is woken at 4 s, gets the CPU at 4.5 s, returns at 5 s.
        chunk.switch(2 * S, TestSwitch { ran: UNKNOWN, ..TestSwitch::new(a, task_state::INTERRUPTIBLE, b) });
        let back = TestSwitch { from: b, ran: 25 * S / 10, ..entered(a, 25 * S / 10, S / 2) };
        chunk.switch(45 * S / 10, back);
        chunk.call(5 * S, a, &TestCall { dur: 31 * S / 10, ..openat(b"/etc/hosts", 3) });
        chunk.exit(6 * S, a, 0, 0);
    });
    let expected = vec![
        part(10, "running", "-", "-", 19 * S / 10 - BORN),
        part(10, "running", "openat", "/etc/hosts", S / 10),
        part(10, "sleeping", "openat", "/etc/hosts", 2 * S),
        part(10, "runnable", "openat", "/etc/hosts", S / 2),
        part(10, "running", "openat", "/etc/hosts", S / 2),
        part(10, "running", "-", "-", S),
        // Nothing is known of `b` before it got the CPU.
        part(20, "off_cpu", "-", "-", 2 * S - BORN),
        part(20, "running", "-", "-", 25 * S / 10),
        part(20, "runnable", "-", "-", 15 * S / 10),
    ];
    assert_eq!(parts(&captures(&header(1), vec![chunk])), expected);
}

#[test]
fn parts_add_up_to_the_range_and_are_cut_at_its_ends() {
    let make = || {
        two_threads(|chunk, a, b| {
            chunk.switch(2 * S, TestSwitch::new(a, task_state::UNINTERRUPTIBLE, b));
            chunk.switch(4 * S, TestSwitch { from: b, ran: 2 * S, ..entered(a, 2 * S, 0) });
            chunk.call(6 * S, a, &TestCall { dur: 5 * S, ..call("fsync", &[3], 0) });
            chunk
                .switch(8 * S, TestSwitch { ran: 4 * S, ..TestSwitch::new(a, task_state::INTERRUPTIBLE, b) });
        })
    };
    let captures = captures(&header(1), vec![make()]);
    for (from, to) in [(1, 8), (1, 7), (3, 5), (3, 4), (7, 8)] {
        let parts = parts_within(&captures, Some(from * S), Some(to * S));
        for tid in [10, 20] {
            let sum: u64 = parts.iter().filter(|part| part.0 == tid).map(|part| part.4).sum();
            assert_eq!(sum, (to - from) * S, "{tid} from {from} to {to}: {parts:?}");
        }
    }
    let cut = parts_within(&captures, Some(3 * S), Some(5 * S));
    assert_eq!(cut[..2], [part(10, "blocked", "fsync", "-", S), part(10, "running", "fsync", "-", S)]);
}

#[test]
fn threads_begin_with_their_fork_and_end_with_their_exit() {
    let mut chunk = TestChunk::new(&header(1));
    let host = chunk.cgroup(1, "/", &[]);
    let a = chunk.task(10, 10, "a", host);
    let b = chunk.task(10, 11, "b", host);
    chunk.clone_thread(2 * S, a, (10, 11), host);
    chunk.switch(3 * S, TestSwitch { runnable: S, ..TestSwitch::new(a, task_state::INTERRUPTIBLE, b) });
    chunk.exit(5 * S, b, 0, 0);
    // The last switch comes after the exit.
    chunk.switch(5 * S + 1, TestSwitch::new(b, task_state::DEAD, a));
    let of_b = parts(&captures(&header(1), vec![chunk]));
    let of_b: Vec<_> = of_b.into_iter().filter(|part| part.0 == 11).collect();
    assert_eq!(of_b, [part(11, "runnable", "-", "-", S), part(11, "running", "-", "-", 2 * S)]);
}

#[test]
fn threads_are_followed_from_chunk_to_chunk() {
    let first = two_threads(|chunk, a, b| {
        chunk.switch(S, TestSwitch::new(a, task_state::INTERRUPTIBLE, b));
    });
    let quiet = two_threads(|chunk, _, b| chunk.call(2 * S, b, &call("getppid", &[], 1)));
    let last = two_threads(|chunk, a, b| {
        chunk.switch(3 * S, TestSwitch { from: b, ran: 2 * S, ..entered(a, 2 * S, 0) });
        chunk.call(4 * S, a, &TestCall { dur: 35 * S / 10, ..call("pause", &[], -4) });
    });
    let found = parts(&captures(&header(1), vec![first, quiet, last]));
    let of_a: Vec<_> = found.into_iter().filter(|part| part.0 == 10).collect();
    let expected = [
        part(10, "running", "-", "-", S / 2 - BORN),
        part(10, "running", "pause", "-", S / 2),
        part(10, "sleeping", "pause", "-", 2 * S),
        part(10, "running", "pause", "-", S),
    ];
    assert_eq!(of_a, expected);
}

#[test]
fn calls_that_have_not_returned_and_threads_that_sleep_at_the_end_are_there() {
    let chunk = two_threads(|chunk, a, b| {
        chunk.switch(S, TestSwitch::new(a, task_state::INTERRUPTIBLE, b));
        let hanging = TestCall {
            dur: 4 * S,
            flags: flags::UNFINISHED | flags::AT_END,
            ..call("read", &[0, 0, 512], 0)
        };
        chunk.call(5 * S, a, &hanging);
    });
    let expected = [part(10, "running", "-", "-", S - BORN), part(10, "sleeping", "read", "-", 4 * S)];
    let found = parts(&captures(&header(1), vec![chunk]));
    assert_eq!(found[..2], expected);
}

#[test]
fn lost_switches_cost_what_they_would_have_shown() {
    // `a` left the CPU at 1 s and got it back at 2 s; the switch that did so was lost.
    let chunk = two_threads(|chunk, a, b| {
        chunk.switch(S, TestSwitch::new(a, task_state::INTERRUPTIBLE, b));
        chunk.switch(4 * S, TestSwitch { ran: 2 * S, ..TestSwitch::new(a, task_state::INTERRUPTIBLE, b) });
        // The switch at 5 s that gave it the CPU, and that at 6 s that took it, are lost, too.
        chunk.switch(8 * S, TestSwitch { from: b, ran: S, ..entered(a, 2 * S, S) });
    });
    let found = parts(&captures(&header(1), vec![chunk]));
    let of_a: Vec<_> = found.into_iter().filter(|part| part.0 == 10).collect();
    let expected = [
        part(10, "running", "-", "-", S - BORN),
        part(10, "sleeping", "-", "-", S),
        part(10, "running", "-", "-", 2 * S),
        part(10, "sleeping", "-", "-", 3 * S),
        part(10, "runnable", "-", "-", S),
    ];
    assert_eq!(of_a, expected);
}

#[test]
fn of_threads_outside_the_scope_of_a_capture_nothing_is_known() {
    let mut header = header(1);
    header.command_line.extend([b"--".to_vec(), b"a".to_vec()]);
    let mut chunk = TestChunk::new(&header);
    let host = chunk.cgroup(1, "/", &[]);
    let a = chunk.task(10, 10, "a", host);
    let other = chunk.nameless(20, 20, host);
    chunk.switch(S, TestSwitch::new(a, task_state::INTERRUPTIBLE, other));
    chunk.switch(2 * S, TestSwitch { from: other, ..entered(a, S, 0) });
    let found = parts(&captures(&header, vec![chunk]));
    assert_eq!(found, [part(10, "running", "-", "-", S - BORN), part(10, "sleeping", "-", "-", S)]);
}

#[test]
fn long_calls_with_many_parts_keep_their_sums() {
    let chunk = two_threads(|chunk, a, b| {
        for i in 0..20_000u64 {
            let time = S + i * 100_000;
            let ran = if i == 0 { UNKNOWN } else { 90_000 };
            chunk.switch(time, TestSwitch { ran, ..TestSwitch::new(a, task_state::INTERRUPTIBLE, b) });
            let back = TestSwitch { from: b, ran: 10_000, ..entered(a, 10_000, 4_000) };
            chunk.switch(time + 10_000, back);
        }
        let end = S + 2 * S;
        chunk.call(end, a, &TestCall { dur: 2 * S, ..call("fsync", &[3], 0) });
    });
    let found = parts(&captures(&header(1), vec![chunk]));
    let sum = |state: &str, call: &str| -> u64 {
        found.iter().filter(|part| part.0 == 10 && part.1 == state && part.2 == call).map(|part| part.4).sum()
    };
    assert_eq!(sum("sleeping", "fsync"), 20_000 * 6_000);
    assert_eq!(sum("runnable", "fsync"), 20_000 * 4_000);
    assert_eq!(sum("running", "fsync"), 2 * S - 20_000 * 10_000);
    assert_eq!(sum("running", "-"), S - BORN);
}

#[test]
fn what_a_thread_is_blocked_by_is_that_of_a_hang() {
    let chunk = two_threads(|chunk, a, b| {
        chunk.switch(S, TestSwitch::new(a, task_state::UNINTERRUPTIBLE, b));
        chunk.hang(Kind::StallOngoing, (3 * S, 2 * S), a, "asleep");
        chunk.switch(5 * S, TestSwitch { from: b, ran: 4 * S, ..entered(a, 4 * S, 0) });
    });
    let captures = captures(&header(1), vec![chunk]);
    let found = parts(&captures);
    assert_eq!(found[..2], [part(10, "running", "-", "-", S - BORN), part(10, "blocked", "-", "-", 4 * S)]);
}

#[test]
fn many_short_threads_leave_nothing_behind() {
    let chunks = (0..20u64).map(|round| {
        let mut chunk = TestChunk::new(&header(1));
        let host = chunk.cgroup(1, "/", &[]);
        let parent = chunk.task(10, 10, "a", host);
        for i in 0..1_000 {
            let tid = 1_000 + i;
            let time = S + round * S / 2 + i * 10_000;
            chunk.fork(time, parent, tid, host);
            let child = chunk.task(tid, tid, "child", host);
            chunk.call(time + 5_000, child, &TestCall { dur: 1_000, ..call("getppid", &[], 10) });
            chunk.exit(time + 9_000, child, 0, 0);
        }
        chunk
    });
    let found = parts(&captures(&header(1), chunks.collect()));
    let sum: u64 = found.iter().filter(|part| part.0 >= 1_000).map(|part| part.4).sum();
    assert_eq!(sum, 20_000 * 9_000);
    let in_call: u64 = found.iter().filter(|part| part.2 == "getppid").map(|part| part.4).sum();
    assert_eq!(in_call, 20_000 * 1_000);
}

#[test]
fn the_time_of_kernel_threads_is_that_of_each_chunk() {
    // More parts than are kept for a call, and there is none.
    let chunks = (0..4u64).map(|round| {
        let mut chunk = TestChunk::new(&header(1));
        let host = chunk.cgroup(1, "/", &[]);
        let worker = chunk.kernel_thread(30, "kworker/0:1", host);
        let other = chunk.task(20, 20, "b", host);
        for i in 0..2_000 {
            let time = (1 + round) * S + i * 400_000;
            let back = TestSwitch { from: other, ..entered(worker, 300_000, 0) };
            chunk.switch(time, back);
            let left = TestSwitch { ran: 100_000, ..TestSwitch::new(worker, task_state::IDLE, other) };
            chunk.switch(time + 100_000, left);
        }
        chunk
    });
    let captures = captures(&header(1), chunks.collect());
    for round in 0..4 {
        let second = (1 + round) * S;
        let parts = parts_within(&captures, Some(second), Some(second + 8 * S / 10));
        let running = parts.iter().filter(|part| part.0 == 30 && part.1 == "running");
        let (sum, count) = running.fold((0, 0), |(sum, count), part| (sum + part.4, count + 1));
        assert_eq!((sum, count), (2_000 * 100_000, 2_000), "{round}");
    }
}
