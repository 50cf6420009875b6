//! `ktape replay`: the events of captures, filtered, as text, JSON, CSV, a number, or a smaller capture.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use capture_format::StreamReader;
use jiff::tz::TimeZone;

use super::event_format::EventFormat;
use crate::session::options::{OUTPUT, selectors};
use crate::session::say::say;
use crate::store::output;
use ktape_reader::filter::Filter;
use ktape_reader::scan::container_match::Ambiguous;
use ktape_reader::scan::follow::Follower;
use ktape_reader::scan::stream::{self, StreamError};
use ktape_reader::scan::{Capture, Input};
use ktape_reader::scan::{
    CaptureSet, Captures, Containers, Known, Pace, PrintSink, Query, QueryError, ScanReport, Search, Sink,
};
use ktape_reader::text::escape::{Place, escaped};
use ktape_reader::text::time::{self, Span, TimeSpec};
use ktape_reader::text::units::count_text;
use ktape_reader::view::{CsvView, Format};

const EVENTS: &str = "Which events";
const PLAYBACK: &str = "Playback";

const AFTER_HELP: &str = concat!(
    "\
Times:
  2026-11-26T12:00:01Z   RFC 3339
  12:00:01 or 12:00      in the recording host's time zone
  +5s                    after the start
  -10s                   before the end

",
    selectors!(),
    "
Examples:
  ktape replay web.ktape
  ktape replay web.ktape 'proc.name = nginx and evt.failed = true'
  ktape replay web.ktape --container web --from 12:00:01 --to 12:00:02
  ktape replay web.ktape -e exec,connect --format json
  ktape replay web.ktape --count 'evt.type = read'
  ktape replay web.ktape 'container.name = web' -w small.ktape"
);

/// Arguments of `ktape replay`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct ReplayArgs {
    /// Captures, directories of captures, or `-` for stdin; the last argument may be a filter expression
    #[arg(value_name = "FILE|EXPR", required = true)]
    inputs: Vec<OsString>,
    /// Only events that match this expression (see `ktape fields`)
    #[arg(long, value_name = "EXPR", help_heading = EVENTS)]
    filter: Option<String>,
    /// Only these event kinds and syscalls, separated by commas
    #[arg(short, long, value_name = "LIST", help_heading = EVENTS)]
    events: Vec<String>,
    /// Only events of this container (repeatable; see Selectors)
    #[arg(long, value_name = "SELECTOR", help_heading = EVENTS)]
    container: Vec<String>,
    /// Only events still running at or after TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = EVENTS)]
    from: Option<String>,
    /// Only events that started at or before TIME
    #[arg(long, value_name = "TIME", allow_hyphen_values = true, help_heading = EVENTS)]
    to: Option<String>,
    /// Stop after N events
    #[arg(short = 'n', value_name = "N", help_heading = EVENTS)]
    limit: Option<u64>,
    /// Output format: text (one line per event), json (one JSON object per line) or csv (with a header line)
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, help_heading = OUTPUT)]
    format: EventFormat,
    /// With --format csv: print these fields, separated by commas
    #[arg(long, value_name = "FIELDS", help_heading = OUTPUT)]
    columns: Option<String>,
    /// Print only the number of matching events
    #[arg(long, conflicts_with_all = ["format", "limit", "speed", "write"], help_heading = OUTPUT)]
    count: bool,
    /// Write the matching events to a new capture
    #[arg(short = 'w', long, value_name = "FILE", conflicts_with_all = ["format", "limit", "speed"], help_heading = OUTPUT)]
    write: Option<PathBuf>,
    /// With --write: overwrite an existing file
    #[arg(long, requires = "write", help_heading = OUTPUT)]
    force: bool,
    /// Print times in UTC
    #[arg(long, conflicts_with = "tz", help_heading = OUTPUT)]
    utc: bool,
    /// Print times in this time zone [default: the recording host's]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true, help_heading = OUTPUT)]
    tz: Option<String>,
    /// Exit with code 3 if events that could match were lost, or if data is damaged
    #[arg(long, help_heading = OUTPUT)]
    strict: bool,
    /// Wait for more events while the file grows; for a directory, follow the newest file and its successors
    #[arg(short, long, conflicts_with_all = ["count", "write", "speed"], help_heading = PLAYBACK)]
    follow: bool,
    /// Print events at the speed at which they happened (1x), or faster (10x) or slower (0.5x)
    #[arg(long, value_name = "FACTOR", help_heading = PLAYBACK)]
    speed: Option<String>,
}

