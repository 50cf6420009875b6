//! Open file descriptors of processes. `/proc/PID/fd` takes no lock that a process in trouble may hold.

use std::collections::hash_map::Entry;
use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

use rustc_hash::FxHashMap;

/// Of how many processes of one cgroup the descriptors are counted at a time.
const AT_ONCE: usize = 256;

/// Counts them.
#[derive(Debug)]
pub(super) struct FdCounter {
    proc: Option<File>,
    /// Whether the size of `/proc/PID/fd` is their number (Linux 6.2 and later).
    sized: bool,
    name: Vec<u8>,
}

/// What is known of the processes of a cgroup.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_process: FxHashMap<u32, u32>,
    next: usize,
}

impl FdCounter {
    /// Looks what this kernel can do.
    pub(super) fn new() -> Self {
        let sized = std::fs::metadata("/proc/self/fd").is_ok_and(|fds| fds.len() > 0);
        Self { proc: File::open("/proc").ok(), sized, name: Vec::new() }
    }

    /// The descriptors of these processes; `None` until each was counted once. Those of a cgroup with many processes
    /// are counted in turn.
    pub(super) fn count(&mut self, processes: &[u32], counts: &mut Counts) -> Option<u64> {
        if processes.len() <= AT_ONCE {
            counts.by_process = FxHashMap::default();
            return Some(processes.iter().map(|&pid| u64::from(self.of_process(pid))).sum());
        }
        let now: FxHashMap<u32, u32> =
            processes.iter().filter_map(|pid| Some((*pid, *counts.by_process.get(pid)?))).collect();
        counts.by_process = now;
        let mut left = AT_ONCE;
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

    /// 0 for one that is gone.
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
