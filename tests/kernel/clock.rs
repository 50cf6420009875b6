//! Clock events: the offset between boot time and wall time.

use std::time::{SystemTime, UNIX_EPOCH};

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};

/// Wall clock minus boot clock, ns.
fn offset() -> i64 {
    let mut boot = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer; this clock is always there.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut boot) };
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as i64;
    wall - (boot.tv_sec * 1_000_000_000 + boot.tv_nsec)
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn clock_events_relate_boot_time_to_wall_time() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let before = offset();
    Capture::start(&file, &["-e", "exec"]).stop();
    let clocks = ktape::replay_json(&file, &["-e", "clock"]);
    // One at the start, one at the end.
    assert!(clocks.len() >= 2, "{clocks:?}");
    let first = &clocks[0];
    assert_eq!(text(first, "evt.category"), Some("clock"));
    assert_eq!(int(first, "clock.step"), Some(0));
    // Slewing is some 500 ppm at most; the two readings are a scheduler's turn apart.
    let told = int(first, "clock.wall_offset").unwrap();
    assert!((told - before).abs() < 100_000_000, "{told} {before}");
}
