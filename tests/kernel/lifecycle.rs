//! Each kind of lifecycle event: trigger it once, look at every column.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, list, text, truth};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// Record all kinds but the flood while `work` runs.
fn record(file: &Path, work: impl FnOnce()) {
    let capture =
        Capture::start(file, &["-e", "fork,exec,exit,rename_task,cgroup_mkdir,cgroup_rmdir,cgroup_attach"]);
    work();
    capture.stop();
}

/// The events of a kind for which `wanted` holds.
fn events(file: &Path, kind: &str, wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    ktape::replay_json(file, &["-e", kind]).into_iter().filter(|event| wanted(event)).collect()
}

fn only(mut events: Vec<Value>) -> Value {
    assert_eq!(events.len(), 1, "{events:#?}");
    events.remove(0)
}

fn own_cgroup(pid: u32) -> String {
    let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    cgroups.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn process_from_fork_to_exit_is_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut pid = 0;
    record(&file, || {
        let mut child = Command::new(workload!()).args(["exit", "42"]).spawn().unwrap();
        pid = i64::from(child.id());
        assert_eq!(child.wait().unwrap().code(), Some(42));
    });
    let parent = i64::from(std::process::id());
    let own_name = fs::read_to_string("/proc/self/comm").unwrap();

    let fork = only(events(&file, "fork", |event| int(event, "fork.child_pid") == Some(pid)));
    assert_eq!(int(&fork, "fork.child_tid"), Some(pid), "{fork}");
    assert!(!truth(&fork, "fork.thread"), "{fork}");
    assert_eq!(text(&fork, "fork.child_cgroup"), Some(own_cgroup(std::process::id()).as_str()), "{fork}");
    assert_eq!(int(&fork, "proc.pid"), Some(parent), "{fork}");
    assert_eq!(text(&fork, "proc.name"), Some(own_name.trim_end()), "{fork}");
    assert_eq!(int(&fork, "user.uid"), Some(0), "{fork}");

    let exec = only(events(&file, "exec", |event| int(event, "proc.pid") == Some(pid)));
    let path = workload!().to_str().unwrap();
    assert_eq!(text(&exec, "exec.path"), Some(path), "{exec}");
    assert_eq!(list(&exec, "exec.args"), [path, "exit", "42"], "{exec}");
    assert_eq!(int(&exec, "exec.old_tid"), Some(pid), "{exec}");
    // The name of the thread that forked: the test harness names it after the test.
    let forker = text(&fork, "thread.name").unwrap();
    assert_eq!(text(&exec, "exec.old_comm"), Some(forker), "{exec}");
    assert_eq!(text(&exec, "proc.name"), Some("ktape-workload"), "{exec}");
    assert_eq!(int(&exec, "proc.ppid"), Some(parent), "{exec}");

    let exit = only(events(&file, "exit", |event| int(event, "proc.pid") == Some(pid)));
    assert_eq!(int(&exit, "exit.status"), Some(42), "{exit}");
    assert_eq!(text(&exit, "exit.signal"), None, "{exit}");
    assert!(!truth(&exit, "exit.core") && truth(&exit, "exit.process"), "{exit}");
    assert_eq!(text(&exit, "proc.name"), Some("ktape-workload"), "{exit}");

    let time = |event: &Value| int(event, "evt.rawtime").unwrap();
    assert!(time(&fork) <= time(&exec) && time(&exec) <= time(&exit));
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    let age = i64::try_from(now).unwrap() - time(&exit);
    assert!((0..60_000_000_000).contains(&age), "the exit was {age} ns ago");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn thread_and_its_exec_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut pid = 0;
    record(&file, || {
        let child = Workload::start(workload!(), &["exec-from-thread"]);
        pid = i64::from(child.pid());
        assert_eq!(child.finish(), "hello\n");
    });
    let fork = only(events(&file, "fork", |event| int(event, "proc.pid") == Some(pid)));
    assert!(truth(&fork, "fork.thread"), "{fork}");
    assert_eq!(int(&fork, "fork.child_pid"), Some(pid), "{fork}");
    let thread = int(&fork, "fork.child_tid").unwrap();
    assert_ne!(thread, pid);

    let execs = events(&file, "exec", |event| int(event, "proc.pid") == Some(pid));
    assert_eq!(execs.len(), 2, "{execs:#?}");
    assert_eq!(text(&execs[1], "exec.path"), Some("/proc/self/exe"));
    assert_eq!(list(&execs[1], "exec.args"), ["ktape-workload", "hello"]);
    assert_eq!(int(&execs[1], "exec.old_tid"), Some(thread), "{}", execs[1]);
    assert_eq!(int(&execs[1], "thread.tid"), Some(pid), "{}", execs[1]);

    // The old leader ends without ending the process, which ends at last with the executing thread.
    let exits = events(&file, "exit", |event| int(event, "proc.pid") == Some(pid));
    let processes: Vec<bool> = exits.iter().map(|event| truth(event, "exit.process")).collect();
    assert_eq!(processes, [false, true], "{exits:#?}");
}

