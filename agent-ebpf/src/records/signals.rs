//! What the hook of signals sends.

use super::{Header, plain};

/// Why a signal was sent ([`Signal::cause`]).
pub mod cause {
    /// Sent by a process: kill, sigqueue, pidfd_send_signal.
    pub const USER: u8 = 0;
    /// Sent by a process, to one thread: tkill, tgkill.
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

/// A signal. The header's subject is the sender, 0 if unknown. 80 bytes.
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
    /// The process id of the sender's parent, 0 if the sender is unknown.
    pub ppid: u32,
    /// Always 0.
    pub reserved: u32,
}

plain! {
    Signal = 32 + 8 + 32 + 8;
}
