//! Which file of which hierarchy has which value. v1, hybrid and v2 machines differ only in this.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use crate::containers::Hierarchy;

/// A file of a cgroup, by what it contains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CgroupFile {
    /// `cpu.stat` of v2, or `cpuacct.usage`.
    Usage,
    /// `cpuacct.usage_user`.
    UsageUser,
    /// `cpuacct.usage_sys`.
    UsageSystem,
    /// `cpu.stat` of v1.
    CpuStat,
    /// `cpu.shares` or `cpu.weight`.
    Share,
    /// `cpu.cfs_quota_us` or `cpu.max`.
    Quota,
    /// `cpu.cfs_period_us`.
    Period,
    /// `memory.usage_in_bytes` or `memory.current`.
    Memory,
    /// `memory.max_usage_in_bytes` or `memory.peak`.
    Peak,
    /// `memory.stat`.
    MemoryStat,
    /// `memory.limit_in_bytes` or `memory.max`.
    MemoryLimit,
    /// `memory.failcnt` or `memory.events`.
    Failures,
    /// `memory.oom_control`.
    Oom,
    /// `pids.current`.
    Pids,
    /// `pids.max`.
    PidsMax,
    /// `pids.events`.
    PidsEvents,
    /// `blkio.throttle.io_service_bytes_recursive` or `io.stat`.
    Io,
    /// `blkio.throttle.io_serviced_recursive`.
    IoOps,
    /// `blkio.throttle.read_bps_device` or `io.max`.
    ReadBytes,
    /// `blkio.throttle.write_bps_device`.
    WriteBytes,
    /// `blkio.throttle.read_iops_device`.
    Reads,
    /// `blkio.throttle.write_iops_device`.
    Writes,
    /// `cpu.pressure`.
    CpuPressure,
    /// `memory.pressure`.
    MemoryPressure,
    /// `io.pressure`.
    IoPressure,
    /// `cgroup.procs`.
    Processes,
    /// `tasks` or `cgroup.threads`.
    Threads,
}

/// The number of variants of [`CgroupFile`].
pub(super) const CGROUP_FILES: usize = CgroupFile::Threads as usize + 1;

impl CgroupFile {
    /// Whether the kernel generates its text line by line.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Processes | Self::Threads)
    }
}

/// A mounted hierarchy: its mount point, and the cgroup that is mounted there.
#[derive(Debug)]
struct Mount {
    dir: File,
    root: Vec<u8>,
}

