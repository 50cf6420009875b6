//! Container attributes (names, images, labels) from the container runtimes.
//!
//! One thread queries the runtimes over their unix sockets, read-only. It never blocks recording: the drain notifies it of
//! containers as their cgroups appear, and takes attributes when they arrive. If a runtime hangs, stops or returns wrong
//! answers, names are missing or wrong; nothing else is affected.

mod attributes;
mod containerd;
mod cri;
mod docker;
mod events;
mod grpc;
mod http;
mod registry;
mod retry;
pub mod sockets;
mod source;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use capture_format::MetadataKey;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::task::LocalSet;

pub use attributes::Attributes;
pub use sockets::{Protocol, Socket, Sockets};

use crate::background::Background;
use ktape_reader::containers::Runtime;
use registry::ContainerRegistry;

/// Container start and stop notifications that may be queued.
const NOTIFICATIONS_MAX: usize = 4096;
/// How long shutdown waits for answers in flight.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(250);
/// Time between two searches for new runtime sockets.
const DISCOVERY_INTERVAL: Duration = Duration::from_secs(2);

/// A container start notification: a cgroup of a container was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewContainer {
    /// Boot, cgroup id and birth of its cgroup.
    pub key: MetadataKey,
    /// The full container id.
    pub id: String,
    /// The runtime, as far as the path of the cgroup shows it.
    pub runtime: Runtime,
}

/// What a runtime reported of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerInfo {
    /// Boot, cgroup id and birth of its cgroup.
    pub key: MetadataKey,
    /// The full container id.
    pub id: String,
    /// All attributes known so far, by the name of the field that shows them.
    pub values: Vec<(String, String)>,
}

#[derive(Debug)]
enum Notification {
    Started(NewContainer),
    /// The cgroup of the container with this full id was removed.
    Removed(String),
}

/// Sends container start and stop notifications to the thread that queries the runtimes; never blocks.
#[derive(Clone, Debug)]
pub struct RuntimeHandle(Sender<Notification>);

impl RuntimeHandle {
    /// Requests the attributes of a container.
    ///
    /// # Errors
    /// Too many notifications are queued: returns the container, to be tried again later.
    pub fn resolve(&self, container: NewContainer) -> Result<(), NewContainer> {
        match self.0.try_send(Notification::Started(container)) {
            Err(TrySendError::Full(Notification::Started(container))) => Err(container),
            // The thread has ended: there will be no answer.
            Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(Notification::Removed(_))) => Ok(()),
        }
    }

    /// Notifies that a container's cgroup was removed. Dropped if too many notifications are queued; its exit code may then
    /// stay unknown.
    pub fn removed(&self, id: String) {
        let _ = self.0.try_send(Notification::Removed(id));
    }
}

/// Starts the thread that queries the runtimes. It ends when the [`RuntimeHandle`] is dropped.
///
/// # Errors
/// The thread cannot be started.
pub fn start(sockets: Sockets) -> io::Result<(Background, RuntimeHandle, mpsc::Receiver<ContainerInfo>)> {
    let (sender, notifications) = channel(NOTIFICATIONS_MAX);
    let (out, infos) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = Background::start("ktape-names", move |_| {
        let registry = Rc::new(RefCell::new(ContainerRegistry::new(out)));
        LocalSet::new().block_on(&runtime, run(sockets, notifications, registry));
        // Drops requests that are still blocked on a socket.
        runtime.shutdown_background();
    })?;
    Ok((thread, RuntimeHandle(sender), infos))
}

async fn run(
    sockets: Sockets,
    mut notifications: Receiver<Notification>,
    registry: Rc<RefCell<ContainerRegistry>>,
) {
    let mut discovery = tokio::time::interval(DISCOVERY_INTERVAL);
    let mut found = sockets::Found::new(sockets);
    loop {
        tokio::select! {
            notification = notifications.recv() => match notification {
                Some(Notification::Started(container)) => registry.borrow_mut().container_started(container),
                Some(Notification::Removed(id)) => registry.borrow_mut().container_removed(&id),
                None => break,
            },
            _ = discovery.tick() => {
                for socket in found.new_ones() {
                    let lookups = registry.borrow_mut().add_runtime(socket.protocol);
                    let registry = Rc::clone(&registry);
                    tokio::task::spawn_local(source::follow(socket, registry, lookups));
                }
            }
        }
    }
    let end = tokio::time::Instant::now() + SHUTDOWN_TIMEOUT;
    while registry.borrow().is_waiting() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests;
