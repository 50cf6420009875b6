//! Samples of resources: the columns of their four kinds, in the units of the table of kinds.

use events::UNKNOWN;

macro_rules! sample {
    ($(#[$doc:meta])* $name:ident { $($field:ident,)* } and { $($(#[$other_doc:meta])* $other:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        ///
        /// Unknown numbers are [`UNKNOWN`]; the fields are the columns of the same names.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name {
            /// When it was read, ns of the boot clock.
            pub time: u64,
            $($(#[$other_doc])* pub $other: $ty,)*
            $(#[doc = concat!("Column `", stringify!($field), "`.")] pub $field: u64,)*
        }

        impl $name {
            /// All unknown but the time.
            pub fn unknown(time: u64) -> Self {
                Self { time, $($other: Default::default(),)* $($field: UNKNOWN,)* }
            }
        }
    };
}

sample! {
    /// The resources of a cgroup.
    CgroupSample {
        processes, threads, fds, mem, mem_peak, mem_anon, mem_file, mem_limit, mem_failures, oom_kills, cpu_time, cpu_user,
        cpu_system, cpu_shares, cpu_weight, cpu_quota, cpu_period, cpu_periods, cpu_throttled, cpu_throttled_time,
        pids, pids_max, pids_failures, io_read, io_written, io_reads, io_writes, cpu_pressure, mem_pressure,
        io_pressure, interval, cpu_used, throttled_for, bytes_read, bytes_written,
    } and {
        /// Its id in the hierarchy that identifies cgroups.
        cgroup: u64,
        /// Column `io_limits`.
        io_limits: Vec<u8>,
    }
}

sample! {
    /// The resources of the host.
    HostSample {
        cpus, cpu_user, cpu_system, cpu_idle, cpu_iowait, cpu_irq, cpu_steal, load1, running, blocked, processes,
        threads, forks, switches, fds, fds_max, mem_total, mem_available, mem_free, mem_cached, mem_dirty,
        mem_writeback, swap_used, oom_kills, cpu_pressure, mem_pressure, io_pressure, io_pressure_full,
    } and {}
}

sample! {
    /// The counters of a disk.
    DiskSample {
        devno, reads, read_bytes, read_time, writes, written_bytes, write_time, in_flight, busy, queue_time,
    } and {
        /// Column `dev`.
        dev: Vec<u8>,
        /// Column `maps_to`.
        maps_to: Vec<u8>,
    }
}

sample! {
    /// The free space of a file system.
    FsSample {
        bytes, bytes_free, bytes_available, inodes, inodes_free,
    } and {
        /// Column `mount`.
        mount: Vec<u8>,
        /// Column `fs_type`.
        fs_type: Vec<u8>,
        /// Column `source`.
        source: Vec<u8>,
    }
}
