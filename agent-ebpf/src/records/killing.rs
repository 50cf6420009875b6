//! Signals, and who is killed for memory.

use super::Header;

/// Why a signal was sent ([`Signal::cause`]).
pub mod cause {
    /// A process asked for it: kill, sigqueue, pidfd_send_signal.
    pub const USER: u8 = 0;
    /// A process asked for it, to one thread: tkill, tgkill.
    pub const TKILL: u8 = 1;
    /// The kernel, for a reason of its own.
    pub const KERNEL: u8 = 2;
    /// A timer ran out.
    pub const TIMER: u8 = 3;
    /// A child ended, stopped or went on.
    pub const CHILD: u8 = 4;
    /// The target did what it may not or cannot.
    pub const FAULT: u8 = 5;
    /// Something else.
    pub const OTHER: u8 = 6;
    /// The names, by value.
    pub const NAMES: [&str; 7] = ["user", "tkill", "kernel", "timer", "child", "fault", "other"];
}

/// A signal. The header's subject is the sender, 0 where nobody is known. 80 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Signal {
    /// Common part.
    pub head: Header,
    /// The target's cgroup.
    pub target_cgroup: u64,
    /// The target's process id.
    pub target_pid: u32,
    /// The target's thread id.
    pub target_tid: u32,
    /// The target's user id.
    pub target_uid: u32,
    /// The sender's user id.
    pub uid: u32,
    /// The signal's number.
    pub signal: u32,
    /// 1 if it is for the process.
    pub group: u32,
    /// One of the kernel's `TRACE_SIGNAL_*`.
    pub result: u32,
    /// One of [`cause`].
    pub cause: u32,
    /// Always 0.
    pub reserved: u64,
}

/// What ran out of memory ([`Oom::scope`]).
pub mod scope {
    /// Nothing is known.
    pub const UNKNOWN: u32 = 0;
    /// A cgroup, at its limit.
    pub const CGROUP: u32 = 1;
    /// The host.
    pub const HOST: u32 = 2;
}

/// The choice of a victim. The header's subject is the victim. 160 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Oom {
    /// Common part.
    pub head: Header,
    /// The cgroup of the thread that needed memory.
    pub trigger_cgroup: u64,
    /// The id of the cgroup whose limit was reached, 0 if not known.
    pub limited: u64,
    /// Pages that it uses.
    pub memory: u64,
    /// Pages that it may use.
    pub limit: u64,
    /// The victim's pages by `MM_FILEPAGES`, `MM_ANONPAGES`, `MM_SWAPENTS`, `MM_SHMEMPAGES`.
    pub pages: [i64; 4],
    /// Bytes of its page tables.
    pub page_tables: u64,
    /// Its process.
    pub trigger_pid: u32,
    /// Its thread.
    pub trigger_tid: u32,
    /// Its user id.
    pub trigger_uid: u32,
    /// The victim's user id.
    pub uid: u32,
    /// The victim's `oom_score_adj`.
    pub score_adj: i32,
    /// One of [`scope`].
    pub scope: u32,
    /// 1 if the counters of the victim are known.
    pub counted: u32,
    /// 1 if memory and limit are known.
    pub limited_known: u32,
    /// Always 0.
    pub reserved: u64,
    /// Always 0.
    pub reserved2: u64,
}

const _: () = assert!(size_of::<Signal>() == 32 + 8 + 32 + 8);
const _: () = assert!(size_of::<Oom>() == 32 + 32 + 32 + 8 + 32 + 16);
