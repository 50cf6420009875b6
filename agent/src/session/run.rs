//! Waits for the end of a capture: its duration, a signal, the exit of the recorded command, a failure.

use std::io::IsTerminal;
use std::process::ExitStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use capture_format::FormatError;
use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

use super::child::{self, RunningChild};
use super::messages::{ProgressLine, clear_progress, message};
use super::service::{self, Watchdog};
use crate::record::{Outcome, Progress, Recording, Stages};
use ktape_reader::text::units;

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);
/// How often the recorder is checked for its end.
const WATCH: Duration = Duration::from_millis(100);
/// How long the recorded command may take to exit after a signal.
const COMMAND_EXIT_TIMEOUT: Duration = Duration::from_millis(500);
/// How long shutdown may take in all before the process exits regardless.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(4500);

/// The name of an output that is printed and not read again.
pub const PRINTED: &str = "the output";

/// The result of a capture.
pub struct SessionEnd<T> {
    /// What the recorder reports.
    pub outcome: Outcome,
    /// The last stage; `None` if the reader of its output has gone.
    pub behind: Option<T>,
    /// The exit status of the recorded command, if it has ended, or why it could not be executed.
    pub command: Option<std::io::Result<ExitStatus>>,
}

/// A running capture.
pub struct Session<T> {
    /// The recorder.
    pub recording: Recording,
    /// The stages behind the recorder.
    pub stages: Stages<T>,
    /// Counters of both.
    pub progress: Arc<Progress>,
    /// When it began.
    pub began: Instant,
    /// How long to record; `None` to record until a signal.
    pub duration: Option<Duration>,
    /// The output's name in messages.
    pub name: String,
    /// Whether progress is shown.
    pub show: bool,
    /// Whether SIGHUP starts the next rotated file, instead of ending the capture.
    pub rotated: bool,
}

/// What waits for timers and signals, on one thread.
///
/// # Errors
///
/// It cannot be created.
pub(super) fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().context("cannot start the timers and signals")
}

/// Signals that end a session, queued until it looks.
pub struct Signals {
    runtime: tokio::runtime::Runtime,
    interrupt: Signal,
    terminate: Signal,
    /// SIGHUP, as from a closed terminal: the file is finished. `None` if it is ignored (nohup): recording continues.
    hangup: Option<Signal>,
}

impl Signals {
    /// From here on these signals do not end the process. To be called before recording begins.
    ///
    /// # Errors
    ///
    /// Signals cannot be handled.
    pub fn catch() -> Result<Self> {
        let runtime = runtime()?;
        let context = runtime.enter();
        let interrupt = signal(SignalKind::interrupt())?;
        let terminate = signal(SignalKind::terminate())?;
        let hangup = if is_ignored(libc::SIGHUP) { None } else { Some(signal(SignalKind::hangup())?) };
        drop(context);
        Ok(Self { runtime, interrupt, terminate, hangup })
    }
}

