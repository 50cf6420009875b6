//! The table of kinds: one row for each, from which the enum, the lists and the limits follow.

use super::{Column, KindDecl, Ring, Ty};

/// Makes [`Kind`] and everything that lists kinds. A row is
///
/// ```text
/// /// What one event of it is.
/// Variant = NUMBER, "name", Ring, "what is recorded (its source)" {
///     column: Type, "one line for `ktape fields` and the docs";
/// }
/// ```
///
/// Numbers and names are stored in files: never reuse a number, never rename a column, add columns at the end.
macro_rules! kinds {
    ($(
        $(#[$doc:meta])*
        $kind:ident = $number:literal, $name:literal, $ring:ident, $about:literal {
            $($column:ident: $ty:ident, $help:literal;)*
        }
    )*) => {
        /// What an event is. The numbers are stored in files: never reuse one.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[$doc])* $kind = $number,)*
        }

        /// How many kinds there are.
        pub const KIND_COUNT: usize = [$($number,)*].len();

        /// All kinds, in the order of their numbers.
        pub const KINDS: [Kind; KIND_COUNT] = [$(Kind::$kind,)*];

        /// Positions in [`KINDS`]: dense, even when numbers are not.
        enum Position {
            $($kind,)*
        }

        impl Kind {
            /// The row of the table.
            pub const fn decl(self) -> KindDecl {
                match self {
                    $(Kind::$kind => KindDecl {
                        kind: self,
                        name: $name,
                        ring: Ring::$ring,
                        columns: const {
                            &[$(Column { name: stringify!($column), ty: Ty::$ty, doc: $help },)*]
                        },
                        doc: $about,
                    },)*
                }
            }

            /// The kind with this number; `None` for numbers that this version does not know.
            pub const fn from_number(number: u8) -> Option<Self> {
                match number {
                    $($number => Some(Kind::$kind),)*
                    _ => None,
                }
            }

            /// Its position in [`KINDS`].
            pub const fn index(self) -> usize {
                match self {
                    $(Kind::$kind => Position::$kind as usize,)*
                }
            }
        }
    };
}

