//! The question about what happens from now on, recorded without a file.

use std::iter;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use capture_format::{ChunkBuilder, FormatError};
use events::{Kind, STALLS};

use super::arriving::{Arriving, ChunkTaker, Subject};
use super::request::Parsed;
use super::stream::HEATMAP_RANGE;
use super::{RUNNING, StatsArgs};
use crate::kernel::SyscallSelection;
use crate::record::{self, ContainerUpdates, Progress, Request, Viewer};
use crate::session::messages::{message, report_missing, report_unidentified, report_unmatched};
use crate::session::options::RecordOptions;
use crate::session::run::{PRINTED, Session, SessionEnd, Signals};
use crate::session::{child, privileges};
use crate::store::header;
use crate::usage::usage;
use ktape_reader::model;
use ktape_reader::model::Calls;
use ktape_reader::scan::{ArrivedChunk, Live, Query, ScanReport, Wanted};
use ktape_reader::text::time::Span;
use ktape_reader::text::units;

/// Options of `--live` about how to record; `ktape watch` describes them.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct RecorderOptions {
    /// With --live: sample the resource usage of cgroups, host and disks at this interval, or `off` [default: 1s]
    #[arg(long, value_name = "DURATION", requires = "live", help_heading = RUNNING)]
    sample: Option<String>,
    /// With --live: get container names from this runtime socket, as in `ktape watch` (repeatable)
    #[arg(long, value_name = "RUNTIME=SOCKET", requires = "live", help_heading = RUNNING)]
    runtime: Vec<String>,
    /// With --live: identify containers by this cgroup hierarchy, as in `ktape watch`
    #[arg(long, value_name = "HIERARCHY", requires = "live", help_heading = RUNNING)]
    cgroup_hierarchy: Option<String>,
    /// With --live in a container: where the host's root is mounted
    #[arg(long, value_name = "DIR", requires = "live", help_heading = RUNNING)]
    host_root: Option<PathBuf>,
    /// With --live: size of each CPU's ring buffer, as in `ktape watch`
    #[arg(long, value_name = "SIZE", requires = "live", help_heading = RUNNING)]
    buffer: Option<String>,
}

/// The options of other commands that record; what has no option here is as it is by default there.
fn record_options(parsed: &Parsed<'_>) -> RecordOptions {
    let args: &StatsArgs = parsed.args;
    let of_view = || parsed.view.as_ref().map(|view| view.kinds.clone()).unwrap_or_default();
    let given = args.selection.events();
    let recorder = &args.recorder;
    RecordOptions {
        duration: args.duration.clone(),
        events: if given.is_empty() { of_view() } else { given.to_vec() },
        stall: "1s".to_owned(),
        net_interval: "60s".to_owned(),
        sample: recorder.sample.clone().unwrap_or_else(|| "1s".to_owned()),
        keep_secrets: false,
        container: args.selection.containers().to_vec(),
        runtime: recorder.runtime.clone(),
        cgroup_hierarchy: recorder.cgroup_hierarchy.clone(),
        host_root: recorder.host_root.clone(),
        no_duration: false,
        buffer: recorder.buffer.clone(),
        kernel_log: false,
    }
}

/// Leaves out kinds of which no event can pass the filter.
fn narrow(request: &mut Request, query: &Query, wanted: Wanted) {
    let Some(filter) = &query.filter else { return };
    let derived = filter.derived().union(wanted.kinds);
    let is_source = |kind: Kind| derived.iter().any(|derived| derived.computed_from().contains(&kind));
    let is_source = |kind: Kind| is_source(kind) || STALLS.contains(&kind) && is_source(Kind::Stall);
    let is_needed = |kind: Kind| kind.is_about_recording() || filter.may_match_kind(kind) || is_source(kind);
    request.kinds.retain(|kind| is_needed(*kind));
    if !request.kinds.contains(&Kind::Syscall) {
        request.selection = SyscallSelection::None;
    }
}

