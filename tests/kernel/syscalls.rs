//! Syscall records: paths, socket addresses, the 32-bit ABI, results of seccomp.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, int, text, truth};
use ktape_tests::paths::{LONGEST, NASTY, of_length};
use ktape_tests::workload;

/// Record the workload with `dir` as its last argument.
fn record(what: &str, dir: &Path) -> PathBuf {
    let file = dir.join("x.ktape");
    ktape::record(&file, &[], &[workload!().to_str().unwrap(), what, dir.to_str().unwrap()]);
    file
}

fn of(file: &Path, call: &str) -> Vec<Value> {
    ktape::replay_json(file, &["-e", call, "proc.name=ktape-workload"])
}

/// The inverse of the one escape rule.
fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let (byte, used) = match rest {
            [b'n', ..] => (b'\n', 1),
            [b't', ..] => (b'\t', 1),
            [b'r', ..] => (b'\r', 1),
            [b'e', ..] => (0x1b, 1),
            [b'x', hex @ ..] => (u8::from_str_radix(std::str::from_utf8(&hex[..2]).unwrap(), 16).unwrap(), 3),
            [other, ..] => (*other, 1),
            [] => panic!("a backslash at the end of {text:?}"),
        };
        bytes.push(byte);
        rest = &rest[used..];
    }
    bytes
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn paths_of_every_length_and_byte_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = record("paths", dir.path());
    let opened: Vec<Value> = of(&file, "openat");
    let names: Vec<Vec<u8>> =
        opened.iter().filter_map(|event| text(event, "evt.arg.filename")).map(unescape).collect();
    let first = names.iter().position(|name| *name == of_length(1)).expect("the path of length 1");
    for length in 1..=LONGEST {
        let event = &names[first + length - 1];
        assert!(*event == of_length(length), "length {length}: {:?}", String::from_utf8_lossy(event));
    }
    for (i, path) in NASTY.iter().enumerate() {
        assert_eq!(names[first + LONGEST + i], *path);
    }
    // The text of each is one line of printable characters.
    let text = ktape::stdout(&["replay", file.to_str().unwrap(), "-e", "openat"]);
    assert_eq!(text.lines().count(), ktape::replay_json(&file, &["-e", "openat"]).len());
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c)));
    assert!(text.contains(r#""/none/quote\"back\\slash'""#));
    assert!(text.contains(r#""/none/\e[31mred\e[0m""#));
    assert!(names.contains(&b"/none/at page end".to_vec()));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn calls_with_two_paths_and_directory_descriptors() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = record("paths", dir.path());
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let arg = |event: &Value, name: &str| text(event, &format!("evt.arg.{name}")).map(str::to_owned);

    let renames = of(&file, "rename");
    assert_eq!(renames.len(), 2);
    assert_eq!(arg(&renames[0], "oldname"), Some(path("first")));
    assert_eq!(arg(&renames[0], "newname"), Some(path("second")));
    assert_eq!(int(&renames[0], "evt.rawres"), Some(0));
    assert_eq!(arg(&renames[1], "oldname").unwrap().as_bytes(), of_length(LONGEST));
    assert_eq!(arg(&renames[1], "newname").unwrap().as_bytes(), of_length(LONGEST - 1));
    assert_eq!(text(&renames[1], "evt.res"), Some("ENOENT"));

    let opened = of(&file, "openat");
    let directory = opened.iter().find(|event| arg(event, "filename") == Some(path(""))).unwrap();
    let dirfd = int(directory, "evt.rawres").unwrap();
    let inside = opened.iter().find(|event| arg(event, "filename").as_deref() == Some("first")).unwrap();
    assert_eq!(int(inside, "evt.arg.dfd"), Some(dirfd), "{inside}");
    assert_eq!(int(directory, "evt.arg.dfd"), Some(i64::from(libc::AT_FDCWD)), "{directory}");

    let event = of(&file, "renameat2").remove(0);
    assert_eq!((int(&event, "evt.arg.olddfd"), int(&event, "evt.arg.newdfd")), (Some(dirfd), Some(dirfd)));
    assert_eq!(
        (arg(&event, "oldname").unwrap(), arg(&event, "newname").unwrap()),
        ("second".into(), "third".into())
    );
    let event = of(&file, "symlinkat").remove(0);
    assert_eq!(
        (arg(&event, "oldname").unwrap(), arg(&event, "newname").unwrap()),
        ("to nowhere".into(), "link".into())
    );
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn socket_addresses_are_decoded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = ktape::Capture::start(&file, &[]);
    let out = workload::run(workload!(), &["sockets", dir.path().to_str().unwrap()]);
    capture.stop();
    let ports: BTreeMap<&str, &str> = out.lines().filter_map(|line| line.split_once(' ')).collect();
    let tcp = format!("127.0.0.1:{}", ports["tcp"]);
    let udp = format!("127.0.0.1:{}", ports["udp"]);
    let has = |call: &str, name: &str| {
        let filter = format!("proc.name=ktape-workload and evt.type={call} and fd.name {name}");
        assert!(ktape::count(&file, &filter) > 0, "no {filter}");
    };
    let unix = |name: &str| format!("= '{}'", dir.path().join(name).to_str().unwrap());
    has("connect", &format!("= '{tcp}'"));
    if ports["tcp6"].parse::<u16>().is_ok() {
        has("connect", &format!("= '[::1]:{}'", ports["tcp6"]));
    }
    has("connect", &unix("unix socket"));
    has("connect", &unix("no socket"));
    has("connect", "= '@abstract ktape.'");
    has("bind", "= '127.0.0.1:0'");
    has("bind", &unix("unix socket"));
    has("sendto", &format!("= '{udp}'"));
    has("sendmsg", &format!("= '{udp}'"));
    // Filled in by the kernel: the peer's address.
    has("accept4", "startswith '127.0.0.1:'");
    has("recvfrom", "startswith '127.0.0.1:'");
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs root and a kernel with BTF"]
fn calls_of_the_32_bit_abi_are_named() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = ktape::Capture::start(&file, &[]);
    let out = workload::run(workload!(), &["compat"]);
    capture.stop();
    let results: Vec<i64> = out.lines().map(|line| line.parse().unwrap()).collect();
    let events = ktape::replay_json(&file, &["syscall.abi=i386 and proc.name=ktape-workload"]);
    let seen: Vec<(&str, i64)> = events
        .iter()
        .map(|event| (text(event, "evt.type").unwrap(), int(event, "evt.rawres").unwrap()))
        .collect();
    assert_eq!(
        seen,
        [("getpid", results[0]), ("write", 5), ("openat", -2), ("syscall_600", -38)],
        "the workload saw {results:?}"
    );
    assert_eq!(int(&events[1], "evt.arg.count"), Some(5), "{}", events[1]);
    assert_eq!(text(&events[2], "evt.arg.filename"), Some("/none/compat"), "{}", events[2]);
    assert_eq!(int(&events[2], "evt.arg.dfd"), Some(i64::from(libc::AT_FDCWD)), "{}", events[2]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn seccomp_results_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    ktape::record(&file, &[], &[workload!().to_str().unwrap(), "seccomp"]);
    let answered = ktape::replay_json(&file, &["evt.seccomp=true"]);
    let seen: Vec<(&str, Option<i64>)> = answered
        .iter()
        .map(|event| (text(event, "evt.type").unwrap(), int(event, "evt.rawres")))
        .filter(|(name, _)| *name != "getsid")
        .collect();
    assert_eq!(
        seen,
        [("mkdirat", Some(-1)), ("unshare", Some(-1)), ("uname", Some(-13)), ("getpgid", Some(0))],
        "{answered:#?}"
    );
    assert_eq!(text(&answered[0], "evt.arg.pathname"), Some("/none/denied"), "{}", answered[0]);
    assert_eq!(int(&answered[0], "evt.arg.mode"), Some(0o700), "{}", answered[0]);
    // Killed by seccomp: if the kernel reports the call at all, it did not succeed.
    for event in of(&file, "getsid") {
        assert!(truth(&event, "evt.unfinished") || truth(&event, "evt.seccomp"), "{event}");
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn errors_are_named() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    ktape::record(&file, &[], &[workload!().to_str().unwrap(), "fail"]);
    for error in [
        "ENOENT",
        "ENOTDIR",
        "EISDIR",
        "EFAULT",
        "ELOOP",
        "EEXIST",
        "EBADF",
        "ESPIPE",
        "ECHILD",
        "ESRCH",
        "EPIPE",
        "EAGAIN",
        "ENOTSOCK",
        "EACCES",
        "ENAMETOOLONG",
        "ETIMEDOUT",
        "ENOSYS",
    ] {
        assert!(ktape::count(&file, &format!("evt.res={error} and evt.failed=true")) > 0, "{error}");
    }
    // Its path cannot be read, which is something else than empty.
    let events = ktape::replay_json(&file, &["-e", "openat", "evt.res=EFAULT"]);
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].get("evt.arg.filename").and_then(Value::as_str), None, "{}", events[0]);
    let text = ktape::stdout(&["replay", file.to_str().unwrap(), "-e", "openat", "evt.res=EFAULT"]);
    assert!(text.contains("openat(AT_FDCWD</") && text.contains(">, ?, O_RDONLY) = -1 EFAULT"), "{text}");
}