/// A mistake in how the command was called.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn usage(error: impl ToString) -> anyhow::Error {
    Usage(error.to_string()).into()
}

/// Replays.
///
/// # Errors
/// If a capture cannot be read or the output not be written. Wrong usage is told on standard error and
/// gives exit code 2.
pub fn run(args: &ReplayArgs) -> Result<ExitCode> {
    match replay(args) {
        Ok(code) => Ok(code),
        Err(error) if output::is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Usage>() || error.is::<Ambiguous>() => {
            say(format_args!("ktape replay: {error}"));
            Ok(ExitCode::from(2))
        }
        Err(error) => Err(error),
    }
}

/// The paths, and the expression if the last argument is one.
fn split_inputs(inputs: &[OsString]) -> Result<(Vec<PathBuf>, Option<Filter>)> {
    let mut paths: Vec<PathBuf> = inputs.iter().map(PathBuf::from).collect();
    let Some(last) = paths.last() else { return Ok((paths, None)) };
    let missing = match fs::metadata(last) {
        _ if last == Path::new("-") => return Ok((paths, None)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => error,
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => error,
        Err(error) if error.kind() == io::ErrorKind::InvalidFilename => error,
        _ => return Ok((paths, None)),
    };
    let shown = escaped(last.as_os_str().as_encoded_bytes(), Place::Free).into_owned();
    let parsed = match last.to_str() {
        Some(text) => Filter::parse(text).map_err(|e| e.to_string()),
        None => Err("it is not valid UTF-8".to_owned()),
    };
    match parsed {
        Ok(filter) if paths.len() > 1 => {
            paths.pop();
            Ok((paths, Some(filter)))
        }
        Ok(_) => {
            Err(usage(format!("`{shown}` is an expression; which capture? `ktape replay FILE '{shown}'`")))
        }
        Err(reason) => Err(usage(format!(
            "`{shown}` is neither a file nor an expression\n  as a file: {missing}\n  as an expression: {reason}"
        ))),
    }
}

/// What the arguments say, before anything has been read.
struct Request<'a> {
    args: &'a ReplayArgs,
    filter: Option<Filter>,
    from: Option<TimeSpec>,
    to: Option<TimeSpec>,
    zone: Option<TimeZone>,
    pace: Option<Pace>,
}

fn replay(args: &ReplayArgs) -> Result<ExitCode> {
    let (paths, positional) = split_inputs(&args.inputs)?;
    let named = args.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?;
    let filter = match (positional, named) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (a, b) => a.or(b),
    };
    let spec = |text: &Option<String>| text.as_deref().map(TimeSpec::parse).transpose().map_err(usage);
    let zone = match &args.tz {
        Some(zone) => Some(time::zone(zone).map_err(usage)?),
        None => args.utc.then_some(TimeZone::UTC),
    };
    let pace = match &args.speed {
        Some(text) => Some(
            Pace::parse(text)
                .ok_or_else(|| usage(format!("`{text}` is not a speed: write 1x, 0.5x, 10x")))?,
        ),
        None => None,
    };
    if let Some(columns) = &args.columns {
        if args.format != EventFormat::Csv {
            return Err(usage("--columns chooses the columns of --format csv"));
        }
        CsvView::with_columns(columns).map_err(usage)?;
    }
    let request = Request { args, filter, from: spec(&args.from)?, to: spec(&args.to)?, zone, pace };
    if args.follow && !paths.iter().any(|path| path == Path::new("-")) {
        let [path] = &paths[..] else {
            return Err(usage("--follow reads one file, or one directory"));
        };
        return request.stream(Follower::open(path)?, &path.display().to_string());
    }
    match Input::open(&paths)? {
        Input::Files(listing) => request.files(listing),
        Input::Pipe => request.stream(io::stdin().lock(), "standard input"),
    }
}

