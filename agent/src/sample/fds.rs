//! Counts open file descriptors of processes. `/proc/PID/fd` takes no lock that a stalled process may hold.

use std::collections::hash_map::Entry;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use rustc_hash::FxHashMap;

/// Processes of one cgroup that are counted in a round, at most.
const PROCESSES_PER_ROUND: usize = 256;

/// Counts descriptors.
#[derive(Debug)]
pub(super) struct FdCounter {
    proc: Option<File>,
    /// Whether the size of `/proc/PID/fd` is the number of descriptors (Linux 6.2 and later).
    sized: bool,
    name: Vec<u8>,
}

/// Counts of the processes of a cgroup; used only if there are more than [`PROCESSES_PER_ROUND`].
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_process: FxHashMap<u32, u32>,
    /// Index of the process that is counted next.
    next: usize,
}

impl FdCounter {
    /// Detects what this kernel supports.
    pub(super) fn new() -> Self {
        let sized = std::fs::metadata("/proc/self/fd").is_ok_and(|fds| fds.len() > 0);
        Self { proc: File::open("/proc").ok(), sized, name: Vec::new() }
    }

    /// The number of descriptors of these processes; `None` until each was counted once. If a cgroup has many processes,
    /// each round counts some of them.
    pub(super) fn count(&mut self, processes: &[u32], counts: &mut Counts) -> Option<u64> {
        if processes.len() <= PROCESSES_PER_ROUND {
            counts.by_process = FxHashMap::default();
            return Some(processes.iter().map(|&pid| u64::from(self.of_process(pid))).sum());
        }
        let now: FxHashMap<u32, u32> =
            processes.iter().filter_map(|pid| Some((*pid, *counts.by_process.get(pid)?))).collect();
        counts.by_process = now;
        let mut left = PROCESSES_PER_ROUND;
        for &pid in processes {
            if left == 0 {
                break;
            }
            if let Entry::Vacant(entry) = counts.by_process.entry(pid) {
                entry.insert(self.of_process(pid));
                left -= 1;
            }
        }
        for turn in 0..left {
            let pid = processes[(counts.next + turn) % processes.len()];
            counts.by_process.insert(pid, self.of_process(pid));
        }
        counts.next = (counts.next + left) % processes.len();
        let complete = counts.by_process.len() >= processes.len();
        complete.then(|| counts.by_process.values().map(|&fds| u64::from(fds)).sum())
    }

    /// Number of descriptors of a process; 0 if it has ended.
    fn of_process(&mut self, pid: u32) -> u32 {
        let Some(proc) = &self.proc else { return 0 };
        self.name.clear();
        // Writing to a vector cannot fail.
        let _ = write!(self.name, "{pid}/fd\0");
        let Ok(name) = CStr::from_bytes_with_nul(&self.name) else { return 0 };
        if self.sized {
            // SAFETY: a C struct of integers, for which all zeroes is a value.
            let mut stat: libc::stat = unsafe { std::mem::zeroed() };
            // SAFETY: the name ends with a NUL, `stat` is large enough, and the descriptor is open.
            let done = unsafe { libc::fstatat(proc.as_raw_fd(), name.as_ptr(), &raw mut stat, 0) };
            return if done == 0 { stat.st_size.clamp(0, i64::from(u32::MAX)) as u32 } else { 0 };
        }
        std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |fds| fds.flatten().count() as u32)
    }
}
