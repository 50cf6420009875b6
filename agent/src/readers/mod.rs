//! Processes that read the recorder's output through pipes are not recorded: they would add to what they read, without end.
//!
//! A reader may begin at any time: a shell starts the stages of a pipeline one after the other. It gets its end of the pipe from
//! the process that forked it, so that after a first look at all processes, only those have to be watched that have the pipe
//! open and those that they fork. Pipes that are passed on in other ways (a named pipe, a descriptor in a message) are found by
//! looking at all processes again, rarely enough to cost at most a hundredth of a CPU.

mod descriptors;
mod roles;
mod watch;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

pub use descriptors::Pipe;
pub use roles::Role;

use crate::background::Background;
use crate::kernel::ReaderSet;
use watch::Watch;

/// Forks and execs that may wait to be looked at. If there are more, all processes are looked at again.
const CHANGES: usize = 4096;

/// A process that may have become a reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    Forked { parent: u32, child: u32 },
    Executed { pid: u32 },
}

/// Where the drain reports processes that are made or execute.
#[derive(Clone, Debug)]
pub struct ReaderNews {
    queue: SyncSender<Change>,
    missed: Arc<AtomicBool>,
}

impl ReaderNews {
    /// A process was forked. Never waits.
    pub fn forked(&self, parent: u32, child: u32) {
        self.report(Change::Forked { parent, child });
    }

    /// A process has executed a program. Never waits.
    pub fn executed(&self, pid: u32) {
        self.report(Change::Executed { pid });
    }

    /// Forks were lost.
    pub fn missed(&self) {
        self.missed.store(true, Ordering::Relaxed);
    }

    fn report(&self, change: Change) {
        if self.queue.try_send(change).is_err() {
            self.missed();
        }
    }
}

/// What became known of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reader {
    /// The process.
    pub pid: u32,
    /// How it reads the output; `None` if it no longer does.
    pub role: Option<Role>,
}

/// The readers at the start, before anything is recorded.
#[derive(Debug)]
pub struct OutputReaders {
    watch: Watch,
    news: Receiver<Change>,
    found: Receiver<Reader>,
    to_watch: ReaderNews,
}

impl OutputReaders {
    /// Finds and excludes those that already read `output` as their standard input.
    pub fn find(output: Pipe, set: ReaderSet) -> Self {
        let (queue, news) = sync_channel(CHANGES);
        let missed = Arc::new(AtomicBool::new(false));
        let (sender, found): (Sender<Reader>, _) = channel();
        let mut watch = Watch::new(output, set, sender, missed.clone());
        watch.look_at_standard();
        Self { watch, news, found, to_watch: ReaderNews { queue, missed } }
    }

    /// Follows them from here on, in a thread.
    ///
    /// # Errors
    ///
    /// There can be no more threads.
    pub fn follow(self) -> io::Result<(Background, ReaderNews, Receiver<Reader>)> {
        let Self { mut watch, news, found, to_watch } = self;
        let thread = Background::start("ktape-readers", move |beat| watch.run(beat, &news))?;
        Ok((thread, to_watch, found))
    }
}
