//! A thread in uninterruptible sleep, as an event.

use super::Link;
use std::sync::Arc;

use events::{Kind, NO_CALL};

/// The state of a hang that a report is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// It lasts: the first report.
    Asleep,
    /// It lasts, and its duration has doubled since the last report.
    Still,
    /// The thread was woken.
    Woken,
    /// The thread was killed, or is gone.
    Exited,
    /// The capture ended first.
    Unfinished,
}

impl Phase {
    /// The kind of event that a report in this phase is: a hang is one [`Kind::Stall`].
    pub const fn kind(self) -> Kind {
        match self {
            Self::Asleep | Self::Still => Kind::StallOngoing,
            Self::Woken | Self::Exited | Self::Unfinished => Kind::Stall,
        }
    }

    /// Its name in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Asleep => "asleep",
            Self::Still => "still",
            Self::Woken => "woken",
            Self::Exited => "exited",
            Self::Unfinished => "unfinished",
        }
    }
}

/// A report of a hang.
#[derive(Clone, Debug)]
pub struct Stall {
    /// When it was reported, ns of the boot clock.
    pub time: u64,
    /// How long the sleep had lasted, ns.
    pub dur: u64,
    /// The state of the hang.
    pub phase: Phase,
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
    /// What its descriptors stand for: ids of the kernel side, 0 if unknown.
    pub files: [u64; 2],
    /// The links of those that are unknown.
    pub links: [Link; 2],
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
        files: [0; 2],
        links: [Link::NONE, Link::NONE],
        wait: Vec::new(),
        stack: Vec::new(),
        dev: Vec::new(),
        dev_from: "",
        workqueue: Vec::new(),
    };
}
