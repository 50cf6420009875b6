//! Threads in uninterruptible sleep: reported while they sleep, again each time it has doubled, and each hang once, when
//! it ends or the capture does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::device::Undo;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

const MS: i64 = 1_000_000;

/// Hangs, one event each.
fn stalls(file: &Path, expression: &str) -> Vec<Value> {
    of_kind("stall", file, expression)
}

/// Reports of hangs that last.
fn ongoing(file: &Path, expression: &str) -> Vec<Value> {
    of_kind("stall_ongoing", file, expression)
}

fn of_kind(kind: &str, file: &Path, expression: &str) -> Vec<Value> {
    let args = ["-e", kind, expression];
    ktape::replay_json(file, if expression.is_empty() { &args[..2] } else { &args })
}

fn in_phase<'a>(events: &'a [Value], phase: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| text(event, "stall.phase") == Some(phase)).collect()
}

fn tids(events: &[&Value]) -> BTreeSet<i64> {
    events.iter().map(|event| int(event, "thread.tid").unwrap()).collect()
}

/// Threads of the workload that sleep, as its output lists them.
fn sleepers(n: usize) -> (Workload, BTreeSet<i64>) {
    let mut load = Workload::start(workload!(), &["vforks", &n.to_string()]);
    let mut all = BTreeSet::new();
    loop {
        match load.line().as_str() {
            "ready" => {}
            tid => assert!(all.insert(tid.parse().unwrap())),
        }
        if all.len() == n {
            return (load, all);
        }
    }
}

fn is_asleep(pid: u32, tid: i64) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('D'))
}

/// The functions of a thread's kernel stack, from `/proc`.
fn kernel_stack(tid: i64) -> Vec<String> {
    let stack = fs::read_to_string(format!("/proc/{tid}/stack")).expect("the kernel tells");
    let name = |line: &str| Some(line.split_once("] ")?.1.split_once('+')?.0.to_owned());
    stack.lines().filter_map(name).collect()
}

