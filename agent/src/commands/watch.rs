//! `ktape watch`: the same recording, shown as it happens.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;
use capture_format::FormatError;

use crate::containers::Hierarchy;
use crate::filter::Filter;
use crate::model;
use crate::record::{self, ContainerFilter, Progress, Request};
use crate::replay::{Flow, Live, PrintSink, Question};
use crate::session::run::{Ended, Session};
use crate::session::say::say;
use crate::session::{buffer, header, output, privileges, select, usage};
use crate::text::{time, units};
use crate::view::Format;

/// Options of `ktape watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Only events that match this expression (see `ktape fields`)
    #[arg(value_name = "EXPR")]
    pub expression: Option<String>,
    /// Stop after this long (30s, 10m); without it, until Ctrl-C
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<String>,
    /// Kinds of events and names of syscalls, separated by commas [default: all]
    #[arg(short, long, value_name = "LIST")]
    pub events: Vec<String>,
    /// Only this container, by id or the beginning of it; may be repeated
    #[arg(long, value_name = "ID")]
    pub container: Vec<String>,
    /// Memory of each CPU's ring
    #[arg(long, value_name = "SIZE")]
    pub buffer: Option<String>,
    /// How events are written
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// Print times in UTC
    #[arg(long, conflicts_with = "tz")]
    pub utc: bool,
    /// Print times in this zone instead of the host's
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
    /// Show the values of password and token flags in arguments
    #[arg(long)]
    pub keep_secrets: bool,
    /// Which cgroups identify containers: v2, or a v1 controller [default: v2 if mounted]
    #[arg(long, value_name = "NAME")]
    pub cgroup_hierarchy: Option<String>,
    /// Log what the programs in the kernel say of themselves
    #[arg(long)]
    pub kernel_log: bool,
}

/// Runs it.
///
/// # Errors
///
/// It cannot record.
pub fn run(args: &WatchArgs) -> Result<ExitCode> {
    let duration =
        args.duration.as_deref().map(units::duration).transpose().map_err(usage)?.map(Duration::from_nanos);
    let ring_bytes = args.buffer.as_deref().map(buffer).transpose()?;
    let (kinds, selection) = select::parse(&args.events).map_err(usage)?;
    let filter = args.expression.as_deref().map(Filter::parse).transpose().map_err(usage)?;
    let zone = match &args.tz {
        Some(zone) => time::zone(zone).map_err(usage)?,
        None if args.utc => jiff::tz::TimeZone::UTC,
        None => jiff::tz::TimeZone::system(),
    };
    privileges::require()?;
    let hierarchy = match &args.cgroup_hierarchy {
        Some(name) => Hierarchy::named(name).map_err(usage)?,
        None => Hierarchy::detect()?,
    };
    let schema = Arc::new(model::schema());
    let header = header::new(&schema, Vec::new(), Vec::new(), !args.keep_secrets)?;
    let question = Question { filter, ..Question::default() };
    let mut live = Live::new(header, question, zone.clone())?;
    let prepared = record::prepare(Request {
        kinds,
        selection,
        containers: ContainerFilter::new(args.container.clone()),
        ring_bytes,
        hierarchy,
        tree_pid: None,
        reader_pids: output::pipe_readers(io::stdout().as_raw_fd()),
        keep_secrets: args.keep_secrets,
        live: true,
        kernel_log: args.kernel_log,
    })?;
    let progress = Arc::new(Progress::default());
    let printer = PrintSink::new(args.format.view(zone), io::stdout(), args.limit, None);
    let (sink, stages) = record::to_function(
        schema.clone(),
        printer,
        move |printer, chunk| match live.show(chunk, printer) {
            Ok(flow) => Ok(flow == Flow::Continue),
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(FormatError::Io { what: "write to standard output", source: error }),
        },
        &progress,
    );
    let recording = prepared.start(&schema, sink, &progress)?;
    let (began, name) = (Instant::now(), "standard output".to_owned());
    let told = progress.clone();
    let Ended { outcome, .. } =
        Session { recording, stages, progress, began, duration, name, show: false }.run(None)?;
    let unshown = told.unshown.load(Ordering::Relaxed);
    if unshown > 0 {
        say(format_args!("{} events came too fast to be shown", units::count_text(unshown)));
    }
    if outcome.lost > 0 {
        say(format_args!("{} events were lost before they could be shown", units::count_text(outcome.lost)));
    }
    Ok(ExitCode::SUCCESS)
}