/// The events of the process that `ktape-workload orphan` prints, and the parent that it saw at last.
fn orphan(args: &[&str], file: &Path, kinds: &str) -> (i64, Vec<Value>) {
    let capture = Capture::start(file, &["-e", kinds]);
    let out = workload::run(workload!(), args);
    capture.stop();
    let (pid, parent) = out.trim_end().split_once(' ').unwrap();
    (parent.parse().unwrap(), ktape::replay_json(file, &[&format!("proc.pid={pid}")]))
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn an_orphan_has_the_parent_that_getppid_gives() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    for (i, args) in [&["orphan"][..], &["orphan", "subreaper"]].into_iter().enumerate() {
        let file = dir.path().join(format!("{i}.ktape"));
        let (parent, events) = orphan(args, &file, "getppid,faccessat,fork,exit");
        // At most one call returned after its parent had changed and with the one before.
        let calls = events.iter().filter(|event| text(event, "evt.type") == Some("getppid"));
        let differing = calls.clone().filter(|event| int(event, "proc.ppid") != int(event, "evt.rawres"));
        assert!(differing.count() <= 1, "{events:#?}");
        let seen: BTreeSet<i64> = calls.filter_map(|event| int(event, "proc.ppid")).collect();
        assert!(seen.len() == 2 && seen.contains(&parent), "{parent}: {seen:?}");
        let of = |path: &str| {
            let called = |event: &&Value| text(event, "evt.arg.filename") == Some(path);
            events.iter().find(called).unwrap_or_else(|| panic!("no call with {path}"))
        };
        for event in [of("/none/orphan"), of("/none/thread")] {
            assert_eq!(int(event, "proc.ppid"), Some(parent), "{event}");
        }
        for event in events.iter().filter(|event| text(event, "evt.category") == Some("exit")) {
            assert_eq!(int(event, "proc.ppid"), Some(parent), "{event}");
        }
        let name = fs::read_to_string(format!("/proc/{parent}/comm"));
        let name = name.map_or("ktape-workload".to_owned(), |name| name.trim_end().to_owned());
        let found = format!("fd.name=/none/orphan and proc.pname='{name}'");
        assert_eq!(ktape::count(&file, &found), 1, "{found}");
        assert_eq!(args.len() == 2, name == "ktape-workload", "the new parent is {name}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn an_orphan_that_makes_no_recorded_call_ends_with_its_new_parent() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let (parent, events) = orphan(&["orphan", "subreaper"], &dir.path().join("x.ktape"), "fork,exec,exit");
    let own = |kind: &str| -> Vec<&Value> {
        events.iter().filter(|event| text(event, "evt.category") == Some(kind)).collect()
    };
    // Its thread's fork and end, and its own.
    assert_eq!((own("fork").len(), own("exit").len()), (1, 2), "{events:#?}");
    assert!(events.iter().all(|event| int(event, "proc.ppid") == Some(parent)), "{parent}: {events:#?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hangs_and_switches_of_an_orphan_have_its_new_parent() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "stall,switch", "--stall", "200ms"]);
    let mut load = Workload::start(workload!(), &["orphan-hang"]);
    let line = load.line();
    let (pid, first) = line.split_once(' ').unwrap();
    let reported = |parent: &str| {
        let expression = format!("evt.type=stall_ongoing and proc.pid={pid} and proc.ppid={parent}");
        until("a report with this parent", TIMEOUT, || (ktape::count(&file, &expression) > 0).then_some(()));
    };
    reported(first);
    load.go();
    assert_eq!(load.line(), "orphaned");
    let parent = load.pid().to_string();
    reported(&parent);
    load.go();
    load.finish();
    capture.stop();
    let hang = format!("evt.type=stall and proc.pid={pid}");
    assert_eq!(ktape::count(&file, &hang), 1);
    let adopted = format!("{hang} and proc.ppid={parent} and proc.pname=ktape-workload");
    assert_eq!(ktape::count(&file, &adopted), 1, "{adopted}");
    // It went to sleep before the end of its parent, and once more after that.
    for (state, parent) in [("D", first), ("S", &parent)] {
        let switch = format!("evt.type=switch and proc.pid={pid} and switch.state={state}");
        let switches = ktape::replay_json(&file, &[&switch]);
        let last = switches.last().unwrap_or_else(|| panic!("{switch}"));
        assert_eq!(int(last, "proc.ppid"), parent.parse().ok(), "{last}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn parents_have_their_name_at_the_time_of_the_event() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "faccessat"]);
    let child = workload::run(workload!(), &["new-name"]);
    capture.stop();
    for (path, name) in [("/none/before", "ktape-workload"), ("/none/after", "another")] {
        let filter = format!("proc.pid={} and fd.name={path} and proc.pname={name}", child.trim_end());
        assert_eq!(ktape::count(&file, &filter), 1, "{filter}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn deaths_by_signal_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let (mut segv, mut killed) = (0, 0);
    record(&file, || {
        let mut child = Command::new(workload!()).arg("die").spawn().unwrap();
        segv = i64::from(child.id());
        assert!(!child.wait().unwrap().success());
        let mut child = Workload::start(workload!(), &["read-block"]);
        killed = i64::from(child.pid());
        child.line();
        child.kill();
    });
    for (pid, signal) in [(segv, "SIGSEGV"), (killed, "SIGKILL")] {
        let exit = only(events(&file, "exit", |event| int(event, "proc.pid") == Some(pid)));
        assert_eq!(text(&exit, "exit.signal"), Some(signal), "{exit}");
        assert_eq!(int(&exit, "exit.status"), Some(0), "{exit}");
        assert!(truth(&exit, "exit.process") && !truth(&exit, "exit.core"), "{exit}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn task_renames_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut pid = 0;
    record(&file, || {
        let mut child = Command::new(workload!()).args(["rename", "sixteen bytes an"]).spawn().unwrap();
        pid = i64::from(child.id());
        assert!(child.wait().unwrap().success());
    });
    let renames = events(&file, "rename_task", |event| int(event, "proc.pid") == Some(pid));
    let names: Vec<_> = renames.iter().filter_map(|event| text(event, "rename_task.comm")).collect();
    // Cut by the kernel to 15; exec has its own event.
    assert_eq!(names, ["sixteen bytes a", "by-proc"]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn cgroups_from_mkdir_to_rmdir_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let path = "/ktape-test-outer/ktape-test inner";
    let mut id = 0;
    let load = Workload::start(workload!(), &["getppid", "1", "--gate"]);
    let pid = i64::from(load.pid());
    let own = i64::from(std::process::id());
    record(&file, || {
        let cgroup = Cgroup::make(path);
        id = i64::try_from(cgroup.id()).unwrap();
        cgroup.attach(load.pid());
        cgroup.detach(load.pid());
    });
    load.kill();

    let of = |kind: &str, field: &str, path: &str| {
        let all = events(&file, kind, |event| text(event, field) == Some(path));
        assert!(all.iter().all(|event| int(event, "proc.pid") == Some(own)), "{all:#?}");
        all
    };
    for path in ["/ktape-test-outer", path] {
        only(of("cgroup_mkdir", "cgroup_mkdir.cgroup", path));
        only(of("cgroup_rmdir", "cgroup_rmdir.cgroup", path));
    }
    let attach = only(of("cgroup_attach", "cgroup_attach.cgroup", path));
    assert_eq!(int(&attach, "cgroup_attach.moved_pid"), Some(pid), "{attach}");
    assert_eq!(int(&attach, "cgroup_attach.moved_tid"), Some(pid), "{attach}");
    assert!(truth(&attach, "cgroup_attach.threadgroup"), "{attach}");
    let back = events(&file, "cgroup_attach", |event| int(event, "cgroup_attach.moved_pid") == Some(pid));
    assert_eq!(back.len(), 2, "{back:#?}");
    assert_eq!(text(&back[1], "cgroup_attach.cgroup"), Some("/"), "{}", back[1]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn only_the_command_and_its_children_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let noise = Workload::start(workload!(), &["rate", "1000", "600"]);
    let ended = ktape::record(&file, &[], &[workload!().to_str().unwrap(), "fork-tree"]);
    noise.kill();
    // "From its execve": the first event of the tree is the exec or its call.
    let all: Vec<Value> = ktape::replay_json(&file, &[])
        .into_iter()
        .filter(|event| {
            let kind = text(event, "evt.type").unwrap();
            !["clock", "loss"].contains(&kind) && !kind.starts_with("sample")
        })
        .collect();
    let pid = int(&all[0], "proc.pid").unwrap();
    assert!(["exec", "execve"].contains(&text(&all[0], "evt.type").unwrap()), "{}", all[0]);
    let mut tree = BTreeSet::from([pid]);
    for event in &all {
        // One of two parties is enough.
        let parties = ["proc.pid", "switch.next.pid", "signal.target_pid"];
        let inside = parties.iter().any(|field| int(event, field).is_some_and(|pid| tree.contains(&pid)));
        assert!(inside, "{event}");
        if let Some(child) = int(event, "fork.child_pid") {
            tree.insert(child);
        }
    }
    // fork twice, clone, clone3, two spawned.
    assert_eq!(tree.len(), 7, "{tree:?}\n{}", ended.stderr);
    assert_eq!(ktape::count(&file, "evt.type=getppid"), 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn the_exit_code_is_that_of_the_command() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let run = |command: &[&str]| {
        let mut args = vec!["capture", "--force", "-o", file.to_str().unwrap(), "--"];
        args.extend(command);
        let out = ktape::run(&args);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let (code, stderr) = run(&[workload!().to_str().unwrap(), "exit", "42"]);
    assert_eq!(code, Some(42), "{stderr}");
    assert!(stderr.contains("\nktape: command exited with code 42\n"), "{stderr}");
    assert_eq!(ktape::count(&file, "evt.type=exit and exit.status=42 and exit.process=true"), 1);

    let (code, stderr) = run(&["sh", "-c", "kill -9 $$"]);
    assert_eq!(code, Some(137), "{stderr}");
    assert!(stderr.contains("\nktape: command was killed by SIGKILL\n"), "{stderr}");
    assert_eq!(run(&["true"]).0, Some(0));

    // What was not run has no line of its own.
    let (code, stderr) = run(&["/none/at all"]);
    assert_eq!((code, stderr.as_str()), (Some(127), "ktape: cannot run /none/at all: no such file\n"));
    assert_eq!(run(&["/etc/passwd"]).0, Some(126));
    // Scripts whose interpreter is missing or no program: only the exec itself fails.
    let script = dir.path().join("script");
    for (interpreter, expected) in [("/none", 127), ("/etc/passwd", 126)] {
        fs::write(&script, format!("#!{interpreter}\n")).unwrap();
        fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let (code, stderr) = run(&[script.to_str().unwrap()]);
        assert_eq!(code, Some(expected), "{stderr}");
        assert!(stderr.contains("\nktape: command could not be executed: "), "{stderr}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn command_is_recorded_with_any_event_selection() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("calls.ktape");
    ktape::record(&file, &["-e", "openat"], &["/bin/cat", "/etc/hosts"]);
    assert_eq!(ktape::count(&file, "fd.name=/etc/hosts and proc.name=cat"), 1);
    assert_eq!(ktape::count(&file, "evt.type!=openat"), 0);

    let file = dir.path().join("lives.ktape");
    let script = "/bin/true; /bin/true; exit 3";
    ktape::record(&file, &["-e", "exec,fork,exit_group"], &["/bin/sh", "-c", script]);
    assert_eq!(ktape::count(&file, "evt.type=exec and proc.name=true"), 2);
    assert_eq!(ktape::count(&file, "evt.category=fork"), 2);
    assert_eq!(ktape::count(&file, "evt.type=exit_group"), 3);
}
