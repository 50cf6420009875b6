//! Outputs that block, close or fail: losses are counted, and the capture ends in time.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::guard::Guard;
use ktape_tests::{ktape, workload, workload::Workload};

const MADE: u64 = 3_000_000;

/// A capture into a pipe without a reader, and [`MADE`] calls.
fn stalled() -> (Child, u32) {
    let mut capture = Command::new(ktape::binary())
        .args(["capture", "-o", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 16];
    capture.stderr.as_mut().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(&said, b"ktape: recording");
    let mut load = Workload::start(workload!(), &["getppid", &MADE.to_string(), "--gate"]);
    assert_eq!(load.line(), "ready");
    let pid = load.pid();
    load.go();
    assert_eq!(load.line(), "done");
    load.go();
    load.finish();
    (capture, pid)
}

fn terminate(capture: &Child) {
    // SAFETY: integers only; the child has not been waited for.
    assert_eq!(unsafe { libc::kill(capture.id() as i32, libc::SIGTERM) }, 0);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn blocked_output_ends_within_five_seconds() {
    let _guard = Guard::exclusive();
    let (mut capture, _) = stalled();
    let start = Instant::now();
    terminate(&capture);
    let status = capture.wait().unwrap();
    assert!(start.elapsed() < Duration::from_millis(5500), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(1));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn losses_of_a_blocked_output_are_counted_in_the_file() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let path = dir.path().join("late.ktape");
    let (mut capture, pid) = stalled();
    terminate(&capture);
    // The recorder waits for three seconds, and for one and a half more with what it had to leave.
    let late = Instant::now() + Duration::from_millis(3600);
    ktape_tests::wait::until("the recorder to lose patience", Duration::from_secs(5), || {
        (Instant::now() >= late).then_some(())
    });
    io::copy(&mut capture.stdout.take().unwrap(), &mut File::create(&path).unwrap()).unwrap();
    assert!(capture.wait().unwrap().success());
    let written = ktape::count(&path, &format!("proc.pid={pid} and evt.type=getppid"));
    let info = ktape::info(&path);
    let lost = info["lost"].as_u64().unwrap();
    eprintln!("{MADE} made, {written} written, {lost} of the whole machine lost");
    assert!(lost > 0, "{info}");
    assert!(written < MADE && written + lost >= MADE, "{written} written, {lost} lost");
    let path = path.to_str().unwrap();
    let strict = ktape::run(&["replay", path, "--strict", "--count", "evt.type=getppid"]);
    assert_eq!(strict.status.code(), Some(3));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn closed_reader_is_not_an_error() {
    let _guard = Guard::exclusive();
    let mut capture = Command::new(ktape::binary())
        .args(["capture", "-o", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut first = [0; 10];
    capture.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    drop(capture.stdout.take());
    let status = ktape_tests::wait::until("the capture to end", ktape_tests::wait::TIMEOUT, || {
        Workload::start(workload!(), &["getppid", "1000"]).finish();
        capture.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn reader_closed_before_start_is_not_an_error() {
    let _guard = Guard::exclusive();
    let start = |command: &[&str]| {
        let mut capture = Command::new(ktape::binary())
            .args(["capture", "-o", "-"])
            .args(command)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(capture.stdout.take());
        let out = capture.wait_with_output().unwrap();
        (out.status.code(), String::from_utf8(out.stderr).unwrap())
    };
    assert_eq!(start(&[]), (Some(0), String::new()));
    // A command that was not run is one.
    let (code, said) = start(&["--", "true"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("Broken pipe"), "{said}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn blocked_stderr_loses_no_event() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.ktape");
    let status = Command::new(ktape::binary())
        .args(["capture", "-d", "1s", "-o"])
        .arg(&path)
        .stdin(Stdio::null())
        .stderr(File::options().write(true).open("/dev/full").unwrap())
        .status()
        .unwrap();
    assert_eq!(status.code(), Some(0));
    assert_eq!(ktape::run(&["check", path.to_str().unwrap()]).status.code(), Some(0));
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn full_device_is_reported_and_not_removed() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let full = dir.path().join("full");
    let made = Command::new("mknod").arg(&full).args(["c", "1", "7"]).status().unwrap();
    assert!(made.success());
    let out = ktape::run(&["capture", "-d", "1s", "--force", "-o", full.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(1));
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(said.matches("No space left on device").count(), 1, "{said}");
    assert!(full.exists(), "a device that was there before is gone");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn command_line_secrets_are_masked() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.ktape");
    ktape::record(&path, &[], &["/bin/true", "--password=geheim", "--token", "geheim"]);
    for args in [&["info"][..], &["replay", "--format", "json"]] {
        let mut args = args.to_vec();
        args.insert(1, path.to_str().unwrap());
        let text = ktape::stdout(&args);
        assert!(text.contains("/bin/true") && text.contains("******"), "{text}");
        assert!(!text.contains("geheim"), "{text}");
    }
}
