//! Outputs that stall, close or fail: what is lost is told, and the end comes in time.

use std::fs::File;
use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ktape_tests::{kernel_test, ktape, workload, workload::Workload};

const MADE: u64 = 3_000_000;

/// A capture into a pipe that nobody reads, and [`MADE`] calls.
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
fn a_stalled_output_ends_within_five_seconds() {
    let _guard = kernel_test!();
    let (mut capture, _) = stalled();
    let start = Instant::now();
    terminate(&capture);
    let status = capture.wait().unwrap();
    assert!(start.elapsed() < Duration::from_millis(5500), "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(1));
}

#[test]
fn what_a_late_reader_misses_is_counted_in_the_file() {
    let _guard = kernel_test!();
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
fn a_reader_that_has_seen_enough_is_no_error() {
    let _guard = kernel_test!();
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
    let status = ktape_tests::wait::until("the capture to end", ktape_tests::wait::PATIENCE, || {
        Workload::start(workload!(), &["getppid", "1000"]).finish();
        capture.try_wait().unwrap()
    });
    assert_eq!(status.code(), Some(0));
}

#[test]
fn a_reader_that_is_gone_before_the_start_is_no_error() {
    let _guard = kernel_test!();
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
fn a_full_stderr_costs_no_event() {
    let _guard = kernel_test!();
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
fn a_full_device_is_told_and_stays() {
    let _guard = kernel_test!();
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
fn secrets_of_the_command_line_are_nowhere() {
    let _guard = kernel_test!();
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
