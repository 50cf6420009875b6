//! What the scheduler's hooks send and keep.

use super::{Header, plain};

/// A CPU went from one thread to another. The header's subject is the previous thread; its `class` is made by
/// [`Switch::class`]. 72 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Switch {
    /// Common part.
    pub head: Header,
    /// How long the previous thread was on the CPU, ns, or [`events::UNKNOWN`].
    pub ran: u64,
    /// How long the next thread was off the CPU, ns, or unknown.
    pub off_cpu: u64,
    /// How long of that it was on a run queue, ns, or unknown.
    pub runnable: u64,
    /// The next thread's cgroup.
    pub next_cgroup: u64,
    /// The next thread's process id; 0 is the CPU's idle task.
    pub next_pid: u32,
    /// The next thread's thread id.
    pub next_tid: u32,
}

impl Switch {
    /// In [`Header::class`]: the CPU was taken from the previous thread.
    pub const PREEMPTED: u8 = 1 << 7;

    /// The header's `class`, from a [`events::task_state`].
    pub const fn class(state: u8, preempted: bool) -> u8 {
        if preempted { state | Self::PREEMPTED } else { state }
    }
}

/// The value of the scheduler's task storage. 64 bytes. All times are ns of CLOCK_BOOTTIME, and 0 if not known.
///
/// The first half is written under the lock of the thread's run queue, the second one by the iterator that looks
/// for stalled threads, but for `woken`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SchedState {
    /// When it got the CPU that it has now.
    pub in_at: u64,
    /// When it left the CPU.
    pub out_at: u64,
    /// Since when it is on a run queue without having a CPU.
    pub runnable_at: u64,
    /// The cgroup that the times were taken in; kept only if cgroups are filtered.
    pub cgroup: u64,
    /// Its number of switches in the uninterruptible sleep that the iterator has seen.
    pub sleep_count: u64,
    /// When that sleep began.
    pub sleep_since: u64,
    /// When it was woken from a sleep that was reported as a stall; 0 before.
    pub woken: u64,
    /// How often that sleep was reported.
    pub reports: u32,
    /// Bits of [`super::task_flags`]: `EXCLUDED`, `TREE`.
    pub flags: u32,
}

plain! {
    Switch = 32 + 40;
    SchedState = 64;
}
