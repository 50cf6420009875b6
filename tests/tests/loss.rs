//! Nothing is lost at full rate; what is lost with too small a buffer is counted to the last call.

use std::collections::BTreeMap;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload::{BEGIN, END, MARKER, Workload};
use ktape_tests::{kernel_test, workload};

const FULL: u64 = 20_000_000;

#[test]
fn slow_full_rate_on_both_cpus_loses_nothing() {
    let _guard = kernel_test!();
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

/// Each load has its own cgroup and its own CPU, and enters its cgroup while it waits to be told to go. So the calls
/// that return there are known to the last one: the wait, the marker, the work, the marker, the write of `done`.
#[test]
fn written_and_lost_is_made() {
    const WORK: u64 = 2_000_000;
    const MADE: u64 = WORK + 4;
    let _guard = kernel_test!();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
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

    let losses = ktape::replay_json(&file, &["-e", "loss"]);
    let mut lost: BTreeMap<(String, i64), u64> = BTreeMap::new();
    let mut total = 0;
    for loss in &losses {
        let count = u64::try_from(int(loss, "loss.count").unwrap()).unwrap();
        total += count;
        assert_eq!(text(loss, "loss.kind"), Some("syscall"), "a lifecycle event was lost: {loss}");
        let stage = text(loss, "loss.stage").unwrap();
        assert!(["ring", "recursion", "storage", "map", "queue", "writer"].contains(&stage), "{loss}");
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
fn lifecycle_survives_a_flood() {
    let _guard = kernel_test!();
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
