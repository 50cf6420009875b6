//! Calls in flight are recorded, with number, arguments and duration so far.

use std::time::{Duration, Instant};

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text, truth};
use ktape_tests::wait::until_blocked;
use ktape_tests::workload;
use ktape_tests::workload::Workload;

/// A blocked workload, and the number it printed first: its descriptor or address.
fn blocked(what: &str, number: i64) -> (Workload, i64) {
    let mut load = Workload::start(workload!(), &[what]);
    let argument = load.line().parse().unwrap();
    assert_eq!(load.line(), "ready");
    until_blocked(load.pid(), load.pid(), number);
    (load, argument)
}

/// The only event apart from losses, which can be other processes'.
fn only(mut events: Vec<Value>) -> Value {
    events.retain(|event| text(event, "evt.type") != Some("loss"));
    assert_eq!(events.len(), 1, "{events:#?}");
    events.remove(0)
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn calls_in_flight_at_start_and_end_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let (before, before_fd) = blocked("read-block", libc::SYS_read);
    let mut returning = Workload::start(workload!(), &["getppid", "3", "--gate"]);
    assert_eq!(returning.line(), "ready");
    until_blocked(returning.pid(), returning.pid(), libc::SYS_read);

    let started = Instant::now();
    let capture = Capture::start(&file, &[]);
    let (reader, fd) = blocked("read-block", libc::SYS_read);
    let (waiter, address) = blocked("futex-block", libc::SYS_futex);
    returning.go();
    assert_eq!(returning.line(), "done");
    std::thread::sleep(Duration::from_millis(100));
    capture.stop();
    let longest = i64::try_from(started.elapsed().as_nanos()).unwrap();
    let unfinished = |pid: u32| {
        let filter = format!("proc.pid={pid} and evt.unfinished=true");
        only(ktape::replay_json(&file, &[&filter]))
    };

    let event = unfinished(before.pid());
    assert_eq!(text(&event, "evt.type"), Some("read"), "{event}");
    assert_eq!(int(&event, "evt.arg.fd"), Some(before_fd), "{event}");
    assert_eq!(int(&event, "evt.arg.count"), Some(77), "{event}");
    assert!(truth(&event, "evt.start_unknown") && truth(&event, "evt.at_end"), "{event}");
    assert_eq!(int(&event, "evt.rawres"), None, "{event}");

    let event = unfinished(reader.pid());
    assert_eq!(text(&event, "evt.type"), Some("read"), "{event}");
    assert_eq!(int(&event, "evt.arg.fd"), Some(fd), "{event}");
    assert_eq!(int(&event, "evt.arg.count"), Some(77), "{event}");
    assert!(!truth(&event, "evt.start_unknown") && truth(&event, "evt.at_end"), "{event}");
    let latency = int(&event, "evt.latency").unwrap();
    assert!((100_000_000..longest).contains(&latency), "{event}");

    let event = unfinished(waiter.pid());
    assert_eq!(text(&event, "evt.type"), Some("futex"), "{event}");
    assert_eq!(int(&event, "evt.arg.uaddr"), Some(address), "{event}");
    assert_eq!(int(&event, "evt.arg.val"), Some(5), "{event}");
    assert!(!truth(&event, "evt.start_unknown"), "{event}");

    // Began before the capture and returned in it.
    let filter = format!("proc.pid={} and evt.type=read and evt.unfinished=false", returning.pid());
    let event = only(ktape::replay_json(&file, &[&filter]));
    assert!(truth(&event, "evt.start_unknown"), "{event}");
    assert_eq!(int(&event, "evt.rawres"), Some(1), "{event}");
    assert_eq!(int(&event, "evt.arg.fd"), Some(0), "{event}");
    returning.go();
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn thread_killed_in_a_call_leaves_an_unfinished_call() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &[]);
    let (reader, fd) = blocked("read-block", libc::SYS_read);
    let pid = reader.pid();
    reader.kill();
    capture.stop();
    let filter = format!("proc.pid={pid} and evt.type=read and evt.arg.fd={fd} and evt.arg.count=77");
    let event = only(ktape::replay_json(&file, &[&filter]));
    assert!(truth(&event, "evt.unfinished") && truth(&event, "evt.killed"), "{event}");
    let exit = only(ktape::replay_json(&file, &["-e", "exit", &format!("proc.pid={pid}")]));
    assert_eq!(text(&exit, "exit.signal"), Some("SIGKILL"), "{exit}");
}
