//! Paths and addresses are those that a call was given, and events are of the thread as it was then.

use serde_json::Value;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::wait::until_blocked;
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// The names of the arguments that are paths and addresses.
const GIVEN: [&str; 4] = ["evt.arg.path", "evt.arg.filename", "evt.arg.uservaddr", "fd.name"];

fn given(event: &Value) -> Option<&str> {
    GIVEN.iter().find_map(|field| text(event, field))
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn what_a_call_was_given_is_recorded_whatever_becomes_of_its_memory() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let mut load = Workload::start(workload!(), &["given", dir.path().to_str().unwrap()]);
    let port = load.line();
    assert_eq!(load.line(), "done");
    assert_eq!(load.line(), "hangs");
    until_blocked(load.pid(), load.pid(), libc::SYS_openat);
    let pid = load.pid();
    capture.stop();
    load.finish();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let of = |what: &str| -> Vec<Value> {
        ktape::replay_json(&file, &[&format!("proc.pid={pid} and evt.category=syscall and ({what})")])
    };
    for (what, expected) in [
        ("evt.type=readlink and evt.arg.bufsiz=4095", path("link")),
        ("evt.type=lstat", path("link")),
        ("evt.type in (open, openat) and fd.name endswith /fifo and evt.arg.flags=0", path("fifo")),
        ("evt.type=connect", format!("127.0.0.1:{port}")),
    ] {
        let events = of(what);
        assert!(!events.is_empty(), "no {what}");
        for event in &events {
            assert_eq!(given(event), Some(&*expected), "{event}");
            assert!(!truth(event, "evt.args_uncertain"), "{event}");
        }
    }
    assert_eq!(of("fd.name contains decoy or fd.name contains 198.51.100.9").len(), 0);

    // It was not in memory when the call was entered.
    let cold = of("evt.type=access and fd.name=/none/cold");
    assert!(cold.len() == 1 && truth(&cold[0], "evt.args_uncertain"), "{cold:?}");
    let expression = format!("proc.pid={pid} and evt.args_uncertain=true");
    let line = ktape::stdout(&["replay", file.to_str().unwrap(), &expression]);
    assert!(line.contains("access(\"/none/cold\"~, R_OK) = -1 ENOENT"), "{line}");

    let unfinished = of("evt.unfinished=true and evt.type in (open, openat)");
    assert_eq!(unfinished.len(), 1, "{unfinished:?}");
    assert_eq!(given(&unfinished[0]), Some(&*path("never")));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn events_are_of_the_thread_as_it_was_then() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let load = Workload::start(workload!(), &["change-user"]);
    let pid = load.pid();
    load.finish();
    capture.stop();
    let own = format!("proc.pid={pid} and evt.type in (getuid, prctl)");
    let events = ktape::replay_json(&file, &[&own]);
    let seen: Vec<_> = events
        .iter()
        .filter(|event| text(event, "evt.type") == Some("getuid"))
        .map(|event| (int(event, "user.uid").unwrap(), text(event, "thread.name").unwrap().to_owned()))
        .collect();
    let is = |uid, name: &str| (uid, name.to_owned());
    let before = [is(0, "ktape-workload"), is(0, "ktape-workload"), is(0, "ktape-workload")];
    let after = [is(1234, "ktape-workload"), is(1234, "ktape-workload"), is(1234, "ktape-workload")];
    assert_eq!(seen, [&before[..], &after, &[is(1234, "renamed")]].concat());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn without_durations_calls_and_results_are_the_same() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let files = ["with", "without"].map(|name| dir.path().join(name).with_extension("ktape"));
    let with = Capture::start(&files[0], &[]);
    let without = Capture::start(&files[1], &["--no-duration"]);
    let paths = dir.path().join("paths");
    std::fs::create_dir(&paths).unwrap();
    workload::run(workload!(), &["paths", paths.to_str().unwrap()]);
    workload::run(workload!(), &["fork-tree"]);
    without.stop();
    with.stop();
    // `rt_sigreturn` has no number at its return, `exit` has none.
    let own = "proc.name=ktape-workload and evt.category=syscall and evt.unfinished=false and evt.res exists \
               and evt.type != rt_sigreturn";
    let calls = |file: &std::path::Path| -> Vec<_> {
        let call = |event: &Value| {
            // A descriptor that the call closes has no name when it has returned.
            let path = given(event).filter(|_| text(event, "evt.type") != Some("close")).map(str::to_owned);
            (
                int(event, "thread.tid"),
                text(event, "evt.type").unwrap().to_owned(),
                int(event, "evt.rawres"),
                path,
            )
        };
        let mut calls: Vec<_> = ktape::replay_json(file, &[own]).iter().map(call).collect();
        calls.sort();
        calls
    };
    let (with, without) = (calls(&files[0]), calls(&files[1]));
    assert!(with.len() > 100);
    assert_same(&with, &without);
    let latencies = ktape::count(&files[1], "evt.category=syscall and evt.latency > 0");
    assert_eq!(latencies, 0);
}

