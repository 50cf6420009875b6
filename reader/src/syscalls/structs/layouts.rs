//! Structures that calls are given, or that they both are given and fill in.

use super::{Extent, Form, Stated, StructType, member, named, number, one};
use crate::syscalls::ArgType;

/// Flags of `clone3` (`include/uapi/linux/sched.h`).
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

use ArgType::{Address, Flags, Int, Long, Mode, Pid, Signal, Size, Uint, Ulong};

/// All structures (`include/uapi/linux/`: `openat2.h`, `sched.h`, `time_types.h`, `resource.h`, `poll.h`, `eventpoll.h`,
/// `signal.h`, `sched/types.h`, `mount.h`, `io_uring.h`, `capability.h`, `mqueue.h`, `sem.h`).
pub(super) static STRUCTS: &[StructType] = &[
    one(
        "open_how",
        24,
        &[
            named("flags", 0, 8, Flags, "open_flags"),
            member("mode", 8, 8, Mode),
            named("resolve", 16, 8, Flags, "resolve_flags"),
        ],
    )
    .extent(Extent::BytesOf(Stated::After))
    .common(),
    one(
        "clone_args",
        88,
        &[
            named("flags", 0, 8, Flags, "clone_flags"),
            member("pidfd", 8, 8, Address).needs(CLONE_PIDFD),
            member("child_tid", 16, 8, Address).needs(CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID),
            member("parent_tid", 24, 8, Address).needs(CLONE_PARENT_SETTID),
            member("exit_signal", 32, 8, Signal),
            member("stack", 40, 8, Address),
            member("stack_size", 48, 8, Address),
            member("tls", 56, 8, Address).needs(CLONE_SETTLS),
            member("set_tid", 64, 8, Address),
            member("set_tid_size", 72, 8, Size),
            member("cgroup", 80, 8, Ulong).needs(CLONE_INTO_CGROUP),
        ],
    )
    .extent(Extent::BytesOf(Stated::After))
    .common(),
    one("timespec", 16, &[member("tv_sec", 0, 8, Long), member("tv_nsec", 8, 8, Long)]),
    one("timeval", 16, &[member("tv_sec", 0, 8, Long), member("tv_usec", 8, 8, Long)]),
    one("timespecs", 16, &[member("tv_sec", 0, 8, Long), named("tv_nsec", 8, 8, Long, "utime_const")])
        .extent(Extent::Elements(2))
        .form(Form::Array),
    one("timevals", 16, &[member("tv_sec", 0, 8, Long), member("tv_usec", 8, 8, Long)])
        .extent(Extent::Elements(2))
        .form(Form::Array),
    one(
        "itimerspec",
        32,
        &[
            member("it_interval.tv_sec", 0, 8, Long),
            member("it_interval.tv_nsec", 8, 8, Long),
            member("it_value.tv_sec", 16, 8, Long),
            member("it_value.tv_nsec", 24, 8, Long),
        ],
    ),
    one(
        "itimerval",
        32,
        &[
            member("it_interval.tv_sec", 0, 8, Long),
            member("it_interval.tv_usec", 8, 8, Long),
            member("it_value.tv_sec", 16, 8, Long),
            member("it_value.tv_usec", 24, 8, Long),
        ],
    ),
    one(
        "rlimit",
        16,
        &[named("rlim_cur", 0, 8, Ulong, "rlimit_const"), named("rlim_max", 8, 8, Ulong, "rlimit_const")],
    ),
    one(
        "rlimit64",
        16,
        &[named("rlim_cur", 0, 8, Ulong, "rlimit_const"), named("rlim_max", 8, 8, Ulong, "rlimit_const")],
    )
    .common(),
    one(
        "pollfd",
        8,
        &[
            member("fd", 0, 4, Int),
            named("events", 4, 2, Flags, "poll_flags"),
            named("revents", 6, 2, Flags, "poll_flags"),
        ],
    )
    .extent(Extent::ElementsOf(Stated::After))
    .form(Form::Array)
    .common(),
    one(
        "flock",
        24,
        &[
            named("l_type", 0, 2, Int, "lock_const"),
            named("l_whence", 2, 2, Int, "whence_const"),
            member("l_start", 8, 8, Long),
            member("l_len", 16, 8, Long),
        ],
    ),
    one("iovecs", 16, &[member("iov_len", 8, 8, Size)])
        .extent(Extent::ElementsOf(Stated::After))
        .form(Form::Array),
    // Packed on x86-64, where 64-bit callers have it as 32-bit ones do.
    one("epoll_event", 12, &[named("events", 0, 4, Flags, "epoll_event_flags"), member("data", 4, 8, Ulong)])
        .common(),
    one(
        "epoll_events",
        12,
        &[named("events", 0, 4, Flags, "epoll_event_flags"), member("data", 4, 8, Ulong)],
    )
    .extent(Extent::ElementsOf(Stated::Result))
    .form(Form::Array)
    .common(),
    number("fds", &[member("fd", 0, 4, Int)]).extent(Extent::Elements(2)),
    number("ints", &[member("value", 0, 4, Int)]),
    number("uints", &[member("value", 0, 4, Uint)]),
    number("wait_status", &[member("status", 0, 4, Int)]).form(Form::WaitStatus),
    number("sockopt", &[member("value", 0, 4, Int)])
        .extent(Extent::BytesOf(Stated::After))
        .form(Form::SocketOption),
    number("sockopt_filled", &[member("value", 0, 4, Int)])
        .extent(Extent::BytesOf(Stated::AtAfter))
        .form(Form::SocketOption),
    number("sigset", &[member("mask", 0, 8, Ulong)]).form(Form::Signals),
    number("fd_set", &[member("bits", 0, 8, Ulong)]).extent(Extent::BitsOf(Stated::First)).form(Form::Bits),
    number("cpu_set", &[member("bits", 0, 8, Ulong)])
        .extent(Extent::BytesOf(Stated::Before))
        .form(Form::Bits),
    number("cpu_set_filled", &[member("bits", 0, 8, Ulong)])
        .extent(Extent::BytesOf(Stated::Result))
        .form(Form::Bits),
    one(
        "sigaction",
        32,
        &[
            named("sa_handler", 0, 8, Address, "handler_const"),
            member("sa_mask", 24, 8, Address),
            named("sa_flags", 8, 8, Flags, "sigaction_flags"),
            member("sa_restorer", 16, 8, Address),
        ],
    ),
    one(
        "sigaltstack",
        24,
        &[
            member("ss_sp", 0, 8, Address),
            named("ss_flags", 8, 4, Flags, "sigaltstack_flags"),
            member("ss_size", 16, 8, Size),
        ],
    ),
    number("sched_param", &[member("sched_priority", 0, 4, Int)]),
    one(
        "sched_attr",
        48,
        &[
            member("size", 0, 4, Size),
            named("sched_policy", 4, 4, Uint, "sched_const"),
            named("sched_flags", 8, 8, Flags, "sched_attr_flags"),
            member("sched_nice", 16, 4, Int),
            member("sched_priority", 20, 4, Uint),
            member("sched_runtime", 24, 8, Ulong),
            member("sched_deadline", 32, 8, Ulong),
            member("sched_period", 40, 8, Ulong),
        ],
    )
    .common(),
    one(
        "mount_attr",
        32,
        &[
            named("attr_set", 0, 8, Flags, "mount_attr_flags"),
            named("attr_clr", 8, 8, Flags, "mount_attr_flags"),
            named("propagation", 16, 8, Flags, "mount_flags"),
            member("userns_fd", 24, 8, Ulong),
        ],
    )
    .extent(Extent::BytesOf(Stated::After))
    .common(),
    one(
        "io_uring_params",
        40,
        &[
            named("flags", 8, 4, Flags, "io_uring_setup_flags"),
            member("sq_thread_cpu", 12, 4, Uint),
            member("sq_thread_idle", 16, 4, Uint),
            member("sq_entries", 0, 4, Uint),
            member("cq_entries", 4, 4, Uint),
            named("features", 20, 4, Flags, "io_uring_feature_flags"),
        ],
    )
    .common(),
    one(
        "cap_header",
        8,
        &[named("version", 0, 4, Flags, "capability_version_const"), member("pid", 4, 4, Pid)],
    )
    .common(),
    // Two, each with half of the bits.
    one(
        "cap_data",
        24,
        &[
            named("effective", 0, 4, Flags, "capability_flags").upper(12),
            named("permitted", 4, 4, Flags, "capability_flags").upper(16),
            named("inheritable", 8, 4, Flags, "capability_flags").upper(20),
        ],
    )
    .common(),
    one(
        "mq_attr",
        32,
        &[
            named("mq_flags", 0, 8, Flags, "queue_flags"),
            member("mq_maxmsg", 8, 8, Long),
            member("mq_msgsize", 16, 8, Long),
            member("mq_curmsgs", 24, 8, Long),
        ],
    ),
    one(
        "sembufs",
        6,
        &[
            member("sem_num", 0, 2, Uint),
            member("sem_op", 2, 2, Int),
            named("sem_flg", 4, 2, Flags, "sembuf_flags"),
        ],
    )
    .extent(Extent::ElementsOf(Stated::After))
    .form(Form::Array)
    .common(),
];
