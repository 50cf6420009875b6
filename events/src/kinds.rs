//! The table of kinds: one row for each, from which the enum, the lists and the limits follow.

use super::{Column, KindDecl, Ring, Ty};

/// Makes [`Kind`] and everything that lists kinds. A row is
///
/// ```text
/// /// what one event of it is, for this table and the README
/// Variant = NUMBER, "name", Ring, "where it comes from" {
///     column: Type, "one line for `ktape fields` and the schema of files";
/// }
/// ```
///
/// A kind that reports the same thing at another time has `as OTHER;` instead of columns: the columns of `OTHER`, whose
/// fields show both.
///
/// Numbers and names are stored in files: never reuse a number, never rename a column, add columns at the end.
macro_rules! kinds {
    ($(
        $(#[doc = $doc:literal])+
        $kind:ident = $number:literal, $name:literal, $ring:ident, $source:literal
            $({ $($column:ident: $ty:ident, $help:literal;)* })?
            $(as $other:ident;)?
    )*) => {
        /// What an event is. The numbers are stored in files: never reuse one.
        #[repr(u8)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Kind {
            $($(#[doc = $doc])+ $kind = $number,)*
        }

        /// How many kinds there are.
        pub const KIND_COUNT: usize = [$($number,)*].len();

        /// All kinds, in the order of their numbers.
        pub const KINDS: [Kind; KIND_COUNT] = [$(Kind::$kind,)*];

        /// Positions in [`KINDS`]: dense, even when numbers are not.
        enum Position {
            $($kind,)*
        }

        struct OwnColumns;

        #[allow(non_upper_case_globals)]
        impl OwnColumns {
            $(
                const $kind: &[Column] =
                    $(&[$(Column { name: stringify!($column), ty: Ty::$ty, doc: $help },)*])?
                    $(Self::$other)?;
            )*
        }

        impl Kind {
            /// The row of the table.
            pub const fn decl(self) -> KindDecl {
                match self {
                    $(Kind::$kind => KindDecl {
                        kind: self,
                        name: $name,
                        ring: Ring::$ring,
                        columns: OwnColumns::$kind,
                        doc: concat!($($doc),+).trim_ascii(),
                        source: $source,
                    },)*
                }
            }

            /// The kind whose name is in the names of its fields: itself, unless it has the columns of another kind.
            pub const fn field_owner(self) -> Self {
                match self {
                    $($(Kind::$kind => Kind::$other,)?)*
                    own => own,
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
    /// a system call, or only those named, at its return: arguments, paths, addresses, result, duration
    Syscall = 1, "syscall", Event, "raw_syscalls:sys_enter, raw_syscalls:sys_exit" {
        dur: Duration, "from entry to return";
        nr: Syscall, "which system call";
        ret: SyscallResult, "its result; negative values are errors";
        args: SyscallArgs, "its arguments";
        strs: SyscallStrings, "its paths and socket addresses";
        file: File, "what its first descriptor stands for at its entry; of a call with a relative path, the directory that the path starts from";
        file2: File, "the same of a second descriptor or path, or what the descriptor stands for that it returned";
    }
    /// a new process or thread; its thread is the parent
    Fork = 2, "fork", Lifecycle, "sched:sched_process_fork" {
        child_pid: Pid, "the child's process id";
        child_tid: Pid, "the child's thread id";
        thread: Bool, "whether the child is a thread of the same process";
        child_cgroup: Cgroup, "the cgroup that the child starts in";
    }
    /// a successful execve or execveat: path and arguments
    Exec = 3, "exec", Lifecycle, "sched:sched_process_exec" {
        path: Path, "the executed file, as passed to the call";
        args: Args, "the program's arguments";
        old_tid: Pid, "the thread id before the call; differs if another thread than the leader called";
        old_comm: Text, "the thread's name before the call";
    }
    /// the end of a thread or process: status or signal
    Exit = 4, "exit", Lifecycle, "sched:sched_process_exit" {
        status: I64, "the exit status, 0 to 255";
        signal: Signal, "the signal that killed the thread, 0 if none";
        core: Bool, "whether a core dump was written";
        process: Bool, "whether it was the last thread, so that the process ended";
    }
    /// a thread that changes its name without an exec
    Rename = 5, "rename_task", Lifecycle, "task:task_rename" {
        comm: Text, "the new name";
    }
    /// a new cgroup, for example that of a container
    CgroupMkdir = 6, "cgroup_mkdir", Lifecycle, "cgroup:cgroup_mkdir" {
        cgroup: Cgroup, "the new cgroup";
    }
    /// a removed cgroup
    CgroupRmdir = 7, "cgroup_rmdir", Lifecycle, "cgroup:cgroup_rmdir" {
        cgroup: Cgroup, "the removed cgroup";
    }
    /// a process or thread that moves to another cgroup; its thread is the mover
    CgroupAttach = 8, "cgroup_attach", Lifecycle, "cgroup:cgroup_attach_task" {
        cgroup: Cgroup, "the destination cgroup";
        moved_pid: Pid, "the moved task's process id";
        moved_tid: Pid, "the moved task's thread id";
        threadgroup: Bool, "whether the whole process moved";
    }
    /// events that were lost: how many, of which kind and cgroup, and why
    Loss = 9, "loss", Agent, "recorder" {
        from: Time, "the earliest time at which the events can have been lost";
        kind: Kind, "the kind of the lost events, 0 if unknown";
        stage: Text, "where they were lost: ring, recursion, storage, map, queue, writer";
        cgroup: Cgroup, "the cgroup that the events belong to";
        count: U64, "the number of lost events";
    }
    /// the relation of boot time to wall-clock time
    Clock = 10, "clock", Agent, "recorder" {
        wall_offset: I64, "wall clock minus boot clock, in ns";
        step: I64, "change of the offset since the previous clock event, in ns";
    }
    /// a context switch: why the thread left the CPU, how long it ran, how long the next one waited
    Switch = 11, "switch", Event, "sched:sched_switch" {
        state: TaskState, "the state in which the thread left the CPU: R, S, D, T, t, X, Z, I, P";
        preempted: Bool, "whether the thread was preempted";
        ran: MaybeDuration, "how long the thread had been on the CPU";
        next: Task, "the thread that got the CPU; `idle`, with process and thread id 0, if none did";
        off_cpu: MaybeDuration, "how long the next thread had been off the CPU: it belongs to switch.next, not to the event's own thread, which leaves the CPU now";
        runnable: MaybeDuration, "how long of that time the next thread was runnable: its wait for a CPU";
    }
    /// a completed disk request: time in the queue and in the device, submitter, owner of the memory; its thread is the submitter
    Block = 12, "block", Event, "block:block_rq_*" {
        dur: Duration, "from the first tracepoint that saw the request to its completion";
        queued: MaybeDuration, "time until the first issue to the device; until now for an unfinished request that is not issued yet";
        service: MaybeDuration, "from the last issue to the completion";
        dev: Text, "the device's name";
        devno: Device, "the device's number, major:minor";
        via: Text, "stacked devices that the request passed through, such as dm-0, outermost first, joined by >";
        op: Text, "read, write, flush, discard, secure_erase, write_zeroes, zone, driver, other";
        rq_flags: Text, "the request's flags: sync, meta, prio, fua, preflush, ahead, background, nowait, joined by |";
        sector: MaybeU64, "the first sector, of 512 bytes";
        bytes: U64, "bytes transferred; bytes requested if the request failed or is unfinished";
        error: Errno, "the error, if the request failed";
        bios: U64, "the number of bios merged into the request";
        issues: U64, "how often the request was issued: more than once after a requeue";
        owner: Cgroup, "the cgroup whose memory is transferred, or that is charged";
        owner_kind: Text, "the source of owner: bio, submitter or unknown";
        throttled: Bool, "whether an I/O limit (io.max, blkio.throttle) held the request; with evt.start_unknown for an unknown time, before it was first seen, otherwise queued includes it";
    }
    /// a state change of a TCP connection, or the counters of an open one: both ends, role, bytes and retransmissions, why it ended; its thread is the socket's user, if known
    Net = 13, "net", Event, "sock:inet_sock_set_state" {
        dur: MaybeDuration, "the age of the connection";
        old: Text, "the state before, such as SYN_SENT";
        new: Text, "the state after; CLOSE is the end; OPEN: no change, the connection's counters so far";
        role: Text, "client, server, listener or unknown";
        local: SockAddr, "the local address";
        remote: SockAddr, "the remote address";
        sock: U64, "a number that all events of one socket share";
        netns: MaybeU64, "the inode number of the network namespace";
        sent: Size, "at the end, and with OPEN: bytes acknowledged by the peer";
        received: Size, "at the end, and with OPEN: bytes received";
        retrans: MaybeU64, "at the end, and with OPEN: retransmitted segments";
        error: Errno, "at the end: the socket's error, if it has one";
        reason: Text, "at the end, why: closed (orderly), refused, reset (by the peer), aborted (by this side), timed_out, unreachable, given_up (before it was established), error (another one)";
    }
    /// a signal: sender, target, result; its thread is the sender
    Signal = 14, "signal", Lifecycle, "signal:signal_generate" {
        signal: Signal, "the signal";
        target: Task, "the thread that the signal is sent to";
        target_pid: Pid, "the target's process id";
        target_tid: Pid, "the target's thread id";
        group: Bool, "whether the signal is for the whole process, not only the thread";
        cause: Text, "user, tkill, kernel, timer, child, fault, other";
        result: Text, "delivered, ignored, pending, overflow, lost";
    }
    /// a process that the kernel kills for lack of memory, and the limit that was reached; its thread is the victim
    Oom = 15, "oom", Lifecycle, "oom:mark_victim" {
        trigger: Task, "the thread whose allocation triggered the kill";
        scope: Text, "cgroup if a cgroup reached its limit, host if the host ran out of memory";
        limited: Cgroup, "the cgroup that reached its limit";
        memory: Size, "that cgroup's memory usage";
        limit: Size, "that cgroup's memory limit";
        anon: Size, "the victim's anonymous memory";
        file: Size, "the victim's file pages";
        shmem: Size, "the victim's shared memory";
        swap: Size, "the victim's swap usage";
        page_tables: Size, "the victim's page tables";
        score_adj: MaybeI64, "the victim's oom_score_adj";
    }
    /// a hang: an uninterruptible sleep of a thread for longer than `--stall`, reported once, when it ends or the capture does
    Stall = 16, "stall", Agent, "task iterator" {
        dur: Duration, "how long the thread slept, or has slept so far";
        phase: Text, "how a hang ended: woken, exited, or unfinished if the capture ended first; in stall_ongoing asleep (first report) or still (each time the duration doubles)";
        nr: Syscall, "the system call that the thread is in";
        args: SyscallArgs, "the call's arguments";
        strs: SyscallStrings, "its paths and socket addresses, as they were at its entry";
        wait: Text, "the kernel function that the thread waits in";
        stack: Stack, "the kernel stack, innermost function first";
        dev: Text, "the block device that the thread waits for, if known";
        dev_from: Text, "the source of dev: fd (the file that the call works on) or writeback (the device a kernel worker writes to)";
        workqueue: Text, "the work function, for a kernel worker";
        waker: Task, "the thread that woke it";
        file: File, "what the call's first descriptor stands for, or the directory that its path starts from";
        file2: File, "the same of a second descriptor or path";
    }
    /// the resource usage and limits of a cgroup, every `--sample`
    Sample = 17, "sample", Agent, "cgroup files and /proc" {
        cgroup: Cgroup, "the sampled cgroup";
        processes: MaybeU64, "processes in the cgroup and its descendants";
        threads: MaybeU64, "threads in the cgroup and its descendants";
        fds: MaybeU64, "open file descriptors of these processes";
        mem: Size, "memory usage";
        mem_peak: Size, "peak memory usage";
        mem_anon: Size, "anonymous memory";
        mem_file: Size, "file pages";
        mem_limit: Size, "memory limit; unknown if unlimited";
        mem_failures: MaybeU64, "how often the limit was hit";
        oom_kills: MaybeU64, "processes killed for lack of memory";
        cpu_time: MaybeDuration, "CPU time used";
        cpu_user: MaybeDuration, "CPU time used in user space";
        cpu_system: MaybeDuration, "CPU time used in the kernel";
        cpu_shares: MaybeU64, "v1 cpu.shares (default 1024)";
        cpu_weight: MaybeU64, "v2 cpu.weight (default 100)";
        cpu_quota: MaybeDuration, "CPU time allowed in each period; unknown if unlimited";
        cpu_period: MaybeDuration, "length of a period";
        cpu_periods: MaybeU64, "elapsed periods in which the cgroup was runnable";
        cpu_throttled: MaybeU64, "elapsed periods in which the cgroup was throttled";
        cpu_throttled_time: MaybeDuration, "time throttled";
        pids: MaybeU64, "tasks counted by the pids controller";
        pids_max: MaybeU64, "limit of the pids controller; unknown if unlimited";
        pids_failures: MaybeU64, "forks refused because of that limit";
        io_read: Size, "bytes read from disks";
        io_written: Size, "bytes written to disks";
        io_reads: MaybeU64, "read requests";
        io_writes: MaybeU64, "write requests";
        io_limits: Text, "I/O limits, as device and limits; empty if unlimited";
        cpu_pressure: MaybeDuration, "time in which some task waited for a CPU";
        mem_pressure: MaybeDuration, "time in which some task waited for memory";
        io_pressure: MaybeDuration, "time in which some task waited for I/O";
        interval: MaybeDuration, "time since the last sample of the cgroup; in the first one since its creation, unknown if that was not recorded";
        cpu_used: MaybeDuration, "CPU time used in the interval";
        throttled_for: MaybeDuration, "time throttled in the interval";
        bytes_read: Size, "bytes read from disks in the interval";
        bytes_written: Size, "bytes written to disks in the interval";
    }
    /// the resource usage of the host, every `--sample`
    SampleHost = 18, "sample_host", Agent, "/proc" {
        cpus: U64, "CPUs online";
        cpu_user: MaybeDuration, "CPU time in user space, nice included, of all CPUs";
        cpu_system: MaybeDuration, "CPU time in the kernel";
        cpu_idle: MaybeDuration, "idle time";
        cpu_iowait: MaybeDuration, "idle time while some task waited for I/O";
        cpu_irq: MaybeDuration, "time in hard and soft interrupts";
        cpu_steal: MaybeDuration, "time stolen by the hypervisor";
        load1: MaybeHundredths, "load average over one minute";
        running: MaybeU64, "runnable threads, running ones included";
        blocked: MaybeU64, "threads waiting for I/O";
        processes: MaybeU64, "processes";
        threads: MaybeU64, "threads";
        forks: MaybeU64, "forks since boot";
        switches: MaybeU64, "context switches since boot";
        fds: MaybeU64, "open files";
        fds_max: MaybeU64, "limit of open files";
        mem_total: Size, "total memory";
        mem_available: Size, "memory available without swapping";
        mem_free: Size, "unused memory";
        mem_cached: Size, "page cache";
        mem_dirty: Size, "pages waiting to be written back";
        mem_writeback: Size, "pages being written back";
        swap_used: Size, "swap in use";
        oom_kills: MaybeU64, "processes killed for lack of memory since boot";
        cpu_pressure: MaybeDuration, "time in which some task waited for a CPU";
        mem_pressure: MaybeDuration, "time in which some task waited for memory";
        io_pressure: MaybeDuration, "time in which some task waited for I/O";
        io_pressure_full: MaybeDuration, "time in which all non-idle tasks waited for I/O";
    }
    /// the counters of a disk, every `--sample`
    SampleDisk = 19, "sample_disk", Agent, "/proc/diskstats" {
        dev: Text, "the disk's name";
        devno: Device, "the disk's number, major:minor";
        maps_to: Text, "what the disk maps to: the disks below it, or the file behind a loop device";
        reads: U64, "completed reads";
        read_bytes: Size, "bytes read";
        read_time: MaybeDuration, "total duration of all reads";
        writes: U64, "completed writes";
        written_bytes: Size, "bytes written";
        write_time: MaybeDuration, "total duration of all writes";
        in_flight: U64, "requests in flight";
        busy: MaybeDuration, "time with at least one request in flight";
        queue_time: MaybeDuration, "total duration of all requests, those in flight included";
    }
    /// the free space of a mounted file system, every `--sample`
    SampleFs = 20, "sample_fs", Agent, "statfs" {
        mount: Path, "the mount point";
        fs_type: Text, "the file system's type";
        source: Text, "the mounted device or source";
        bytes: Size, "total size";
        bytes_free: Size, "free bytes";
        bytes_available: Size, "bytes available to unprivileged users";
        inodes: MaybeU64, "total inodes";
        inodes_free: MaybeU64, "free inodes";
    }
    /// a hang that lasts: reported at once, and again each time its duration doubles
    StallOngoing = 21, "stall_ongoing", Agent, "task iterator" as Stall;
    /// a completed request of io_uring: operation, files, paths and addresses, result, duration; its thread is the one that submitted it
    Uring = 22, "uring", Event, "io_uring:io_uring_submit_req, io_uring:io_uring_complete" {
        dur: Duration, "from submission to completion; of a request that succeeded without one (skip_success), until that was noticed";
        opcode: Text, "the operation, as liburing names it: READ, OPENAT, CONNECT, ...";
        call: Syscall, "the system call that does the same, with args as its arguments; none for operations without such a call";
        result: SyscallResult, "its result; negative values are errors";
        args: SyscallArgs, "the arguments of that call";
        strs: SyscallStrings, "its paths and socket addresses";
        file: File, "what its first descriptor stands for; of a request with a relative path, the directory that the path starts from";
        file2: File, "the same of a second descriptor or path, or what the descriptor stands for that it returned";
        sqe_flags: Text, "flags of the request: fixed_file (its descriptor is a place among the ring's own files), drain, link, hardlink, async, buffer, skip_success, joined by |";
        user_data: U64, "the number by which the program knows the request";
        more: Bool, "whether more completions of the same request follow (multishot)";
    }
    /// a part of a thread's time: on a CPU, waiting for one, asleep or blocked, and in which system call; all parts of a thread add up to its life
    ThreadState = 23, "thread_state", Reader, "computed when a capture is read, from switch, syscall, fork, block and stall" {
        dur: Duration, "how long";
        state: Text, "running, runnable (waits for a CPU), sleeping, blocked (in uninterruptible sleep: D), stopped, idle (a kernel thread without work), off_cpu (not on a CPU, since before the capture) or unknown";
        call: Syscall, "the system call that it was in; none in user space, or in a call that is not recorded";
        args: SyscallArgs, "the call's arguments";
        strs: SyscallStrings, "its paths and socket addresses";
        file: File, "what the call's first descriptor stands for, or the directory that its path starts from";
        file2: File, "the same of a second descriptor or path";
        wait: Text, "the kernel function that it waited in, if a hang was reported";
        dev: Text, "the block device that it waited for: that of a hang, or of its own request that was completed while it was blocked";
    }
    /// a connection (TCP, unix) or a pair of datagram sockets (UDP, unix): both ends with their processes, bytes each way, lifetime, how it ended; its thread is the client's, or the server's if the client is not known
    Conn = 24, "conn", Reader, "computed when a capture is read, from net, syscall, uring and exit" {
        dur: Duration, "its age at its end, or so far; of datagrams, from the first to the last one";
        client: Task, "the thread that connects, or sends the first datagram; unknown if it is not on this host";
        server: Task, "the thread at the other end; unknown if it is not on this host";
        client_addr: SockAddr, "the client's address";
        server_addr: SockAddr, "the server's address";
        proto: Text, "tcp, udp or unix";
        path: Path, "of unix sockets: the path or abstract name that the server is bound to";
        state: Text, "open (at the end of the capture or of the time range), or why it ended: closed, refused, reset, aborted, timed_out, unreachable, given_up, error, see net.reason";
        sent: Size, "bytes from the client to the server";
        received: Size, "bytes from the server to the client";
        calls: U64, "system calls and requests of io_uring of both ends that transferred data";
        errors: U64, "calls on it that failed, except those that would have had to wait";
        error: Errno, "the last error of such a call, or of the connection";
        retrans: MaybeU64, "retransmitted TCP segments, if their counters are recorded";
        id: U64, "a number that no other connection of the same capture has";
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
