//! Boot clock and wall clock, and the clock that the drain's deadlines are measured with.

use std::thread;
use std::time::{Duration, Instant};

/// The time as the drain sees it. Tests replace it, so that no deadline is waited for.
pub trait Clock {
    /// Nanoseconds since boot, suspend included: the clock of all events.
    fn boot_ns(&self) -> u64;

    /// Wall clock minus boot clock, in ns.
    fn wall_offset(&self) -> i64;

    /// Boot clock minus monotonic clock, in ns.
    fn suspended_ns(&self) -> u64;

    /// The moment that ages and deadlines are measured with.
    fn now(&self) -> Instant;

    /// Waits, at most that long: [`thread::Thread::unpark`] ends it early.
    fn park(&self, at_most: Duration);

    /// Waits that long.
    fn sleep(&self, duration: Duration);
}

/// The clocks of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn boot_ns(&self) -> u64 {
        boot_ns()
    }

    fn wall_offset(&self) -> i64 {
        wall_offset()
    }

    fn suspended_ns(&self) -> u64 {
        suspended_ns()
    }

    fn now(&self) -> Instant {
        Instant::now()
    }

    fn park(&self, at_most: Duration) {
        thread::park_timeout(at_most);
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }
}

/// Nanoseconds of a clock.
fn read(clock: libc::clockid_t) -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec. It cannot fail for the clocks used here.
    unsafe { libc::clock_gettime(clock, &raw mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

/// Nanoseconds since boot, suspend included: the clock of all events.
pub fn boot_ns() -> u64 {
    read(libc::CLOCK_BOOTTIME) as u64
}

/// Boot clock minus monotonic clock, in ns: how long the machine was suspended. The best of eight readings between two of the
/// other clock; what is shorter than a few readings is none.
pub fn suspended_ns() -> u64 {
    const READINGS: i64 = 2000;
    let (_, offset) = (0..8)
        .map(|_| {
            let before = read(libc::CLOCK_MONOTONIC);
            let boot = read(libc::CLOCK_BOOTTIME);
            let after = read(libc::CLOCK_MONOTONIC);
            (after - before, boot - (before + (after - before) / 2))
        })
        .min()
        .unwrap_or_default();
    if offset < READINGS { 0 } else { offset as u64 }
}

/// When this process was forked, ns of CLOCK_BOOTTIME, to a clock tick (mostly 10 ms); `None` without `/proc`.
pub fn process_start_ns() -> Option<u64> {
    const START: usize = 22;
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name, may contain anything.
    let after_name = stat.rsplit_once(')')?.1;
    let ticks: u64 = after_name.split_ascii_whitespace().nth(START - 3)?.parse().ok()?;
    // SAFETY: sysconf takes no pointers.
    let per_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok().filter(|n| *n > 0)?;
    Some(ticks * (1_000_000_000 / per_second))
}

/// Wall clock minus boot clock, in ns: the best of five readings, as the thread may be interrupted between the two
/// clocks.
pub fn wall_offset() -> i64 {
    (0..5)
        .map(|_| {
            let before = read(libc::CLOCK_BOOTTIME);
            let wall = read(libc::CLOCK_REALTIME);
            let after = read(libc::CLOCK_BOOTTIME);
            (after - before, wall - (before + (after - before) / 2))
        })
        .min()
        .map_or(0, |(_, offset)| offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_clock_and_offset_give_the_wall_clock() {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let wall = boot_ns() as i64 + wall_offset();
        assert!((wall - since_epoch.as_nanos() as i64).abs() < 1_000_000_000, "{wall}");
    }

    #[test]
    fn this_process_has_started_before() {
        let started = process_start_ns().unwrap();
        assert!(started > 0 && started <= boot_ns(), "{started}");
    }

    #[test]
    fn the_boot_clock_never_goes_back() {
        let before = SystemClock.boot_ns();
        assert!(SystemClock.boot_ns() >= before);
    }
}
