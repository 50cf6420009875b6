//! Samples of the host, from `/proc`.

use std::collections::HashSet;
use std::os::unix::fs::MetadataExt;

use events::UNKNOWN;

use super::file::{ProcFile, lines, number, pressure, scaled, value_of, words};
use crate::agent_events::HostSample;

/// The files of `/proc` that the host is read from, kept open.
pub(super) struct Host {
    stat: ProcFile,
    loadavg: ProcFile,
    meminfo: ProcFile,
    vmstat: ProcFile,
    file_nr: ProcFile,
    pressure: [ProcFile; 3],
    /// Duration of a tick of `/proc/stat`, ns.
    tick: u64,
    /// Links of `/proc` that are not processes.
    links: Option<u64>,
    text: Vec<u8>,
}

impl Host {
    /// Opens the files.
    pub(super) fn new() -> Self {
        // SAFETY: takes a constant and no pointers.
        let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        Self {
            stat: ProcFile::whole("/proc/stat"),
            loadavg: ProcFile::whole("/proc/loadavg"),
            meminfo: ProcFile::whole("/proc/meminfo"),
            vmstat: ProcFile::by_line("/proc/vmstat"),
            file_nr: ProcFile::whole("/proc/sys/fs/file-nr"),
            pressure: ["cpu", "memory", "io"].map(|what| ProcFile::whole(&format!("/proc/pressure/{what}"))),
            tick: 1_000_000_000 / ticks.max(1) as u64,
            links: other_links(),
            text: Vec::new(),
        }
    }

    /// Reads again what rarely changes.
    pub(super) fn refresh(&mut self) {
        self.links = other_links();
    }

    /// Reads a row, with the time `time`.
    pub(super) fn row(&mut self, time: u64) -> HostSample {
        let mut row = HostSample::unknown(time);
        stat(self.stat.read(&mut self.text), self.tick, &mut row);
        loadavg(self.loadavg.read(&mut self.text), &mut row);
        meminfo(self.meminfo.read(&mut self.text), &mut row);
        row.oom_kills = value_of(self.vmstat.read(&mut self.text), b"oom_kill");
        let files: Vec<u64> = words(self.file_nr.read(&mut self.text)).map(number).collect();
        if let [open, _, most] = files[..] {
            (row.fds, row.fds_max) = (open, most);
        }
        row.cpu_pressure = pressure(self.pressure[0].read(&mut self.text), b"some");
        row.mem_pressure = pressure(self.pressure[1].read(&mut self.text), b"some");
        let io = self.pressure[2].read(&mut self.text);
        row.io_pressure = pressure(io, b"some");
        row.io_pressure_full = pressure(io, b"full");
        if let (Some(links), Ok(proc)) = (self.links, std::fs::metadata("/proc")) {
            row.processes = proc.nlink().saturating_sub(links);
        }
        row
    }
}

/// Links of `/proc` other than processes: subtracted from its link count, they give the number of processes, including
/// hidden ones.
fn other_links() -> Option<u64> {
    let entries = std::fs::read_dir("/proc").ok()?.flatten();
    let others = entries.filter(|entry| {
        entry.file_type().is_ok_and(|ty| ty.is_dir())
            && !entry.file_name().as_encoded_bytes()[0].is_ascii_digit()
    });
    let names: HashSet<_> = others.map(|entry| entry.file_name()).collect();
    Some(names.len() as u64 + 2)
}

pub(super) fn stat(text: &[u8], tick: u64, row: &mut HostSample) {
    let mut cpus = 0;
    for line in lines(text) {
        let mut words = words(line);
        match words.next() {
            Some(b"cpu") => {
                // user nice system idle iowait irq softirq steal; user and nice include guest time.
                let times: Vec<u64> = words.map(|word| scaled(number(word), tick)).collect();
                let time = |place: usize| times.get(place).copied().unwrap_or(UNKNOWN);
                let sum = |one: u64, other: u64| one.checked_add(other).unwrap_or(UNKNOWN);
                row.cpu_user = sum(time(0), time(1));
                row.cpu_system = time(2);
                row.cpu_idle = time(3);
                row.cpu_iowait = time(4);
                row.cpu_irq = sum(time(5), time(6));
                row.cpu_steal = time(7);
            }
            Some(word) if word.starts_with(b"cpu") => cpus += 1,
            Some(b"ctxt") => row.switches = number(words.next().unwrap_or(b"")),
            Some(b"processes") => row.forks = number(words.next().unwrap_or(b"")),
            Some(b"procs_running") => row.running = number(words.next().unwrap_or(b"")),
            Some(b"procs_blocked") => row.blocked = number(words.next().unwrap_or(b"")),
            _ => {}
        }
    }
    row.cpus = cpus;
}

/// Parses `0.19 0.06 0.09 1/88 9257`: the load of the last minute, and the number of threads.
pub(super) fn loadavg(text: &[u8], row: &mut HostSample) {
    let mut words = words(text);
    if let Some(load) = words.next()
        && let Some(dot) = load.iter().position(|&b| b == b'.')
    {
        let (whole, hundredths) = (number(&load[..dot]), number(&load[dot + 1..]));
        if whole != UNKNOWN && hundredths != UNKNOWN {
            row.load1 = whole * 100 + hundredths;
        }
    }
    if let Some(threads) = words.nth(2)
        && let Some(slash) = threads.iter().position(|&b| b == b'/')
    {
        row.threads = number(&threads[slash + 1..]);
    }
}

pub(super) fn meminfo(text: &[u8], row: &mut HostSample) {
    let (mut swap, mut swap_free) = (UNKNOWN, UNKNOWN);
    for line in lines(text) {
        let mut words = words(line);
        let place = match words.next() {
            Some(b"MemTotal:") => &mut row.mem_total,
            Some(b"MemFree:") => &mut row.mem_free,
            Some(b"MemAvailable:") => &mut row.mem_available,
            Some(b"Cached:") => &mut row.mem_cached,
            Some(b"Dirty:") => &mut row.mem_dirty,
            Some(b"Writeback:") => &mut row.mem_writeback,
            Some(b"SwapTotal:") => &mut swap,
            Some(b"SwapFree:") => &mut swap_free,
            _ => continue,
        };
        *place = scaled(number(words.next().unwrap_or(b"")), 1024);
    }
    if swap != UNKNOWN && swap_free != UNKNOWN {
        row.swap_used = swap.saturating_sub(swap_free);
    }
}
