//! The overhead of recording: start-up time, bytes per event, memory. Figures are printed; only limits are asserted.

use std::fs;
use std::time::Duration;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn slow_recording_starts_within_half_a_second() {
    let _guard = Guard::exclusive();
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
#[ignore = "needs root and a kernel with BTF"]
fn slow_idle_and_busy_recorder_stay_within_limits() {
    let _guard = Guard::exclusive();
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
