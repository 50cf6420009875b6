//! Samples of cgroups, from their files.

use std::collections::HashSet;
use std::os::fd::AsRawFd;

use events::UNKNOWN;

use super::cgroup_files::{CgroupFile, CgroupFiles};
use super::cgroup_tree::{CgroupLimits, CgroupTree, Counters, Slot, Tracked};
use super::fds::FdCounter;
use super::file::{lines, number, open_at, pressure, read_lines, read_once, scaled, value_of, words};
use crate::agent_events::CgroupSample;

/// Time between two rows of something that does not change, ns.
pub(super) const REPORT_INTERVAL: u64 = 10_000_000_000;
/// The highest age of the limits in a row, ns.
const LIMITS_AGE_MAX: u64 = 5_000_000_000;
/// Time between two searches for absent files, ns: a controller can be enabled later.
const SEARCH_INTERVAL: u64 = 60_000_000_000;
/// Rounds in which a cgroup is new: its runtime may still be setting it up, so limits and absent files are read each time.
const NEW_ROUNDS: u32 = 5;
/// The value of v1 for no limit: the largest number of whole pages, here of 64 KiB.
const V1_NO_LIMIT: u64 = i64::MAX as u64 & !0xffff;

/// Reads cgroups.
pub(super) struct CgroupReader {
    files: CgroupFiles,
    fds: FdCounter,
    /// Disks that are stacked on others, as (major, minor): their I/O is counted at the lower disks.
    pub(super) stacked: HashSet<(u64, u64)>,
    text: Vec<u8>,
    path: Vec<u8>,
    processes: Vec<u32>,
    /// Files of cgroups that are open.
    open: usize,
    max_open: usize,
}

/// The result of reading a cgroup.
#[derive(Debug)]
pub(super) enum Reading {
    /// It has not changed.
    Quiet,
    /// It does not exist any more.
    Gone,
    Row(Box<CgroupSample>),
}

impl CgroupReader {
    /// Keeps at most `max_open` files open.
    pub(super) fn new(files: CgroupFiles, max_open: usize) -> Self {
        Self {
            files,
            fds: FdCounter::new(),
            stacked: HashSet::new(),
            text: Vec::new(),
            path: Vec::new(),
            processes: Vec::new(),
            open: 0,
            max_open,
        }
    }

    /// Reads a cgroup; with `always`, returns a row even if it has not changed.
    pub(super) fn read_row(
        &mut self,
        tree: &mut CgroupTree,
        index: usize,
        now: u64,
        always: bool,
    ) -> Reading {
        let tracked = tree.get(index);
        if tracked.gone {
            return Reading::Quiet;
        }
        if tracked.visits < NEW_ROUNDS || now - tracked.searched >= SEARCH_INTERVAL {
            tracked.searched = now;
            for slot in tracked.slots.iter_mut().filter(|slot| matches!(slot, Slot::Absent)) {
                *slot = Slot::Unopened;
            }
        }
        tracked.visits = tracked.visits.saturating_add(1);
        let mut row = CgroupSample { cgroup: tracked.id, ..CgroupSample::unknown(now) };
        // Before files are opened by path: another cgroup may have that path by now.
        if matches!(tracked.slots[CgroupFile::Processes as usize], Slot::Unopened) && !self.exists(tracked) {
            return self.remove(tree, index);
        }
        let used = self.cpu_time(tracked, &mut row);
        row.pids = number(self.read(tracked, CgroupFile::Pids));
        row.io_pressure = pressure(self.read(tracked, CgroupFile::IoPressure), b"some");
        if !used && row.pids == UNKNOWN && !self.exists(tracked) {
            return self.remove(tree, index);
        }
        let pulse = [row.cpu_time, row.pids, row.io_pressure];
        let known = used || row.pids != UNKNOWN;
        if !always
            && known
            && tracked.reported != 0
            && tracked.pulse == pulse
            && now - tracked.reported < REPORT_INTERVAL
        {
            return Reading::Quiet;
        }
        tracked.pulse = pulse;
        tracked.reported = now;
        self.cpu(tracked, &mut row);
        self.memory(tracked, &mut row);
        row.pids_failures = value_of(self.read(tracked, CgroupFile::PidsEvents), b"max");
        self.io(tracked, &mut row);
        row.cpu_pressure = pressure(self.read(tracked, CgroupFile::CpuPressure), b"some");
        row.mem_pressure = pressure(self.read(tracked, CgroupFile::MemoryPressure), b"some");
        if always || tracked.visits <= NEW_ROUNDS || now - tracked.limits_at >= LIMITS_AGE_MAX {
            tracked.limits_at = now;
            tracked.limits = self.limits(tracked);
        }
        tracked.limits.fill(&mut row);
        since_last_row(tracked, &mut row);
        if !self.tasks(tree, index, &mut row) {
            return self.remove(tree, index);
        }
        Reading::Row(Box::new(row))
    }

