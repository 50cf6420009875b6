//! Threads beside the drain that make rows at regular times. They may be stuck in the kernel of a machine in
//! trouble, so nobody ever waits for them for long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the end waits for such a thread.
const PATIENCE: Duration = Duration::from_millis(300);

/// A thread that runs until it is told to stop.
#[derive(Debug)]
pub struct Background {
    stop: Option<Sender<()>>,
    thread: JoinHandle<()>,
}

/// What such a thread waits with.
#[derive(Debug)]
pub struct Beat(Receiver<()>);

impl Beat {
    /// Waits until this moment. False if the thread shall end.
    pub fn wait_until(&self, at: Instant) -> bool {
        let left = at.saturating_duration_since(Instant::now());
        self.0.recv_timeout(left) == Err(RecvTimeoutError::Timeout)
    }
}

impl Background {
    /// Starts a thread of this name.
    ///
    /// # Errors
    /// If there can be no more threads.
    pub fn start(name: &str, work: impl FnOnce(&Beat) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&Beat(stopped)))?;
        Ok(Self { stop: Some(stop), thread })
    }

    /// Tells it to end.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Waits a little for its end. A thread that is stuck is left alone.
    pub fn finish(mut self) {
        self.stop();
        let deadline = Instant::now() + PATIENCE;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.is_finished() && self.thread.join().is_err() {
            tracing::warn!("a thread of the recorder has failed");
        }
    }
}

/// Puts the calling thread before the workload that it records: when a machine is full of
/// runnable threads, the recorder must still get its turn in time, and what it takes is bounded by
/// what the workload produces. Without the right to do so it stays as it is.
pub(crate) fn prefer_this_thread() {
    const NICE: i32 = -20;
    // SAFETY: integers only; thread 0 is the calling one.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}
