//! Properties of the machine, and the CPU time that other processes use on it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process;

/// `PF_KTHREAD`: set in the flags of kernel threads, with this value since Linux 2.6.20.
const KTHREAD: u64 = 0x0020_0000;
/// Dirty pages that an earlier run may leave behind, KiB.
const DIRTY_KIB: u64 = 64 << 10;

/// CPU time of all CPUs since boot.
#[derive(Clone, Copy)]
pub struct CpuMeter {
    at: Instant,
    /// Time of processes and kernel threads, and time stolen by the hypervisor. Without interrupts, which the kernel assigns
    /// to no process.
    busy: Duration,
    kernel_threads: Duration,
    ours: Duration,
}

impl CpuMeter {
    /// Reads the current values.
    pub fn now() -> Self {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal: proc(5).
        let busy: u64 = [0, 1, 2, 7].iter().filter_map(|at| ticks.get(*at)).sum();
        Self {
            at: Instant::now(),
            busy: of_ticks(busy),
            kernel_threads: kernel_threads(),
            ours: process::own_cpu(),
        }
    }

    /// Share of one CPU that other processes have used since. Excludes this process, its reaped children, and kernel threads,
    /// which work on their behalf.
    pub fn foreign(&self) -> f64 {
        let now = Self::now();
        let others = (now.busy.saturating_sub(self.busy))
            .saturating_sub(now.ours.saturating_sub(self.ours))
            .saturating_sub(now.kernel_threads.saturating_sub(self.kernel_threads));
        others.as_secs_f64() / (now.at - self.at).as_secs_f64().max(0.001)
    }
}

fn of_ticks(ticks: u64) -> Duration {
    Duration::from_millis(10 * ticks)
}

fn kernel_threads() -> Duration {
    let mut ticks = 0;
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
        // Kernel threads have no executable: this check is cheaper than reading the flags of 20,000 processes.
        if fs::read_link(entry.path().join("exe")).is_ok() {
            continue;
        }
        let Some(fields) = process::stat(pid) else { continue };
        let number = |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
        if number(6) & KTHREAD != 0 {
            ticks += number(11) + number(12);
        }
    }
    of_ticks(ticks)
}

/// Waits until earlier runs' dirty pages are written back, at most 30 s.
pub fn settle() {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(30) {
        let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let kib = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or(0)
        };
        if kib("Dirty:") + kib("Writeback:") < DIRTY_KIB {
            return;
        }
        // SAFETY: sync has no preconditions.
        unsafe { libc::sync() };
        thread::sleep(Duration::from_millis(50));
    }
}

/// File system type of a directory, as in `/proc/self/mountinfo`.
pub fn file_system(dir: &Path) -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_path_buf());
    let mut best = (0, String::new());
    for (mount, rest) in mounts.lines().filter_map(|line| line.split_once(" - ")) {
        let Some(point) = mount.split(' ').nth(4) else { continue };
        if dir.starts_with(point) && point.len() >= best.0 {
            best = (point.len(), rest.split(' ').next().unwrap_or_default().to_owned());
        }
    }
    best.1
}

/// Kernel, CPU model, number of CPUs and load average, for the report and `--json`.
pub fn describe() -> Value {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    json!({
        "kernel": release.trim(),
        "cpu": model.map_or("", |(_, name)| name),
        "cpus": cpus(),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next(),
    })
}

/// Number of CPUs that this process may use.
pub fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
