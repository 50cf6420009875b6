//! Syncs files as they are written, so that a power failure costs little. On a thread of its own: fsync may take seconds.

use std::fs::File;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::file_system::FileSystem;

/// Time between two rounds of fsync, so that the disk can serve others.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Debug, Default)]
struct SyncState {
    /// Files that were written to, and directories in which a file was created, since the last round.
    dirty: Vec<Arc<File>>,
    error: Option<io::Error>,
    stop: bool,
}

struct SyncQueue {
    file_system: Arc<dyn FileSystem>,
    state: Mutex<SyncState>,
    changed: Condvar,
}

impl SyncQueue {
    fn lock(&self) -> MutexGuard<'_, SyncState> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next files to sync; `None` when the thread is to end and nothing is left.
    fn next(&self) -> Option<Vec<Arc<File>>> {
        let mut state = self.lock();
        while state.dirty.is_empty() && !state.stop {
            state = self.changed.wait(state).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let dirty = std::mem::take(&mut state.dirty);
        (!dirty.is_empty()).then_some(dirty)
    }

    fn pause(&self) {
        let state = self.lock();
        if !state.stop {
            drop(self.changed.wait_timeout_while(state, PAUSE, |state| !state.stop));
        }
    }

    fn run(&self) {
        while let Some(dirty) = self.next() {
            for file in dirty {
                if let Err(error) = self.file_system.sync(&file) {
                    self.lock().error.get_or_insert(error);
                }
            }
            self.pause();
        }
    }
}

/// The thread that syncs.
pub struct Syncer {
    queue: Arc<SyncQueue>,
    thread: JoinHandle<()>,
}

impl Syncer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system refuses another thread.
    pub fn start(file_system: Arc<dyn FileSystem>) -> io::Result<Self> {
        let queue = SyncQueue { file_system, state: Mutex::default(), changed: Condvar::new() };
        let queue = Arc::new(queue);
        let own = queue.clone();
        let thread = thread::Builder::new().name("ktape-sync".to_owned()).spawn(move || own.run())?;
        Ok(Self { queue, thread })
    }

    /// Requests an fsync of a file that was written to, or of a directory in which a file was created.
    pub fn mark_dirty(&self, file: &Arc<File>) {
        let mut state = self.queue.lock();
        if !state.dirty.iter().any(|other| Arc::ptr_eq(other, file)) {
            state.dirty.push(file.clone());
            self.queue.changed.notify_one();
        }
    }

    /// The first error since the last call.
    pub fn take_error(&self) -> Option<io::Error> {
        self.queue.lock().error.take()
    }

    /// Syncs what is left, and ends the thread.
    ///
    /// # Errors
    /// The first error that [`Self::take_error`] has not returned.
    pub fn finish(self) -> io::Result<()> {
        self.queue.lock().stop = true;
        self.queue.changed.notify_one();
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.queue.lock().error.take().map_or(Ok(()), Err)
    }
}
