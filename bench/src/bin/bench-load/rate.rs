//! System calls at a given rate.

use std::time::{Duration, Instant};

use crate::{pin, print_line, timed};

/// Calls without a look at the clock, if there is no rate.
const UNPACED_BATCH: u64 = 64;

/// For `ms` milliseconds, calls `getppid` at this rate on one CPU, which stays busy in between: it spins, like a program that
/// computes. Calls that are late, because the CPU had other work, are made at once. Then prints the number of calls.
pub fn paced(per_second: u64, ms: u64, cpu: usize) {
    pin(cpu);
    let mut calls = 0;
    timed(|| {
        let (start, end) = (Instant::now(), Duration::from_millis(ms));
        loop {
            let elapsed = start.elapsed();
            if elapsed >= end {
                break;
            }
            let due = match per_second {
                0 => calls + UNPACED_BATCH,
                _ => (elapsed.as_secs_f64() * per_second as f64) as u64,
            };
            while calls < due {
                // SAFETY: getppid has no preconditions.
                unsafe { libc::getppid() };
                calls += 1;
            }
            std::hint::spin_loop();
        }
    });
    print_line(&calls.to_string());
}
