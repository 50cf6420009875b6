//! Boot clock and wall clock.

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

/// Wall clock minus boot clock, in ns: the closest of a few readings, as the thread may be
/// interrupted between the two clocks.
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
