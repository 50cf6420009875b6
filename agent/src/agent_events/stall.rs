//! A thread in uninterruptible sleep, as an event.

use std::sync::Arc;

use events::NO_CALL;

/// A report of a long sleep.
#[derive(Clone, Debug)]
pub struct Stall {
    /// When it was reported, ns of the boot clock.
    pub time: u64,
    /// How long the sleep had lasted, ns.
    pub dur: u64,
    /// `asleep` (first report), `still`, `woken` or `exited`.
    pub phase: &'static str,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective user id.
    pub uid: u32,
    /// The cgroup.
    pub cgroup: u64,
    /// Where it sleeps.
    pub place: Arc<SleepPlace>,
    /// Who woke it; `None` if that is not known, or if it was an interrupt.
    pub waker: Option<Waker>,
}

/// The thread that woke another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waker {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The cgroup.
    pub cgroup: u64,
}

/// Where a thread sleeps.
#[derive(Clone, Debug)]
pub struct SleepPlace {
    /// [`events::syscall_key`] of its call, or [`NO_CALL`].
    pub call: u32,
    /// The call's arguments.
    pub args: [u64; 6],
    /// The function that it waits in.
    pub wait: Vec<u8>,
    /// The backtrace, each line with its NUL.
    pub stack: Vec<u8>,
    /// The block device, if it is known.
    pub dev: Vec<u8>,
    /// How it was found: `fd`, `writeback`, or empty if it was not.
    pub dev_from: &'static str,
    /// The work function of a kernel worker.
    pub workqueue: Vec<u8>,
}

impl SleepPlace {
    /// Nothing is known.
    pub const UNKNOWN: Self = Self {
        call: NO_CALL,
        args: [0; 6],
        wait: Vec::new(),
        stack: Vec::new(),
        dev: Vec::new(),
        dev_from: "",
        workqueue: Vec::new(),
    };
}
