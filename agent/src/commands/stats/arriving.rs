//! The answer about events that still arrive: shown again and again on a terminal, or step by step to a program.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::tz::TimeZone;

use super::output::{self, Separator};
use super::request::{CANNOT_WRITE, Found, Parsed};
use super::screen::Screen;
use super::{Format, StatsArgs};
use crate::commands::report;
use ktape_reader::scan::{ArrivedChunk, Query, ScanReport};
use ktape_reader::stats::{Answer, Plan, Running};
use ktape_reader::text::time;
use ktape_reader::text::units::{count_text, duration_text};

/// How often complete steps are looked for.
const STEPS_INTERVAL: Duration = Duration::from_millis(200);

/// The plan of a command. It lives as long as the process, so that threads can share it.
pub type LastingPlan = &'static Plan;

/// What the threads of a command share.
struct Shared {
    plan: LastingPlan,
    running: Mutex<Running<'static>>,
    zone: TimeZone,
    /// Set when the output takes no more.
    stop: Arc<AtomicBool>,
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Running<'static>> {
        // If the other thread has failed, so does the command.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How an answer is shown while events arrive.
enum Show {
    /// The table, over the one before.
    Table(Screen),
    /// The rows of steps that are complete.
    Steps,
}

/// An answer that grows.
pub struct Arriving {
    shared: Arc<Shared>,
    /// Ends when its other end is dropped.
    thread: Option<(SyncSender<()>, JoinHandle<io::Result<()>>)>,
    has_steps: bool,
}

/// Takes the chunks of an [`Arriving`] answer.
#[derive(Clone)]
pub struct ChunkTaker(Arc<Shared>);

impl ChunkTaker {
    /// Adds a chunk. Breaks if the output takes no more.
    pub fn take(&self, chunk: &ArrivedChunk<'_>) -> ControlFlow<()> {
        self.0.running().take(chunk);
        if self.0.stop.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

/// What an answer is about, beside its question.
pub struct Subject {
    pub query: Query,
    /// When the capture starts, wall-clock ns.
    pub start: i64,
    pub zone: TimeZone,
    /// Whether it is shown before it is complete.
    pub is_shown: bool,
    /// Set when reading shall end; also set if the output takes no more.
    pub stop: Arc<AtomicBool>,
}

impl Arriving {
    /// Nothing yet. On a terminal, the table is shown at each interval from now on; for programs, steps when they are complete.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(parsed: &Parsed<'_>, plan: Plan, subject: Subject) -> Result<Self> {
        let plan: LastingPlan = Box::leak(Box::new(plan));
        let mut running = Running::new(plan, &subject.query, subject.start);
        if let Some(last) = parsed.last {
            running = running.of_last(last);
        }
        let Subject { zone, stop, is_shown, .. } = subject;
        let shared = Arc::new(Shared { plan, running: Mutex::new(running), zone, stop });
        let is_stepped = plan.keys().first().is_some_and(|key| key.step_width().is_some());
        let show = match parsed.args.format {
            _ if !is_shown => None,
            Format::Table => Screen::of_stdout().map(Show::Table),
            Format::Csv | Format::Tsv | Format::Json => {
                (is_stepped && parsed.last.is_none()).then_some(Show::Steps)
            }
        };
        let has_steps = matches!(show, Some(Show::Steps));
        let thread = show.map(|show| Self::show(parsed, &shared, show)).transpose()?;
        Ok(Self { shared, thread, has_steps })
    }

    /// Whether something is shown before the end.
    pub fn is_shown(&self) -> bool {
        self.thread.is_some()
    }

    /// Takes its chunks.
    pub fn taker(&self) -> ChunkTaker {
        ChunkTaker(self.shared.clone())
    }

    fn show(
        parsed: &Parsed<'_>,
        shared: &Arc<Shared>,
        mut show: Show,
    ) -> Result<(SyncSender<()>, JoinHandle<io::Result<()>>)> {
        let (end, ended) = sync_channel(0);
        let shared = shared.clone();
        let painter = Painter { args: parsed.args.clone(), last: parsed.last };
        let interval = if matches!(show, Show::Steps) { STEPS_INTERVAL } else { parsed.interval };
        let work = move || {
            let mut shown = match show {
                Show::Steps => painter.heads(&shared),
                Show::Table(_) => Ok(()),
            };
            while shown.is_ok() && ended.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
                shown = match &mut show {
                    Show::Table(screen) => painter.table(&shared, screen),
                    Show::Steps => painter.steps(&shared),
                };
            }
            if shown.is_err() {
                shared.stop.store(true, Ordering::Relaxed);
            }
            match show {
                Show::Table(screen) => shown.and_then(|()| screen.clear()),
                Show::Steps => shown,
            }
        };
        let thread = std::thread::Builder::new().name("ktape-show".to_owned());
        Ok((end, thread.spawn(work).context("cannot start a thread")?))
    }

