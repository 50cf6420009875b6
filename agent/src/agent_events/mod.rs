//! What the agent finds out itself, beside the rings: its threads hand it to the drain through an [`EventSender`].
//! When the drain does not keep up, it is dropped and counted; nobody waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use events::{Kind, KindMap};

use crate::kernel::Lost;

mod samples;
mod stall;

pub use samples::{CgroupSample, DiskSample, FsSample, HostSample};
pub use stall::{SleepPlace, Stall};

/// How many rows may wait for the drain.
const CAPACITY: usize = 8192;

/// A row that the agent has made.
#[derive(Debug)]
pub enum AgentEvent {
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

impl AgentEvent {
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

/// Rows that were dropped, by kind.
type Dropped = KindMap<AtomicU64>;

/// The end that rows are put into; every thread that makes some has one.
#[derive(Clone, Debug)]
pub struct EventSender {
    rows: SyncSender<AgentEvent>,
    dropped: Arc<Dropped>,
}

/// The end that the drain reads.
#[derive(Debug)]
pub struct EventReceiver {
    rows: Receiver<AgentEvent>,
    dropped: Arc<Dropped>,
}

/// A new pair.
pub fn channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = sync_channel(CAPACITY);
    let dropped = Arc::new(Dropped::default());
    (EventSender { rows: sender, dropped: dropped.clone() }, EventReceiver { rows: receiver, dropped })
}

impl EventSender {
    /// Hands a row over, or counts it as lost. False if it was.
    pub fn send(&self, made: AgentEvent) -> bool {
        let kind = made.kind();
        let taken = self.rows.try_send(made).is_ok();
        if !taken {
            self.dropped[kind].fetch_add(1, Ordering::Relaxed);
        }
        taken
    }
}

impl EventReceiver {
    /// The next row, if there is one.
    pub fn next(&self) -> Option<AgentEvent> {
        self.rows.try_recv().ok()
    }

    /// What was dropped since the last call.
    pub fn take_dropped(&self) -> Vec<Lost> {
        let lost = self.dropped.iter().map(|(kind, dropped)| Lost {
            cpu: None,
            kind: Some(kind),
            cgroup: None,
            stage: "queue",
            count: dropped.swap(0, Ordering::Relaxed),
        });
        lost.filter(|lost| lost.count > 0).collect()
    }
}