fn assert_same<T: PartialEq + std::fmt::Debug>(one: &[T], other: &[T]) {
    let differ = one.iter().zip(other).find(|(a, b)| a != b);
    assert!(differ.is_none() && one.len() == other.len(), "{differ:?}, {} and {}", one.len(), other.len());
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn strings_that_another_thread_changes_are_marked() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let mut load = Workload::start(workload!(), &["flip", dir.path().to_str().unwrap()]);
    let [accesses, stats, links, execs, connects] = [(); 5].map(|()| load.line().parse::<usize>().unwrap());
    load.finish();
    capture.stop();
    let own =
        |types: &str| ktape::replay_json(&file, &[&format!("proc.name=ktape-workload and evt.type {types}")]);

    // The call, its path, and its result if the file exists.
    for (call, path, exists, count) in [
        ("access", "evt.arg.filename", 0, accesses),
        ("link", "evt.arg.oldname", -libc::EEXIST, links),
        ("execve", "evt.arg.filename", -libc::EACCES, execs),
    ] {
        let path_of = |event: &Value| text(event, path).unwrap().to_owned();
        let mut calls = own(&format!("= {call}"));
        calls.retain(|event| path_of(event).starts_with(dir.path().to_str().unwrap()));
        assert_eq!(calls.len(), count, "{call}");
        let verdict = |event: &Value| {
            let acted_on = if int(event, "evt.rawres") == Some(exists.into()) { "a" } else { "b" };
            (path_of(event).ends_with(acted_on), truth(event, "evt.args_uncertain"))
        };
        assert_marked(call, &calls.iter().map(verdict).collect::<Vec<_>>());
    }

    // Those that found a file, of which both the path and what was filled in are there.
    let calls = own("= stat");
    let of_file =
        |event: &Value| text(event, "evt.arg.filename").unwrap().starts_with(dir.path().to_str().unwrap());
    assert_eq!(calls.iter().filter(|event| of_file(event)).count(), stats);
    let found = calls.iter().filter(|event| of_file(event) && int(event, "evt.rawres") == Some(0));
    let verdict = |event: &Value| {
        assert_eq!(int(event, "evt.arg.statbuf.st_nlink"), Some(1), "{event}");
        (text(event, "evt.arg.filename").unwrap().ends_with('a'), truth(event, "evt.args_uncertain"))
    };
    assert_marked("stat", &found.map(verdict).collect::<Vec<_>>());

    let calls = own("in (connect, getpeername)");
    assert_eq!(calls.len(), 2 * connects);
    let verdicts: Vec<_> = calls
        .chunks(2)
        .map(|pair| (given(&pair[0]) == given(&pair[1]), truth(&pair[0], "evt.args_uncertain")))
        .collect();
    assert_marked("connect", &verdicts);
}

/// Of each call in turn: whether what is shown is what the kernel acted on, and whether it is marked.
fn assert_marked(call: &str, verdicts: &[(bool, bool)]) {
    let count = |which: fn(&(bool, bool)) -> bool| verdicts.iter().filter(|verdict| which(verdict)).count();
    assert!(
        count(|(right, marked)| !right && *marked) > 0,
        "{call}: no change was seen in {} calls",
        verdicts.len()
    );
    assert_eq!(count(|(right, marked)| !right && !marked), 0, "{call}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn calls_are_of_the_cgroup_that_a_thread_is_moved_to_between_them() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let cgroups = ["/ktape-test-from", "/ktape-test-to"].map(Cgroup::make);
    let capture = Capture::start(&file, &[]);
    let mut load = Workload::start(workload!(), &["spin"]);
    let pid = load.pid();
    for cgroup in [&cgroups[0], &cgroups[1], &cgroups[0]] {
        cgroup.attach(pid);
        load.go();
        assert_eq!(load.line(), "spins");
    }
    load.finish();
    capture.stop();
    let spin = format!("proc.pid={pid} and evt.type=getppid");
    let mut paths: Vec<_> = ktape::replay_json(&file, &[&spin])
        .iter()
        .map(|event| text(event, "cgroup.path").unwrap().to_owned())
        .collect();
    assert!(paths.len() >= 3000);
    paths.dedup();
    let moved: Vec<&str> =
        paths.iter().map(|path| &**path).filter(|path| path.starts_with("/ktape-test")).collect();
    assert_eq!(moved, ["/ktape-test-from", "/ktape-test-to", "/ktape-test-from"], "{paths:?}");
    assert!(paths.len() <= 4, "{paths:?}");
}