/// Where each file is on this machine.
#[derive(Debug)]
pub(super) struct CgroupFiles {
    mounts: Vec<Mount>,
    places: [Option<(usize, &'static str)>; CGROUP_FILES],
    /// Index of the hierarchy that identifies cgroups.
    identity: usize,
    /// Whether CPU time has the format of v2; likewise the files of the controllers below.
    pub(super) cpu_time_v2: bool,
    pub(super) cpu_v2: bool,
    pub(super) memory_v2: bool,
    pub(super) io_v2: bool,
}

impl CgroupFiles {
    /// Finds the files of this machine; `identity` is the hierarchy that identifies cgroups.
    ///
    /// # Errors
    /// The mount point of that hierarchy cannot be opened.
    pub(super) fn detect(identity: &Hierarchy) -> io::Result<Self> {
        let mounted = |name: &str| {
            let found = Hierarchy::named(name).ok()?;
            Some((found.mount, found.root))
        };
        Self::new((&identity.name, &identity.mount, &identity.root), mounted)
    }

    /// `identity` is the name of a hierarchy, its mount point and the cgroup mounted there; `mounted` returns the last two
    /// for any other hierarchy, by name.
    ///
    /// # Errors
    /// The mount point of `identity` cannot be opened.
    pub(super) fn new<P: AsRef<Path>>(
        identity: (&str, &Path, &[u8]),
        mounted: impl Fn(&str) -> Option<(P, Vec<u8>)>,
    ) -> io::Result<Self> {
        let (name, point, root) = identity;
        let mut files = Self {
            mounts: vec![Mount { dir: File::open(point)?, root: root.to_vec() }],
            places: [None; CGROUP_FILES],
            identity: 0,
            cpu_time_v2: false,
            cpu_v2: false,
            memory_v2: false,
            io_v2: false,
        };
        let mut open = |wanted: &str| {
            if wanted == name {
                return Some(0);
            }
            let (point, root) = mounted(wanted)?;
            let dir = File::open(point).ok()?;
            files.mounts.push(Mount { dir, root });
            Some(files.mounts.len() - 1)
        };
        let v2 = open("v2");
        let (cpu, cpuacct) = (open("cpu"), open("cpuacct"));
        let (memory, pids, blkio) = (open("memory"), open("pids"), open("blkio"));
        let identity_v2 = v2 == Some(0);
        files.places[CgroupFile::Processes as usize] = Some((0, "cgroup.procs"));
        files.places[CgroupFile::Threads as usize] =
            Some((0, if identity_v2 { "cgroup.threads" } else { "tasks" }));
        // CPU time and tasks must be of the same cgroup.
        files.cpu_time_v2 = identity_v2 || cpuacct.is_none();
        files.cpu_v2 = cpu.is_none();
        files.memory_v2 = memory.is_none();
        files.io_v2 = blkio.is_none();
        files.put(if files.cpu_time_v2 { v2 } else { None }, &[(CgroupFile::Usage, "cpu.stat")]);
        files.put(
            if files.cpu_time_v2 { None } else { cpuacct },
            &[
                (CgroupFile::Usage, "cpuacct.usage"),
                (CgroupFile::UsageUser, "cpuacct.usage_user"),
                (CgroupFile::UsageSystem, "cpuacct.usage_sys"),
            ],
        );
        match cpu {
            Some(_) => files.put(
                cpu,
                &[
                    (CgroupFile::CpuStat, "cpu.stat"),
                    (CgroupFile::Share, "cpu.shares"),
                    (CgroupFile::Quota, "cpu.cfs_quota_us"),
                    (CgroupFile::Period, "cpu.cfs_period_us"),
                ],
            ),
            // Where the periods are in the same file as the time, it is read once.
            None if files.cpu_time_v2 => {
                files.put(v2, &[(CgroupFile::Share, "cpu.weight"), (CgroupFile::Quota, "cpu.max")]);
            }
            None => files.put(
                v2,
                &[
                    (CgroupFile::CpuStat, "cpu.stat"),
                    (CgroupFile::Share, "cpu.weight"),
                    (CgroupFile::Quota, "cpu.max"),
                ],
            ),
        }
        match memory {
            Some(_) => files.put(
                memory,
                &[
                    (CgroupFile::Memory, "memory.usage_in_bytes"),
                    (CgroupFile::Peak, "memory.max_usage_in_bytes"),
                    (CgroupFile::MemoryLimit, "memory.limit_in_bytes"),
                    (CgroupFile::Failures, "memory.failcnt"),
                    (CgroupFile::Oom, "memory.oom_control"),
                    (CgroupFile::MemoryStat, "memory.stat"),
                ],
            ),
            None => files.put(
                v2,
                &[
                    (CgroupFile::Memory, "memory.current"),
                    (CgroupFile::Peak, "memory.peak"),
                    (CgroupFile::MemoryLimit, "memory.max"),
                    (CgroupFile::Failures, "memory.events"),
                    (CgroupFile::MemoryStat, "memory.stat"),
                ],
            ),
        }
        files.put(
            pids.or(v2),
            &[
                (CgroupFile::Pids, "pids.current"),
                (CgroupFile::PidsMax, "pids.max"),
                (CgroupFile::PidsEvents, "pids.events"),
            ],
        );
        match blkio {
            Some(_) => files.put(
                blkio,
                &[
                    (CgroupFile::Io, "blkio.throttle.io_service_bytes_recursive"),
                    (CgroupFile::IoOps, "blkio.throttle.io_serviced_recursive"),
                    (CgroupFile::ReadBytes, "blkio.throttle.read_bps_device"),
                    (CgroupFile::WriteBytes, "blkio.throttle.write_bps_device"),
                    (CgroupFile::Reads, "blkio.throttle.read_iops_device"),
                    (CgroupFile::Writes, "blkio.throttle.write_iops_device"),
                ],
            ),
            None => files.put(v2, &[(CgroupFile::Io, "io.stat"), (CgroupFile::ReadBytes, "io.max")]),
        }
        files.put(
            v2,
            &[
                (CgroupFile::CpuPressure, "cpu.pressure"),
                (CgroupFile::MemoryPressure, "memory.pressure"),
                (CgroupFile::IoPressure, "io.pressure"),
            ],
        );
        Ok(files)
    }

    fn put(&mut self, mount: Option<usize>, files: &[(CgroupFile, &'static str)]) {
        let Some(mount) = mount else { return };
        for (item, name) in files {
            self.places[*item as usize] = Some((mount, *name));
        }
    }

    /// Whether cgroups of this machine can have this file.
    pub(super) fn has(&self, item: CgroupFile) -> bool {
        self.places[item as usize].is_some()
    }

    /// Finds a file of the cgroup with this path: returns the open directory, and sets `path` to the path below it,
    /// NUL-terminated. `None` if cgroups have no such file.
    pub(super) fn file(&self, item: CgroupFile, cgroup: &[u8], path: &mut Vec<u8>) -> Option<RawFd> {
        let (mount, name) = self.places[item as usize]?;
        self.below(mount, cgroup, path)?;
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        path.push(0);
        Some(self.mounts[mount].dir.as_raw_fd())
    }

    /// Finds the directory of the cgroup in the hierarchy that identifies cgroups, like [`Self::file`].
    pub(super) fn directory(&self, cgroup: &[u8], path: &mut Vec<u8>) -> Option<RawFd> {
        self.below(self.identity, cgroup, path)?;
        path.push(0);
        Some(self.mounts[self.identity].dir.as_raw_fd())
    }

    /// Sets `path` to the path of a cgroup below a mount point. A cgroup has the same path in all hierarchies.
    fn below(&self, mount: usize, cgroup: &[u8], path: &mut Vec<u8>) -> Option<()> {
        let root = self.mounts[mount].root.strip_suffix(b"/").unwrap_or(&self.mounts[mount].root);
        let inside = cgroup.strip_prefix(root)?;
        path.clear();
        match inside {
            [] | [b'/'] => path.push(b'.'),
            [b'/', inside @ ..] => path.extend_from_slice(inside),
            // A sibling with the root's name as a prefix.
            _ => return None,
        }
        Some(())
    }
}
