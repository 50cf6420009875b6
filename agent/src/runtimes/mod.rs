//! What container runtimes know of containers: names, images, labels.
//!
//! One thread asks them over their unix sockets, and only reads. It never stands in the way of recording: the drain tells it of
//! containers as their cgroups appear, and takes what it has found out whenever that is there. A runtime that hangs, lies
//! or is gone costs names and nothing else.

mod ask;
mod containerd;
mod cri;
mod docker;
mod events;
mod facts;
mod grpc;
mod http;
mod join;
pub mod sockets;

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::mpsc;
use std::time::Duration;

use capture_format::MetadataKey;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};
use tokio::task::LocalSet;

pub use facts::Facts;
pub use sockets::{Protocol, Socket, Sockets};

use crate::background::Background;
use join::Join;
use ktape_reader::containers::Runtime;

/// Words about containers that may wait.
const WORDS: usize = 4096;
/// How long the end waits for answers that are under way.
const LAST_ANSWERS: Duration = Duration::from_millis(250);
/// How often it is looked for sockets that were not there.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// A container whose cgroup was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Its cgroup.
    pub key: MetadataKey,
    /// Its full id.
    pub id: String,
    /// What its path says of its runtime.
    pub runtime: Runtime,
}

/// What became known of a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Its cgroup.
    pub key: MetadataKey,
    /// Its full id.
    pub id: String,
    /// What is known: names as of the fields that show them.
    pub values: Vec<(String, String)>,
}

/// A word about a container.
#[derive(Debug)]
enum Word {
    /// Its cgroup was seen.
    Came(Newcomer),
    /// Its cgroup was removed: its full id.
    Went(String),
}

/// Asks for containers.
#[derive(Clone, Debug)]
pub struct Asker(Sender<Word>);

impl Asker {
    /// Asks for a container; gives it back if too many are waiting.
    ///
    /// # Errors
    /// There is no room now.
    pub fn ask(&self, newcomer: Newcomer) -> Result<(), Newcomer> {
        match self.0.try_send(Word::Came(newcomer)) {
            Err(TrySendError::Full(Word::Came(newcomer))) => Err(newcomer),
            // Nobody listens any more: there will be no answer.
            Ok(()) | Err(TrySendError::Closed(_) | TrySendError::Full(Word::Went(_))) => Ok(()),
        }
    }

    /// A container's cgroup was removed. Where too many are waiting nobody is asked how it ended.
    pub fn went(&self, id: String) {
        let _ = self.0.try_send(Word::Went(id));
    }
}

/// Starts the thread that asks. It ends when the [`Asker`] is dropped.
///
/// # Errors
/// There can be no more threads.
pub fn start(sockets: Sockets) -> io::Result<(Background, Asker, mpsc::Receiver<Told>)> {
    let (sender, words) = channel(WORDS);
    let (out, told) = mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = Background::start("ktape-names", move |_| {
        let join = Rc::new(RefCell::new(Join::new(out)));
        LocalSet::new().block_on(&runtime, run(sockets, words, join));
        // What still hangs on a socket is dropped.
        runtime.shutdown_background();
    })?;
    Ok((thread, Asker(sender), told))
}

async fn run(sockets: Sockets, mut words: Receiver<Word>, join: Rc<RefCell<Join>>) {
    let mut look = tokio::time::interval(LOOK_AGAIN);
    let mut found = sockets::Found::new(sockets);
    loop {
        tokio::select! {
            word = words.recv() => match word {
                Some(Word::Came(newcomer)) => join.borrow_mut().appear(newcomer),
                Some(Word::Went(id)) => join.borrow_mut().gone(&id),
                None => break,
            },
            _ = look.tick() => {
                for socket in found.new_ones() {
                    let asks = join.borrow_mut().source(socket.protocol);
                    let join = Rc::clone(&join);
                    tokio::task::spawn_local(async move {
                        match socket.protocol {
                            Protocol::Docker | Protocol::Podman => docker::follow(socket, join, asks).await,
                            Protocol::Containerd | Protocol::Cri => grpc::follow(socket, join, asks).await,
                        }
                    });
                }
            }
        }
    }
    let end = tokio::time::Instant::now() + LAST_ANSWERS;
    while join.borrow().is_waiting() && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[cfg(test)]
mod tests;
