//! What recording costs: time to begin, bytes an event, memory. Figures are printed; only limits are asserted.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload::Workload;
use ktape_tests::{kernel_test, workload};

#[test]
fn slow_recording_begins_within_half_a_second() {
    let _guard = kernel_test!();
    let dir = tempfile::tempdir().unwrap();
    for sleepers in ["0", "5000"] {
        let mut load = Workload::start(workload!(), &["sleepers", sleepers]);
        assert_eq!(load.line(), "READY");
        let mut times: Vec<Duration> = (0..3)
            .map(|round| {
                let file = dir.path().join(format!("{sleepers}-{round}.ktape"));
                let capture = Capture::start(&file, &["-d", "1s"]);
                let startup = capture.startup;
                let ended = capture.wait();
                assert!(ended.status.success(), "{}", ended.stderr);
                startup
            })
            .collect();
        load.finish();
        times.sort_unstable();
        eprintln!("{sleepers} more processes: recording after {times:?}");
        if ktape::is_optimised() {
            assert!(times[1] < Duration::from_millis(500), "{sleepers} processes: {times:?}");
        }
    }
}

fn status(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
    line.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap()
}

#[test]
fn slow_idle_and_busy() {
    let _guard = kernel_test!();
    // A real disk, not a tmpfs.
    let dir = ktape::disk_dir();
    eprintln!("  wanted/s  events/s  bytes/event  chunks' file  VmHWM  RssAnon");
    for rate in ["10", "1000", "100000"] {
        let file = dir.path().join(format!("{rate}.ktape"));
        let capture = Capture::start(&file, &["-e", "getppid"]);
        workload::run(workload!(), &["rate", rate, "6"]);
        let (peak, anonymous) = (status(capture.pid(), "VmHWM:"), status(capture.pid(), "RssAnon:"));
        capture.stop();
        let (events, bytes) = (ktape::count(&file, "evt.type=getppid"), fs::metadata(&file).unwrap().len());
        eprintln!(
            "{rate:>10}  {:>8}  {:>11.2}  {bytes:>12}  {peak:>5}  {anonymous:>7} KiB",
            events / 6,
            bytes as f64 / events as f64
        );
        assert!(events >= rate.parse::<u64>().unwrap() * 6);
        assert!(anonymous < 64 * 1024, "{anonymous} KiB of anonymous memory at {rate} events/s");
    }
}

/// Seconds of user-space CPU that children of this process had when they were waited for.
fn user_seconds_of_children() -> f64 {
    // SAFETY: an all-zero rusage is valid, and the call fills it.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage.ru_utime.tv_sec as f64 + usage.ru_utime.tv_usec as f64 / 1e6
    }
}

/// Many kinds of calls at full speed: files are listed, read, packed, hashed; processes come and go.
fn mixed_workload() {
    let script = "for i in 1 2 3; do
            find /usr/lib /usr/share -xdev 2>/dev/null | tail -n 1 >/dev/null
            tar -C / -cf - usr/include 2>/dev/null | cat >/dev/null
            for f in /etc/*; do cat \"$f\" >/dev/null 2>&1; done
        done; true";
    let status = Command::new("sh").args(["-c", script]).status().unwrap();
    assert!(status.success());
}

#[test]
fn slow_mixed_workload_against_trace_cmd() {
    let _guard = kernel_test!();
    let dir = ktape::disk_dir();
    // Warms the caches, so that both record the same.
    mixed_workload();

    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "syscall"]);
    mixed_workload();
    let before = user_seconds_of_children();
    let ended = capture.stop();
    let user = user_seconds_of_children() - before;
    let events = ktape::count(&file, "evt.category=syscall");
    let bytes = fs::metadata(&file).unwrap().len();
    eprintln!("{}", ended.stderr);
    let per_event = user * 1e9 / events as f64;
    eprintln!(
        "ktape:     {events:>8} calls, {:>6.2} bytes/call, {per_event:>6.0} ns of user CPU/call",
        bytes as f64 / events as f64
    );
    assert_eq!(ktape::info(&file)["lost"], 0);

    let before = user_seconds_of_children();
    let ftrace = Ftrace::start(dir.path());
    let started = user_seconds_of_children() - before;
    mixed_workload();
    let before = user_seconds_of_children() - started;
    let (calls, bytes) = ftrace.stop();
    let user = user_seconds_of_children() - before;
    eprintln!(
        "trace-cmd's way: {calls:>8} calls, {:>6.2} bytes/call, {:>6.0} ns of user CPU/call",
        bytes as f64 / calls as f64,
        user * 1e9 / calls as f64
    );
}

/// What `trace-cmd record -e raw_syscalls` does, which itself needs to set a sysctl that not every machine lets root set:
/// the pages of each CPU's ring, as they are, into a file for each.
struct Ftrace {
    instance: PathBuf,
    readers: Vec<(Child, PathBuf)>,
}

impl Ftrace {
    fn start(dir: &Path) -> Self {
        let instance = Path::new("/sys/kernel/tracing/instances/ktape-test").to_path_buf();
        let _ = fs::remove_dir(&instance);
        fs::create_dir(&instance).unwrap();
        fs::write(instance.join("buffer_size_kb"), "65536").unwrap();
        // How full a ring is before its reader wakes.
        fs::write(instance.join("buffer_percent"), "5").unwrap();
        let readers = fs::read_dir(instance.join("per_cpu"))
            .unwrap()
            .map(|cpu| {
                let cpu = cpu.unwrap();
                let file = dir.join(cpu.file_name());
                let pipe = fs::File::open(cpu.path().join("trace_pipe_raw")).unwrap();
                let reader =
                    Command::new("cat").stdin(pipe).stdout(fs::File::create(&file).unwrap()).spawn().unwrap();
                (reader, file)
            })
            .collect();
        fs::write(instance.join("events/raw_syscalls/enable"), "1").unwrap();
        Self { instance, readers }
    }

    /// Calls (pairs of events) and bytes.
    fn stop(mut self) -> (u64, u64) {
        fs::write(self.instance.join("events/raw_syscalls/enable"), "0").unwrap();
        self.readers.iter_mut().for_each(kill);
        let mut bytes: u64 = self.readers.iter().map(|(_, file)| fs::metadata(file).unwrap().len()).sum();
        let (mut events, mut lost) = (0, 0);
        for cpu in fs::read_dir(self.instance.join("per_cpu")).unwrap() {
            let stats = fs::read_to_string(cpu.unwrap().path().join("stats")).unwrap();
            let figure = |key: &str| -> u64 {
                stats.lines().find_map(|line| line.strip_prefix(key)).unwrap().trim().parse().unwrap()
            };
            // It is not the recorder under test: what it loses is no failure.
            lost += figure("overrun:");
            // What the readers did not wake for is still in the ring.
            events += figure("read events:") + figure("entries:");
            bytes += figure("bytes:");
        }
        eprintln!("trace-cmd's way: {lost} events lost");
        (events / 2, bytes)
    }
}

fn kill(reader: &mut (Child, PathBuf)) {
    // It may have ended by itself.
    let _ = reader.0.kill();
    let _ = reader.0.wait();
}

impl Drop for Ftrace {
    fn drop(&mut self) {
        self.readers.iter_mut().for_each(kill);
        if let Err(error) = fs::remove_dir(&self.instance) {
            eprintln!("cannot remove {}: {error}", self.instance.display());
        }
    }
}
