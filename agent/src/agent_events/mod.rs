//! Events that the agent's own threads produce, in addition to those from the kernel side. They go to the drain through
//! an [`EventSender`]. If the drain does not keep up, they are dropped and counted; no thread waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use agent_ebpf::records::net::Net;
use events::{Kind, KindMap};

use crate::kernel::EventLoss;

mod link;
mod samples;
mod stall;

pub use link::Link;
pub use samples::{CgroupSample, DiskSample, FsSample, HostSample};
pub use stall::{Phase, SleepPlace, Stall, Waker};

/// Events in the queue to the drain, at most.
const CAPACITY: usize = 8192;

/// An event of one of the agent's threads.
#[derive(Debug)]
pub enum AgentEvent {
    /// The resources of a cgroup.
    Sample(Box<CgroupSample>),
    /// The resources of the host.
    SampleHost(Box<HostSample>),
    /// The counters of a disk.
    SampleDisk(Box<DiskSample>),
    /// The free space of a file system.
    SampleFs(Box<FsSample>),
    /// A hang, at its end or while it lasts.
    Stall(Box<Stall>),
    /// Connections that are open, with their counters so far.
    Open(Box<[Net]>),
}

impl AgentEvent {
    /// Its kind.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Sample(_) => Kind::Sample,
            Self::SampleHost(_) => Kind::SampleHost,
            Self::SampleDisk(_) => Kind::SampleDisk,
            Self::SampleFs(_) => Kind::SampleFs,
            Self::Stall(stall) => stall.phase.kind(),
            Self::Open(_) => Kind::Net,
        }
    }

    /// How many events it is.
    fn count(&self) -> u64 {
        if let Self::Open(connections) = self { connections.len() as u64 } else { 1 }
    }
}

/// Numbers of dropped events, by kind.
type Dropped = KindMap<AtomicU64>;

/// The sending end of the queue; each thread that produces events has one.
#[derive(Clone, Debug)]
pub struct EventSender {
    queue: SyncSender<AgentEvent>,
    dropped: Arc<Dropped>,
}

/// The receiving end of the queue, which the drain reads.
#[derive(Debug)]
pub struct EventReceiver {
    queue: Receiver<AgentEvent>,
    dropped: Arc<Dropped>,
}

/// Creates a queue.
pub fn channel() -> (EventSender, EventReceiver) {
    let (sender, receiver) = sync_channel(CAPACITY);
    let dropped = Arc::new(Dropped::default());
    (EventSender { queue: sender, dropped: dropped.clone() }, EventReceiver { queue: receiver, dropped })
}

impl EventSender {
    /// Queues an event. If the queue is full, the event is counted as lost and the result is false.
    pub fn send(&self, event: AgentEvent) -> bool {
        let (kind, count) = (event.kind(), event.count());
        let taken = self.queue.try_send(event).is_ok();
        if !taken {
            self.dropped[kind].fetch_add(count, Ordering::Relaxed);
        }
        taken
    }
}

impl EventReceiver {
    /// The next event, if there is one.
    pub fn next(&self) -> Option<AgentEvent> {
        self.queue.try_recv().ok()
    }

    /// Drops the events in the queue and counts them as lost.
    pub fn drop_rest(&self) {
        while let Some(event) = self.next() {
            self.dropped[event.kind()].fetch_add(event.count(), Ordering::Relaxed);
        }
    }

    /// Events that were dropped since the last call, as losses at stage `queue`.
    pub fn take_dropped(&self) -> Vec<EventLoss> {
        let lost = self.dropped.iter().map(|(kind, dropped)| EventLoss {
            cpu: None,
            kind: Some(kind),
            cgroup: None,
            stage: "queue",
            count: dropped.swap(0, Ordering::Relaxed),
        });
        lost.filter(|lost| lost.count > 0).collect()
    }
}
