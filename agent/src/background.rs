//! Threads that work beside the drain, most of them periodically. Such a thread can be blocked in the kernel for long, as
//! by a file system that hangs, so no other thread waits for it for long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long the end of a recording waits for such a thread.
pub const END_TIMEOUT: Duration = Duration::from_millis(300);

/// A thread that runs until it is stopped.
#[derive(Debug)]
pub struct Background {
    stop: Option<Sender<()>>,
    thread: JoinHandle<()>,
}

/// Wakes a [`Background`] thread at given times, or when it is stopped.
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
    /// The system refuses another thread.
    pub fn start(name: &str, work: impl FnOnce(&Beat) + Send + 'static) -> std::io::Result<Self> {
        let (stop, stopped) = channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(&Beat(stopped)))?;
        Ok(Self { stop: Some(stop), thread })
    }

    /// Requests the end of the thread.
    pub fn stop(&mut self) {
        self.stop = None;
    }

    /// Whether the thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }

    /// Requests the end of the thread and waits for it, at most 300 ms. A blocked thread is not waited for any longer.
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

/// The best priority that a thread can have.
const NICE: i32 = -20;

/// Raises the priority of the calling thread above the workload that it records: when a machine is full of runnable
/// threads, the recorder must still run in time, and what it uses is bounded by what the workload produces. Without the
/// right to do so the priority stays.
pub(crate) fn prefer_this_thread() {
    set_nice(NICE);
}

/// Does `work` with that priority, so that a recording starts in time on a busy machine. Threads that `work` starts have it,
/// too.
pub(crate) fn preferred<T>(work: impl FnOnce() -> T) -> T {
    // SAFETY: integers only; thread 0 is the calling one.
    let before = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    set_nice(NICE);
    let result = work();
    set_nice(before);
    result
}

fn set_nice(nice: i32) {
    // SAFETY: integers only; thread 0 is the calling one.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, nice) };
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
