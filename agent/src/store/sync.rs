//! Brings what is written to the disk, so that little is missing when the power goes. On a thread of its own: a disk may
//! take its time.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long the disk has peace between two times.
const PAUSE: Duration = Duration::from_millis(250);

/// A file, or a directory in which one was made.
type Dirty = Arc<File>;

#[derive(Debug, Default)]
struct State {
    dirty: Vec<Dirty>,
    failed: Option<io::Error>,
    stop: bool,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The thread that syncs.
#[derive(Debug)]
pub struct Syncer {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// Starts it.
    ///
    /// # Errors
    /// The system has no room for a thread.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let own = shared.clone();
        let thread = thread::Builder::new().name("ktape-sync".to_owned()).spawn(move || run(&own))?;
        Ok(Self { shared, thread })
    }

    /// Something was written to this file, or a file was made in this directory.
    pub fn dirty(&self, file: &Dirty) {
        let mut state = self.shared.lock();
        if !state.dirty.iter().any(|other| Arc::ptr_eq(other, file)) {
            state.dirty.push(file.clone());
            self.shared.changed.notify_one();
        }
    }

    /// What went wrong since the last call.
    pub fn failed(&self) -> Option<io::Error> {
        self.shared.lock().failed.take()
    }

    /// Syncs what is left, and ends the thread.
    ///
    /// # Errors
    /// What went wrong and was not asked for yet.
    pub fn finish(self) -> io::Result<()> {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.shared.lock().failed.take().map_or(Ok(()), Err)
    }
}

fn run(shared: &Shared) {
    loop {
        let mut state = shared.lock();
        while state.dirty.is_empty() && !state.stop {
            state = shared.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        if state.dirty.is_empty() {
            return;
        }
        let dirty = std::mem::take(&mut state.dirty);
        drop(state);
        for file in dirty {
            if let Err(error) = file.sync_data() {
                shared.lock().failed.get_or_insert(error);
            }
        }
        let state = shared.lock();
        if !state.stop {
            drop(shared.changed.wait_timeout_while(state, PAUSE, |state| !state.stop));
        }
    }
}