/// The same of an event.
fn told_stack(event: &Value) -> Vec<String> {
    let lines = text(event, "stall.stack").unwrap_or_default().split(';');
    lines.map(|line| line.split_once("+0x").unwrap_or((line, "")).0.to_owned()).collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn thirty_two_stalled_threads_are_reported() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    // Without switches: a sleep begins when it is first seen.
    let capture = Capture::start(&file, &["-e", "stall,fork", "--stall", "400ms"]);
    let (mut load, threads) = sleepers(32);
    let pid = load.pid();
    let of_load = format!("proc.pid={pid}");
    let asleep = until("32 threads in the file", TIMEOUT, || {
        let events = ongoing(&file, &of_load);
        (tids(&in_phase(&events, "asleep")) == threads).then_some(events)
    });
    // They are in the file while they sleep.
    assert!(threads.iter().all(|tid| is_asleep(pid, *tid)));
    let doubled = until("all of them again, twice", TIMEOUT, || {
        let events = ongoing(&file, &of_load);
        (in_phase(&events, "still").len() >= 64).then_some(events)
    });
    assert!(threads.iter().all(|tid| is_asleep(pid, *tid)));
    for tid in &threads {
        let of_thread = |event: &&&Value| int(event, "thread.tid") == Some(*tid);
        let first = in_phase(&asleep, "asleep");
        let first = first.iter().find(of_thread).unwrap();
        assert!((400 * MS..700 * MS).contains(&int(first, "stall.dur").unwrap()), "{first}");
        assert_eq!(text(first, "stall.nr"), Some("clone"), "{first}");
        assert!(text(first, "stall.args").unwrap().starts_with("CLONE_VFORK|SIGCHLD, "), "{first}");
        assert_eq!(told_stack(first), kernel_stack(*tid), "{first}");
        assert_eq!(text(first, "stall.wait"), told_stack(first).first().map(String::as_str), "{first}");
        assert_eq!(text(first, "thread.name"), Some("ktape-workload"), "{first}");
        assert_eq!(int(first, "user.uid"), Some(0), "{first}");
        for absent in ["stall.dev", "stall.dev_from", "stall.workqueue"] {
            assert_eq!(first.get(absent), None, "{first}");
        }
        let again = in_phase(&doubled, "still");
        let lengths: Vec<i64> =
            again.iter().filter(of_thread).map(|e| int(e, "stall.dur").unwrap()).collect();
        assert!((800 * MS..1200 * MS).contains(&lengths[0]), "{lengths:?}");
        assert!((1600 * MS..2200 * MS).contains(&lengths[1]), "{lengths:?}");
    }
    load.go();
    load.finish();
    capture.stop();

    // However often it was reported, each hang is one event.
    let ends = stalls(&file, &of_load);
    assert_eq!(tids(&ends.iter().collect::<Vec<_>>()), threads);
    assert_eq!(ktape::count(&file, &format!("evt.type = stall and {of_load}")), 32);
    assert_eq!(ktape::count(&file, &format!("stall.dur >= 0s and evt.type != stall and {of_load}")), {
        ongoing(&file, &of_load).len() as u64
    });
    let kinds = &ktape::info(&file)["kinds"];
    assert!(kinds["stall"].as_u64() >= Some(32) && kinds["stall_ongoing"].as_u64() >= Some(96), "{kinds}");
    let forks = ktape::replay_json(&file, &["-e", "fork", &of_load]);
    for end in &ends {
        assert!(["woken", "exited"].contains(&text(end, "stall.phase").unwrap()), "{end}");
        // A vfork is ended by the child: it gives its memory up as it exits.
        let tid = int(end, "thread.tid");
        let child =
            forks.iter().find(|fork| int(fork, "thread.tid") == tid && !ktape::truth(fork, "fork.thread"));
        let child = int(child.unwrap(), "fork.child_pid");
        assert_eq!(int(end, "stall.waker.pid"), child, "{end}");
        assert_eq!(int(end, "stall.waker.tid"), child, "{end}");
        assert_eq!(text(end, "stall.waker"), Some("ktape-workload"), "{end}");
        assert!(int(end, "stall.dur").unwrap() >= 1600 * MS, "{end}");
        assert_eq!(text(end, "stall.nr"), Some("clone"), "{end}");
    }
    assert_eq!(ktape::info(&file)["lost"], 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn stall_ended_by_exit_is_reported() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "stall", "--stall", "200ms"]);
    let (load, threads) = sleepers(2);
    let of_load = format!("proc.pid={}", load.pid());
    until("both in the file", TIMEOUT, || (ongoing(&file, &of_load).len() >= 2).then_some(()));
    load.kill();
    let of_phase = format!("{of_load} and stall.phase=exited");
    until("their end in the file", TIMEOUT, || (stalls(&file, &of_phase).len() == 2).then_some(()));
    capture.stop();
    let events = stalls(&file, &of_load);
    let exited = in_phase(&events, "exited");
    assert_eq!(tids(&exited), threads);
    for end in exited {
        // By the process that killed them.
        assert_eq!(int(end, "stall.waker.pid"), Some(i64::from(std::process::id())), "{end}");
        assert!(int(end, "stall.dur").unwrap() >= 200 * MS, "{end}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn stalls_are_filtered() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let id = "57a1157a1157a1157a1157a1157a1157a1157a1157a1157a1157a1157a1157a1";
    let cgroup = Cgroup::make(&format!("/docker/{id}"));
    let capture = Capture::start(&file, &["-e", "stall", "--stall", "200ms", "--container", &id[..12]]);
    let (outside, _) = sleepers(1);
    let (mut inside, threads) = sleepers(1);
    cgroup.attach(inside.pid());
    let events = until("the container's thread", TIMEOUT, || {
        let events = ongoing(&file, "");
        (!events.is_empty()).then_some(events)
    });
    assert_eq!(text(&events[0], "container.id"), Some(&id[..12]), "{}", events[0]);
    inside.go();
    inside.finish();
    outside.kill();
    capture.stop();
    let events = [stalls(&file, ""), ongoing(&file, "")].concat();
    assert!(events.iter().all(|event| threads.contains(&int(event, "thread.tid").unwrap())), "{events:#?}");
    assert_eq!(in_phase(&events, "woken").len() + in_phase(&events, "exited").len(), 1, "{events:#?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hangs_that_outlast_the_capture_are_unfinished() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let [ended, killed] = ["ended", "killed"].map(|name| dir.path().join(name));
    let args = ["-e", "stall", "--stall", "200ms"];
    let (one, other) = (Capture::start(&ended, &args), Capture::start(&killed, &args));
    let (load, threads) = sleepers(2);
    let of_load = format!("proc.pid={}", load.pid());
    let reported = |file: &Path| tids(&in_phase(&ongoing(file, &of_load), "still")) == threads;
    until("all of them twice", TIMEOUT, || (reported(&ended) && reported(&killed)).then_some(()));
    other.kill();
    one.stop();
    let hangs = stalls(&ended, &of_load);
    assert_eq!((hangs.len(), tids(&hangs.iter().collect::<Vec<_>>())), (2, threads));
    for hang in &hangs {
        let of_thread = format!("thread.tid={}", int(hang, "thread.tid").unwrap());
        let reports = ongoing(&ended, &of_thread);
        let last = reports.iter().filter_map(|report| int(report, "stall.dur")).max().unwrap();
        assert!(int(hang, "stall.dur").unwrap() >= last, "{hang} {reports:#?}");
        assert_eq!(text(hang, "stall.phase"), Some("unfinished"), "{hang}");
        assert!(ktape::truth(hang, "evt.unfinished") && ktape::truth(hang, "evt.at_end"), "{hang}");
        assert_eq!((text(hang, "stall.nr"), text(hang, "stall.waker")), (Some("clone"), None), "{hang}");
        assert_eq!(text(hang, "stall.stack"), text(&reports[0], "stall.stack"), "{hang}");
    }
    // A capture that was killed has what was reported until then.
    assert!(stalls(&killed, &of_load).is_empty());
    assert_eq!(in_phase(&ongoing(&killed, &of_load), "asleep").len(), 2);
    load.kill();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn a_hang_is_one_event_of_all_rotated_files() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let output = format!("{}/", dir.path().display());
    let capture = Capture::start(Path::new(&output), &["-e", "stall", "--stall", "200ms", "--rotate", "1s"]);
    let (mut load, threads) = sleepers(1);
    let of_load = format!("proc.pid={}", load.pid());
    let files = || fs::read_dir(dir.path()).unwrap().count();
    until("three files", TIMEOUT, || (files() >= 3).then_some(()));
    load.go();
    load.finish();
    capture.stop();
    let hangs = stalls(dir.path(), &of_load);
    assert_eq!((hangs.len(), tids(&hangs.iter().collect::<Vec<_>>())), (1, threads));
    assert!(int(&hangs[0], "stall.dur").unwrap() > 1000 * MS, "{}", hangs[0]);
    assert!(ongoing(dir.path(), &of_load).len() > 1);
}

/// Descriptors of links to programs in the kernel that a process has.
fn links(pid: u32) -> usize {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let is_link = |path: PathBuf| fs::read_link(path).is_ok_and(|to| to.ends_with("anon_inode:bpf_link"));
    all.filter(|fd| is_link(fd.as_ref().unwrap().path())).count()
}

fn has_thread(pid: u32, name: &str) -> bool {
    let mut all = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    all.any(|task| {
        fs::read_to_string(task.unwrap().path().join("comm")).is_ok_and(|comm| comm.trim() == name)
    })
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn stall_off_attaches_nothing() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let mut found = Vec::new();
    for (i, args) in [&["-e", "exit"][..], &["-e", "exit,stall", "--stall", "off"], &["-e", "exit,stall"]]
        .into_iter()
        .enumerate()
    {
        let file = dir.path().join(format!("{i}.ktape"));
        let capture = Capture::start(&file, args);
        found.push((links(capture.pid()), has_thread(capture.pid(), "ktape-stall")));
        capture.stop();
    }
    let (without, off, on) = (found[0], found[1], found[2]);
    assert_eq!(without, off);
    assert!(!off.1 && on.1);
    // The hook of wakeups, and the iterator.
    assert_eq!(on.0, off.0 + 2);
}

/// A loop device that takes 64 KiB a second, and another one on top of it.
struct Slow {
    lower: String,
    upper: String,
    _undo: Undo,
}

impl Slow {
    fn new(dir: &Path) -> Self {
        let image = dir.join("image");
        fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
        let lower = losetup(image.to_str().unwrap());
        let upper = losetup(&lower);
        let name = lower.trim_start_matches("/dev/");
        let number = fs::read_to_string(format!("/sys/block/{name}/dev")).unwrap().trim().to_owned();
        let limit = ktape_tests::cgroup::roots()
            .into_iter()
            .map(|root| root.join("blkio.throttle.write_bps_device"))
            .find(|file| file.exists())
            .expect("the blkio controller");
        // Whatever becomes of this process: nothing may sleep for longer than that.
        let undo = Undo::by(&format!(
            "echo '{number} 0' > {}; losetup -d {upper}; losetup -d {lower}",
            limit.display()
        ));
        fs::write(&limit, format!("{number} 65536")).unwrap();
        Self { lower, upper, _undo: undo }
    }
}

fn losetup(file: &str) -> String {
    let out = Command::new("losetup").args(["-f", "--show", file]).output().unwrap();
    assert!(out.status.success(), "losetup {file}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn stall_on_a_throttled_device_names_the_device() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let slow = Slow::new(dir.path());
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "stall,switch,write", "--stall", "300ms"]);
    let mut direct = Workload::start(workload!(), &["direct-write", &slow.lower, "131072"]);
    let tid: i64 = direct.line().parse().unwrap();
    direct.go();
    let asleep = until("the writer in the file", TIMEOUT, || {
        ongoing(&file, &format!("thread.tid={tid}")).into_iter().next()
    });
    // It is there before the write returns.
    assert!(is_asleep(direct.pid(), tid));
    assert_eq!(told_stack(&asleep), kernel_stack(tid), "{asleep}");
    assert_eq!(text(&asleep, "stall.phase"), Some("asleep"), "{asleep}");
    assert_eq!(text(&asleep, "stall.dev"), Some(slow.lower.trim_start_matches("/dev/")), "{asleep}");
    assert_eq!(text(&asleep, "stall.dev_from"), Some("fd"), "{asleep}");
    assert_eq!(text(&asleep, "stall.nr"), Some("write"), "{asleep}");
    assert!(text(&asleep, "stall.args").unwrap().ends_with("131072"), "{asleep}");
    direct.finish();

    // What is written to the upper device is written to the lower one by a worker, which waits for it.
    let target = format!("of={}", slow.upper);
    let status = Command::new("timeout")
        .args(["20", "dd", "if=/dev/zero", &target, "bs=64k", "count=1", "conv=fsync"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let expression = "stall.workqueue startswith loop_ and stall.phase=woken";
    until("the worker's end in the file", TIMEOUT, || (!stalls(&file, expression).is_empty()).then_some(()));
    capture.stop();

    let worker = &ongoing(&file, "stall.workqueue startswith loop_ and stall.phase=asleep")[0];
    assert!(text(worker, "thread.name").unwrap().starts_with("kworker/"), "{worker}");
    assert_eq!(worker.get("stall.nr"), None, "{worker}");
    assert!(told_stack(worker).iter().any(|name| name == "worker_thread"), "{worker}");

    // With switches, a sleep is from the switch to the waking: what the switch to it tells, less its wait for a CPU.
    let woken = &stalls(&file, &format!("thread.tid={tid} and stall.phase=woken"))[0];
    let longest = ktape::replay_json(&file, &["-e", "switch", &format!("switch.next.tid={tid}")])
        .into_iter()
        .filter_map(|event| Some(int(&event, "switch.off_cpu")? - int(&event, "switch.runnable")?))
        .max()
        .unwrap();
    let dur = int(woken, "stall.dur").unwrap();
    assert!((dur - longest).abs() < 5 * MS, "{dur} ns told, {longest} ns switched out");
    let write = ktape::replay_json(&file, &["-e", "write", &format!("thread.tid={tid} and evt.latency>1s")]);
    assert!(int(&write[0], "evt.latency").unwrap() >= dur, "{}", write[0]);
    assert!(dur > Duration::from_millis(1500).as_nanos() as i64, "{woken}");

    // The same sleep among the thread's states.
    let of_thread = format!("thread.tid={tid} and thread_state.state=blocked");
    let by = "thread_state.state,thread_state.call,thread_state.wait,thread_state.dev";
    let states = ktape::stdout(&[
        "stats",
        file.to_str().unwrap(),
        &of_thread,
        "-e",
        "thread_state",
        "--by",
        by,
        "-c",
        "longest=max(thread_state.dur)",
        "--format",
        "json",
    ]);
    let state: Value = serde_json::from_str(states.lines().next().unwrap()).unwrap();
    let waited = text(&asleep, "stall.wait");
    assert!(waited.is_some_and(|function| !function.is_empty()), "{asleep}");
    assert_eq!(text(&state, "thread_state.state"), Some("blocked"), "{states}");
    assert_eq!(text(&state, "thread_state.call"), Some("write"), "{states}");
    assert_eq!(text(&state, "thread_state.wait"), waited, "{states}");
    assert_eq!(text(&state, "thread_state.dev"), text(&asleep, "stall.dev"), "{states}");
    assert!((dur - int(&state, "longest").unwrap()).abs() < 5 * MS, "{states}");
}
