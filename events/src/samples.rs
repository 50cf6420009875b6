//! What is sampled. Every number is as the kernel gives it at that moment: counters count since the
//! cgroup, the host or the disk came to be, so that any two samples give a rate.

use super::{Kind, KindDecl, Ring, Ty, col};

/// A cgroup: a container, a service, or one that either has made.
pub const CGROUP: KindDecl = KindDecl {
    kind: Kind::Sample,
    name: "sample",
    ring: Ring::Agent,
    columns: const {
        &[
            col("cgroup", Ty::Cgroup, "whose resources they are"),
            col("processes", Ty::MaybeU64, "processes in it and below"),
            col("threads", Ty::MaybeU64, "threads in it and below"),
            col("fds", Ty::MaybeU64, "open file descriptors of these processes"),
            col("mem", Ty::Size, "memory charged to it"),
            col("mem_peak", Ty::Size, "the most that ever was"),
            col("mem_anon", Ty::Size, "of it anonymous memory"),
            col("mem_file", Ty::Size, "of it file pages"),
            col("mem_limit", Ty::Size, "what it may use; none if it has no limit"),
            col("mem_failures", Ty::MaybeU64, "how often the limit was hit"),
            col("oom_kills", Ty::MaybeU64, "processes killed for memory"),
            col("cpu_time", Ty::MaybeDuration, "CPU time used"),
            col("cpu_user", Ty::MaybeDuration, "of it in user space"),
            col("cpu_system", Ty::MaybeDuration, "of it in the kernel"),
            col("cpu_shares", Ty::MaybeU64, "v1 cpu.shares (1024 is usual)"),
            col("cpu_weight", Ty::MaybeU64, "v2 cpu.weight (100 is usual)"),
            col("cpu_quota", Ty::MaybeDuration, "CPU time that it may use in each period; none if unlimited"),
            col("cpu_period", Ty::MaybeDuration, "the length of a period"),
            col("cpu_periods", Ty::MaybeU64, "periods so far in which it ran"),
            col("cpu_throttled", Ty::MaybeU64, "periods so far in which it was throttled"),
            col("cpu_throttled_time", Ty::MaybeDuration, "time for which it was throttled"),
            col("pids", Ty::MaybeU64, "tasks as the pids controller counts them"),
            col("pids_max", Ty::MaybeU64, "how many it may have; none if unlimited"),
            col("pids_failures", Ty::MaybeU64, "forks that failed for that limit"),
            col("io_read", Ty::Size, "bytes read from disks"),
            col("io_written", Ty::Size, "bytes written to disks"),
            col("io_reads", Ty::MaybeU64, "reads"),
            col("io_writes", Ty::MaybeU64, "writes"),
            col("io_limits", Ty::Text, "its throttles, as device and limits; empty if it has none"),
            col("cpu_pressure", Ty::MaybeDuration, "time in which some task waited for a CPU"),
            col("mem_pressure", Ty::MaybeDuration, "time in which some task waited for memory"),
            col("io_pressure", Ty::MaybeDuration, "time in which some task waited for I/O"),
        ]
    },
    doc: "the resources of a cgroup, every --sample (cgroup files and /proc)",
};

/// The host.
pub const HOST: KindDecl = KindDecl {
    kind: Kind::SampleHost,
    name: "sample_host",
    ring: Ring::Agent,
    columns: const {
        &[
            col("cpus", Ty::U64, "CPUs online"),
            col("cpu_user", Ty::MaybeDuration, "CPU time in user space, nice included, of all CPUs"),
            col("cpu_system", Ty::MaybeDuration, "CPU time in the kernel"),
            col("cpu_idle", Ty::MaybeDuration, "time without work"),
            col("cpu_iowait", Ty::MaybeDuration, "idle time while some task waited for I/O"),
            col("cpu_irq", Ty::MaybeDuration, "time in interrupts, soft ones included"),
            col("cpu_steal", Ty::MaybeDuration, "time that the hypervisor gave to others"),
            col("load1", Ty::MaybeU64, "load average of a minute, in hundredths"),
            col("running", Ty::MaybeU64, "threads that run or could run"),
            col("blocked", Ty::MaybeU64, "threads that wait for I/O"),
            col("processes", Ty::MaybeU64, "processes"),
            col("threads", Ty::MaybeU64, "threads"),
            col("forks", Ty::MaybeU64, "forks since boot"),
            col("switches", Ty::MaybeU64, "context switches since boot"),
            col("fds", Ty::MaybeU64, "open files"),
            col("fds_max", Ty::MaybeU64, "how many there may be"),
            col("mem_total", Ty::Size, "memory"),
            col("mem_available", Ty::Size, "memory that can be had without swapping"),
            col("mem_free", Ty::Size, "unused memory"),
            col("mem_cached", Ty::Size, "file pages"),
            col("mem_dirty", Ty::Size, "pages to be written back"),
            col("mem_writeback", Ty::Size, "pages being written back"),
            col("swap_used", Ty::Size, "swap in use"),
            col("oom_kills", Ty::MaybeU64, "processes killed for memory since boot"),
            col("cpu_pressure", Ty::MaybeDuration, "time in which some task waited for a CPU"),
            col("mem_pressure", Ty::MaybeDuration, "time in which some task waited for memory"),
            col("io_pressure", Ty::MaybeDuration, "time in which some task waited for I/O"),
            col("io_pressure_full", Ty::MaybeDuration, "time in which all tasks waited for I/O"),
        ]
    },
    doc: "the resources of the host, every --sample (/proc)",
};

/// A disk.
pub const DISK: KindDecl = KindDecl {
    kind: Kind::SampleDisk,
    name: "sample_disk",
    ring: Ring::Agent,
    columns: const {
        &[
            col("dev", Ty::Text, "the disk's name"),
            col("devno", Ty::Device, "its number, major:minor"),
            col("maps_to", Ty::Text, "what it stands on: the disks below, or the file behind a loop device"),
            col("reads", Ty::U64, "reads completed since it came to be"),
            col("read_bytes", Ty::Size, "bytes read"),
            col("read_time", Ty::MaybeDuration, "sum of the times that reads took"),
            col("writes", Ty::U64, "writes completed"),
            col("written_bytes", Ty::Size, "bytes written"),
            col("write_time", Ty::MaybeDuration, "sum of the times that writes took"),
            col("in_flight", Ty::U64, "requests now in flight"),
            col("busy", Ty::MaybeDuration, "time with at least one request in flight"),
            col(
                "queue_time",
                Ty::MaybeDuration,
                "sum of the times of all requests, those in flight included",
            ),
        ]
    },
    doc: "the counters of a disk, every --sample (/proc/diskstats)",
};

/// A mounted file system.
pub const FILE_SYSTEM: KindDecl = KindDecl {
    kind: Kind::SampleFs,
    name: "sample_fs",
    ring: Ring::Agent,
    columns: const {
        &[
            col("mount", Ty::Path, "where it is mounted"),
            col("fs_type", Ty::Text, "its type"),
            col("source", Ty::Text, "what is mounted"),
            col("bytes", Ty::Size, "its size"),
            col("bytes_free", Ty::Size, "what is free"),
            col("bytes_available", Ty::Size, "what is free to users without privileges"),
            col("inodes", Ty::MaybeU64, "how many files it can have"),
            col("inodes_free", Ty::MaybeU64, "how many of them are not used"),
        ]
    },
    doc: "the room in a mounted file system, every --sample (statfs)",
};