impl Request<'_> {
    /// The question, with everything that is relative to the capture resolved.
    fn question(&self, span: &Span, is_call: impl Fn(&str) -> bool) -> Result<Query> {
        let mut filter = self.filter.clone();
        if let Some(filter) = &mut filter {
            filter.resolve(span).map_err(usage)?;
        }
        let events = Filter::of_events(&self.args.events, is_call).map_err(usage)?;
        let resolve = |t: &Option<TimeSpec>| t.as_ref().map(|t| t.resolve(span)).transpose().map_err(usage);
        let containers = crate::session::options::wanted(&self.args.container).map_err(usage)?;
        Ok(Query {
            containers: (!containers.is_empty()).then(|| Containers::new(containers)),
            cgroups: None,
            from: resolve(&self.from)?,
            to: resolve(&self.to)?,
            filter: match (events, filter) {
                (Some(a), Some(b)) => Some(a.and(b)),
                (a, b) => a.or(b),
            },
        })
    }

    fn files(mut self, mut listing: CaptureSet) -> Result<ExitCode> {
        let span = (listing.is_many() && (self.from.is_some() || self.to.is_some()))
            .then(|| listing.span(self.zone.clone()))
            .transpose()?;
        let at = |t: &Option<TimeSpec>| match (t, &span) {
            (Some(t), Some(span)) => t.resolve(span).map(Some).map_err(usage),
            _ => Ok(None),
        };
        let mut captures = listing.open(at(&self.from)?, at(&self.to)?)?;
        if let Some(span) = span {
            captures = captures.within(span);
        } else if let Some(zone) = &self.zone {
            captures = captures.in_zone(zone.clone());
        }
        for error in captures.unreadable() {
            say(format_args!("ktape replay: {error}; it is left out"));
        }
        let span = captures.span();
        let query = self.question(span, |name| captures.has_call(name))?;
        note_unknown_events(&query, &captures);
        note_empty_range(&query, span);
        let by_id = query.filter.as_ref().is_some_and(|f| f.container_ids().next().is_some());
        if by_id {
            check_ids(&query, &captures.containers())?;
        }
        let search = captures.query(query).map_err(|error| match error {
            QueryError::Time(error) => usage(error),
            QueryError::Ambiguous(error) => error.into(),
        })?;
        let report = if let Some(path) = &self.args.write {
            self.copy(path, &search)?
        } else if self.args.count {
            search.count()
        } else {
            search.send(&mut self.sink(span.zone.clone()))?
        };
        self.finish(&report)
    }

    fn stream(mut self, from: impl io::Read, name: &str) -> Result<ExitCode> {
        if self.args.write.is_some() {
            return Err(usage("-w reads files: save the capture to a file first, with `capture -o FILE`"));
        }
        let mut reader = StreamReader::new(from);
        let mut outcome = ScanReport::default();
        let header = stream::first_header(&mut reader, &mut outcome)
            .with_context(|| format!("cannot read a capture from {name}"))?;
        let zone = self.zone.clone();
        let zone = zone.unwrap_or_else(|| time::host_zone(&header.time_zone, header.utc_offset));
        let span = Span { start: header.created, end: None, zone };
        let calls = ktape_reader::model::Calls::new(&header);
        let question = self.question(&span, |name| calls.has(name))?;
        let mut sink = (!self.args.count).then(|| self.sink(span.zone));
        let sink = sink.as_mut().map(|s| s as &mut dyn Sink);
        stream::replay_stream(&mut reader, header, question, sink, &mut outcome).map_err(|e| match e {
            StreamError::Ambiguous(ambiguous) => ambiguous.into(),
            other => anyhow::Error::from(other),
        })?;
        self.finish(&outcome)
    }

    fn sink(&mut self, zone: TimeZone) -> PrintSink<io::StdoutLock<'static>> {
        // Looked up before; an error here would have ended the command there.
        let chosen = self.args.columns.as_deref().and_then(|names| CsvView::with_columns(names).ok());
        let view = chosen.map_or_else(|| Format::from(self.args.format).view(zone), |view| Box::new(view));
        PrintSink::new(view, io::stdout().lock(), self.args.limit, self.pace.take())
    }

    fn copy(&self, path: &Path, search: &Search<'_>) -> Result<ScanReport> {
        let mut out = create(path, search.captures().files(), self.args.force)?;
        search.copy(&mut out).with_context(|| format!("cannot write {}", path.display()))
    }

    /// Prints the count, what was lost, damaged and not found, and gives the exit code.
    fn finish(&self, outcome: &ScanReport) -> Result<ExitCode> {
        if self.args.count {
            writeln!(io::stdout(), "{}", outcome.matching)?;
        }
        for line in [outcome.damaged.cut(), outcome.damaged.warning()].into_iter().flatten() {
            say(format_args!("ktape replay: {line}"));
        }
        for wanted in &outcome.unknown_containers {
            say(format_args!(
                "ktape replay: no container `{wanted}` in this capture; `ktape info` lists them"
            ));
        }
        if outcome.disordered {
            say(format_args!("ktape replay: too many chunks overlap in time; some events are out of order"));
        }
        let lost = &outcome.lost;
        if lost.total > 0 {
            let by: Vec<String> = lost
                .by
                .iter()
                .map(|((kind, stage), n)| {
                    let word = |text: &str| escaped(text.as_bytes(), Place::Free).into_owned();
                    format!("{} {} ({})", count_text(*n), word(kind), word(stage))
                })
                .collect();
            say(format_args!(
                "ktape replay: {} events that could match were lost: {}",
                count_text(lost.total),
                by.join(", ")
            ));
        }
        let whole = lost.total == 0 && outcome.damaged.is_empty();
        Ok(if self.args.strict && !whole { ExitCode::from(3) } else { ExitCode::SUCCESS })
    }
}