    /// Prints the final answer, and what is to be known about it; returns the exit code.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn finish(mut self, parsed: &Parsed<'_>, scanned: &ScanReport) -> Result<std::process::ExitCode> {
        if let Some((end, thread)) = self.thread.take() {
            drop(end);
            let shown = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            shown.context(CANNOT_WRITE)?;
        }
        let Shared { plan, zone, .. } = &*self.shared;
        let mut running = self.shared.running();
        if self.has_steps {
            if let Some(answer) = running.take_all_steps() {
                rows(parsed.args, plan, &answer).context(CANNOT_WRITE)?;
            }
        } else {
            let answer = running.answer();
            let found = Found { zone, kinds: running.kinds(), gaps: running.gaps() };
            parsed.print(plan, &answer, &found)?;
        }
        Ok(report::finish(scanned, parsed.args.strict))
    }
}

/// Draws what a thread shows.
struct Painter {
    args: StatsArgs,
    last: Option<u64>,
}

impl Painter {
    fn table(&self, shared: &Shared, screen: &mut Screen) -> io::Result<()> {
        let (answer, (from, to), lost) = {
            let mut running = shared.running();
            (running.answer(), running.range(), running.lost())
        };
        let mut text = time::date_time(to, &shared.zone);
        // Without fractions of seconds.
        text.truncate(text.find('.').unwrap_or(text.len()));
        const TENTH: u64 = 100_000_000;
        let elapsed = duration_text(to.abs_diff(from) / TENTH * TENTH);
        text.push_str(&match self.last {
            Some(_) => format!("  last {elapsed}"),
            None => format!("  {elapsed} since the start"),
        });
        if lost > 0 {
            text.push_str(&format!("  {} events lost", count_text(lost)));
        }
        text.push('\n');
        let out = super::request::text(&self.args, shared.plan, &answer, &shared.zone);
        text.push_str(&String::from_utf8_lossy(&out));
        screen.draw(&text)
    }

    fn heads(&self, shared: &Shared) -> io::Result<()> {
        let mut out = Vec::new();
        if let Some(separator) = separator(self.args.format) {
            output::heads(shared.plan, separator, &mut out);
        }
        write(&out)
    }

    fn steps(&self, shared: &Shared) -> io::Result<()> {
        let answer = shared.running().take_complete_steps();
        answer.map_or(Ok(()), |answer| rows(&self.args, shared.plan, &answer))
    }
}

fn separator(format: Format) -> Option<Separator> {
    match format {
        Format::Csv => Some(Separator::Comma),
        Format::Tsv => Some(Separator::Tab),
        Format::Json | Format::Table => None,
    }
}

/// Prints the rows of steps, without a header.
fn rows(args: &StatsArgs, plan: &Plan, answer: &Answer) -> io::Result<()> {
    let mut out = Vec::new();
    match separator(args.format) {
        Some(separator) => output::lines(plan, answer, separator, &mut out),
        None => output::json(plan, answer, &mut out),
    }
    write(&out)
}

fn write(out: &[u8]) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(out)?;
    stdout.flush()
}
