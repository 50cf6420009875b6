//! Which events of captures a command is about: the options that `replay` and `stats` have in common.

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::Result;
use jiff::tz::TimeZone;

use super::around::Near;
use crate::session::messages::message;
use crate::session::options::{OUTPUT, parse_selectors};
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::container_match::Ambiguous;
use ktape_reader::scan::{
    CaptureSet, Captures, Containers, KnownContainers, Margins, Query, QueryError, ScanReport,
};
use ktape_reader::text::time::{self, Span, TimeSpec};

/// The group of options in `--help` that select events.
pub const EVENTS: &str = "Which events";

/// The forms of a time, for the end of `--help`.
macro_rules! times {
    () => {
        "\
Times:
  2026-11-26T12:00:01Z   RFC 3339; also with +01:00 and fractions
  2026-11-26 12:00       in the time zone of the output
  12:00, 12:00:01        in the time zone of the output; with its date if the
                         capture has it on several days
  +5s                    after the start
  -10s                   before the end

"
    };
}
pub(crate) use times;

/// Options that select events.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SelectionOptions {
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
    /// Only events within TIME before and after those that match EXPR, whatever the other options select
    #[arg(long, num_args = 2, value_names = ["EXPR", "TIME"], help_heading = EVENTS)]
    around: Option<Vec<String>>,
    /// The same with TIME before them only: what led to it
    #[arg(long, num_args = 2, value_names = ["EXPR", "TIME"], conflicts_with = "around", help_heading = EVENTS)]
    before: Option<Vec<String>>,
}

impl SelectionOptions {
    /// The values of `-e`.
    pub fn events(&self) -> &[String] {
        &self.events
    }

    /// The values of `--container`.
    pub fn containers(&self) -> &[String] {
        &self.container
    }
}

/// Options for the time zone of the output.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ZoneOptions {
    /// Print times in UTC
    #[arg(long, conflicts_with = "tz", help_heading = OUTPUT)]
    utc: bool,
    /// Print times in this time zone [default: the recording host's]
    #[arg(long, value_name = "ZONE", allow_hyphen_values = true, help_heading = OUTPUT)]
    tz: Option<String>,
}

/// The options, parsed, before anything has been read.
#[derive(Clone, Debug)]
pub struct Selection {
    filter: Option<Filter>,
    events: Vec<String>,
    containers: Vec<String>,
    from: Option<TimeSpec>,
    to: Option<TimeSpec>,
    near: Option<Near>,
    /// The zone of the output, if it is not that of the recording host.
    pub zone: Option<TimeZone>,
}

impl Selection {
    /// Parses the options; `positional` is the expression among the arguments.
    ///
    /// # Errors
    /// An option is wrong.
    pub fn new(options: &SelectionOptions, zone: &ZoneOptions, positional: Option<Filter>) -> Result<Self> {
        let named = options.filter.as_deref().map(Filter::parse).transpose().map_err(usage)?;
        let filter = both(positional, named);
        filter.iter().flat_map(Filter::hints).for_each(message);
        let spec = |text: &Option<String>| text.as_deref().map(TimeSpec::parse).transpose().map_err(usage);
        let zone = match &zone.tz {
            Some(zone) => Some(time::zone(zone).map_err(usage)?),
            None => zone.utc.then_some(TimeZone::UTC),
        };
        Ok(Self {
            filter,
            events: options.events.clone(),
            containers: options.container.clone(),
            from: spec(&options.from)?,
            to: spec(&options.to)?,
            near: Near::parse(options.around.as_deref(), options.before.as_deref())?,
            zone,
        })
    }

    /// The query, with everything that is relative to the capture resolved.
    ///
    /// # Errors
    /// A time cannot be resolved, or an event is unknown.
    pub fn query(&self, span: &Span, is_call: impl Fn(&str) -> bool) -> Result<Query> {
        let mut filter = self.filter.clone();
        if let Some(filter) = &mut filter {
            filter.resolve(span).map_err(usage)?;
        }
        let events = Filter::of_events(&self.events, is_call).map_err(usage)?;
        let resolve = |t: &Option<TimeSpec>| t.as_ref().map(|t| t.resolve(span)).transpose().map_err(usage);
        let containers = parse_selectors(&self.containers).map_err(usage)?;
        let (from, to) = (resolve(&self.from)?, resolve(&self.to)?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            let at = |ns: i64| time::date_time(ns, &span.zone);
            return Err(usage(format!("--from {} is after --to {}", at(from), at(to))));
        }
        Ok(Query {
            containers: (!containers.is_empty()).then(|| Containers::new(containers)),
            cgroups: None,
            from,
            to,
            filter: both(events, filter),
            around: None,
        })
    }

