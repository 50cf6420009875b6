//! Nothing is lost at full rate; losses of a buffer that is too small are counted to the last call.

use std::collections::BTreeMap;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::device::{Loop, stat};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use ktape_tests::workload::{BEGIN, END, MARKER, Workload};

const FULL: u64 = 20_000_000;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn slow_full_rate_on_all_cpus_loses_nothing() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let mut loads = Vec::new();
    for cpu in ["0", "1"] {
        let mut load = Workload::start(workload!(), &["getppid", &FULL.to_string(), "--cpu", cpu, "--gate"]);
        assert_eq!(load.line(), "ready");
        loads.push(load);
    }
    loads.iter_mut().for_each(Workload::go);
    let pids: Vec<u32> = loads.iter().map(Workload::pid).collect();
    for mut load in loads {
        assert_eq!(load.line(), "done");
        load.go();
        load.finish();
    }
    let ended = capture.stop();
    eprintln!("{}", ended.stderr);

    for (cpu, pid) in pids.iter().enumerate() {
        assert_eq!(
            ktape::count(&file, &format!("proc.pid={pid} and evt.type=getppid and evt.cpu={cpu}")),
            FULL
        );
        let markers = ktape::replay_json(&file, &[&format!("proc.pid={pid} and evt.type=prctl")]);
        let which: Vec<_> = markers
            .iter()
            .filter(|m| int(m, "evt.arg.option") == Some(i64::from(MARKER)))
            .map(|m| int(m, "evt.arg.arg2"))
            .collect();
        assert_eq!(which, [Some(i64::from(BEGIN)), Some(i64::from(END))]);
    }
    let info = ktape::info(&file);
    assert_eq!(info["lost"], 0, "{info}");
    assert!(info["events"].as_u64().unwrap() > 2 * FULL, "{info}");
    let strict = ktape::run(&["replay", file.to_str().unwrap(), "--strict", "--count", "evt.type=getppid"]);
    assert_eq!(strict.status.code(), Some(0));
}

/// The time from `date`, in the form that ktape prints.
fn wall_clock() -> String {
    let out = std::process::Command::new("date").args(["-u", "+%FT%T.%NZ"]).output().expect("date starts");
    String::from_utf8(out.stdout).unwrap().trim().to_owned()
}

