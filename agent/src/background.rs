//! Threads beside the drain that make events at regular times. On a machine in trouble they may be stuck in the kernel,
//! so no other thread ever waits for them for long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the end waits for such a thread.
const END_TIMEOUT: Duration = Duration::from_millis(300);

/// A thread that runs until it is asked to stop.
#[derive(Debug)]
pub struct Background {
    stop: Option<Sender<()>>,
    thread: JoinHandle<()>,
}

/// Wakes such a thread at regular times.
#[derive(Debug)]
pub struct Beat(Receiver<()>);

impl Beat {
    /// Waits until this moment. False if the thread is to end.
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

    /// Tells it to end and waits for that, at most 300 ms. A thread that is stuck is left alone.
    pub fn finish(mut self) {
        self.stop();
        let deadline = Instant::now() + END_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.thread.is_finished() && self.thread.join().is_err() {
            tracing::warn!("a thread of the recorder panicked");
        }
    }
}

/// Raises the priority of the calling thread above the workload that it records: when a machine is full of runnable
/// threads, the recorder must still run in time, and what it uses is bounded by what the workload produces. Without the
/// right to do so the priority stays.
pub(crate) fn prefer_this_thread() {
    const NICE: i32 = -20;
    // SAFETY: integers only; thread 0 is the calling one.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_beats_until_it_is_told_to_end() {
        let (sender, beats) = channel();
        let thread = Background::start("test", move |beat| {
            while beat.wait_until(Instant::now()) {
                sender.send(()).unwrap();
            }
        })
        .unwrap();
        beats.recv().unwrap();
        thread.finish();
        // The sender is gone: the thread has ended.
        while beats.try_recv().is_ok() {}
        assert_eq!(beats.recv(), Err(std::sync::mpsc::RecvError));
    }

    #[test]
    fn a_stuck_thread_is_left_alone() {
        let (release, stuck) = channel::<()>();
        let thread = Background::start("test", move |_| assert!(stuck.recv().is_err())).unwrap();
        let began = Instant::now();
        thread.finish();
        assert!(began.elapsed() >= END_TIMEOUT);
        drop(release);
    }
}