kinds! {
    /// A system call, recorded once, when it returns.
    Syscall = 1, "syscall", Event, "a system call, at its return (raw_syscalls:sys_enter and sys_exit)" {
        dur: Duration, "from entry to return";
        nr: Syscall, "which call";
        ret: SyscallResult, "its result";
        args: SyscallArgs, "its arguments";
        strs: SyscallStrings, "its paths and socket addresses";
    }
    /// A new process or thread.
    Fork = 2, "fork", Lifecycle, "a new process or thread; its task is the parent (sched:sched_process_fork)" {
        child_pid: Pid, "the process id of the child";
        child_tid: Pid, "the thread id of the child";
        thread: Bool, "whether the child is a thread of the same process";
        child_cgroup: Cgroup, "the cgroup the child starts in";
    }
    /// A successful `execve`.
    Exec = 3, "exec", Lifecycle, "a successful execve or execveat (sched:sched_process_exec)" {
        path: Path, "the file that was executed, as given";
        args: Args, "the arguments";
        old_tid: Pid, "the thread id before, another one if a thread other than the leader executes";
        old_comm: Text, "the name before";
    }
    /// A thread ended; the last one of a process ends the process.
    Exit = 4, "exit", Lifecycle, "a thread ended (sched:sched_process_exit)" {
        status: I64, "the exit status, 0 to 255";
        signal: Signal, "the signal that killed it";
        core: Bool, "whether memory was dumped";
        process: Bool, "whether this was the last thread, so that the process ended";
    }
    /// A thread changed its name (`prctl`, `/proc/PID/comm`); exec has its own event.
    Rename = 5, "rename_task", Lifecycle, "a thread was given a new name without an exec (task:task_rename)" {
        comm: Text, "the new name";
    }
    /// A cgroup was created.
    CgroupMkdir = 6, "cgroup_mkdir", Lifecycle, "a cgroup was created (cgroup:cgroup_mkdir)" {
        cgroup: Cgroup, "the new cgroup";
    }
    /// A cgroup was removed.
    CgroupRmdir = 7, "cgroup_rmdir", Lifecycle, "a cgroup was removed (cgroup:cgroup_rmdir)" {
        cgroup: Cgroup, "the removed cgroup";
    }
    /// A task was moved into a cgroup.
    CgroupAttach = 8, "cgroup_attach", Lifecycle, "a task was moved to another cgroup; its task is the mover (cgroup:cgroup_attach_task)" {
        cgroup: Cgroup, "the cgroup it was moved to";
        moved_pid: Pid, "the process id of the moved task";
        moved_tid: Pid, "the thread id of the moved task";
        threadgroup: Bool, "whether the whole process moved";
    }
    /// Events that were made but are not in the file.
    Loss = 9, "loss", Agent, "events that happened but are not in the file" {
        from: Time, "earliest time at which the lost events can have happened";
        kind: Kind, "the kind of the lost events, 0 if any";
        stage: Text, "where they were lost: ring, recursion, storage, map, queue, writer";
        cgroup: Cgroup, "whose events they were";
        count: U64, "how many";
    }
    /// The distance between boot clock and wall clock, at start and whenever it steps.
    Clock = 10, "clock", Agent, "how boot time maps to wall time" {
        wall_offset: I64, "wall clock minus boot clock, in ns";
        step: I64, "by how much that changed since the last such event, in ns";
    }
    /// A CPU went from one thread to another.
    Switch = 11, "switch", Event, "a CPU went from one thread, the event's, to another (sched:sched_switch)" {
        state: TaskState, "the state it left the CPU in: R, S, D, T, t, X, Z, I, P";
        preempted: Bool, "whether the CPU was taken from it while it could have gone on";
        ran: MaybeDuration, "how long it had been on the CPU";
        next: Task, "the thread that the CPU went to; `idle`, with the ids 0, if to none";
        off_cpu: MaybeDuration, "how long that one had been off the CPU";
        runnable: MaybeDuration, "how long of that it could have run: its wait for a CPU";
    }
    /// A block request, recorded once, when it is complete.
    Block = 12, "block", Event, "a block request, at its completion; its task is who submitted it (block:block_rq_*)" {
        dur: Duration, "from the first tracepoint that saw it to its completion";
        queued: MaybeDuration, "until it was first issued to the device; until now if it is unfinished and waits";
        service: MaybeDuration, "from its last issue to its completion";
        dev: Text, "the device's name";
        devno: Device, "the device's number, major:minor";
        via: Text, "the devices above it that the request came through, such as dm-0, outermost first, joined by >";
        op: Text, "read, write, flush, discard, secure_erase, write_zeroes, zone, driver, other";
        rq_flags: Text, "what is asked of it: sync, meta, prio, fua, preflush, ahead, background, nowait, joined by |";
        sector: MaybeU64, "the first sector, of 512 bytes";
        bytes: U64, "how much was transferred; if it failed or is unfinished, how much was asked for";
        error: Errno, "why it failed";
        bios: U64, "how many pieces (bios) were merged into it";
        issues: U64, "how often it was issued: more than once if it was requeued";
        owner: Cgroup, "the cgroup whose memory it writes or that it is charged to";
        owner_kind: Text, "where owner is from: bio, submitter or unknown";
    }
    /// A TCP connection changed its state.
    Net = 13, "net", Event, "a TCP socket changed its state; its task is the socket's user as far as known (sock:inet_sock_set_state)" {
        dur: MaybeDuration, "the age of the connection";
        old: Text, "the state before, such as SYN_SENT";
        new: Text, "the state after; CLOSE is the end";
        role: Text, "client, server, listener or unknown";
        local: SockAddr, "the address on this side";
        remote: SockAddr, "the address on the other side";
        sock: U64, "a number that all events of one socket share";
        netns: MaybeU64, "the network namespace, as its inode";
        sent: Size, "at its end: bytes that the other side has acknowledged";
        received: Size, "at its end: bytes received";
        retrans: MaybeU64, "at its end: segments sent again";
    }
    /// A signal was sent.
    Signal = 14, "signal", Lifecycle, "a signal was sent; its task is the sender (signal:signal_generate)" {
        signal: Signal, "which signal";
        target: Task, "to whom";
        target_pid: Pid, "the process id of the target";
        target_tid: Pid, "the thread id of the target";
        group: Bool, "whether it is for the process, not for that thread alone";
        cause: Text, "user, tkill, kernel, timer, child, fault, other";
        result: Text, "delivered, ignored, pending, overflow, lost";
    }
    /// The kernel chose a process to kill because memory ran out.
    Oom = 15, "oom", Lifecycle, "the kernel chose a process to kill for memory; its task is the victim (oom:mark_victim)" {
        trigger: Task, "the thread whose need for memory made the kernel kill";
        scope: Text, "cgroup if a cgroup's limit was reached, host if all memory was used up";
        limited: Cgroup, "the cgroup whose limit was reached";
        memory: Size, "what that cgroup used";
        limit: Size, "what it may use";
        anon: Size, "the victim's anonymous memory";
        file: Size, "the victim's file pages";
        shmem: Size, "the victim's shared memory";
        swap: Size, "the victim's swap";
        page_tables: Size, "the victim's page tables";
        score_adj: MaybeI64, "the victim's oom_score_adj";
    }
    /// A thread is, or was, in uninterruptible sleep for long.
    Stall = 16, "stall", Agent, "a thread in uninterruptible sleep for longer than --stall: while it sleeps, and when it wakes" {
        dur: Duration, "how long it has slept";
        phase: Text, "asleep, still (told again at doubling times), woken, or exited";
        nr: Syscall, "the call it is in";
        args: SyscallArgs, "the call's arguments";
        wait: Text, "the function that it waits in";
        stack: Stack, "the kernel's functions, innermost first";
        dev: Text, "the block device that it waits for, where that is known";
        dev_from: Text, "where dev is from: fd, the file that the call works on, or writeback, what the kernel worker writes";
        workqueue: Text, "the work function, of a kernel worker";
        waker: Task, "who woke it";
    }
    /// The resources of a cgroup.
    Sample = 17, "sample", Agent, "the resources of a cgroup, every --sample (cgroup files and /proc)" {
        cgroup: Cgroup, "whose resources they are";
        processes: MaybeU64, "processes in it and below";
        threads: MaybeU64, "threads in it and below";
        fds: MaybeU64, "open file descriptors of these processes";
        mem: Size, "memory charged to it";
        mem_peak: Size, "the most that ever was";
        mem_anon: Size, "of it anonymous memory";
        mem_file: Size, "of it file pages";
        mem_limit: Size, "what it may use; none if it has no limit";
        mem_failures: MaybeU64, "how often the limit was hit";
        oom_kills: MaybeU64, "processes killed for memory";
        cpu_time: MaybeDuration, "CPU time used";
        cpu_user: MaybeDuration, "of it in user space";
        cpu_system: MaybeDuration, "of it in the kernel";
        cpu_shares: MaybeU64, "v1 cpu.shares (1024 is usual)";
        cpu_weight: MaybeU64, "v2 cpu.weight (100 is usual)";
        cpu_quota: MaybeDuration, "CPU time that it may use in each period; none if unlimited";
        cpu_period: MaybeDuration, "the length of a period";
        cpu_periods: MaybeU64, "periods so far in which it ran";
        cpu_throttled: MaybeU64, "periods so far in which it was throttled";
        cpu_throttled_time: MaybeDuration, "time for which it was throttled";
        pids: MaybeU64, "tasks as the pids controller counts them";
        pids_max: MaybeU64, "how many it may have; none if unlimited";
        pids_failures: MaybeU64, "forks that failed for that limit";
        io_read: Size, "bytes read from disks";
        io_written: Size, "bytes written to disks";
        io_reads: MaybeU64, "reads";
        io_writes: MaybeU64, "writes";
        io_limits: Text, "its throttles, as device and limits; empty if it has none";
        cpu_pressure: MaybeDuration, "time in which some task waited for a CPU";
        mem_pressure: MaybeDuration, "time in which some task waited for memory";
        io_pressure: MaybeDuration, "time in which some task waited for I/O";
    }
    /// The resources of the host.
    SampleHost = 18, "sample_host", Agent, "the resources of the host, every --sample (/proc)" {
        cpus: U64, "CPUs online";
        cpu_user: MaybeDuration, "CPU time in user space, nice included, of all CPUs";
        cpu_system: MaybeDuration, "CPU time in the kernel";
        cpu_idle: MaybeDuration, "time without work";
        cpu_iowait: MaybeDuration, "idle time while some task waited for I/O";
        cpu_irq: MaybeDuration, "time in interrupts, soft ones included";
        cpu_steal: MaybeDuration, "time that the hypervisor gave to others";
        load1: MaybeU64, "load average of a minute, in hundredths";
        running: MaybeU64, "threads that run or could run";
        blocked: MaybeU64, "threads that wait for I/O";
        processes: MaybeU64, "processes";
        threads: MaybeU64, "threads";
        forks: MaybeU64, "forks since boot";
        switches: MaybeU64, "context switches since boot";
        fds: MaybeU64, "open files";
        fds_max: MaybeU64, "how many there may be";
        mem_total: Size, "memory";
        mem_available: Size, "memory that can be had without swapping";
        mem_free: Size, "unused memory";
        mem_cached: Size, "file pages";
        mem_dirty: Size, "pages to be written back";
        mem_writeback: Size, "pages being written back";
        swap_used: Size, "swap in use";
        oom_kills: MaybeU64, "processes killed for memory since boot";
        cpu_pressure: MaybeDuration, "time in which some task waited for a CPU";
        mem_pressure: MaybeDuration, "time in which some task waited for memory";
        io_pressure: MaybeDuration, "time in which some task waited for I/O";
        io_pressure_full: MaybeDuration, "time in which all tasks waited for I/O";
    }
    /// The counters of a disk.
    SampleDisk = 19, "sample_disk", Agent, "the counters of a disk, every --sample (/proc/diskstats)" {
        dev: Text, "the disk's name";
        devno: Device, "its number, major:minor";
        maps_to: Text, "what it stands on: the disks below, or the file behind a loop device";
        reads: U64, "reads completed since it came to be";
        read_bytes: Size, "bytes read";
        read_time: MaybeDuration, "sum of the times that reads took";
        writes: U64, "writes completed";
        written_bytes: Size, "bytes written";
        write_time: MaybeDuration, "sum of the times that writes took";
        in_flight: U64, "requests now in flight";
        busy: MaybeDuration, "time with at least one request in flight";
        queue_time: MaybeDuration, "sum of the times of all requests, those in flight included";
    }
    /// The room in a file system.
    SampleFs = 20, "sample_fs", Agent, "the room in a mounted file system, every --sample (statfs)" {
        mount: Path, "where it is mounted";
        fs_type: Text, "its type";
        source: Text, "what is mounted";
        bytes: Size, "its size";
        bytes_free: Size, "what is free";
        bytes_available: Size, "what is free to users without privileges";
        inodes: MaybeU64, "how many files it can have";
        inodes_free: MaybeU64, "how many of them are not used";
    }
}

/// The highest number of a kind.
pub const KIND_HIGHEST: u8 = KINDS[KIND_COUNT - 1] as u8;

const _: () = {
    let mut i = 1;
    while i < KIND_COUNT {
        assert!((KINDS[i - 1] as u8) < KINDS[i] as u8, "rows are in the order of their numbers");
        i += 1;
    }
};
