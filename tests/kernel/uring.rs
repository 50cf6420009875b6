//! Requests of io_uring: operation, owner, files, paths, results and durations.

use std::collections::BTreeMap;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

const MS: i64 = 1_000_000;

/// What was recorded of the requests of `ktape-workload uring`, and what that prints.
struct Recorded {
    dir: tempfile::TempDir,
    pid: i64,
    events: Vec<Value>,
    /// Results by user data, in the order of the completions.
    completions: BTreeMap<i64, Vec<i64>>,
    port: String,
    /// Whether a request can succeed without a completion here.
    skips: bool,
    polls: bool,
}

impl Recorded {
    /// The events with this user data.
    fn all(&self, user_data: i64) -> Vec<&Value> {
        let has = |event: &&Value| int(event, "uring.user_data") == Some(user_data);
        self.events.iter().filter(has).collect()
    }

    /// The event with this user data, of which there is one.
    fn one(&self, user_data: i64) -> &Value {
        let all = self.all(user_data);
        assert_eq!(all.len(), 1, "{user_data}: {all:#?}");
        all[0]
    }

    /// The path of a file in the directory of the requests.
    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).to_str().unwrap().to_owned()
    }
}

/// Records the requests of the workload.
fn record(options: &[&str]) -> Recorded {
    let dir = tempfile::tempdir().unwrap();
    let captures = tempfile::tempdir().unwrap();
    let file = captures.path().join("x.ktape");
    let capture = Capture::start(&file, options);
    let mut load = Workload::start(workload!(), &["uring", dir.path().to_str().unwrap()]);
    let pid = i64::from(load.pid());
    let mut completions = BTreeMap::<i64, Vec<i64>>::new();
    let (mut port, mut skips, mut polls) = (String::new(), false, true);
    loop {
        let line = load.line();
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["none"] => panic!("this kernel has no io_uring, or does not allow it"),
            ["cqe", user_data, result, _] => {
                completions.entry(user_data.parse().unwrap()).or_default().push(result.parse().unwrap());
            }
            ["port", number] => number.clone_into(&mut port),
            ["skips", word] => skips = word == "true",
            ["no", "polling"] => polls = false,
            ["ready"] => break,
            _ => panic!("{line}"),
        }
    }
    let ended = capture.stop();
    load.finish();
    assert_eq!(int(&ktape::info(&file), "lost"), Some(0), "{}", ended.stderr);
    let events = ktape::replay_json(&file, &["-e", "uring"]);
    let events = events.into_iter().filter(|event| int(event, "proc.pid") == Some(pid)).collect();
    // What these fields show is the same as what they select by.
    let selected = |filter: &str| ktape::replay_json(&file, &["-e", "uring", filter]).len();
    assert_eq!(selected("uring.path = a and uring.opcode = OPENAT"), 1);
    assert_eq!(
        selected(&format!("fd.name = {}/a and uring.opcode in (WRITE, OPENAT)", dir.path().display())),
        2
    );
    assert_eq!(
        selected("uring.path = missing and uring.result = -2 and uring.call = openat and evt.failed = true"),
        1
    );
    assert_eq!(selected("uring.sqe_flags contains fixed_file"), 1);
    Recorded { dir, pid, events, completions, port, skips, polls }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn requests_are_recorded_with_their_owner_files_and_results() {
    let _guard = Guard::exclusive();
    let recorded = record(&["-e", "uring"]);
    every_completion_is_an_event(&recorded);
    files(&recorded);
    sockets(&recorded);
    durations(&recorded);
    several_completions(&recorded);
    polled_by_a_thread(&recorded);
}

/// As many events as the program has seen, with the same results.
fn every_completion_is_an_event(recorded: &Recorded) {
    for (user_data, results) in &recorded.completions {
        let has_ended = |event: &&&Value| !truth(event, "evt.unfinished");
        let found = recorded.all(*user_data);
        let found: Vec<i64> =
            found.iter().filter(has_ended).filter_map(|event| int(event, "uring.result")).collect();
        assert_eq!(found, *results, "{user_data}: {:#?}", recorded.all(*user_data));
    }
    for event in &recorded.events {
        assert_eq!(text(event, "proc.name"), Some("ktape-workload"), "{event}");
        assert_eq!(text(event, "evt.type"), Some("uring"), "{event}");
        // Old kernels do not show the submission of a request in which something is wrong.
        let is_known = text(event, "uring.opcode") != Some("unknown");
        assert!(is_known || int(event, "uring.result") == Some(-22), "{event}");
        assert_eq!(truth(event, "evt.start_unknown"), !is_known, "{event}");
    }
}