/// A name that no event can have is most likely misspelt; the answer would be nothing, and no word.
fn note_unknown_events(question: &Query, captures: &Captures) {
    let bindings = || captures.files().iter().flat_map(|c| &c.bindings);
    for name in question.filter.iter().flat_map(Filter::event_names) {
        let text = String::from_utf8_lossy(name);
        let known = bindings().any(|b| b.calls.has(&text) || b.events.iter().any(|t| t.name == text));
        if !known {
            say(format_args!("ktape replay: no event is called `{}`", escaped(name, Place::Free)));
        }
    }
}

/// A time that the captures do not have is most likely another day's, or another zone's.
fn note_empty_range(question: &Query, span: &Span) {
    let at = |ns: i64| time::date_time(ns, &span.zone);
    let end = span.end.unwrap_or(i64::MAX);
    match (question.from, question.to) {
        (Some(from), Some(to)) if from > to => {
            say(format_args!("ktape replay: nothing lies between --from {} and --to {}", at(from), at(to)));
        }
        (Some(from), _) if from > end => {
            say(format_args!("ktape replay: --from {} is after its end, {}", at(from), at(end)));
        }
        (_, Some(to)) if to < span.start => {
            say(format_args!("ktape replay: --to {} is before its start, {}", at(to), at(span.start)));
        }
        _ => {}
    }
}

/// An id prefix within the expression must fit one container, too.
fn check_ids(question: &Query, known: &Known) -> Result<(), Ambiguous> {
    let Some(filter) = &question.filter else { return Ok(()) };
    filter.container_ids().try_for_each(|id| known.by_prefix(id).map(|_| ()))
}

/// Creates the file of `-w`.
fn create(path: &Path, captures: &[Capture], force: bool) -> Result<io::BufWriter<File>> {
    if let Ok(old) = fs::metadata(path) {
        for capture in captures {
            let same =
                fs::metadata(&capture.path).is_ok_and(|m| (m.dev(), m.ino()) == (old.dev(), old.ino()));
            if same {
                return Err(usage(format!("{} is what is being read", path.display())));
            }
        }
    }
    let mut options = OpenOptions::new();
    options.write(true).mode(0o600);
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    match options.open(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            Err(usage(format!("{} exists; --force overwrites it", path.display())))
        }
        result => {
            Ok(io::BufWriter::new(result.with_context(|| format!("cannot create {}", path.display()))?))
        }
    }
}

#[cfg(test)]
mod tests;
