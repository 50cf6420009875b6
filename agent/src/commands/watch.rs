//! `ktape watch`: records like capture, and prints events as they happen.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use capture_format::{ChunkBuilder, FormatError};

use super::event_format::EventOutput;
use super::expression;
use crate::readers::Pipe;
use crate::record::{self, ContainerUpdates, Progress, Viewer};
use crate::session::messages::{
    Advice, explain_loss, message, report_lost, report_missing, report_unidentified, report_unmatched,
};
use crate::session::options::{OUTPUT, RecordOptions, WHAT, selectors};
use crate::session::run::{PRINTED, Session, SessionEnd, Signals};
use crate::store::header;
use crate::usage::usage;
use ktape_reader::model;
use ktape_reader::scan::{EventSink, Live, PrintSink, Query};
use ktape_reader::text::{time, units};

const AFTER_HELP: &str = concat!(
    selectors!(),
    "
Examples:
  ktape watch 'proc.name = nginx'         what nginx does
  ktape watch -e exec                     every program that starts
  ktape watch -e exec -p '%proc.pname starts %proc.cmdline'
  ktape watch --container web -e stall    blocked threads of one container
  ktape watch 'evt.type = openat and evt.failed = true'"
);

/// Options of `ktape watch`, in an order that gives the order of groups in `--help`.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct WatchArgs {
    /// Print only events that match this expression (see `ktape fields`)
    #[arg(value_name = "EXPR")]
    pub expression: Option<String>,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N", help_heading = WHAT, display_order = 3)]
    pub limit: Option<u64>,
    /// How events are printed.
    #[command(flatten)]
    pub output: EventOutput,
    /// Print times in UTC
    #[arg(long, conflicts_with = "tz", help_heading = OUTPUT)]
    pub utc: bool,
    /// Print times in this time zone, such as Europe/Berlin [default: the host's]
    #[arg(long, value_name = "ZONE", help_heading = OUTPUT)]
    pub tz: Option<String>,
    /// What to record.
    #[command(flatten)]
    pub record: RecordOptions,
}

/// Records and prints events.
///
/// # Errors
///
/// Recording cannot begin, or the output cannot be written.
pub fn run(args: &WatchArgs) -> Result<ExitCode> {
    let duration = args.record.duration()?;
    let filter = expression::for_recording(args.expression.as_deref())?;
    let zone = match &args.tz {
        Some(zone) => time::zone(zone).map_err(usage)?,
        None if args.utc => jiff::tz::TimeZone::UTC,
        None => jiff::tz::TimeZone::system(),
    };
    let view = args.output.view(zone.clone())?;
    let mut request = args.record.request()?;
    request.live = true;
    request.output = Pipe::of_descriptor(io::stdout().as_raw_fd());
    let hierarchy = request.hierarchy.clone();
    let schema = Arc::new(model::schema());
    let header =
        header::new(&schema, Vec::new(), Vec::new(), !args.record.keep_secrets, &args.record.host_root())?;
    let query = Query { filter, ..Query::default() };
    let live = Live::new(header.clone(), query, zone.clone())?;
    let by_names = request.containers.needs_names();
    let pending_filter = by_names.then(|| Live::new(header.clone(), Query::default(), zone)).transpose()?;
    let prepared = record::prepare(request)?;
    let progress = Arc::new(Progress::default());
    let printer = PrintSink::new(view, io::stdout(), args.limit, None);
    let (sink, stages) =
        record::to_viewer(schema, Printer { live, sink: printer }, pending_filter, &progress);
    let signals = Signals::catch()?;
    let recording = prepared.attach()?.start(&header, sink, &progress)?;
    let (began, name) = (Instant::now(), PRINTED.to_owned());
    let counters = progress.clone();
    let SessionEnd { outcome, .. } =
        Session { recording, stages, progress, began, duration, name, show: false, rotated: false }
            .run(signals, None)?;
    report_unidentified(&counters);
    report_unmatched(&outcome, &args.record.container);
    report_missing(&hierarchy, args.record.cgroup_hierarchy.as_deref());
    let unshown = counters.unshown.load(Ordering::Relaxed);
    if unshown > 0 {
        message(format_args!("dropped {} events: standard output was too slow", units::count_text(unshown)));
    }
    if outcome.lost > 0 {
        message(format_args!("lost {} events before they could be printed", units::count_text(outcome.lost)));
        explain_loss(outcome.lost_by.iter().filter_map(|(what, _)| what.split(' ').next()), Advice::Given);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the events that match.
struct Printer<S> {
    live: Live,
    sink: S,
}

impl<S: EventSink + Send + 'static> Viewer for Printer<S> {
    fn learn(&mut self, updates: &ContainerUpdates) {
        self.live.learn(&updates.names, &updates.forgotten);
    }

    fn show(&mut self, chunk: ChunkBuilder) -> Result<bool, FormatError> {
        let shown = self.live.show(chunk, &mut self.sink);
        let lost = self.live.take_lost();
        if lost.total > 0 {
            report_lost(&lost);
        }
        match shown {
            Ok(flow) => Ok(flow.is_continue()),
            // The reader of the pipe has closed it.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(FormatError::Io { what: "write to standard output", source: error }),
        }
    }
}