impl<T: Send + 'static> Session<T> {
    /// Waits for the end, and for the stages to finish.
    ///
    /// # Errors
    ///
    /// A stage failed.
    pub fn run(self, signals: Signals, child: Option<RunningChild>) -> Result<SessionEnd<T>> {
        let Signals { runtime, interrupt, terminate, hangup } = signals;
        runtime.block_on(self.until_the_end(interrupt, terminate, hangup, child))
    }

    async fn until_the_end(
        self,
        mut interrupt: Signal,
        mut terminate: Signal,
        mut hangup: Option<Signal>,
        mut child: Option<RunningChild>,
    ) -> Result<SessionEnd<T>> {
        let mut tick = tokio::time::interval(PROGRESS);
        let mut watch = tokio::time::interval(WATCH);
        let shown = (self.show && std::io::stderr().is_terminal()).then(ProgressLine::start).flatten();
        let end = self.duration.map(|duration| tokio::time::Instant::from_std(self.began + duration));
        let mut last = (0, self.began);
        let mut command = None;
        let mut watchdog = Watchdog::new();
        service::notify(&[NotifyState::Ready]);
        let signalled = loop {
            tokio::select! {
                _ = interrupt.recv() => break Some(libc::SIGINT),
                _ = terminate.recv() => break Some(libc::SIGTERM),
                () = received(&mut hangup) => {
                    if !self.rotated {
                        break Some(libc::SIGHUP);
                    }
                    self.progress.next_file.store(true, Ordering::Relaxed);
                }
                () = at(end) => break None,
                status = ended(&mut child) => {
                    command = Some(status);
                    break None;
                }
                _ = tick.tick(), if shown.is_some() => {
                    if let Some(shown) = &shown {
                        shown.show(self.progress_line(&mut last));
                    }
                }
                _ = watch.tick() => {
                    if self.recording.is_finished()
                        || self.progress.failed.load(Ordering::Acquire)
                        || self.progress.wants_to_end().is_some()
                    {
                        break None;
                    }
                    watchdog.check(self.progress.beats.load(Ordering::Relaxed));
                }
            }
        };
        service::notify(&[NotifyState::Stopping]);
        end_in_any_case(&self.name);
        if let (Some(signal), Some(child)) = (signalled, &child) {
            child.signal(signal);
        }
        if signalled.is_some() && child.is_some() {
            // Its exit is part of the capture.
            command = tokio::time::timeout(COMMAND_EXIT_TIMEOUT, ended(&mut child)).await.ok();
        }
        self.recording.stop();
        if shown.is_some() {
            clear_progress();
        }
        if let Some(status) = &command {
            message(format_args!("command {}", child::describe(status)));
        } else if let Some(child) = &child {
            message(format_args!("command (process {}) is still running and no longer recorded", child.pid));
        }
        let Self { recording, stages, name, .. } = self;
        let finishing = tokio::task::spawn_blocking(move || (recording.join(), stages.join()));
        tokio::select! {
            done = finishing => {
                let (outcome, written) = done.context("the recorder has failed")?;
                let behind = match written {
                    Ok(behind) => Some(behind),
                    // The reader of the pipe has closed it.
                    Err(error) if is_broken_pipe(&error) => None,
                    Err(error) => {
                        return Err(anyhow!("cannot write {name}: {error}; what was written before is readable"));
                    }
                };
                Ok(SessionEnd { outcome, behind, command })
            }
            _ = interrupt.recv() => give_up("interrupted again; exiting at once", &name),
        }
    }

    fn progress_line(&self, last: &mut (u64, Instant)) -> String {
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
        format!(
            "{time}, {} events ({}/s), {}, {} lost",
            units::count_text(events),
            units::count_text(rate as u64),
            units::size_text(self.progress.bytes.load(Ordering::Relaxed)),
            units::count_text(lost),
        )
    }
}

/// Ends the process after [`SHUTDOWN_TIMEOUT`], even if its threads are blocked: in a write to a dead disk or terminal, or
/// by a lock that such a thread holds.
fn end_in_any_case(name: &str) {
    let name = name.to_owned();
    std::thread::spawn(move || end_after_timeout(&name));
}

fn end_after_timeout(name: &str) -> ! {
    std::thread::sleep(SHUTDOWN_TIMEOUT);
    give_up("output blocked during shutdown; giving up", name)
}

/// Exits without waiting for threads that may be stuck.
fn give_up(why: &str, name: &str) -> ! {
    let line = match name {
        // Nothing of it can be read again.
        PRINTED => format!("ktape: {why}\n"),
        name => format!("ktape: {why}: {name} is readable up to its last complete chunk\n"),
    };
    // SAFETY: plain system calls on valid memory. Not through std's stderr, whose lock may be held
    // by a thread that is stuck; not blocking, for the same reason.
    unsafe {
        let flags = libc::fcntl(2, libc::F_GETFL);
        libc::fcntl(2, libc::F_SETFL, flags | libc::O_NONBLOCK);
        libc::write(2, line.as_ptr().cast(), line.len());
        libc::fcntl(2, libc::F_SETFL, flags);
        libc::_exit(1)
    }
}

/// Whether the parent process made this one ignore a signal.
fn is_ignored(signal: i32) -> bool {
    // SAFETY: a C struct for which all zeroes is a value; with no new action the call only reports.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action) == 0
            && action.sa_sigaction == libc::SIG_IGN
    }
}

/// The next signal; never, if it is ignored.
async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => {
            signal.recv().await;
        }
        None => std::future::pending().await,
    }
}

fn is_broken_pipe(error: &FormatError) -> bool {
    matches!(error, FormatError::Io { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe)
}

async fn at(end: Option<tokio::time::Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => std::future::pending().await,
    }
}

/// The end of the command; never, if there is none. Taken only once.
async fn ended(child: &mut Option<RunningChild>) -> std::io::Result<ExitStatus> {
    let Some(running) = child else { return std::future::pending().await };
    let exit: &mut oneshot::Receiver<_> = &mut running.exit;
    let status = exit.await.unwrap_or_else(|_| Err(std::io::Error::other("its exit status is unknown")));
    *child = None;
    status
}
