//! `ktape capture`: record to a file.

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::containers::Hierarchy;
use crate::filter::Filter;
use crate::model;
use crate::record::{self, Outcome, Progress};
use crate::replay::{Live, Question};
use crate::session::options::RecordOptions;
use crate::session::output::{self, Output};
use crate::session::run::{Ended, Session, Signals};
use crate::session::say::say;
use crate::session::{child, header, usage};
use crate::text::units;

/// Options of `ktape capture`.
#[derive(Debug, clap::Args)]
pub struct CaptureArgs {
    /// What to record.
    #[command(flatten)]
    pub record: RecordOptions,
    /// The file to write, `-` for standard output [default: ./ktape-HOST-TIME.ktape]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only events that match this expression (see `ktape fields`)
    #[arg(long, value_name = "EXPR")]
    pub filter: Option<String>,
    /// A label for the whole capture; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    pub label: Vec<String>,
    /// Exit with 3 if events were lost
    #[arg(long)]
    pub strict: bool,
    /// Write over an existing file
    #[arg(long)]
    pub force: bool,
    /// Record this command and everything that it starts
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// zstd's level: see docs/format.md for the figures behind it.
const LEVEL: i32 = 1;

/// Runs it.
///
/// # Errors
///
/// It cannot record, or not write what it recorded.
pub fn run(args: &CaptureArgs) -> Result<ExitCode> {
    let duration = args.record.duration()?;
    let labels = args
        .label
        .iter()
        .map(|label| header::parse_label(label))
        .collect::<Result<Vec<_>>>()
        .map_err(usage)?;
    let filter = args.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?;
    let mut request = args.record.request()?;
    let to_stdout = args.output.as_deref().is_some_and(output::is_stdout);
    let options = described(args, &request.hierarchy);
    let child = if args.command.is_empty() { None } else { Some(child::fork(&args.command, to_stdout)?) };
    request.tree_pid = child.as_ref().map(|child| child.pid);
    request.live = to_stdout;
    if to_stdout {
        request.reader_pids = output::pipe_readers(io::stdout().as_raw_fd());
    }
    let prepared = record::prepare(request)?;
    let schema = Arc::new(model::schema());
    let header = header::new(&schema, labels, options, !args.record.keep_secrets)?;
    let filter = filter
        .map(|filter| {
            let question = Question { filter: Some(filter), ..Question::default() };
            Live::new(header.clone(), question, jiff::tz::TimeZone::system())
        })
        .transpose()
        .map_err(usage)?;
    let signals = Signals::keep()?;
    // Last, so that an old file is not emptied for a capture that cannot begin.
    let output = Output::open(args.output.as_deref(), args.force)?;
    let name = output.name();
    let is_file = output.is_file();
    let made = output.made();
    let progress = Arc::new(Progress::default());
    let begun = || -> Result<_> {
        let (sink, stages) = record::to_file(output, &header, LEVEL, filter, &progress)
            .with_context(|| format!("cannot write {name}"))?;
        Ok((prepared.start(&schema, sink, &progress)?, stages))
    };
    let (recording, stages) = match begun() {
        Ok(begun) => begun,
        Err(error) => {
            if let Some(path) = made {
                // Nothing was recorded: an empty file would only be in the way of the next try.
                let _ = std::fs::remove_file(path);
            }
            // Whoever reads it wants nothing. But a command that was to be recorded has not even run.
            let unread = output::is_broken_pipe(&error);
            return if unread && child.is_none() { Ok(ExitCode::SUCCESS) } else { Err(error) };
        }
    };
    let began = Instant::now();
    let until = match duration {
        Some(duration) => format!("for {}", units::duration_text(duration.as_nanos() as u64)),
        None if child.is_some() => "until the command ends".to_owned(),
        None => "until Ctrl-C".to_owned(),
    };
    say(format_args!("recording to {name} {until}"));
    let child = child.map(child::Waiting::go).transpose()?;
    let told = progress.clone();
    // The command has the terminal.
    let show = child.is_none();
    let session = Session { recording, stages, progress, began, duration, name: name.clone(), show };
    let Ended { outcome, behind, command } = session.run(signals, child)?;
    drop(behind);
    summary(&outcome, &name, &told, began.elapsed(), is_file);
    Ok(match command {
        // The command was to be recorded, and never was.
        Some(Err(_)) => ExitCode::FAILURE,
        _ if args.strict && outcome.lost > 0 => ExitCode::from(3),
        _ => ExitCode::SUCCESS,
    })
}

/// The options that decide what the file holds, for its header.
fn described(args: &CaptureArgs, hierarchy: &Hierarchy) -> Vec<(String, String)> {
    let mut options = vec![("cgroup_hierarchy".to_owned(), hierarchy.name.clone())];
    let mut add = |name: &str, value: String| options.push((name.to_owned(), value));
    if !args.record.events.is_empty() {
        add("events", args.record.events.join(","));
    }
    for container in &args.record.container {
        add("container", container.clone());
    }
    if let Some(filter) = &args.filter {
        add("filter", filter.clone());
    }
    if let Some(duration) = &args.record.duration {
        add("duration", duration.clone());
    }
    options
}

fn summary(outcome: &Outcome, name: &str, progress: &Progress, elapsed: Duration, is_file: bool) {
    let events = progress.encoded.load(Ordering::Relaxed);
    let bytes = progress.bytes.load(Ordering::Relaxed);
    let seconds = elapsed.as_secs_f64().max(0.001);
    let each = if events > 0 { bytes as f64 / events as f64 } else { 0.0 };
    say(format_args!(
        "recorded {} events in {} ({}/s) to {name}: {}, {each:.1} bytes each",
        units::count_text(events),
        units::duration_text(elapsed.as_nanos() as u64),
        units::count_text((events as f64 / seconds) as u64),
        units::size_text(bytes),
    ));
    if outcome.lost > 0 {
        let by = outcome.lost_by.iter();
        let by: Vec<String> =
            by.map(|(what, count)| format!("{what} {}", units::count_text(*count))).collect();
        say(format_args!(
            "LOST {} events ({}); a larger --buffer or a narrower -e or --container helps",
            units::count_text(outcome.lost),
            by.join(", ")
        ));
    } else {
        say("lost nothing");
    }
    if outcome.damaged > 0 {
        say(format_args!("{} records could not be understood: please report this", outcome.damaged));
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
        say(format_args!("busiest: {}", busiest.join(", ")));
    }
    if is_file {
        say(format_args!("look at it: ktape replay {name}"));
    }
}