    fn remove(&mut self, tree: &mut CgroupTree, index: usize) -> Reading {
        let slots = tree.get(index).slots.iter();
        self.open -= slots.filter(|slot| matches!(slot, Slot::Open(_))).count();
        tree.remove(index);
        Reading::Gone
    }

    /// Whether the cgroup of this path is still the same one.
    fn exists(&mut self, tracked: &Tracked) -> bool {
        let Some(dir) = self.files.directory(&tracked.path, &mut self.path) else { return false };
        // SAFETY: a C struct of integers, for which all zeroes is a value.
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends with a NUL, `stat` is large enough, and the descriptor is open.
        let done = unsafe { libc::fstatat(dir, self.path.as_ptr().cast(), &raw mut stat, 0) };
        done == 0 && stat.st_ino == tracked.id
    }

    /// The text of a file; empty if it does not exist or cannot be read.
    fn read(&mut self, tracked: &mut Tracked, item: CgroupFile) -> &[u8] {
        self.text.clear();
        let slot = &mut tracked.slots[item as usize];
        let opened = match slot {
            Slot::Absent => return &self.text,
            Slot::Open(_) => None,
            Slot::Unopened => {
                let dir = self.files.file(item, &tracked.path, &mut self.path);
                match dir.map(|dir| open_at(dir, &self.path)) {
                    Some(Ok(fd)) => Some(fd),
                    Some(Err(error)) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
                        return &self.text;
                    }
                    _ => {
                        *slot = Slot::Absent;
                        return &self.text;
                    }
                }
            }
        };
        let fd = match (&opened, &*slot) {
            (Some(fd), _) | (None, Slot::Open(fd)) => fd.as_raw_fd(),
            _ => return &self.text,
        };
        let done =
            if item.is_list() { read_lines(fd, &mut self.text) } else { read_once(fd, &mut self.text) };
        if let Err(error) = done {
            self.text.clear();
            // The cgroup is gone; another one may have its path. After other errors the file stays open: it cannot be
            // read at present, such as with EOPNOTSUPP if PSI is disabled.
            if error.raw_os_error() == Some(libc::ENODEV) && opened.is_none() {
                *slot = Slot::Unopened;
                self.open -= 1;
            }
        } else if let Some(fd) = opened
            && self.open < self.max_open
        {
            *slot = Slot::Open(fd);
            self.open += 1;
        }
        &self.text
    }

    /// Reads CPU time, and with v2 the periods, which are in the same file. Returns whether CPU time is known.
    fn cpu_time(&mut self, tracked: &mut Tracked, row: &mut CgroupSample) -> bool {
        if self.files.cpu_time_v2 {
            let with_periods = self.files.cpu_v2;
            let text = self.read(tracked, CgroupFile::Usage);
            row.cpu_time = scaled(value_of(text, b"usage_usec"), 1000);
            row.cpu_user = scaled(value_of(text, b"user_usec"), 1000);
            row.cpu_system = scaled(value_of(text, b"system_usec"), 1000);
            if with_periods {
                periods_v2(text, row);
            }
        } else {
            row.cpu_time = number(self.read(tracked, CgroupFile::Usage));
        }
        row.cpu_time != UNKNOWN
    }

    fn cpu(&mut self, tracked: &mut Tracked, row: &mut CgroupSample) {
        if !self.files.cpu_time_v2 {
            row.cpu_user = number(self.read(tracked, CgroupFile::UsageUser));
            row.cpu_system = number(self.read(tracked, CgroupFile::UsageSystem));
        }
        if self.files.has(CgroupFile::CpuStat) {
            let v2 = self.files.cpu_v2;
            let text = self.read(tracked, CgroupFile::CpuStat);
            if v2 {
                periods_v2(text, row);
            } else {
                row.cpu_periods = value_of(text, b"nr_periods");
                row.cpu_throttled = value_of(text, b"nr_throttled");
                row.cpu_throttled_time = value_of(text, b"throttled_time");
            }
        }
    }

    fn memory(&mut self, tracked: &mut Tracked, row: &mut CgroupSample) {
        let v2 = self.files.memory_v2;
        row.mem = number(self.read(tracked, CgroupFile::Memory));
        row.mem_peak = number(self.read(tracked, CgroupFile::Peak));
        let stat = self.read(tracked, CgroupFile::MemoryStat);
        let (anon, file): (&[u8], &[u8]) =
            if v2 { (b"anon", b"file") } else { (b"total_rss", b"total_cache") };
        row.mem_anon = value_of(stat, anon);
        row.mem_file = value_of(stat, file);
        let failures = self.read(tracked, CgroupFile::Failures);
        if v2 {
            row.mem_failures = value_of(failures, b"max");
            row.oom_kills = value_of(failures, b"oom_kill");
        } else {
            row.mem_failures = number(failures);
            row.oom_kills = value_of(self.read(tracked, CgroupFile::Oom), b"oom_kill");
        }
    }

    fn io(&mut self, tracked: &mut Tracked, row: &mut CgroupSample) {
        let v2 = self.files.io_v2;
        self.read(tracked, CgroupFile::Io);
        if matches!(tracked.slots[CgroupFile::Io as usize], Slot::Absent) {
            return;
        }
        if v2 {
            // The file is empty until the cgroup has done I/O.
            io_v2(&self.text, &self.stacked, row);
        } else {
            (row.io_read, row.io_written) = io_v1(&self.text, &self.stacked);
            self.read(tracked, CgroupFile::IoOps);
            (row.io_reads, row.io_writes) = io_v1(&self.text, &self.stacked);
        }
    }

    fn limits(&mut self, tracked: &mut Tracked) -> CgroupLimits {
        let memory = number(self.read(tracked, CgroupFile::MemoryLimit));
        let share = number(self.read(tracked, CgroupFile::Share));
        let (quota, period) = if self.files.cpu_v2 {
            let mut both = words(self.read(tracked, CgroupFile::Quota)).map(number);
            (both.next().unwrap_or(UNKNOWN), both.next().unwrap_or(UNKNOWN))
        } else {
            // -1 means no limit; it parses as UNKNOWN.
            let quota = number(self.read(tracked, CgroupFile::Quota));
            (quota, number(self.read(tracked, CgroupFile::Period)))
        };
        let pids = number(self.read(tracked, CgroupFile::PidsMax));
        let mut io = Vec::new();
        if self.files.io_v2 {
            io_limits_v2(self.read(tracked, CgroupFile::ReadBytes), &mut io);
        } else {
            let mut devices: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            for (item, name) in [
                (CgroupFile::ReadBytes, "rbps"),
                (CgroupFile::WriteBytes, "wbps"),
                (CgroupFile::Reads, "riops"),
                (CgroupFile::Writes, "wiops"),
            ] {
                io_limits_v1(self.read(tracked, item), name, &mut devices);
            }
            for (device, limits) in devices {
                join(&mut io, &device, &limits);
            }
        }
        let (shares, weight) = if self.files.cpu_v2 { (UNKNOWN, share) } else { (share, UNKNOWN) };
        CgroupLimits {
            memory: if memory >= V1_NO_LIMIT { UNKNOWN } else { memory },
            shares,
            weight,
            quota: scaled(quota, 1000),
            period: scaled(period, 1000),
            pids,
            io,
        }
    }

    /// Counts processes, threads and descriptors. False if the cgroup is gone.
    fn tasks(&mut self, tree: &mut CgroupTree, index: usize, row: &mut CgroupSample) -> bool {
        let tracked = tree.get(index);
        self.read(tracked, CgroupFile::Processes);
        self.processes.clear();
        self.processes.extend(
            lines(&self.text).map(number).filter(|&pid| pid < u64::from(u32::MAX)).map(|pid| pid as u32),
        );
        if matches!(tracked.slots[CgroupFile::Processes as usize], Slot::Unopened) && !self.exists(tracked) {
            return false;
        }
        let threads = lines(self.read(tracked, CgroupFile::Threads)).count();
        let fds = self.fds.count(&self.processes, &mut tracked.fds);
        let own =
            [self.processes.len() as i64, threads as i64, fds.unwrap_or(0) as i64, i64::from(fds.is_none())];
        tree.set_own(index, own);
        let (processes, threads, fds) = tree.totals(index);
        (row.processes, row.threads, row.fds) = (processes, threads, fds.unwrap_or(UNKNOWN));
        true
    }
}

