//! What a recording takes at its start: time and memory.

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture};

/// Milliseconds from the start of the process until all hooks are attached, as `-v` reports them.
fn milliseconds_to_recording(stderr: &str) -> u64 {
    let found = stderr.lines().find_map(|line| {
        line.split_once("all hooks attached ")?.1.strip_suffix(" ms after the process started")?.parse().ok()
    });
    found.unwrap_or_else(|| panic!("no line about the start:\n{stderr}"))
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn the_time_until_everything_is_recorded_is_reported() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let capture = Capture::start(&dir.path().join("x.ktape"), &["-v"]);
    let whole = capture.startup.as_millis() as u64;
    let ended = capture.stop();
    let reported = milliseconds_to_recording(&ended.stderr);
    // The kernel keeps the start of a process in ticks.
    let tick = 10;
    assert!((1..=whole + tick).contains(&reported), "{reported} of {whole} ms");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn memory_of_ring_buffers_is_in_the_capture_and_in_doctor() {
    let _guard = Guard::exclusive();
    let dir = ktape::disk_dir();
    let file = dir.path().join("x.ktape");
    Capture::start(&file, &["--buffer", "1MiB"]).stop();
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    // For calls 16 segments of 64 KiB with 16 KiB of slack, for other events half of it, for lifecycle at least 256 KiB.
    let each = 16 * (80 << 10) + (512 << 10) + (256 << 10);
    assert_eq!(ktape::info(&file)["ring_buffer_bytes"], cpus * each);
    let text = ktape::stdout(&["info", file.to_str().unwrap()]);
    assert!(
        text.lines().any(|line| line.starts_with("memory ") && line.ends_with(" of ring buffers")),
        "{text}"
    );
    let doctor = ktape::run(&["doctor"]);
    let report = String::from_utf8_lossy(&doctor.stdout).into_owned();
    assert!(report.contains(&format!("for the ring buffers of {cpus} CPUs")), "{report}");
}