/// Records and answers the question.
///
/// # Errors
/// Recording cannot begin, or the output cannot be written.
pub fn run(parsed: &Parsed<'_>) -> Result<ExitCode> {
    let args = parsed.args;
    let options = record_options(parsed);
    parsed.selection.check_one_pass()?;
    let duration = options.duration()?;
    let schema = Arc::new(model::schema());
    let header = header::new(&schema, Vec::new(), Vec::new(), true, &options.host_root())?;
    let zone = parsed.selection.zone.clone().unwrap_or_else(jiff::tz::TimeZone::system);
    let span = Span { start: header.created, end: None, zone: zone.clone() };
    let calls = Calls::new(&header);
    let mut query = parsed.query(&span, |name| calls.has(name))?;
    // The recorder selects containers.
    query.containers = None;
    if let Some(filter) = &query.filter {
        filter.check(iter::empty()).map_err(usage)?;
    }
    let range = duration.map_or(HEATMAP_RANGE, |duration| duration.as_nanos() as u64);
    let plan = parsed.plan(iter::empty(), &span, range)?;
    let mut request = options.request()?;
    narrow(&mut request, &query, plan.wanted());
    request.live = true;
    let hierarchy = request.hierarchy.clone();
    let child = if args.command.is_empty() { None } else { Some(child::fork(&args.command, true)?) };
    request.tree_pid = child.as_ref().map(|child| child.pid);
    let live = Live::new(header.clone(), query.clone(), zone.clone()).map_err(usage)?;
    let live = live.deriving(plan.wanted());
    let by_names = request.containers.needs_names();
    let pending_filter =
        by_names.then(|| Live::new(header.clone(), Query::default(), zone.clone())).transpose()?;
    let prepared = record::prepare(request)?;
    let signals = Signals::catch()?;
    privileges::drop_unneeded(false, child.is_some());
    let attached = prepared.attach()?;
    let subject = Subject {
        query,
        start: span.start,
        zone,
        // The command has the terminal.
        is_shown: child.is_none() || args.format != super::Format::Table,
        stop: Arc::default(),
    };
    let arriving = Arriving::new(parsed, plan, subject)?;
    let progress = Arc::new(Progress::default());
    let counter = Counter { live, report: ScanReport::default(), taker: arriving.taker() };
    let (sink, stages) = record::to_counter(schema, counter, pending_filter, &progress);
    let recording = attached.start(&header, sink, &progress)?;
    let began = Instant::now();
    if !arriving.is_shown() {
        message(match duration {
            Some(duration) => format!("counting for {}", units::duration_text(duration.as_nanos() as u64)),
            None if child.is_some() => "counting until the command ends".to_owned(),
            None => "counting until Ctrl-C".to_owned(),
        });
    }
    let child = child.map(child::WaitingChild::go).transpose()?;
    let (counters, name) = (progress.clone(), PRINTED.to_owned());
    let session = Session { recording, stages, progress, began, duration, name, show: false, rotated: false };
    let SessionEnd { outcome, behind, command } = session.run(signals, child)?;
    let report = behind.map(Counter::finish).unwrap_or_default();
    let code = arriving.finish(parsed, &report)?;
    report_unidentified(&counters);
    report_unmatched(&outcome, &options.container);
    report_missing(&hierarchy, options.cgroup_hierarchy.as_deref());
    let is_incomplete = args.strict && code != ExitCode::SUCCESS;
    Ok(command.filter(|_| !is_incomplete).map_or(code, |status| child::exit_code(&status)))
}

/// Counts the events that match.
struct Counter {
    live: Live,
    report: ScanReport,
    taker: ChunkTaker,
}

impl Counter {
    /// The report, after what follows from the end.
    fn finish(self) -> ScanReport {
        let Self { mut live, mut report, taker } = self;
        live.pass_end(&mut report, &mut |chunk| taker.take(chunk));
        report
    }
}

impl Viewer for Counter {
    fn learn(&mut self, updates: &ContainerUpdates) {
        self.live.learn(&updates.names, &updates.forgotten);
    }

    fn show(&mut self, chunk: ChunkBuilder) -> Result<bool, FormatError> {
        let Self { live, report, taker } = self;
        let mut take = |chunk: &ArrivedChunk<'_>| taker.take(chunk);
        Ok(live.pass(chunk, report, &mut take)?.is_continue())
    }
}
