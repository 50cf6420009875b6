//! `ktape capture`: record to a file.

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tokio::signal::unix::{SignalKind, signal};

use crate::containers::Hierarchy;
use crate::model;
use crate::record::{self, ContainerFilter, Outcome, Progress, Recording, Request, Stages};
use crate::session::output::Output;
use crate::session::{child, header, privileges, select};
use crate::text::units;

/// Options of `ktape capture`.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    /// Stop after this long (30s, 10m, 1h30m); without it, record until Ctrl-C
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<String>,
    /// The file to write, `-` for standard output [default: ./ktape-HOST-TIME.ktape]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Kinds of events and names of syscalls, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST")]
    pub events: Vec<String>,
    /// Only this container, by id or the beginning of it; may be repeated
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
    /// Only events that match this expression (see `ktape fields`)
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// Memory of each CPU's ring [default: 1 % of all memory in sum, at most 8MiB each]
    #[arg(long, value_name = "SIZE")]
    pub buffer: Option<String>,
    /// A label for the whole capture; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Exit with 3 if events were lost
    #[arg(long)]
    pub strict: bool,
    /// Write over an existing file
    #[arg(long)]
    pub force: bool,
    /// Record the values of password and token flags in arguments
    #[arg(long)]
    pub keep_secrets: bool,
    /// Which cgroups identify containers: v2, or a v1 controller [default: v2 if mounted]
    #[arg(long, value_name = "NAME")]
    pub cgroup_hierarchy: Option<String>,
    /// Record this command and everything that it starts
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// How often progress is shown.
const PROGRESS: Duration = Duration::from_secs(1);
/// How long the end may take before it is given up.
const END: Duration = Duration::from_millis(4500);
/// zstd's level: see docs/format.md for the figures behind it.
const LEVEL: i32 = 1;

/// Runs it.
///
/// # Errors
///
/// It cannot record, or not write what it recorded.
pub fn run(args: CaptureArgs) -> Result<ExitCode> {
    let duration = args.duration.as_deref().map(units::duration).transpose()?.map(Duration::from_nanos);
    let labels = args.label.iter().map(|label| header::parse_label(label)).collect::<Result<Vec<_>>>()?;
    let ring_bytes = args.buffer.as_deref().map(units::size).transpose()?;
    let (kinds, selection) = select::parse(&args.events)?;
    privileges::require()?;
    let hierarchy = match &args.cgroup_hierarchy {
        Some(name) => Hierarchy::named(name)?,
        None => Hierarchy::detect()?,
    };
    let schema = Arc::new(model::schema());
    let options = described(&args, &hierarchy);
    let header = header::new(&schema, labels, options, !args.keep_secrets)?;
    let child = if args.command.is_empty() { None } else { Some(child::fork(&args.command)?) };
    let output = Output::open(args.output.as_deref(), args.force)?;
    let name = output.name();
    let is_file = output.is_file();
    let request = Request {
        kinds,
        selection,
        containers: ContainerFilter::new(args.container.clone()),
        ring_bytes,
        hierarchy,
        tree_pid: child.as_ref().map(|child| child.pid),
        reader_pid: output.reader(),
        keep_secrets: args.keep_secrets,
        live: !is_file,
    };
    let begun = || -> Result<_> {
        let prepared = record::prepare(request)?;
        let progress = Arc::new(Progress::default());
        let (sink, stages) = record::to_file(output, &header, LEVEL, &progress)
            .with_context(|| format!("cannot write {name}"))?;
        let recording = prepared.start(&schema, sink, &progress)?;
        Ok((recording, stages, progress))
    };
    let (recording, stages, progress) = match begun() {
        Ok(begun) => begun,
        Err(error) => {
            if is_file {
                // Nothing was recorded: an empty file would only be in the way of the next try.
                let _ = std::fs::remove_file(&name);
            }
            return Err(error);
        }
    };
    let began = Instant::now();
    let until = match duration {
        Some(duration) => format!("for {}", units::duration_text(duration.as_nanos() as u64)),
        None => "until Ctrl-C".to_owned(),
    };
    eprintln!("recording to {name} {until}");
    let child = child.map(child::Waiting::go).transpose()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the timers and signals")?;
    let session = Session { recording, stages, progress, began, duration, name: name.clone() };
    let (outcome, bytes) = runtime.block_on(session.run(child))?;
    let elapsed = began.elapsed();
    summary(&outcome, &name, bytes, elapsed, is_file);
    Ok(if args.strict && outcome.lost > 0 { ExitCode::from(3) } else { ExitCode::SUCCESS })
}

