//! `ktape watch`: the same recording, shown as it happens.

use std::io;
use std::os::fd::AsRawFd;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::Result;
use capture_format::{ChunkBuilder, FormatError};

use super::event_format::EventFormat;
use crate::record::{self, ContainerUpdates, Progress, Viewer};
use crate::session::options::RecordOptions;
use crate::session::run::{Ended, Session, Signals};
use crate::session::say::{say, say_left_out};
use crate::store::{header, output};
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::model;
use ktape_reader::scan::{Flow, Live, PrintSink, Query, Sink};
use ktape_reader::text::{time, units};
use ktape_reader::view::Format;

/// Options of `ktape watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// Only events that match this expression (see `ktape fields`)
    #[arg(value_name = "EXPR")]
    pub expression: Option<String>,
    /// What to record.
    #[command(flatten)]
    pub record: RecordOptions,
    /// How events are written
    #[arg(long, value_enum, default_value_t)]
    pub format: EventFormat,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// Print times in UTC
    #[arg(long, conflicts_with = "tz")]
    pub utc: bool,
    /// Print times in this zone instead of the host's
    #[arg(long, value_name = "ZONE")]
    pub tz: Option<String>,
}

/// Runs it.
///
/// # Errors
///
/// It cannot record.
pub fn run(args: &WatchArgs) -> Result<ExitCode> {
    let duration = args.record.duration()?;
    let filter = args.expression.as_deref().map(Filter::parse).transpose().map_err(usage)?;
    let zone = match &args.tz {
        Some(zone) => time::zone(zone).map_err(usage)?,
        None if args.utc => jiff::tz::TimeZone::UTC,
        None => jiff::tz::TimeZone::system(),
    };
    let mut request = args.record.request()?;
    request.live = true;
    request.reader_pids = output::pipe_readers(io::stdout().as_raw_fd());
    let schema = Arc::new(model::schema());
    let header =
        header::new(&schema, Vec::new(), Vec::new(), !args.record.keep_secrets, &args.record.host_root())?;
    let question = Query { filter, ..Query::default() };
    let live = Live::new(header.clone(), question, zone.clone())?;
    let by_names = request.containers.needs_names();
    let gate = by_names.then(|| Live::new(header.clone(), Query::default(), zone.clone())).transpose()?;
    let prepared = record::prepare(request)?;
    let progress = Arc::new(Progress::default());
    let printer = PrintSink::new(Format::from(args.format).view(zone), io::stdout(), args.limit, None);
    let (sink, stages) = record::to_viewer(schema, Printer { live, sink: printer }, gate, &progress);
    let signals = Signals::keep()?;
    let recording = prepared.start(&header, sink, &progress)?;
    let (began, name) = (Instant::now(), "standard output".to_owned());
    let told = progress.clone();
    let Ended { outcome, .. } =
        Session { recording, stages, progress, began, duration, name, show: false, series: false }
            .run(signals, None)?;
    say_left_out(&told);
    let unshown = told.unshown.load(Ordering::Relaxed);
    if unshown > 0 {
        say(format_args!("{} events came too fast to be shown", units::count_text(unshown)));
    }
    if outcome.lost > 0 {
        say(format_args!("{} events were lost before they could be shown", units::count_text(outcome.lost)));
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the events that match.
struct Printer<S> {
    live: Live,
    sink: S,
}

impl<S: Sink + Send + 'static> Viewer for Printer<S> {
    fn learn(&mut self, updates: &ContainerUpdates) {
        self.live.learn(&updates.names, &updates.forgotten);
    }

    fn show(&mut self, chunk: ChunkBuilder) -> Result<bool, FormatError> {
        match self.live.show(chunk, &mut self.sink) {
            Ok(flow) => Ok(flow == Flow::Continue),
            // Whoever read it has seen enough.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(FormatError::Io { what: "write to standard output", source: error }),
        }
    }
}
