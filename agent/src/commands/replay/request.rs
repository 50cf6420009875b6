//! The request of `ktape replay`: parsed from the arguments, then run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use capture_format::StreamReader;
use jiff::tz::TimeZone;

use super::{ReplayArgs, output};
use crate::commands::inputs;
use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::container_match::Ambiguous;
use ktape_reader::scan::follow::Follower;
use ktape_reader::scan::stream::{self, StreamError};
use ktape_reader::scan::{
    CaptureSet, Containers, EventSink, Input, KnownContainers, Playback, Query, QueryError, ScanReport,
};
use ktape_reader::text::time::{self, Span, TimeSpec};
use ktape_reader::text::units;

/// The parsed arguments, before anything has been read.
pub struct Replay<'a> {
    args: &'a ReplayArgs,
    paths: Vec<PathBuf>,
    filter: Option<Filter>,
    from: Option<TimeSpec>,
    to: Option<TimeSpec>,
    zone: Option<TimeZone>,
    pace: Option<Playback>,
    around: Option<AroundOption>,
}

/// The values of `--around`.
struct AroundOption {
    filter: Filter,
    /// Time before and after each event that passes, ns.
    margin: u64,
}

impl AroundOption {
    fn parse(values: &[String]) -> Result<Option<Self>> {
        let [expression, time] = values else { return Ok(None) };
        let filter = Filter::parse(expression).map_err(|error| usage(format!("--around: {error}")))?;
        filter.hints().iter().for_each(message);
        let margin = units::duration(time).map_err(|error| usage(format!("--around: {error}")))?;
        Ok(Some(Self { filter, margin }))
    }
}

impl<'a> Replay<'a> {
    /// Parses the arguments.
    ///
    /// # Errors
    /// An argument is wrong.
    pub fn new(args: &'a ReplayArgs) -> Result<Self> {
        let (paths, positional) = inputs::split("replay", &args.inputs)?;
        let named = args.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?;
        let filter = match (positional, named) {
            (Some(a), Some(b)) => Some(a.and(b)),
            (a, b) => a.or(b),
        };
        filter.iter().flat_map(Filter::hints).for_each(message);
        let spec = |text: &Option<String>| text.as_deref().map(TimeSpec::parse).transpose().map_err(usage);
        let zone = match &args.tz {
            Some(zone) => Some(time::zone(zone).map_err(usage)?),
            None => args.utc.then_some(TimeZone::UTC),
        };
        let pace = match &args.speed {
            Some(text) => Some(Playback::parse(text).ok_or_else(|| {
                usage(format!("`{text}` is not a speed; use a factor such as 1x, 0.5x or 10x"))
            })?),
            None => None,
        };
        // Wrong names end the command before anything is read.
        args.output.view(TimeZone::UTC)?;
        let around = AroundOption::parse(args.around.as_deref().unwrap_or_default())?;
        Ok(Self { args, paths, filter, from: spec(&args.from)?, to: spec(&args.to)?, zone, pace, around })
    }

    /// Reads the captures and prints or copies what matches.
    ///
    /// # Errors
    /// A capture cannot be read, the output cannot be written, or an argument does not fit the captures.
    pub fn run(self) -> Result<ExitCode> {
        if self.args.follow && !self.paths.iter().any(|path| path == Path::new("-")) {
            let [path] = &self.paths[..] else {
                return Err(usage("--follow takes exactly one file or directory"));
            };
            let (follower, name) = (Follower::open(path)?, path.display().to_string());
            return self.stream(follower, &name);
        }
        match Input::open(&self.paths)? {
            Input::Files(set) => self.files(set),
            Input::Pipe => self.stream(io::stdin().lock(), "standard input"),
        }
    }

    /// The query, with everything that is relative to the capture resolved.
    fn query(&self, span: &Span, is_call: impl Fn(&str) -> bool) -> Result<Query> {
        let mut filter = self.filter.clone();
        if let Some(filter) = &mut filter {
            filter.resolve(span).map_err(usage)?;
        }
        let events = Filter::of_events(&self.args.events, is_call).map_err(usage)?;
        let resolve = |t: &Option<TimeSpec>| t.as_ref().map(|t| t.resolve(span)).transpose().map_err(usage);
        let containers = crate::session::options::parse_selectors(&self.args.container).map_err(usage)?;
        Ok(Query {
            containers: (!containers.is_empty()).then(|| Containers::new(containers)),
            cgroups: None,
            from: resolve(&self.from)?,
            to: resolve(&self.to)?,
            filter: match (events, filter) {
                (Some(a), Some(b)) => Some(a.and(b)),
                (a, b) => a.or(b),
            },
            around: None,
        })
    }