/// The options that decide what the file holds, for its header.
fn described(args: &CaptureArgs, hierarchy: &Hierarchy) -> Vec<(String, String)> {
    let mut options = vec![("cgroup_hierarchy".to_owned(), hierarchy.name.clone())];
    let mut add = |name: &str, value: String| options.push((name.to_owned(), value));
    if !args.events.is_empty() {
        add("events", args.events.join(","));
    }
    for container in &args.container {
        add("container", container.clone());
    }
    if let Some(filter) = &args.filter {
        add("filter", filter.clone());
    }
    if let Some(duration) = &args.duration {
        add("duration", duration.clone());
    }
    options
}

struct Session {
    recording: Recording,
    stages: Stages<Output>,
    progress: Arc<Progress>,
    began: Instant,
    duration: Option<Duration>,
    name: String,
}

impl Session {
    /// Waits for the end, whatever brings it, and finishes the file.
    async fn run(self, child: Option<child::Running>) -> Result<(Outcome, u64)> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut tick = tokio::time::interval(PROGRESS);
        let mut watch = tokio::time::interval(Duration::from_millis(100));
        let show = std::io::stderr().is_terminal();
        let end = self.duration.map(|duration| tokio::time::Instant::from_std(self.began + duration));
        let (mut exit, pid) = match child {
            Some(child) => (Some(child.exit), Some(child.pid)),
            None => (None, None),
        };
        let mut last = (0, self.began);
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
        let Self { recording, stages, progress, name, .. } = self;
        let finishing = tokio::task::spawn_blocking(move || {
            let outcome = recording.join();
            (outcome, stages.join())
        });
        tokio::select! {
            done = finishing => {
                let (outcome, written) = done.context("the recorder failed")?;
                let output = written.with_context(|| format!("cannot write {name}; what was written before is readable"))?;
                drop(output);
                Ok((outcome, progress.bytes.load(Ordering::Relaxed)))
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

fn summary(outcome: &Outcome, name: &str, bytes: u64, elapsed: Duration, is_file: bool) {
    let seconds = elapsed.as_secs_f64().max(0.001);
    let each = if outcome.events > 0 { bytes as f64 / outcome.events as f64 } else { 0.0 };
    eprintln!(
        "recorded {} events in {} ({}/s) to {name}: {}, {each:.1} bytes each",
        units::count_text(outcome.events),
        units::duration_text(elapsed.as_nanos() as u64),
        units::count_text((outcome.events as f64 / seconds) as u64),
        units::size_text(bytes),
    );
    if outcome.lost > 0 {
        let by: Vec<String> = outcome
            .lost_by
            .iter()
            .map(|(what, count)| format!("{what} {}", units::count_text(*count)))
            .collect();
        eprintln!(
            "LOST {} events ({}); a larger --buffer or a narrower -e or --container helps",
            units::count_text(outcome.lost),
            by.join(", ")
        );
    } else {
        eprintln!("lost nothing");
    }
    if outcome.damaged > 0 {
        eprintln!("{} records could not be understood: please report this", outcome.damaged);
    }
    let total = outcome.events.max(1) as f64;
    let busiest: Vec<String> = outcome
        .busiest
        .iter()
        .take(3)
        .map(|busy| {
            let who = busy.container.as_deref().map_or("host", crate::containers::short_id);
            format!("{who} {:.0} %", busy.events as f64 * 100.0 / total)
        })
        .collect();
    if !busiest.is_empty() {
        eprintln!("busiest: {}", busiest.join(", "));
    }
    if is_file {
        eprintln!("look at it: ktape replay {name}");
    }
}
