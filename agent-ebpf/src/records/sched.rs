//! What the scheduler's hooks send and keep.

use super::plain;

/// In [`super::cpu::SwitchWords::class`]: the CPU was taken from the previous thread.
pub const PREEMPTED: u32 = 1 << 7;

/// The class of a switch, from the [`events::task_state`] in which the previous thread left the CPU.
pub const fn class(state: u8, preempted: bool) -> u32 {
    if preempted { state as u32 | PREEMPTED } else { state as u32 }
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
    SchedState = 64;
}
