//! Waiting for something to become true, with a deadline instead of a fixed sleep.

use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that takes milliseconds on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The first value that `probe` gives.
///
/// # Panics
/// If there is none after `deadline`; the message names `what`.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < deadline, "waited {deadline:?} in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Wait until the thread is blocked in the call with this number (of the machine's own ABI).
///
/// # Panics
/// If that does not happen within [`PATIENCE`].
pub fn until_blocked(pid: u32, tid: u32, number: i64) {
    until(&format!("thread {tid} to block in call {number}"), PATIENCE, || {
        let line = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
        (line.split(' ').next()? == number.to_string()).then_some(())
    });
}

/// Wait until the thread sleeps in the kernel so that no signal can end it.
///
/// # Panics
/// If that does not happen within [`PATIENCE`].
pub fn until_uninterruptible(pid: u32, tid: u32) {
    until(&format!("thread {tid} to be in uninterruptible sleep"), PATIENCE, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.starts_with('D').then_some(())
    });
}
