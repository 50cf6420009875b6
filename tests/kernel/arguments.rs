//! Arguments that the kernel side reads in the caller's memory: addresses that the kernel fills in, and arguments of
//! programs.

use std::ffi::{CString, OsString};
use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::until_blocked;
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// What stands for the address in the text of a call.
fn address_in(line: &str) -> &str {
    // After the thread's name and id.
    let call = line.split_once(") ").unwrap().1;
    let (name, arguments) = call.split_once('(').unwrap();
    let arguments = arguments.rsplit_once(") = ").unwrap().0;
    let position = if name == "recvfrom" { 4 } else { 1 };
    arguments.split(", ").nth(position).unwrap()
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn an_address_is_what_the_kernel_has_filled_in() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let out = workload::run(workload!(), &["addresses"]);
    capture.stop();
    let own = "proc.name=ktape-workload and evt.type!=write and evt.category=syscall";
    let lines = ktape::stdout(&["replay", file.to_str().unwrap(), own]);
    let lines: Vec<&str> = lines.lines().collect();
    let events = ktape::replay_json(&file, &[own]);
    assert_eq!(lines.len(), events.len());
    let mut steps = 0;
    for step in out.lines() {
        let (name, expected) = step.split_once(' ').unwrap();
        let marker = format!("/none/{name}");
        let at = events.iter().position(|event| text(event, "evt.arg.filename") == Some(&marker));
        let at = at.unwrap_or_else(|| panic!("no {marker}")) + 1;
        let (event, line) = (&events[at], lines[at]);
        let value = ["addr", "upeer_sockaddr", "usockaddr", "msg", "mmsg"].iter().find_map(|arg| {
            let value = event.get(format!("evt.arg.{arg}"))?;
            // Of several messages, there are several.
            value.as_array().map_or(Some(value), |all| all.first())?.as_str()
        });
        let shown = address_in(line).trim_matches(['[', ']']);
        match expected {
            "none" => {
                assert_eq!(value, None, "{name}: {event}");
                // With room for no byte, there was an address all the same.
                let is_shown = if name.ends_with("no-room") { shown == "..." } else { shown == "_" };
                assert!(is_shown, "{name}: {line}");
            }
            // The family, and an IPv4 address that was not received.
            "part" => assert_eq!((value, shown), (Some("family 2"), "family 2..."), "{name}: {line}"),
            whole => {
                assert_eq!(value, Some(whole), "{name}: {event}");
                assert_eq!(shown.trim_end_matches("..."), whole, "{name}: {line}");
                assert_eq!(shown.ends_with("..."), name.ends_with("8-bytes"), "{name}: {line}");
            }
        }
        steps += 1;
    }
    assert_eq!(steps, 26, "{out}");
    // What was in the buffers before.
    assert_eq!(ktape::count(&file, "fd.name contains 6.6.6.6"), 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn room_of_calls_in_flight_at_start_is_unknown() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let mut load = Workload::start(workload!(), &["receive"]);
    let port: u16 = load.line().parse().unwrap();
    assert_eq!(load.line(), "ready");
    until_blocked(load.pid(), load.pid(), libc::SYS_recvfrom);
    let waits = Capture::start(&dir.path().join("waits.ktape"), &["-e", "recvfrom"]).stop();
    let capture = Capture::start(&file, &["-e", "recvfrom"]);
    let pid = load.pid();
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", ("127.0.0.1", port)).unwrap();
    load.finish();
    capture.stop();
    let own = format!("proc.pid={pid}");
    let event = ktape::replay_json(&file, &[&own]).remove(0);
    assert_eq!((int(&event, "evt.rawres"), text(&event, "evt.arg.addr")), (Some(1), None), "{event}");
    let line = ktape::stdout(&["replay", file.to_str().unwrap(), &own]);
    assert_eq!(address_in(&line), "?", "{line}");
    // Nothing is filled in by a call that has not returned.
    let line = ktape::stdout(&["replay", waits.file.to_str().unwrap(), &own]);
    assert!(line.contains(", 16, 0, _, _)"), "{line}");
}

/// The lists of arguments in the text of the failed calls of a name.
fn argument_lists(file: &Path, call: &str) -> Vec<String> {
    let lines = ktape::stdout(&["replay", file.to_str().unwrap(), "-e", call, "evt.failed=true"]);
    let list = |line: &str| {
        line.split_once(", [").and_then(|(_, rest)| Some(rest.rsplit_once("], _")?.0.to_owned()))
    };
    lines.lines().map(|line| list(line).unwrap_or_else(|| line.to_owned())).collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn an_exec_that_fails_has_its_arguments() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    for (name, content, mode) in [
        ("not-executable", "x", 0o600),
        ("no-interpreter", "#!/none/interpreter\n", 0o700),
        ("script", "echo from a script\n", 0o700),
    ] {
        fs::write(dir.path().join(name), content).unwrap();
        fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let file = dir.path().join("x.ktape");
    let command = [workload!().to_str().unwrap(), "failed-execs", dir.path().to_str().unwrap()];
    ktape::record(&file, &[], &command);

    let events = ktape::replay_json(&file, &["-e", "execve", "evt.failed=true"]);
    let seen: Vec<(&str, &str)> = events
        .iter()
        .map(|event| {
            let path = text(event, "evt.arg.filename").unwrap();
            (path.rsplit_once('/').unwrap().1, text(event, "evt.res").unwrap())
        })
        .collect();
    let expected = [
        ("missing", "ENOENT"),
        ("missing", "ENOENT"),
        ("not-executable", "EACCES"),
        ("no-interpreter", "ENOENT"),
        ("script", "ENOEXEC"),
        ("missing", "ENOENT"),
        ("missing", "ENOENT"),
        ("true", "E2BIG"),
    ];
    assert_eq!(seen, expected);
    let lists = argument_lists(&file, "execve");
    assert_eq!(lists[0], r#""missing", "", "an argument""#);
    assert_eq!(lists[1], r#""missing", "--password", "******""#);
    assert_eq!(lists[2], r#""not-executable", "1""#);
    assert_eq!(lists[3], r#""no-interpreter", "2""#);
    assert_eq!(lists[4], r#""script", "3""#);
    assert_eq!(lists[5], format!(r#""long", "{}", "the end""#, "x".repeat(20_000)));
    // Not more than 128 of them.
    let numbers: Vec<String> = (0..128).map(|i| format!(r#""argument-{i}""#)).collect();
    assert_eq!(lists[6], numbers.join(", ") + "...");
    // Cut, and marked.
    let start = format!(r#""longer", "{}"#, "y".repeat(30_000));
    assert!(lists[7].starts_with(&start) && lists[7].ends_with(r#"y"..."#), "{} bytes", lists[7].len());
    assert_eq!(ktape::count(&file, "evt.failed=true and evt.arg.argv contains argument-127"), 1);

    let lists = argument_lists(&file, "execveat");
    assert_eq!(lists[0], r#""at", "4""#);
    assert!(lists[1].contains(r#""missing at", NULL, _"#), "{}", lists[1]);
    assert!(lists[2].contains(r#""missing at", ?, _"#), "{}", lists[2]);
    assert!(!ktape::all_strings(&file).iter().any(|text| text.windows(7).any(|word| word == b"hunter2")));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn arguments_of_up_to_32_kib_are_whole() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let lists: [Vec<String>; 3] = [
        (0..1000).map(|i| format!("argument-{i}")).collect(),
        vec!["q".repeat(20_000), "the-end".into()],
        vec!["z".repeat(131_000), "the-end".into()],
    ];
    let capture = Capture::start(&file, &[]);
    let mut pids = Vec::new();
    for list in &lists {
        let mut child = Command::new("/bin/true").args(list.iter().map(OsString::from)).spawn().unwrap();
        pids.push(child.id());
        assert!(child.wait().unwrap().success());
    }
    capture.stop();
    for (pid, list) in pids.iter().zip(&lists) {
        let of = |kind: &str| -> String {
            let filter = format!("proc.pid={pid} and evt.type={kind}");
            ktape::stdout(&["replay", file.to_str().unwrap(), &filter])
        };
        let quoted: Vec<String> = list.iter().map(|arg| format!(r#""{arg}""#)).collect();
        let whole = format!(r#"["/bin/true", {}]"#, quoted.join(", "));
        let cut = list[0].len() > 32 << 10;
        // The event and the call agree.
        for kind in ["exec", "execve"] {
            let line = of(kind);
            assert_eq!(line.contains(&whole), !cut, "{kind}: {} bytes", line.len());
            assert_eq!(line.contains(r#"zz"...]"#), cut, "{kind}: {} bytes", line.len());
        }
        let filter = format!("proc.pid={pid} and evt.type=exec");
        let event: Value = ktape::replay_json(&file, &[&filter]).remove(0);
        assert_eq!(text(&event, "exec.path"), Some("/bin/true"));
    }
}

/// A search along PATH fails several times before each program, so the records must be small: these fit into the ring buffer
/// even if it is not read meanwhile.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn failed_execs_with_many_arguments_fit_into_the_ring_buffer() {
    const CALLS: u64 = 100;
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let argument = CString::new("x".repeat(24)).unwrap();
    // With the terminating null pointer.
    let argv: Vec<*const libc::c_char> =
        (0..20).map(|_| argument.as_ptr()).chain([std::ptr::null()]).collect();
    let capture = Capture::start(&file, &["-e", "execve", "--buffer", "1MiB"]);
    for _ in 0..CALLS {
        // SAFETY: strings with a NUL, in an array that a null pointer ends. There is no such file, so it returns.
        assert_eq!(unsafe { libc::execv(c"/none/program".as_ptr(), argv.as_ptr()) }, -1);
    }
    capture.stop();
    let info = ktape::info(&file);
    assert_eq!(int(&info, "lost"), Some(0), "{info:#}");
    let calls = format!("evt.type=execve and proc.pid={}", std::process::id());
    assert_eq!(ktape::count(&file, &calls), CALLS, "{info:#}");
    let cut = ktape::replay_json(&file, &[&format!("{calls} and evt.cut=true")]);
    assert!(cut.is_empty(), "{cut:#?}");
}

/// The kernel puts the interpreter before the arguments of a script: the call was given others than the program gets.
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn execs_of_scripts_have_the_arguments_that_they_were_given() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let script = dir.path().join("script");
    fs::write(&script, "#!/bin/sh -e\nexit 0\n").unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o700)).unwrap();
    let capture = Capture::start(&file, &["-e", "execve,exec"]);
    let mut child = Command::new(&script).arg0("name").args(["a", "b c"]).spawn().unwrap();
    let pid = child.id();
    assert!(child.wait().unwrap().success());
    capture.stop();
    let of_child = |filter: &str| ktape::replay_json(&file, &[&format!("{filter} and proc.pid={pid}")]);
    let calls = of_child("evt.type=execve and evt.res=SUCCESS");
    assert_eq!(calls.len(), 1, "{calls:#?}");
    let path = script.to_str().unwrap();
    assert_eq!(text(&calls[0], "evt.arg.filename"), Some(path));
    assert_eq!(ktape::list(&calls[0], "evt.arg.argv"), ["name", "a", "b c"]);
    let execs = of_child("evt.type=exec");
    assert_eq!(ktape::list(&execs[0], "exec.args"), ["/bin/sh", "-e", path, "a", "b c"]);
    assert_eq!(ktape::list(&calls[0], "proc.args"), ["-e", path, "a", "b c"]);
}
