//! What the programs in the kernel record.

use std::time::Duration;

use events::{Kind, STALLS};

use crate::containers::Hierarchy;

/// Syscalls to record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyscallSelection {
    /// All system calls.
    All,
    /// The syscall hooks are not attached at all.
    None,
    /// The ones with these names, in every ABI.
    Named(Vec<String>),
}

/// What the programs in the kernel record, and how.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Kinds of events to record.
    pub kinds: Vec<Kind>,
    /// Syscalls to record.
    pub selection: SyscallSelection,
    /// Only these cgroups, by id, and those that are created later; `None` for all cgroups.
    pub cgroups: Option<Vec<u64>>,
    /// Only this process and its descendants, from its exec on; `None` for all processes.
    pub tree_pid: Option<u32>,
    /// Whether processes that read the output are excluded.
    pub readers: bool,
    /// Bytes of each CPU's own ring buffer; rounded up to a power of two of at least a segment.
    pub ring_bytes: u32,
    /// Bytes of each CPU's event ring buffer; rounded up to a power of two of at least a page.
    pub event_bytes: u32,
    /// Bytes of each CPU's lifecycle ring buffer; rounded in the same way.
    pub lifecycle_bytes: u32,
    /// The hierarchy that identifies cgroups.
    pub hierarchy: Hierarchy,
    /// The number of the hierarchy in which block I/O is charged, if that is another one.
    pub io_hierarchy: Option<u32>,
    /// Cgroups of that one to record, by id, beside those that are created later; used only if `cgroups` is given.
    pub io_cgroups: Vec<u64>,
    /// How long an uninterruptible sleep lasts before it is reported; used only if stalls are among the kinds.
    pub stall: Option<Duration>,
    /// Whether the entries of system calls are recorded, and so their durations.
    pub durations: bool,
    /// Whether the programs log messages.
    pub kernel_log: bool,
}

impl Settings {
    /// How long an uninterruptible sleep lasts before it is reported; `None` if stalls are not recorded.
    pub(super) fn stalls(&self) -> Option<Duration> {
        self.stall.filter(|_| STALLS.iter().any(|kind| self.kinds.contains(kind)))
    }

    /// Whether the state of threads as the scheduler sees it is kept.
    pub(super) fn needs_sched(&self) -> bool {
        self.stalls().is_some() || self.kinds.contains(&Kind::Switch)
    }
}
