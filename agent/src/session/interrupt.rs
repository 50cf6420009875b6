//! Ctrl-C of commands that read a capture as it grows: the first one ends the reading, and the second one the process.

use std::io;
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::signal::unix::{SignalKind, signal};

use super::run::runtime;

/// How long a pipe is read on after the first signal: a recorder that got it, too, writes its last chunk.
const REST_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a pipe is checked for a signal.
const CHECK_INTERVAL: u32 = 50_000_000;

/// The exit code of a process that was interrupted.
const INTERRUPTED: i32 = 128 + libc::SIGINT;

/// SIGINT and SIGTERM, which no longer end the process at once.
#[derive(Clone, Debug)]
pub struct Interrupt {
    /// Set by the first signal.
    stop: Arc<AtomicBool>,
    signalled: Arc<OnceLock<Instant>>,
}

impl Interrupt {
    /// Handles signals from here on.
    ///
    /// # Errors
    /// Signals cannot be handled.
    pub fn catch() -> Result<Self> {
        let runtime = runtime()?;
        let context = runtime.enter();
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        drop(context);
        let own = Self { stop: Arc::default(), signalled: Arc::default() };
        let (stop, signalled) = (own.stop.clone(), own.signalled.clone());
        let wait = async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if signalled.set(Instant::now()).is_err() {
                    // SAFETY: ends the process without waiting for threads that may be stuck.
                    unsafe { libc::_exit(INTERRUPTED) }
                }
                stop.store(true, Ordering::Relaxed);
            }
        };
        std::thread::Builder::new()
            .name("ktape-signals".to_owned())
            .spawn(move || runtime.block_on(wait))
            .context("cannot start a thread")?;
        Ok(own)
    }

    /// Set by the first signal.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.stop.clone()
    }
}

/// A pipe that ends some time after a signal, even if its writer does not.
#[derive(Debug)]
pub struct InterruptiblePipe<R> {
    from: R,
    interrupt: Interrupt,
}

impl<R> InterruptiblePipe<R> {
    /// The same bytes as those of `from`.
    pub fn new(from: R, interrupt: Interrupt) -> Self {
        Self { from, interrupt }
    }
}

impl<R: io::Read + AsFd> io::Read for InterruptiblePipe<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let interval = Timespec { tv_sec: 0, tv_nsec: CHECK_INTERVAL.into() };
        loop {
            if self.interrupt.signalled.get().is_some_and(|at| at.elapsed() > REST_TIMEOUT) {
                return Ok(0);
            }
            let mut ready = [PollFd::new(&self.from, PollFlags::IN)];
            match poll(&mut ready, Some(&interval)) {
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                _ => return self.from.read(buffer),
            }
        }
    }
}