/// Each load has its own cgroup and its own CPU, and enters its cgroup while it waits for the start. So the calls
/// that return there are known to the last one: the wait, the marker, the work, the marker, the write of `done`.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn recorded_plus_lost_calls_equal_made_calls() {
    const WORK: u64 = 2_000_000;
    const MADE: u64 = WORK + 4;
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let began = wall_clock();
    let capture = Capture::start(&file, &["--buffer", "64KiB"]);
    let mut loads = Vec::new();
    for cpu in ["0", "1"] {
        let cgroup = Cgroup::make(&format!("/ktape-test-loss-{cpu}"));
        let mut load = Workload::start(workload!(), &["getppid", &WORK.to_string(), "--cpu", cpu, "--gate"]);
        assert_eq!(load.line(), "ready");
        ktape_tests::wait::until_blocked(load.pid(), load.pid(), libc::SYS_read);
        cgroup.attach(load.pid());
        loads.push((cgroup, load));
    }
    loads.iter_mut().for_each(|(_, load)| load.go());
    for (cgroup, load) in &mut loads {
        assert_eq!(load.line(), "done");
        ktape_tests::wait::until_blocked(load.pid(), load.pid(), libc::SYS_read);
        cgroup.detach(load.pid());
    }
    let mut expected = BTreeMap::new();
    for (cpu, (cgroup, mut load)) in loads.into_iter().enumerate() {
        expected.insert((cgroup.path().to_owned(), cpu as i64), MADE);
        load.go();
        load.finish();
    }
    let ended = capture.stop();
    eprintln!("{}", ended.stderr);

    let over = wall_clock();
    let losses = ktape::replay_json(&file, &["-e", "loss"]);
    let mut lost: BTreeMap<(String, i64), u64> = BTreeMap::new();
    let mut total = 0;
    for loss in &losses {
        let count = u64::try_from(int(loss, "loss.count").unwrap()).unwrap();
        total += count;
        let kind = text(loss, "loss.kind").unwrap();
        assert!(["syscall", "switch", "block", "net"].contains(&kind), "a lifecycle event was lost: {loss}");
        // All are times of the same zone and width: their texts are in their order.
        let (from, to) = (text(loss, "loss.from").unwrap(), text(loss, "evt.time").unwrap());
        assert!(began.as_str() <= from && from < to && to <= over.as_str(), "{began} {over} {loss}");
        let stage = text(loss, "loss.stage").unwrap();
        assert!(["ring", "recursion", "storage", "map", "queue", "writer"].contains(&stage), "{loss}");
        if kind != "syscall" {
            continue;
        }
        let cgroup = text(loss, "loss.cgroup").unwrap_or_default().to_owned();
        *lost.entry((cgroup, int(loss, "evt.cpu").unwrap())).or_default() += count;
    }
    let made: BTreeMap<(String, i64), u64> = expected
        .keys()
        .map(|(path, cpu)| {
            let written = ktape::count(
                &file,
                &format!("cgroup.path={path} and evt.cpu={cpu} and evt.category=syscall"),
            );
            let lost = lost.get(&(path.clone(), *cpu)).copied().unwrap_or(0);
            eprintln!("{path}: {written} written, {lost} lost");
            ((path.clone(), *cpu), written + lost)
        })
        .collect();
    assert_eq!(made, expected);

    let info = ktape::info(&file);
    assert_eq!(info["lost"].as_u64(), Some(total), "{info}");
    assert!(total > 0, "64 KiB should have been too little");
    // A question that losses could touch, and one that they could not.
    let file = file.to_str().unwrap();
    let strict =
        |expression: &str| ktape::run(&["replay", file, "--strict", "--count", expression]).status.code();
    assert_eq!(strict("evt.type=getppid"), Some(3));
    assert_eq!(strict("evt.category=fork"), Some(0));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn lifecycle_events_survive_a_flood() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--buffer", "64KiB"]);
    let flood: Vec<_> =
        ["0", "1"].map(|cpu| Workload::start(workload!(), &["getppid", "3000000", "--cpu", cpu])).into();
    let mut pids = Vec::new();
    for _ in 0..300 {
        let mut child = std::process::Command::new(workload!()).args(["exit", "7"]).spawn().unwrap();
        pids.push(i64::from(child.id()));
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
    flood.into_iter().for_each(|load| {
        load.finish();
    });
    capture.stop();

    let events = ktape::replay_json(&file, &["-e", "fork,exec,exit"]);
    for pid in pids {
        let of = |kind: &str, field: &str| {
            events.iter().filter(|e| text(e, "evt.type") == Some(kind) && int(e, field) == Some(pid)).count()
        };
        assert_eq!(
            (of("fork", "fork.child_pid"), of("exec", "proc.pid"), of("exit", "proc.pid")),
            (1, 1, 1),
            "{pid}"
        );
    }
}

