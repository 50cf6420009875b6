//! Calls of a command, compared one by one with those that strace logs.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{catch_unwind, resume_unwind};
use std::path::Path;

use ktape_tests::container::{self, Options, Runtime};
use ktape_tests::fidelity::{self, Program};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text, truth};
use ktape_tests::strace::{self, Call, Outcome, Threads};
use ktape_tests::workload;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn dd_call_count_equals_strace() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let command = ["dd", "if=/dev/zero", "of=/dev/null", "bs=1", "count=100000"];
    let counted = strace::count(&command, dir.path());
    assert!(counted["read"] > 100_000 && counted["write"] >= 100_000, "{counted:?}");

    let file = dir.path().join("x.ktape");
    ktape::record(&file, &[], &command);
    let recorded: BTreeMap<String, u64> = counted
        .keys()
        .map(|name| (name.clone(), ktape::count(&file, &format!("proc.name=dd and evt.type={name}"))))
        .collect();
    assert_eq!(recorded, counted);
    // strace -c leaves out the one that does not return.
    let all = ktape::count(&file, "proc.name=dd and evt.category=syscall");
    assert_eq!(all, counted.values().sum::<u64>() + 1);
    assert_eq!(ktape::count(&file, "proc.name=dd and evt.type=exit_group"), 1);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn fork_tree_equals_strace() {
    same_as_strace(&["fork-tree"]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn exec_by_another_thread_equals_strace() {
    let threads = same_as_strace(&["exec-from-thread"]);
    // The leader's wait for the thread never returns; then its id is the executing thread's.
    let leader =
        threads.values().find(|calls| calls.iter().filter(|call| call.name == "execve").count() == 2);
    assert!(leader.is_some(), "no thread executed twice: {threads:?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn threads_equal_strace() {
    let threads = same_as_strace(&["threads", "8"]);
    assert_eq!(threads.len(), 9);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn signals_equal_strace() {
    let threads = same_as_strace(&["signals"]);
    let all: Vec<&Call> = threads.values().flatten().collect();
    for restart in ["ERESTARTSYS", "ERESTARTNOHAND", "ERESTART_RESTARTBLOCK"] {
        assert!(all.iter().any(|call| call.outcome == Outcome::Restart(restart.into())), "no {restart}");
    }
    assert!(all.iter().any(|call| call.name == "restart_syscall"), "nothing was taken up again");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn failing_calls_equal_strace() {
    same_as_strace(&["fail"]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn seccomp_results_equal_strace() {
    same_as_strace(&["seccomp"]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn seccomp_denials_of_a_container_equal_strace() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::new(&[]);
    let cgroup = "/docker/5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc5ecc";
    let script = "unshare -m true; mount -t tmpfs none /tmp; umount /tmp; true";
    let options = Options { cgroup, args: &["/bin/sh", "-c", script], seccomp: true };
    let command = runtime.command("seccomp", &options);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let file = dir.path().join("x.ktape");
    compare(dir.path(), &file, &command);
    container::remove_cgroups(cgroup);

    let denied = ktape::replay_json(&file, &["evt.seccomp=true and evt.res!=ENOSYS"]);
    let names: Vec<&str> = denied.iter().filter_map(|event| text(event, "evt.type")).collect();
    for name in ["unshare", "mount", "umount2"] {
        assert!(names.contains(&name), "{name} was not denied: {names:?}");
    }
    for event in &denied {
        assert_eq!(int(event, "evt.rawres"), Some(-1), "{event}");
        assert_eq!(text(event, "evt.res"), Some("EPERM"), "{event}");
        assert_eq!(text(event, "container.id"), Some(&cgroup["/docker/".len()..][..12]), "{event}");
    }
}

/// `cargo xtask fidelity` does it for more programs.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn arguments_and_names_of_descriptors_equal_those_of_strace() {
    let _guard = Guard::exclusive();
    for name in ["pipeline", "tar", "files"] {
        let dir = tempfile::tempdir().unwrap();
        let found = fidelity::run(Program::named(name).unwrap(), dir.path());
        assert!(found.differences.is_empty(), "{name}: {:#?}", found.differences);
        assert!(found.missing.is_empty(), "{name}: {:#?}", found.missing);
        let names = &found.names;
        assert!(names.are_equal(), "{name}: {:#?} {:#?}", names.unknown, names.wrong);
        assert!(names.equal > 100, "{name}: {names:?}");
        let figures = found.total();
        assert!(figures.same > 100 && figures.same > figures.not_recorded, "{name}: {figures:?}");
    }
}

fn same_as_strace(args: &[&str]) -> Threads {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let mut command = vec![workload!().to_str().unwrap()];
    command.extend(args);
    compare(dir.path(), &dir.path().join("x.ktape"), &command)
}

/// Run a command under strace under ktape, and compare what both saw of it, thread by thread and in order. Where the
/// kernel skipped runs of a program, which some do now and then and ktape reports, that may have been calls of other
/// processes: only if the two differ, again.
fn compare(dir: &Path, file: &Path, command: &[&str]) -> Threads {
    let log = dir.join("strace.log");
    let traced = strace::command(&log, command);
    let traced: Vec<&str> = traced.iter().map(String::as_str).collect();
    for _ in 0..5 {
        ktape::record(file, &["--force"], &traced);
        let lost = ktape::replay_json(file, &["-e", "loss"]);
        assert!(lost.iter().all(|loss| text(loss, "loss.stage") == Some("recursion")), "{lost:#?}");
        let expected = strace::read(&log);
        // To explain a difference.
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap()).into_owned();
        let ends: Vec<&str> =
            text.lines().filter(|line| line.contains("exit_group") || line.contains("+++")).collect();
        eprintln!("how threads ended, says strace:\n{}", ends.join("\n"));
        let compared = catch_unwind(|| as_strace_saw(&expected, recorded(file)));
        match compared {
            Ok(()) => return expected,
            Err(difference) if lost.is_empty() => resume_unwind(difference),
            Err(_) => eprintln!("once more, for what the kernel skipped: {lost:#?}"),
        }
    }
    panic!("the two differed each time, and each time the kernel had skipped calls");
}

fn as_strace_saw(expected: &Threads, mut recorded: Threads) {
    assert!(!expected.is_empty(), "strace saw nothing");
    for (tid, expected) in expected {
        let mut calls = recorded.remove(tid).unwrap_or_default();
        if expected[0] == (Call { name: "execve".into(), outcome: Outcome::Value(0) }) {
            // strace's own child, before it became the program.
            let first = calls.iter().position(|call| *call == expected[0]).unwrap_or(0);
            calls.drain(..first);
        }
        same_calls(*tid, expected, &calls);
    }
}

fn recorded(file: &Path) -> Threads {
    let mut threads = Threads::new();
    for event in ktape::replay_json(file, &["evt.category=syscall"]) {
        let tid = u32::try_from(int(&event, "thread.tid").unwrap()).unwrap();
        let name = text(&event, "evt.type").unwrap().to_owned();
        let outcome = match int(&event, "evt.rawres") {
            Some(raw) if !truth(&event, "evt.unfinished") => Outcome::from_raw(raw),
            _ => Outcome::Never,
        };
        threads.entry(tid).or_default().push(Call { name, outcome });
    }
    threads
}

/// Equal, but for the known differences.
fn same_calls(tid: u32, expected: &[Call], recorded: &[Call]) {
    for (i, call) in expected.iter().enumerate() {
        let Some(found) = recorded.get(i) else {
            panic!(
                "thread {tid}: call {i}, {call:?}, is missing; before it: {:?}",
                &recorded[i.saturating_sub(3)..]
            );
        };
        let is_last = i + 1 == expected.len();
        // What strace reads of a thread that is being killed is not always its call: the last one of a thread whose group
        // ended was once shown as number 0, which is read, and the kernel had it in nanosleep (Linux 6.12, emulated).
        let is_number_lost = is_last && call.name == "read" && found.outcome == Outcome::Never;
        let same = found == call
            || is_number_lost && call.outcome == Outcome::Never
            || found.name == call.name
                && match (&call.outcome, &found.outcome) {
                    // Its result register belongs to the interrupted call.
                    (_, Outcome::Never) => call.name == "rt_sigreturn",
                    // The result of a call of a thread that is being killed is visible to the tracepoint alone.
                    (Outcome::Never, _) => expected.get(i + 1).is_none_or(|next| next.name == "execve"),
                    // Nor is what strace reads of such a thread always the result: the last call of one whose group
                    // ended was once shown with 231, the number of exit_group (Linux 6.1, emulated).
                    (Outcome::Value(value), _) => *value == libc::SYS_exit_group && is_last,
                    _ => false,
                };
        assert!(
            same,
            "thread {tid}, call {i}: strace {call:?}, ktape {found:?}\nstrace: {:?}\nktape: {:?}",
            &expected[i.saturating_sub(3)..(i + 3).min(expected.len())],
            &recorded[i.saturating_sub(3)..(i + 3).min(recorded.len())]
        );
    }
    // A thread killed while strace looks at its entry into a call: the kernel skips the call.
    let skipped = |call: &Call| call.outcome == Outcome::Never;
    let more = &recorded[expected.len()..];
    assert!(
        more.is_empty() || more.len() == 1 && skipped(&more[0]),
        "thread {tid}: ktape has more: {more:?}"
    );
}