fn files(recorded: &Recorded) {
    let (a, b) = (recorded.path("a"), recorded.path("b"));
    let fd = recorded.completions[&1][0];
    for (user_data, opcode, call, name, path, result) in [
        (1, "OPENAT", Some("openat"), &a, Some("a"), fd),
        (2, "WRITE", Some("pwrite64"), &a, None, 5),
        (3, "READ", Some("pread64"), &a, None, 5),
        (4, "FSYNC", Some("fsync"), &a, None, 0),
        (5, "STATX", Some("statx"), &a, Some("a"), 0),
        (6, "RENAMEAT", Some("renameat2"), &a, Some("a"), 0),
        (7, "MKDIRAT", Some("mkdirat"), &recorded.path("d"), Some("d"), 0),
        (8, "READ", Some("pread64"), &b, None, 5),
        (9, "READ", Some("pread64"), &b, None, 5),
        (10, "OPENAT", Some("openat"), &recorded.path("missing"), Some("missing"), -2),
        (11, "UNLINKAT", Some("unlinkat"), &b, Some("b"), -22),
        (12, "UNLINKAT", Some("unlinkat"), &b, Some("b"), 0),
        (13, "CLOSE", Some("close"), &b, None, 0),
    ] {
        let event = recorded.one(user_data);
        if text(event, "uring.opcode") == Some("unknown") {
            continue;
        }
        assert_eq!(int(event, "proc.pid"), Some(recorded.pid), "{event}");
        assert_eq!(int(event, "thread.tid"), Some(recorded.pid), "{event}");
        assert_eq!(text(event, "uring.opcode"), Some(opcode), "{event}");
        assert_eq!(text(event, "uring.call"), call, "{event}");
        assert_eq!(int(event, "uring.result"), Some(result), "{event}");
        assert_eq!(
            text(event, "evt.arg.filename").or(text(event, "evt.arg.pathname")),
            path.filter(|_| user_data != 6),
            "{event}"
        );
        assert_eq!(text(event, "fd.name"), Some(name.as_str()), "{event}");
    }
    assert_eq!(text(recorded.one(6), "evt.arg.oldname"), Some("a"));
    assert_eq!(text(recorded.one(6), "evt.arg.newname"), Some("b"));
    assert!(truth(recorded.one(1), "evt.is_open_create"), "{}", recorded.one(1));
    assert_eq!(text(recorded.one(10), "evt.res"), Some("ENOENT"));
    assert_eq!(int(recorded.one(8), "fd.num"), None, "a place among the ring's own files");
    for (user_data, flags) in [(8, Some("fixed_file")), (9, Some("async")), (3, None)] {
        assert_eq!(text(recorded.one(user_data), "uring.sqe_flags"), flags);
    }
    assert_eq!(text(recorded.one(2), "evt.args").map(str::to_owned), Some(format!("{fd}<{a}>, _, 5, 0")));
}

fn sockets(recorded: &Recorded) {
    let server = format!("127.0.0.78:{}", recorded.port);
    let (accept, connect) = (recorded.one(20), recorded.one(21));
    assert_eq!(text(connect, "uring.opcode"), Some("CONNECT"));
    assert_eq!(text(connect, "evt.arg.uservaddr"), Some(server.as_str()), "{connect}");
    assert_eq!(int(connect, "uring.result"), Some(0));
    assert_eq!(text(accept, "uring.opcode"), Some("ACCEPT"));
    let name = text(accept, "fd.name").unwrap_or_default();
    assert!(name.ends_with(&format!("->{server}")), "{accept}");
    let target = "127.0.0.78:9";
    assert_eq!(text(recorded.one(22), "evt.arg.msg"), Some(target), "{}", recorded.one(22));
    assert_eq!(text(recorded.one(22), "uring.opcode"), Some("SENDMSG"));
    let send = recorded.one(23);
    if text(send, "uring.opcode") != Some("unknown") {
        assert_eq!(text(send, "uring.call"), Some("sendto"));
        assert_eq!(text(send, "evt.arg.addr"), Some(target), "{send}");
    }
}

fn durations(recorded: &Recorded) {
    let waits = recorded.one(30);
    assert_eq!(text(waits, "uring.call"), Some("read"), "no offset: {waits}");
    assert!((50 * MS..1000 * MS).contains(&int(waits, "uring.dur").unwrap()), "{waits}");
    assert_eq!(int(waits, "uring.dur"), int(waits, "evt.latency"));
    let fast = recorded.one(3);
    assert!(int(fast, "uring.dur").unwrap() < 50 * MS, "{fast}");
    let unfinished = recorded.one(90);
    assert_eq!(text(unfinished, "uring.opcode"), Some("POLL_ADD"));
    assert!(truth(unfinished, "evt.unfinished"), "{unfinished}");
    assert!(truth(unfinished, "evt.at_end"), "{unfinished}");
    assert!(
        text(unfinished, "uring.file").is_none() && text(unfinished, "fd.name").unwrap().starts_with("pipe:")
    );
}

fn several_completions(recorded: &Recorded) {
    let polls = recorded.all(31);
    for event in &polls {
        assert_eq!(text(event, "uring.opcode"), Some("POLL_ADD"));
        if int(event, "uring.result") > Some(0) && !truth(event, "evt.unfinished") {
            assert!(truth(event, "uring.more"), "{event}");
        }
    }
    if recorded.skips {
        let silent = recorded.one(32);
        assert_eq!(text(silent, "uring.opcode"), Some("NOP"));
        assert_eq!(text(silent, "uring.sqe_flags"), Some("skip_success"));
        assert_eq!(int(silent, "evt.rawres"), None, "{silent}");
    }
}

fn polled_by_a_thread(recorded: &Recorded) {
    if !recorded.polls {
        return;
    }
    let event = recorded.one(40);
    assert_eq!(text(event, "fd.name"), Some("/etc/hostname"), "{event}");
    assert_eq!(int(event, "proc.pid"), Some(recorded.pid), "{event}");
    assert_ne!(int(event, "thread.tid"), Some(recorded.pid), "{event}");
}