    fn files(mut self, mut set: CaptureSet) -> Result<ExitCode> {
        let span = (set.is_many() && (self.from.is_some() || self.to.is_some()))
            .then(|| set.span(self.zone.clone()))
            .transpose()?;
        let at = |t: &Option<TimeSpec>| match (t, &span) {
            (Some(t), Some(span)) => t.resolve(span).map(Some).map_err(usage),
            _ => Ok(None),
        };
        // Events outside the range may be those that others are around.
        let margin =
            self.around.as_ref().map_or(0, |around| i64::try_from(around.margin).unwrap_or(i64::MAX));
        let (from, to) = (at(&self.from)?, at(&self.to)?);
        let from = from.map(|from: i64| from.saturating_sub(margin));
        let mut captures = set.open(from, to.map(|to: i64| to.saturating_add(margin)))?;
        if let Some(span) = span {
            captures = captures.within(span);
        } else if let Some(zone) = &self.zone {
            captures = captures.in_zone(zone.clone());
        }
        for error in captures.unreadable() {
            message(format_args!("{error}; file ignored"));
        }
        let span = captures.span();
        let mut query = self.query(span, |name| captures.has_call(name))?;
        note_empty_range(&query, span);
        let filters = query.filter.iter().chain(self.around.as_ref().map(|around| &around.filter));
        for filter in filters.filter(|filter| filter.container_ids().next().is_some()) {
            check_ids(filter, &captures.containers())?;
        }
        let mut first_pass = None;
        if let Some(around) = &self.around {
            let within = (query.from, query.to);
            let (around, report) =
                captures.around(around.filter.clone(), around.margin, within).map_err(usage)?;
            if around.is_empty() {
                message("no event matches the expression of --around");
            }
            query.around = Some(around);
            first_pass = Some(report);
        }
        let search = captures.query(query).map_err(|error| match error {
            QueryError::Time(error) => usage(error),
            QueryError::Ambiguous(error) => error.into(),
            QueryError::Unknown(error) => usage(error),
        })?;
        let mut report = if let Some(path) = &self.args.write {
            output::copy(path, self.args.force, &search)?
        } else if self.args.count {
            search.count()
        } else {
            search.send(&mut output::sink(self.args, span.zone.clone(), self.pace.take())?)?
        };
        if let Some(first_pass) = first_pass {
            report.damaged.add_pass(&first_pass.damaged);
        }
        output::finish(self.args, &report)
    }

    fn stream(mut self, from: impl io::Read, name: &str) -> Result<ExitCode> {
        if self.around.is_some() {
            return Err(usage(
                "--around reads a capture twice: save it to a file first (ktape capture -o FILE), and replay that without --follow",
            ));
        }
        if self.args.write.is_some() {
            return Err(usage(
                "--write cannot copy standard input: save the capture to a file first (ktape capture -o FILE)",
            ));
        }
        let mut reader = StreamReader::new(from);
        let mut report = ScanReport::default();
        let header = stream::first_header(&mut reader, &mut report)
            .with_context(|| format!("cannot read a capture from {name}"))?;
        let zone = self.zone.clone();
        let zone = zone.unwrap_or_else(|| time::host_zone(&header.time_zone, header.utc_offset));
        let span = Span { start: header.created, end: None, zone };
        let calls = ktape_reader::model::Calls::new(&header);
        let query = self.query(&span, |name| calls.has(name))?;
        let sink = || output::sink(self.args, span.zone, self.pace.take());
        let mut sink = (!self.args.count).then(sink).transpose()?;
        let sink = sink.as_mut().map(|s| s as &mut dyn EventSink);
        stream::replay_stream(&mut reader, header, query, sink, &mut report).map_err(|e| match e {
            StreamError::Ambiguous(ambiguous) => ambiguous.into(),
            StreamError::Unknown(unknown) => usage(unknown),
            other => anyhow::Error::from(other),
        })?;
        output::finish(self.args, &report)
    }
}

/// Warns of a time outside the captures: most likely it is of another day or zone.
fn note_empty_range(query: &Query, span: &Span) {
    let at = |ns: i64| time::date_time(ns, &span.zone);
    let end = span.end.unwrap_or(i64::MAX);
    match (query.from, query.to) {
        (Some(from), Some(to)) if from > to => {
            message(format_args!("no events: --from {} is after --to {}", at(from), at(to)));
        }
        (Some(from), _) if from > end => {
            message(format_args!(
                "no events: --from {} is after the end of the capture, {}",
                at(from),
                at(end)
            ));
        }
        (_, Some(to)) if to < span.start => {
            message(format_args!(
                "no events: --to {} is before the start of the capture, {}",
                at(to),
                at(span.start)
            ));
        }
        _ => {}
    }
}

/// Checks that an id prefix within the expression matches at most one container.
fn check_ids(filter: &Filter, known: &KnownContainers) -> Result<(), Ambiguous> {
    filter.container_ids().try_for_each(|id| known.by_prefix(id).map(|_| ()))
}
