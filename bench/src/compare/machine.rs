//! What the machine is, and who else uses it.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::process;

/// Kernel threads have this bit in their flags (`PF_KTHREAD`, the same since Linux 2.6.20).
const KTHREAD: u64 = 0x0020_0000;
/// How much unwritten data another run may leave behind, in KiB.
const DIRTY_KIB: u64 = 64 << 10;

/// CPU time so far, of all CPUs.
#[derive(Clone, Copy)]
pub struct Meter {
    at: Instant,
    /// Of processes and kernel threads, and what the hypervisor took, but not of interrupts, which belong to nobody.
    busy: Duration,
    kernel_threads: Duration,
    ours: Duration,
}

impl Meter {
    /// Now.
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
            ours: process::own_and_waited_for(),
        }
    }

    /// The share of one CPU that others have used since: neither this process and those that it has waited for, nor the
    /// kernel's own threads, which work for them.
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
        // Kernel threads have no user space, and so no memory map: cheaper to see than the flags of 20,000 processes.
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

/// Wait until what earlier runs have written is on the disk, or half a minute.
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

/// The type of the file system that this directory is on, as `/proc/self/mountinfo` names it.
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

/// For the report.
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

/// How many CPUs there are.
pub fn cpus() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}
