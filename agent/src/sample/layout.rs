//! Which file of which hierarchy says what: v1, hybrid and v2 machines differ in nothing else.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::path::Path;

use crate::containers::Hierarchy;

/// A file of a cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item {
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

/// How many [`Item`]s there are.
pub(super) const ITEMS: usize = Item::Threads as usize + 1;

impl Item {
    /// Whether the kernel makes its text line by line.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::Processes | Self::Threads)
    }
}

/// A mounted hierarchy.
#[derive(Debug)]
struct Mount {
    dir: File,
    root: Vec<u8>,
}

/// Where each file is.
#[derive(Debug)]
pub(super) struct Layout {
    mounts: Vec<Mount>,
    places: [Option<(usize, &'static str)>; ITEMS],
    /// The hierarchy whose ids tell cgroups apart.
    identity: usize,
    /// Whether CPU time is in the form of v2.
    pub(super) cpu_time_v2: bool,
    /// Whether the cpu controller is v2's.
    pub(super) cpu_v2: bool,
    /// Whether the memory controller is v2's.
    pub(super) memory_v2: bool,
    /// Whether the io controller is v2's.
    pub(super) io_v2: bool,
}

impl Layout {
    /// That of this machine, with cgroups told apart by `identity`.
    ///
    /// # Errors
    /// If the mount point of that hierarchy cannot be opened.
    pub(super) fn detect(identity: &Hierarchy) -> io::Result<Self> {
        let mounted = |name: &str| {
            let found = Hierarchy::named(name).ok()?;
            Some((found.mount, found.root))
        };
        Self::new((&identity.name, &identity.mount, &identity.root), mounted)
    }

    /// `identity` is name, mount point and the cgroup mounted there; `mounted` tells the last two of any other
    /// hierarchy, by name.
    ///
    /// # Errors
    /// If the mount point of `identity` cannot be opened.
    pub(super) fn new<P: AsRef<Path>>(
        identity: (&str, &Path, &[u8]),
        mounted: impl Fn(&str) -> Option<(P, Vec<u8>)>,
    ) -> io::Result<Self> {
        let (name, point, root) = identity;
        let mut layout = Self {
            mounts: vec![Mount { dir: File::open(point)?, root: root.to_vec() }],
            places: [None; ITEMS],
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
            layout.mounts.push(Mount { dir, root });
            Some(layout.mounts.len() - 1)
        };
        let v2 = open("v2");
        let (cpu, cpuacct) = (open("cpu"), open("cpuacct"));
        let (memory, pids, blkio) = (open("memory"), open("pids"), open("blkio"));
        let identity_v2 = v2 == Some(0);
        layout.places[Item::Processes as usize] = Some((0, "cgroup.procs"));
        layout.places[Item::Threads as usize] =
            Some((0, if identity_v2 { "cgroup.threads" } else { "tasks" }));
        // Whose tasks are counted must be the same as whose CPU time it is.
        layout.cpu_time_v2 = identity_v2 || cpuacct.is_none();
        layout.cpu_v2 = cpu.is_none();
        layout.memory_v2 = memory.is_none();
        layout.io_v2 = blkio.is_none();
        layout.put(if layout.cpu_time_v2 { v2 } else { None }, &[(Item::Usage, "cpu.stat")]);
        layout.put(
            if layout.cpu_time_v2 { None } else { cpuacct },
            &[
                (Item::Usage, "cpuacct.usage"),
                (Item::UsageUser, "cpuacct.usage_user"),
                (Item::UsageSystem, "cpuacct.usage_sys"),
            ],
        );
        match cpu {
            Some(_) => layout.put(
                cpu,
                &[
                    (Item::CpuStat, "cpu.stat"),
                    (Item::Share, "cpu.shares"),
                    (Item::Quota, "cpu.cfs_quota_us"),
                    (Item::Period, "cpu.cfs_period_us"),
                ],
            ),
            // Where the periods are in the same file as the time, it is read once.
            None if layout.cpu_time_v2 => {
                layout.put(v2, &[(Item::Share, "cpu.weight"), (Item::Quota, "cpu.max")]);
            }
            None => layout.put(
                v2,
                &[(Item::CpuStat, "cpu.stat"), (Item::Share, "cpu.weight"), (Item::Quota, "cpu.max")],
            ),
        }
        match memory {
            Some(_) => layout.put(
                memory,
                &[
                    (Item::Memory, "memory.usage_in_bytes"),
                    (Item::Peak, "memory.max_usage_in_bytes"),
                    (Item::MemoryLimit, "memory.limit_in_bytes"),
                    (Item::Failures, "memory.failcnt"),
                    (Item::Oom, "memory.oom_control"),
                    (Item::MemoryStat, "memory.stat"),
                ],
            ),
            None => layout.put(
                v2,
                &[
                    (Item::Memory, "memory.current"),
                    (Item::Peak, "memory.peak"),
                    (Item::MemoryLimit, "memory.max"),
                    (Item::Failures, "memory.events"),
                    (Item::MemoryStat, "memory.stat"),
                ],
            ),
        }
        layout.put(
            pids.or(v2),
            &[(Item::Pids, "pids.current"), (Item::PidsMax, "pids.max"), (Item::PidsEvents, "pids.events")],
        );
        match blkio {
            Some(_) => layout.put(
                blkio,
                &[
                    (Item::Io, "blkio.throttle.io_service_bytes_recursive"),
                    (Item::IoOps, "blkio.throttle.io_serviced_recursive"),
                    (Item::ReadBytes, "blkio.throttle.read_bps_device"),
                    (Item::WriteBytes, "blkio.throttle.write_bps_device"),
                    (Item::Reads, "blkio.throttle.read_iops_device"),
                    (Item::Writes, "blkio.throttle.write_iops_device"),
                ],
            ),
            None => layout.put(v2, &[(Item::Io, "io.stat"), (Item::ReadBytes, "io.max")]),
        }
        layout.put(
            v2,
            &[
                (Item::CpuPressure, "cpu.pressure"),
                (Item::MemoryPressure, "memory.pressure"),
                (Item::IoPressure, "io.pressure"),
            ],
        );
        Ok(layout)
    }

    fn put(&mut self, mount: Option<usize>, files: &[(Item, &'static str)]) {
        let Some(mount) = mount else { return };
        for (item, name) in files {
            self.places[*item as usize] = Some((mount, *name));
        }
    }

    /// Whether a file of this kind can be there.
    pub(super) fn has(&self, item: Item) -> bool {
        self.places[item as usize].is_some()
    }

    /// The directory, and the path below it with a NUL at its end, of a file of the cgroup with this path. `None` if
    /// it has no such file.
    pub(super) fn file(&self, item: Item, cgroup: &[u8], path: &mut Vec<u8>) -> Option<RawFd> {
        let (mount, name) = self.places[item as usize]?;
        self.below(mount, cgroup, path)?;
        path.push(b'/');
        path.extend_from_slice(name.as_bytes());
        path.push(0);
        Some(self.mounts[mount].dir.as_raw_fd())
    }

    /// The same for its directory in the hierarchy that tells cgroups apart.
    pub(super) fn directory(&self, cgroup: &[u8], path: &mut Vec<u8>) -> Option<RawFd> {
        self.below(self.identity, cgroup, path)?;
        path.push(0);
        Some(self.mounts[self.identity].dir.as_raw_fd())
    }

    /// The path of a cgroup below a mount point, where it is the same in all hierarchies.
    fn below(&self, mount: usize, cgroup: &[u8], path: &mut Vec<u8>) -> Option<()> {
        let root = self.mounts[mount].root.strip_suffix(b"/").unwrap_or(&self.mounts[mount].root);
        let inside = cgroup.strip_prefix(root)?;
        path.clear();
        match inside {
            [] | [b'/'] => path.push(b'.'),
            [b'/', inside @ ..] => path.extend_from_slice(inside),
            // A sibling whose name begins alike.
            _ => return None,
        }
        Some(())
    }
}
