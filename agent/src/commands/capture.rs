//! `ktape capture`: records to a file.

mod summary;

use std::ffi::OsString;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result};
use capture_format::Header;

use super::expression;
use super::info::RING_BUFFERS;
use crate::containers::Hierarchy;
use crate::readers::Pipe;
use crate::record::{self, End, Progress};
use crate::session::messages::{message, report_missing, report_unmatched};
use crate::session::options::{OUTPUT, RETENTION, RecordOptions, WHAT, selectors};
use crate::session::run::{Session, SessionEnd, Signals};
use crate::session::{child, privileges};
use crate::store::header;
use crate::store::limits::LimitOptions;
use crate::store::output::{self, Output};
use crate::store::{RotatedFiles, Store, StoreLimits, StoreOutput, StoreSettings};
use crate::usage::usage;
use ktape_reader::model;
use ktape_reader::scan::{Live, Query};
use ktape_reader::text::units;

use summary::Summary;

const AFTER_HELP: &str = concat!(
    selectors!(),
    "
Examples:
  ktape capture -d 30s -o web.ktape             everything, for 30 seconds
  ktape capture --container web                 one container
  ktape capture -e exec,exit,connect            these kinds and syscalls only
  ktape capture --filter 'evt.latency > 10ms'   what takes longer than 10 ms
  ktape capture -o build.ktape -- make -j8      a command and its descendants
  ktape capture -o /var/log/ktape/ --rotate 256MiB --keep 7d --max-size 10GiB
                                                continuously, within limits

Payload data and environment variables are never recorded.

Exit codes: 0 success, 1 failure, 2 wrong usage, 3 success, but events were
lost (with --strict). With COMMAND, success is the exit code of COMMAND, or
128+N if signal N killed it; 126 and 127: it could not be executed, or was not
found. The line `ktape: command ...` says how it ended: without that line, the
exit code is that of ktape."
);