/// Fills in how much the counters have grown since the last row, and remembers them for the next one.
fn since_last_row(tracked: &mut Tracked, row: &mut CgroupSample) {
    let counters = Counters {
        time: row.time,
        cpu: row.cpu_time,
        throttled: row.cpu_throttled_time,
        read: row.io_read,
        written: row.io_written,
    };
    let last = tracked.counters.replace(counters).filter(|last| is_possible(last, &counters));
    if let Some(last) = last {
        row.interval = counters.time.saturating_sub(last.time);
        row.cpu_used = growth(last.cpu, counters.cpu);
        row.throttled_for = growth(last.throttled, counters.throttled);
        row.bytes_read = growth(last.read, counters.read);
        row.bytes_written = growth(last.written, counters.written);
    }
}

/// Whether a cgroup can have used the CPU time of its first row since its creation. If not, its counters, in another
/// hierarchy, are those of an older cgroup of the same path.
fn is_possible(last: &Counters, now: &Counters) -> bool {
    /// CPU time is counted late, and for each CPU.
    const SLACK: u64 = 100_000_000;
    // SAFETY: no pointers.
    let cpus = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.max(1) as u64;
    let most = now.time.saturating_sub(last.time).saturating_add(SLACK).saturating_mul(cpus);
    last.cpu != 0 || now.cpu == UNKNOWN || now.cpu <= most
}

