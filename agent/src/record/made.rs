//! What the agent finds out itself, beside the rings: its threads hand it to the drain through an [`Outbox`].
//! When the drain does not keep up, it is dropped and counted; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use agent_ebpf::kinds::{KINDS, Kind};

use super::stall::Stall;
use crate::kernel::Lost;
use crate::sample::{CgroupSample, DiskSample, FsSample, HostSample};

/// How many rows may wait for the drain.
const CAPACITY: usize = 8192;

/// A row that the agent has made.
#[derive(Debug)]
pub enum Made {
    /// The resources of a cgroup.
    Sample(Box<CgroupSample>),
    /// Those of the host.
    SampleHost(Box<HostSample>),
    /// The counters of a disk.
    SampleDisk(Box<DiskSample>),
    /// The room in a file system.
    SampleFs(Box<FsSample>),
    /// A long uninterruptible sleep.
    Stall(Box<Stall>),
}

impl Made {
    /// What it is.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sample(_) => Kind::Sample,
            Self::SampleHost(_) => Kind::SampleHost,
            Self::SampleDisk(_) => Kind::SampleDisk,
            Self::SampleFs(_) => Kind::SampleFs,
            Self::Stall(_) => Kind::Stall,
        }
    }
}

/// Where rows are dropped, by kind.
#[derive(Debug)]
struct Dropped([AtomicU64; KINDS.len() + 1]);

impl Default for Dropped {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

/// The end that rows are put into; every thread that makes some has one.
#[derive(Clone, Debug)]
pub struct Outbox {
    rows: SyncSender<Made>,
    dropped: Arc<Dropped>,
}

/// The end that the drain reads.
#[derive(Debug)]
pub struct Inbox {
    rows: Receiver<Made>,
    dropped: Arc<Dropped>,
}

/// A new pair.
pub fn outbox() -> (Outbox, Inbox) {
    let (sender, receiver) = sync_channel(CAPACITY);
    let dropped = Arc::new(Dropped::default());
    (Outbox { rows: sender, dropped: dropped.clone() }, Inbox { rows: receiver, dropped })
}

impl Outbox {
    /// Hands a row over, or counts it as lost. False if it was.
    pub fn send(&self, made: Made) -> bool {
        let kind = made.kind();
        let taken = self.rows.try_send(made).is_ok();
        if !taken {
            self.dropped.0[kind as usize].fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

impl Inbox {
    /// The next row, if there is one.
    pub fn next(&self) -> Option<Made> {
        self.rows.try_recv().ok()
    }

    /// What was dropped since the last call.
    pub fn take_dropped(&self) -> Vec<Lost> {
        let lost = KINDS.into_iter().map(|kind| Lost {
            cpu: None,
            kind: Some(kind),
            cgroup: None,
            stage: "queue",
            count: self.dropped.0[kind as usize].swap(0, Ordering::Relaxed),
        });
        lost.filter(|lost| lost.count > 0).collect()
    }
}
