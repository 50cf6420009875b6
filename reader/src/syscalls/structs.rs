//! Structures behind pointers: what a call is given in memory, or fills in.
//!
//! A tag such as `open_how_in` names a structure and, by its last word, when it is read: `in` at the entry, `out` at the
//! return, `inout` at both. Files have the bytes, so that captures of older versions gain when this table grows. The layouts
//! are those of 64-bit callers, and of 32-bit ones where [`StructType::is_common_of`].

use super::types::ArgType;

#[cfg(test)]
mod tests;

/// Most bytes that are recorded of a structure or array.
pub const STRUCT_MAX: usize = 512;

/// How many bytes a call's structure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many elements.
    Elements(u8),
    /// As many elements as an argument or the result states.
    ElementsOf(Stated),
    /// As many bytes as an argument states.
    BytesOf(Stated),
    /// As many bits as an argument states, in whole words.
    BitsOf(Stated),
}

/// What states the size of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// The argument after it.
    After,
    /// An `int` that the argument after it points to.
    AtAfter,
    /// The argument before it.
    Before,
    /// The first argument.
    First,
    /// The result.
    Result,
}

/// How a structure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its members: `{flags=O_RDONLY, mode=0}`.
    Members,
    /// An array of such structures.
    Array,
    /// An array of numbers: `[3, 4]`.
    Numbers,
    /// The positions of its bits: `[3 4]`.
    Bits,
    /// A set of signals: `[INT CHLD]`.
    Signals,
    /// How a process ended: `[{WIFEXITED(s) && WEXITSTATUS(s) == 0}]`.
    WaitStatus,
    /// The value of a socket option: a number if it is as long as one.
    SocketOption,
}

/// A number in a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The kernel's name; a dot is before the name in an inner structure.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub at: u8,
    /// How many bytes it has.
    pub width: u8,
    /// What it means.
    pub ty: ArgType,
    /// The names of its values: a set of constants. Empty if they have none.
    pub set: &'static str,
    /// Where its upper half begins, if that is not behind the lower one; else 0.
    pub upper: u8,
    /// Bits of the first member: with none of them, this one does not count. 0 if it always does.
    pub needs: u64,
}

impl Member {
    /// Its value in a structure, extended to 64 bits as its type has it; `None` if the structure ends before it.
    pub fn of(&self, element: &[u8]) -> Option<u64> {
        if self.upper != 0 {
            let half = |at: u8| {
                let bytes = element.get(usize::from(at)..)?.first_chunk()?;
                Some(u64::from(u32::from_le_bytes(*bytes)))
            };
            return Some(half(self.at)? | half(self.upper)? << 32);
        }
        let bytes = element.get(usize::from(self.at)..)?.get(..usize::from(self.width))?;
        let mut whole = [0; 8];
        whole[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(whole);
        let unused = 64 - 8 * u32::from(self.width);
        Some(if self.ty.is_signed() { ((value << unused) as i64 >> unused) as u64 } else { value })
    }
}

/// A structure, or an array of them.
#[derive(Debug)]
pub struct StructType {
    /// The name, as in a tag.
    pub name: &'static str,
    /// Bytes of an element.
    pub size: u8,
    /// How many there are.
    pub extent: Extent,
    /// How it is shown.
    pub form: Form,
    /// What an element consists of, in the order of the output.
    pub members: &'static [Member],
    /// Whether 32-bit callers have the same.
    is_common: bool,
}

impl StructType {
    /// Whether the structure of this call is the same for 32-bit callers. Those of `ppoll_time64` and the like have 64-bit
    /// times.
    pub fn is_common_of(&self, call: &str) -> bool {
        self.is_common || call.ends_with("64") && self.name.contains("timespec")
    }

    /// The structure that a tag names.
    pub fn of_tag(tag: &str) -> Option<&'static Self> {
        let (name, when) = tag.rsplit_once('_')?;
        matches!(when, "in" | "out" | "inout").then_some(())?;
        STRUCTS.iter().find(|known| known.name == name)
    }

    /// The value of a member of an element; `None` if it has none, or it does not count.
    pub fn value(&self, member: &Member, element: &[u8]) -> Option<u64> {
        let first = self.members.first()?;
        (member.needs == 0 || first.of(element)? & member.needs != 0).then_some(())?;
        member.of(element)
    }

    /// The elements of which all bytes, or at least those of one member, are there.
    pub fn elements<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // A later kernel's structure may have more members, an earlier caller's fewer.
        let (least, most) = match self.form {
            Form::Members => (self.members.first().map_or(1, |first| usize::from(first.width)), 1),
            _ => (usize::from(self.size), usize::MAX),
        };
        bytes.chunks(usize::from(self.size)).filter(move |element| element.len() >= least).take(most)
    }
}

const fn member(name: &'static str, at: u8, width: u8, ty: ArgType) -> Member {
    Member { name, at, width, ty, set: "", upper: 0, needs: 0 }
}

const fn named(name: &'static str, at: u8, width: u8, ty: ArgType, set: &'static str) -> Member {
    Member { name, at, width, ty, set, upper: 0, needs: 0 }
}

const fn one(name: &'static str, size: u8, members: &'static [Member]) -> StructType {
    StructType { name, size, extent: Extent::Elements(1), form: Form::Members, members, is_common: false }
}

const fn number(name: &'static str, members: &'static [Member]) -> StructType {
    let size = members[0].width;
    StructType { name, size, extent: Extent::Elements(1), form: Form::Numbers, members, is_common: true }
}

impl Member {
    const fn upper(self, upper: u8) -> Self {
        Self { upper, ..self }
    }

    const fn needs(self, needs: u64) -> Self {
        Self { needs, ..self }
    }
}

impl StructType {
    const fn extent(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn common(self) -> Self {
        Self { is_common: true, ..self }
    }
}

/// Flags of `clone3` (`include/uapi/linux/sched.h`).
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_SETTLS: u64 = 0x8_0000;
const CLONE_PARENT_SETTID: u64 = 0x10_0000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

use ArgType::{Address, Flags, Int, Long, Mode, Pid, Signal, Size, Uid, Uint, Ulong};

/// All structures (`include/uapi/linux/`: `openat2.h`, `sched.h`, `time_types.h`, `resource.h`, `poll.h`, `eventpoll.h`,
/// `signal.h`, `sched/types.h`, `mount.h`, `io_uring.h`, `capability.h`, `mqueue.h`, `sem.h`).
static STRUCTS: &[StructType] = &[
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
    one(
        "siginfo",
        28,
        &[
            member("si_signo", 0, 4, Signal),
            named("si_code", 8, 4, Int, "child_code_const"),
            member("si_pid", 16, 4, Pid),
            member("si_uid", 20, 4, Uid),
            member("si_status", 24, 4, Int),
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
            named("mq_flags", 0, 8, Flags, "open_flags"),
            member("mq_maxmsg", 8, 8, Long),
            member("mq_msgsize", 16, 8, Long),
            member("mq_curmsgs", 24, 8, Long),
        ],
    ),
    one(
        "sembufs",
        6,
        &[member("sem_num", 0, 2, Uint), member("sem_op", 2, 2, Int), member("sem_flg", 4, 2, Flags)],
    )
    .extent(Extent::ElementsOf(Stated::After))
    .form(Form::Array)
    .common(),
];