/// How much a counter has grown; unknown if it was or is, or if it was reset.
fn growth(last: u64, now: u64) -> u64 {
    if last == UNKNOWN || now == UNKNOWN { UNKNOWN } else { now.checked_sub(last).unwrap_or(UNKNOWN) }
}

impl CgroupLimits {
    fn fill(&self, row: &mut CgroupSample) {
        row.mem_limit = self.memory;
        row.cpu_shares = self.shares;
        row.cpu_weight = self.weight;
        row.cpu_quota = self.quota;
        row.cpu_period = self.period;
        row.pids_max = self.pids;
        row.io_limits.clone_from(&self.io);
    }
}

fn periods_v2(text: &[u8], row: &mut CgroupSample) {
    row.cpu_periods = value_of(text, b"nr_periods");
    row.cpu_throttled = value_of(text, b"nr_throttled");
    row.cpu_throttled_time = scaled(value_of(text, b"throttled_usec"), 1000);
}

fn device(word: &[u8]) -> Option<(u64, u64)> {
    let colon = word.iter().position(|&b| b == b':')?;
    let device = (number(&word[..colon]), number(&word[colon + 1..]));
    (device.0 != UNKNOWN && device.1 != UNKNOWN).then_some(device)
}

/// Reads and writes of all disks in a `blkio.throttle` file: lines `8:0 Read 4096`, and a last one `Total 4096`.
pub(super) fn io_v1(text: &[u8], stacked: &HashSet<(u64, u64)>) -> (u64, u64) {
    if text.is_empty() {
        return (UNKNOWN, UNKNOWN);
    }
    let (mut read, mut written) = (0, 0);
    for line in lines(text) {
        let mut words = words(line);
        let (Some(disk), Some(what), Some(value)) =
            (words.next().and_then(device), words.next(), words.next())
        else {
            continue;
        };
        let sum = match what {
            b"Read" => &mut read,
            b"Write" => &mut written,
            _ => continue,
        };
        let value = number(value);
        if value != UNKNOWN && !stacked.contains(&disk) {
            *sum += value;
        }
    }
    (read, written)
}

/// Reads and writes of all disks in `io.stat`: lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
pub(super) fn io_v2(text: &[u8], stacked: &HashSet<(u64, u64)>, row: &mut CgroupSample) {
    let mut sums = [0; 4];
    for line in lines(text) {
        let mut words = words(line);
        let Some(disk) = words.next().and_then(device) else { continue };
        if stacked.contains(&disk) {
            continue;
        }
        for word in words {
            let keys: [&[u8]; 4] = [b"rbytes=", b"wbytes=", b"rios=", b"wios="];
            for (key, sum) in keys.into_iter().zip(&mut sums) {
                if let Some(value) = word.strip_prefix(key).map(number).filter(|&value| value != UNKNOWN) {
                    *sum += value;
                }
            }
        }
    }
    [row.io_read, row.io_written, row.io_reads, row.io_writes] = sums;
}

/// Appends `DEVICE LIMITS`.
fn join(all: &mut Vec<u8>, device: &[u8], limits: &[u8]) {
    if !all.is_empty() {
        all.extend_from_slice(b"; ");
    }
    all.extend_from_slice(device);
    all.extend_from_slice(limits);
}

/// Adds the limits in one of v1's four files: lines `8:0 1048576`.
pub(super) fn io_limits_v1(text: &[u8], name: &str, devices: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    for line in lines(text) {
        let mut words = words(line);
        let (Some(disk), Some(limit)) = (words.next(), words.next()) else { continue };
        let at = devices.iter().position(|(known, _)| known == disk).unwrap_or_else(|| {
            devices.push((disk.to_vec(), Vec::new()));
            devices.len() - 1
        });
        devices[at].1.extend_from_slice(b" ");
        devices[at].1.extend_from_slice(name.as_bytes());
        devices[at].1.extend_from_slice(b"=");
        devices[at].1.extend_from_slice(limit);
    }
}

/// Appends the limits in `io.max`: lines `8:0 rbps=1048576 wbps=max riops=max wiops=max`, without the values `max`.
pub(super) fn io_limits_v2(text: &[u8], all: &mut Vec<u8>) {
    for line in lines(text) {
        let mut words = words(line);
        let Some(disk) = words.next() else { continue };
        let mut limits = Vec::new();
        for word in words.filter(|word| !word.ends_with(b"=max")) {
            limits.push(b' ');
            limits.extend_from_slice(word);
        }
        if !limits.is_empty() {
            join(all, disk, &limits);
        }
    }
}