    /// Opens the files that can have events in the range, or such that these are near.
    ///
    /// # Errors
    /// A file cannot be read, or a time cannot be resolved.
    pub fn open(&self, mut set: CaptureSet) -> Result<Captures> {
        let span = (set.is_many() && (self.from.is_some() || self.to.is_some()))
            .then(|| set.span(self.zone.clone()))
            .transpose()?;
        let at = |t: &Option<TimeSpec>| match (t, &span) {
            (Some(t), Some(span)) => t.resolve(span).map(Some).map_err(usage),
            _ => Ok(None),
        };
        // Events outside the range may be those that others are near.
        let margins = self.near.as_ref().map_or_else(Margins::default, |near| near.margins);
        let [before, after] = [margins.before, margins.after].map(|ns| i64::try_from(ns).unwrap_or(i64::MAX));
        let (from, to) = (at(&self.from)?, at(&self.to)?);
        let from = from.map(|from: i64| from.saturating_sub(after));
        let mut captures = set.open(from, to.map(|to: i64| to.saturating_add(before)))?;
        if let Some(span) = span {
            captures = captures.within(span);
        } else if let Some(zone) = &self.zone {
            captures = captures.in_zone(zone.clone());
        }
        for error in captures.unreadable() {
            message(format_args!("{error}; file ignored"));
        }
        for path in twice(&captures) {
            message(format_args!("{} is read twice: its events count twice", path.display()));
        }
        Ok(captures)
    }

    /// The query on open captures; prints a message if its range is outside them. With `--around` and `--before`, there is
    /// also the report of the pass that found the events.
    ///
    /// # Errors
    /// As [`Self::query`], and if an id prefix matches several containers.
    pub fn query_on(&self, captures: &Captures) -> Result<(Query, Option<ScanReport>)> {
        let span = captures.span();
        let mut query = self.query(span, |name| captures.has_call(name))?;
        note_empty_range(&query, span);
        query.filter.iter().try_for_each(|filter| check_ids(filter, captures))?;
        self.near.iter().try_for_each(|near| check_ids(&near.filter, captures))?;
        let report = self.near.as_ref().map(|near| near.limit(&mut query, captures)).transpose()?;
        Ok((query, report))
    }

    /// Checks that one pass over the events is enough, for what cannot be read twice.
    ///
    /// # Errors
    /// `--around` or `--before` is given.
    pub fn check_one_pass(&self) -> Result<()> {
        self.near.as_ref().map_or(Ok(()), |near| Err(near.needs_two_passes()))
    }
}

/// Files that are among the captures more than once, under whatever names.
fn twice(captures: &Captures) -> impl Iterator<Item = &Path> {
    let mut known = HashSet::new();
    captures
        .files()
        .iter()
        .map(|capture| capture.path.as_path())
        .filter(move |path| fs::metadata(path).is_ok_and(|file| !known.insert((file.dev(), file.ino()))))
}

/// A query that does not fit the captures is wrong usage; which containers an id prefix matches is explained elsewhere.
pub fn query_error(error: QueryError) -> anyhow::Error {
    match error {
        QueryError::Time(error) => usage(error),
        QueryError::Ambiguous(error) => error.into(),
        QueryError::Unknown(error) => usage(error),
    }
}

/// Checks that an id prefix within the expression matches at most one container.
///
/// # Errors
/// It matches several.
pub fn check_ids(filter: &Filter, captures: &Captures) -> Result<(), Ambiguous> {
    let mut ids = filter.container_ids().peekable();
    if ids.peek().is_none() {
        return Ok(());
    }
    let known: KnownContainers = captures.containers();
    ids.try_for_each(|id| known.by_prefix(id).map(|_| ()))
}

fn both(a: Option<Filter>, b: Option<Filter>) -> Option<Filter> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.and(b)),
        (a, b) => a.or(b),
    }
}

/// Warns of a time outside the captures: most likely it is of another day or zone.
fn note_empty_range(query: &Query, span: &Span) {
    let at = |ns: i64| time::date_time(ns, &span.zone);
    let end = span.end.unwrap_or(i64::MAX);
    match (query.from, query.to) {
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
