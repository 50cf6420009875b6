//! What threads do with their time, against the kernel's own account of it.

use std::process::Command;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};

const MS: i64 = 1_000_000;
const DURATION: &str = "thread_state.dur";

/// Prints for each of two threads: its id, wall-clock times before and after, CPU time and time that it was runnable in
/// between. The first one computes, sleeps, and waits for a pipe; the second one writes to the pipe, and competes with two
/// processes for one CPU.
const LOAD: &str = r#"
import os, subprocess, threading, time
r, w = os.pipe()
def account():
    delay = int(open('/proc/thread-self/schedstat').read().split()[1])
    return time.time_ns(), time.thread_time_ns(), delay
def busy(seconds):
    until = time.monotonic() + seconds
    while time.monotonic() < until: pass
def first():
    before = account()
    busy(0.2)
    time.sleep(0.3)
    os.read(r, 1)
    os.read(r, 1)
    report(before)
def second():
    before = account()
    time.sleep(0.8); os.write(w, b'x')
    time.sleep(0.4); os.write(w, b'x')
    os.sched_setaffinity(0, [0])
    busy(0.5)
    report(before)
def report(before):
    after = account()
    numbers = [threading.get_native_id(), before[0], after[0], after[1] - before[1], after[2] - before[2]]
    print(*numbers, flush=True)
rivals = [subprocess.Popen(['taskset', '-c', '0', 'sh', '-c', 'while :; do :; done']) for _ in range(2)]
threads = [threading.Thread(target=work) for work in (first, second)]
[t.start() for t in threads]; [t.join() for t in threads]
[p.kill() for p in rivals]
"#;

/// Wall-clock ns as a time that the command line has.
fn time(ns: i64) -> String {
    jiff::Timestamp::from_nanosecond(ns.into()).unwrap().to_string()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn the_time_of_threads_adds_up_and_is_what_the_kernel_counts() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let output = Command::new("python3").args(["-c", LOAD]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    capture.stop();
    let out = String::from_utf8(output.stdout).unwrap();
    let threads: Vec<Vec<i64>> =
        out.lines().map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect()).collect();
    assert_eq!(threads.len(), 2, "{out}");
    for thread in &threads {
        let [tid, from, to, cpu, delay] = thread[..] else { panic!("{out}") };
        let states = ["running", "runnable", "sleeping", "blocked", "off_cpu", "unknown"];
        let sums = states.map(|state| format!("{state} = sum({DURATION} if thread_state.state = {state})"));
        let answer = ktape::stdout(&[
            "stats",
            file.to_str().unwrap(),
            &format!("thread.tid = {tid}"),
            "-e",
            "thread_state",
            "--from",
            &time(from),
            "--to",
            &time(to),
            "-c",
            &format!("total = sum({DURATION}),{}", sums.join(",")),
            "--format",
            "json",
        ]);
        let answer: Value = serde_json::from_str(&answer).unwrap();
        let of = |name: &str| int(&answer, name).unwrap();
        println!("{answer} kernel: cpu {cpu} wait {delay}");
        // Every nanosecond is in one state.
        assert_eq!(of("total"), to - from, "{answer}");
        assert_eq!(of("total"), states.iter().map(|state| of(state)).sum::<i64>(), "{answer}");
        let near = |what: &str, ours: i64, kernels: i64| {
            let error = (ours - kernels).abs();
            assert!(error <= kernels / 20 + 5 * MS, "{what} of {tid}: {ours} ns, the kernel says {kernels}");
        };
        near("CPU time", of("running"), cpu);
        near("waits for a CPU", of("runnable"), delay);
        assert!(of("unknown") + of("off_cpu") < 5 * MS, "{answer}");
    }
    // What the first one slept in.
    let [tid, from, to, ..] = threads[0][..] else { panic!("{out}") };
    let rows = ktape::stdout(&[
        "stats",
        file.to_str().unwrap(),
        "wait-time",
        &format!("thread.tid = {tid} and thread_state.state = sleeping"),
        "--from",
        &time(from),
        "--to",
        &time(to),
        "--by",
        "thread_state.call,fd.name",
        "--format",
        "json",
    ]);
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let slept = |call: &str, file: &str| -> (i64, i64) {
        let of_call = |row: &&Value| {
            text(row, "thread_state.call") == Some(call)
                && text(row, "fd.name").unwrap_or_default().starts_with(file)
        };
        let rows = rows.iter().filter(of_call);
        rows.fold((0, 0), |(time, waits), row| {
            (time + int(row, "time").unwrap(), waits + int(row, "waits").unwrap())
        })
    };
    let (sleep, _) = slept("clock_nanosleep", "");
    assert!((300 * MS..320 * MS).contains(&sleep), "{rows:#?}");
    let (pipe, waits) = slept("read", "pipe:[");
    // From 0.5 s to 0.8 s, and 0.4 s more. The beginnings are apart by what starting a thread takes.
    assert!((600 * MS..800 * MS).contains(&pipe), "{rows:#?}");
    assert!(waits >= 2, "{rows:#?}");
}
