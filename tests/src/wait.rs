//! Waits for conditions with a deadline, instead of sleeping for a fixed time.

use std::thread;
use std::time::{Duration, Instant};

/// Timeout for anything that takes milliseconds on an idle machine.
pub const TIMEOUT: Duration = Duration::from_secs(20);

/// Calls `probe` every 2 ms until it returns a value, and returns that.
///
/// # Panics
/// If there is no value within `deadline`; the message contains `what`.
pub fn until<T>(what: &str, deadline: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = probe() {
            return value;
        }
        assert!(start.elapsed() < deadline, "timeout after {deadline:?}: waited for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a thread is blocked in the call with this number (of the native ABI).
///
/// # Panics
/// If that does not happen within [`TIMEOUT`].
pub fn until_blocked(pid: u32, tid: u32, number: i64) {
    until(&format!("thread {tid} to block in call {number}"), TIMEOUT, || {
        let line = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).ok()?;
        (line.split(' ').next()? == number.to_string()).then_some(())
    });
}

/// Waits until a thread is in uninterruptible sleep (D state).
///
/// # Panics
/// If that does not happen within [`TIMEOUT`].
pub fn until_uninterruptible(pid: u32, tid: u32) {
    until(&format!("thread {tid} to be in uninterruptible sleep"), TIMEOUT, || {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{tid}/stat")).ok()?;
        stat.rsplit_once(") ")?.1.starts_with('D').then_some(())
    });
}