/// Everything is recorded into rings that are far too small, beside disks and scheduler at full rate. What was made of each
/// kind is told by who made it and by the kernel: calls by the workloads, switches by the threads' counters, requests by
/// the disk's. Each load is alone in its cgroup.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn recorded_plus_lost_equal_made_for_every_kind() {
    const CALLS: u64 = 1_000_000;
    const TURNS: u64 = 60_000;
    const READS: u64 = 20_000;
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let file = dir.path().join("x.ktape");
    // Its pages are in memory: no other disk works for it.
    let memory = tempfile::tempdir_in("/dev/shm").unwrap();
    let disk = Loop::over(&memory.path().join("disk"), 64 << 20, false);
    let capture = Capture::start(&file, &["--buffer", "64KiB", "--stall", "1s", "--sample", "500ms"]);
    let (calls, turns, reads) = (CALLS.to_string(), TURNS.to_string(), READS.to_string());
    let device = disk.path();
    let all: [(&str, &[&str], u64); 4] = [
        ("calls-0", &["getppid", &calls, "--cpu", "0", "--gate"], CALLS + 4),
        ("calls-1", &["getppid", &calls, "--cpu", "1", "--gate"], CALLS + 4),
        ("turns", &["incident", "ping-pong", &turns], 4 * TURNS + 2),
        ("reads", &["incident", "read-direct", device, &reads], READS + 2),
    ];
    let mut loads = Vec::new();
    for (name, args, made) in all {
        let cgroup = Cgroup::make(&format!("/ktape-test-every-{name}"));
        let mut load = Workload::start(workload!(), args);
        assert_eq!(load.line(), "ready");
        asleep(load.pid());
        cgroup.attach(load.pid());
        let switches = switches(load.pid());
        loads.push((cgroup, load, made, switches));
    }
    let before = disk.stat();
    let own_before = switches(capture.pid());
    loads.iter_mut().for_each(|(_, load, _, _)| load.go());
    let mut made = BTreeMap::new();
    for (cgroup, load, calls, switches_before) in &mut loads {
        assert_eq!(load.line(), "done");
        asleep(load.pid());
        let path = cgroup.path().to_owned();
        made.insert((path.clone(), "syscall"), *calls);
        made.insert((path, "switch"), switches(load.pid()) - *switches_before);
        cgroup.detach(load.pid());
    }
    let requests = disk.stat().since(&before)[stat::READS];
    let own = switches(capture.pid()) - own_before;
    let reader = loads[3].0.path().to_owned();
    made.insert((reader, "block"), requests);
    assert_eq!(requests, READS);
    for (_, mut load, _, _) in loads {
        load.go();
        load.finish();
    }
    let ended = capture.stop();
    eprintln!("{}", ended.stderr);

    let mut lost: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut total = 0;
    for loss in ktape::replay_json(&file, &["-e", "loss"]) {
        let kind = text(&loss, "loss.kind").unwrap().to_owned();
        assert!(["syscall", "switch", "block", "net"].contains(&kind.as_str()), "{loss}");
        let count = u64::try_from(int(&loss, "loss.count").unwrap()).unwrap();
        total += count;
        let cgroup = text(&loss, "loss.cgroup").unwrap_or_default().to_owned();
        *lost.entry((cgroup, kind)).or_default() += count;
    }
    let mut found = BTreeMap::new();
    for (cgroup, kind) in made.keys() {
        let which = format!("cgroup.path = {cgroup} and evt.category = {kind}");
        let written = ktape::count(&file, &which);
        let lost = lost.get(&(cgroup.clone(), (*kind).to_owned())).copied().unwrap_or(0);
        eprintln!("{cgroup} {kind}: {written} written, {lost} lost");
        found.insert((cgroup.clone(), *kind), written + lost);
    }
    // The recorder's own threads are not recorded. A switch from one of them to a thread that is belongs to that one:
    // such a switch, if lost, is counted for a thread that did not leave a CPU.
    let excess = |(key, found): (&(String, &str), &u64)| found.checked_sub(made[key]).filter(|n| *n > 0);
    let from_own: u64 = found.iter().filter(|(key, _)| key.1 == "switch").filter_map(excess).sum();
    eprintln!("{from_own} switches from the recorder's threads, which made {own}");
    assert!(from_own <= own, "{from_own} of {own}");
    for (key, made) in &made {
        match key.1 {
            "switch" => assert!(found[key] >= *made, "{key:?}: {} of {made}", found[key]),
            _ => assert_eq!(found[key], *made, "{key:?}"),
        }
    }
    assert_eq!(ktape::info(&file)["lost"].as_u64(), Some(total));
    assert!(total > 0, "64 KiB should have been too little");
}

fn threads(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    tasks.map(|task| task.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
}

/// Wait until all of its threads wait to read.
fn asleep(pid: u32) {
    for tid in threads(pid) {
        ktape_tests::wait::until_blocked(pid, tid, libc::SYS_read);
    }
}

/// How often the kernel has taken its threads off a CPU.
fn switches(pid: u32) -> u64 {
    let of = |tid: u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/status")).unwrap();
        let counts = status.lines().filter(|line| line.contains("voluntary_ctxt_switches"));
        counts.map(|line| line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()).sum::<u64>()
    };
    threads(pid).into_iter().map(of).sum()
}