/// Options of `ktape capture`, in an order that gives the order of groups in `--help`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct CaptureArgs {
    /// Only events that match this expression (see `ktape fields`)
    #[arg(long, value_name = "EXPR", help_heading = WHAT, display_order = 3)]
    pub filter: Option<String>,
    /// Write to this file or directory, or `-` for stdout [default: ./ktape-HOST-TIME.ktape]
    #[arg(short, long, value_name = "FILE|DIR", help_heading = OUTPUT)]
    pub output: Option<PathBuf>,
    /// Attach a label to the capture (repeatable)
    #[arg(long, value_name = "KEY=VALUE", help_heading = OUTPUT)]
    pub label: Vec<String>,
    /// fsync as data is written, so that a power failure loses at most two seconds [default: on with --rotate]
    #[arg(long, value_name = "on|off", num_args = 0..=1, require_equals = true, default_missing_value = "on", value_parser = on_or_off, help_heading = OUTPUT)]
    pub sync: Option<bool>,
    /// Overwrite an existing file
    #[arg(long, help_heading = OUTPUT)]
    pub force: bool,
    /// Exit with code 3 if events were lost
    #[arg(long, help_heading = OUTPUT)]
    pub strict: bool,
    /// Start a new file at this size or after this time, such as 256MiB or 1h (repeatable)
    #[arg(long, value_name = "SIZE|DURATION", help_heading = RETENTION)]
    pub rotate: Vec<String>,
    /// With --rotate: delete rotated files beyond this number, age or total size (repeatable)
    #[arg(long, value_name = "N|DURATION|SIZE", help_heading = RETENTION)]
    pub keep: Vec<String>,
    /// Use at most this much disk space: delete the oldest rotated files, or stop if there is only one file
    #[arg(long, value_name = "SIZE", help_heading = RETENTION)]
    pub max_size: Option<String>,
    /// Keep this much of the file system free: delete the oldest rotated files, or stop if that is not enough [default: 5%, at most 1GiB]
    #[arg(long, value_name = "SIZE|PERCENT", help_heading = RETENTION)]
    pub min_free: Option<String>,
    /// What to record.
    #[command(flatten)]
    pub record: RecordOptions,
    /// Run this command, record only it and its descendants, and stop when it exits
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected `on` or `off`".to_owned()),
    }
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
    let filter = expression::for_recording(args.filter.as_deref())?;
    let limits = limits(args).map_err(usage)?;
    let mut request = args.record.request()?;
    let to_stdout = args.output.as_deref().is_some_and(output::is_stdout);
    let mut options = described(args, &request.hierarchy);
    let hierarchy = request.hierarchy.clone();
    let identified_by = hierarchy.clone();
    let child = if args.command.is_empty() { None } else { Some(child::fork(&args.command, to_stdout)?) };
    request.tree_pid = child.as_ref().map(|child| child.pid);
    request.live = to_stdout;
    request.output = match &args.output {
        Some(_) if to_stdout => Pipe::of_descriptor(io::stdout().as_raw_fd()),
        path => path.as_deref().and_then(Pipe::of_path),
    };
    let by_names = request.containers.needs_names();
    let prepared = record::prepare(request)?;
    options.push((RING_BUFFERS.to_owned(), prepared.ring_buffers().to_string()));
    let schema = Arc::new(model::schema());
    let mut header =
        header::new(&schema, labels, options, !args.record.keep_secrets, &args.record.host_root())?;
    let filter = if filter.is_some() || by_names {
        let question = Query { filter, ..Query::default() };
        Some(Live::new(header.clone(), question, jiff::tz::TimeZone::system()).map_err(usage)?)
    } else {
        None
    };
    let signals = Signals::catch()?;
    // Last, so that an old file is not emptied for a capture that cannot begin.
    let target = Target::open(args, &limits, &mut header)?;
    let Target { output, name, is_file, made } = target;
    privileges::drop_unneeded(limits.is_rotated(), child.is_some());
    let progress = Arc::new(Progress::default());
    let rotated = limits.is_rotated();
    let begun = || -> Result<_> {
        // The ring buffers bridge the time until the header is written.
        let attached = prepared.attach()?;
        let settings = StoreSettings::new(limits, hierarchy, LEVEL);
        let store = Store::begin(output, settings, header.clone(), &progress)
            .with_context(|| format!("cannot write {name}"))?;
        let (sink, stages) = record::to_destination(Box::new(store), &schema, LEVEL, filter, &progress)?;
        Ok((attached.start(&header, sink, &progress)?, stages))
    };
    let (recording, stages) = match begun() {
        Ok(begun) => begun,
        Err(error) => {
            if let Some(path) = made {
                // Nothing was recorded, and an existing file would make the next attempt fail.
                let _ = std::fs::remove_file(path);
            }
            // A reader that closed the pipe is no error, unless the command could not run for that reason.
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
    message(format_args!("recording to {name} {until}"));
    let child = child.map(child::WaitingChild::go).transpose()?;
    let counters = progress.clone();
    // The command has the terminal.
    let show = child.is_none();
    let session = Session { recording, stages, progress, began, duration, name: name.clone(), show, rotated };
    let SessionEnd { mut outcome, command, .. } = session.run(signals, child)?;
    let unwritten = counters.unwritten.load(Ordering::Relaxed);
    if unwritten > 0 {
        outcome.lost += unwritten;
        outcome.lost_by.push(("writer any".to_owned(), unwritten));
    }
    let elapsed = began.elapsed();
    Summary { outcome: &outcome, progress: &counters, elapsed, name: &name, is_file, rotated }.print();
    report_unmatched(&outcome, &args.record.container);
    report_missing(&identified_by, args.record.cgroup_hierarchy.as_deref());
    Ok(match (command, counters.wants_to_end()) {
        (_, Some(End::NoRoom(_) | End::Full)) => ExitCode::FAILURE,
        _ if args.strict && outcome.lost > 0 => ExitCode::from(3),
        (Some(status), _) => child::exit_code(&status),
        (None, _) => ExitCode::SUCCESS,
    })
}

/// The limits of the command line.
fn limits(args: &CaptureArgs) -> Result<StoreLimits, String> {
    let options = LimitOptions {
        rotate: &args.rotate,
        keep: &args.keep,
        max_size: args.max_size.as_deref(),
        min_free: args.min_free.as_deref(),
        sync: args.sync,
    };
    let to_stdout = args.output.as_deref().is_some_and(output::is_stdout);
    let limits = StoreLimits::parse(&options)?;
    if to_stdout && (limits.is_rotated() || args.max_size.is_some() || args.sync == Some(true)) {
        return Err("--rotate, --max-size and --sync need a file: they cannot be used with -o -".to_owned());
    }
    if limits.is_rotated() && args.force {
        return Err("--force cannot be used with --rotate: rotated files never overwrite others".to_owned());
    }
    Ok(limits)
}

/// What is written to.
struct Target {
    output: StoreOutput,
    /// For messages.
    name: String,
    /// Whether it can be replayed by that name.
    is_file: bool,
    /// What is of no use if recording cannot begin.
    made: Option<PathBuf>,
}

impl Target {
    fn open(args: &CaptureArgs, limits: &StoreLimits, header: &mut Header) -> Result<Self> {
        if limits.is_rotated() {
            let path = args.output.as_deref().unwrap_or(Path::new("."));
            let files = RotatedFiles::open(path, &output::default_name(), header)?;
            let name = files.dir().display().to_string();
            let output = StoreOutput::Rotated(Box::new(files));
            return Ok(Self { output, name, is_file: true, made: None });
        }
        let output = Output::open(args.output.as_deref(), args.force)?;
        let (name, is_file, made) = (output.name(), output.is_file(), output.created());
        Ok(Self { output: StoreOutput::Single(Box::new(output)), name, is_file, made })
    }
}

/// The options that select what is recorded, for the file's header.
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
    for (name, values) in [("rotate", &args.rotate), ("keep", &args.keep)] {
        values.iter().for_each(|value| add(name, value.clone()));
    }
    options
}
