//! Waits for whatever ends a capture: time, a signal, the recorded command, a failure.

use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use super::child;
use crate::record::{Outcome, Progress, Recording, Stages};
use crate::text::units;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long the end may take before it is given up.
const END: Duration = Duration::from_millis(4500);

/// What a capture came to.
pub struct Ended<T> {
    /// What the recorder tells.
    pub outcome: Outcome,
    /// What is left of the last stage.
    pub behind: T,
    /// How the recorded command ended, if it did, or why it could not be executed.
    pub command: Option<std::io::Result<std::process::ExitStatus>>,
}

/// A capture that runs, until something ends it.
pub struct Session<T> {
    /// The recorder.
    pub recording: Recording,
    /// What is behind it.
    pub stages: Stages<T>,
    /// What both tell.
    pub progress: Arc<Progress>,
    /// When it began.
    pub began: Instant,
    /// How long it shall last.
    pub duration: Option<Duration>,
    /// What it writes to, for messages.
    pub name: String,
    /// Whether progress is shown.
    pub show: bool,
}

impl<T: Send + 'static> Session<T> {
    /// Waits for the end, whatever brings it, and finishes what is behind.
    ///
    /// # Errors
    ///
    /// A stage failed, or signals cannot be handled.
    pub fn run(self, child: Option<child::Running>) -> Result<Ended<T>> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("cannot start the timers and signals")?;
        runtime.block_on(self.until_the_end(child))
    }

    async fn until_the_end(self, child: Option<child::Running>) -> Result<Ended<T>> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tick = tokio::time::interval(PROGRESS);
        let mut watch = tokio::time::interval(Duration::from_millis(100));
        let show = self.show && std::io::stderr().is_terminal();
        let end = self.duration.map(|duration| tokio::time::Instant::from_std(self.began + duration));
        let (mut exit, pid) = match child {
            Some(child) => (Some(child.exit), Some(child.pid)),
            None => (None, None),
        };
        let mut last = (0, self.began);
        let mut command = None;
        loop {
            tokio::select! {
                _ = interrupt.recv() => break,
                _ = terminate.recv() => {
                    if let Some(pid) = pid {
                        // SAFETY: integers only; the child is not reaped as long as its exit is awaited.
                        unsafe { libc::kill(pid as i32, libc::SIGTERM) };
                    }
                    break;
                }
                () = at(end) => break,
                status = ended(&mut exit) => {
                    eprintln!("the command {}", child::describe(&status));
                    command = Some(status);
                    break;
                }
                _ = tick.tick(), if show => self.show_progress(&mut last),
                _ = watch.tick() => {
                    if self.recording.is_finished() || self.progress.failed.load(Ordering::Acquire) {
                        break;
                    }
                }
            }
        }
        if show {
            eprint!("\r\x1b[K");
        }
        self.recording.stop();
        let Self { recording, stages, name, .. } = self;
        let finishing = tokio::task::spawn_blocking(move || {
            let outcome = recording.join();
            (outcome, stages.join())
        });
        tokio::select! {
            done = finishing => {
                let (outcome, written) = done.context("the recorder failed")?;
                let behind = written
                    .with_context(|| format!("cannot write {name}; what was written before is readable"))?;
                Ok(Ended { outcome, behind, command })
            }
            _ = interrupt.recv() => give_up("interrupted again: ended at once", &name),
            () = tokio::time::sleep(END) => give_up("the output does not take what was recorded: gave up", &name),
        }
    }

    fn show_progress(&self, last: &mut (u64, Instant)) {
        let events = self.progress.events.load(Ordering::Relaxed);
        let lost = self.progress.lost.load(Ordering::Relaxed);
        let now = Instant::now();
        let seconds = (now - last.1).as_secs_f64();
        let rate = if seconds > 0.5 { (events - last.0) as f64 / seconds } else { 0.0 };
        *last = (events, now);
        let time = match self.duration {
            Some(duration) => {
                format!("{} s left", duration.saturating_sub(self.began.elapsed()).as_secs())
            }
            None => format!("{} s", self.began.elapsed().as_secs()),
        };
        let line = format!(
            "{time}, {} events ({}/s), {}, {} lost",
            units::count_text(events),
            units::count_text(rate as u64),
            units::size_text(self.progress.bytes.load(Ordering::Relaxed)),
            units::count_text(lost),
        );
        let mut stderr = std::io::stderr().lock();
        // A terminal that is gone is no reason to stop recording.
        let _ = write!(stderr, "\r{line}\x1b[K");
        let _ = stderr.flush();
    }
}

/// Leaves without waiting for threads that may be stuck in a write.
fn give_up(why: &str, name: &str) -> ! {
    eprintln!("ktape: {why}; {name} is readable up to its last complete chunk");
    // SAFETY: ends the process; nothing runs after it.
    unsafe { libc::_exit(1) }
}

async fn at(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

type Exit = Option<tokio::sync::oneshot::Receiver<std::io::Result<std::process::ExitStatus>>>;

async fn ended(exit: &mut Exit) -> std::io::Result<std::process::ExitStatus> {
    match exit {
        Some(exit) => match exit.await {
            Ok(status) => status,
            Err(_) => Err(std::io::Error::other("nobody waited for it")),
        },
        None => std::future::pending().await,
    }
}
