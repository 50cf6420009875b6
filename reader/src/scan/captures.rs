//! Open captures and queries on them.

use jiff::tz::TimeZone;

use crate::filter::ParseError;
use crate::model::{ContainerNames, Context};
use crate::text::time::{Span, TimeError};

use super::container_match::{Ambiguous, KnownContainers};
use super::input::{self, Capture, InputError};
use super::progress::ScanProgress;
use super::query::Query;
use super::report::ScanReport;

/// Open captures, with the container names and the time span of all of them.
#[derive(Debug)]
pub struct Captures {
    files: Vec<Capture>,
    names: ContainerNames,
    span: Span,
    unreadable: Vec<InputError>,
}

/// Longer times without a chunk are gaps between captures, ns: a recorder writes a chunk every second.
const MOST_BETWEEN_CHUNKS: i64 = 10_000_000_000;

/// How much of a time range is covered by chunks, which are added in the order in which they begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Coverage {
    from: i64,
    to: i64,
    last: i64,
    covered: u64,
}

impl Coverage {
    /// Of the range between these times, wall-clock ns.
    pub(crate) fn new(from: i64, to: i64) -> Self {
        Self { from, to: to.max(from), last: from, covered: 0 }
    }

    /// Adds a chunk, by when its first and last event ended.
    pub(crate) fn add(&mut self, start: i64, end: i64) {
        let within = |time: i64| time.max(self.from).min(self.to);
        let (start, end) = (within(start), within(end));
        // Between the chunks of a quiet capture, there are seconds at most.
        if start.saturating_sub(self.last) < MOST_BETWEEN_CHUNKS {
            self.covered += end.max(self.last).abs_diff(self.last);
        } else {
            self.covered += end.abs_diff(start.max(self.last));
        }
        self.last = self.last.max(end);
    }

    /// The time that is covered up to `to`, and the whole time; `None` if that is all or almost all of it.
    pub(crate) fn gaps(&self, to: i64) -> Option<(u64, u64)> {
        if to <= self.from {
            return None;
        }
        let range = to.abs_diff(self.from);
        (self.covered < range / 10 * 9).then_some((self.covered, range))
    }
}

/// Why a query does not fit the captures.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A time in the query cannot be resolved in these captures.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// A prefix of a container id fits several containers.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// An expression names an event, a syscall or an argument that no capture has.
    #[error(transparent)]
    Unknown(#[from] ParseError),
}

impl Captures {
    /// Wraps captures that are already open.
    pub fn new(files: Vec<Capture>) -> Self {
        let (names, span) = (input::names(&files), input::span(&files, None));
        Self { files, names, span, unreadable: Vec::new() }
    }

    pub(super) fn with_unreadable(files: Vec<Capture>, unreadable: Vec<InputError>) -> Self {
        Self { unreadable, ..Self::new(files) }
    }

    /// Interprets times of day in queries in this zone instead of the first host's.
    #[must_use]
    pub fn in_zone(mut self, zone: TimeZone) -> Self {
        self.span.zone = zone;
        self
    }

    /// Resolves relative times in queries against this span, of which the captures may be a part.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// The files, in the order of the arguments.
    pub fn files(&self) -> &[Capture] {
        &self.files
    }

    /// Files of a directory that could not be opened.
    pub fn unreadable(&self) -> &[InputError] {
        &self.unreadable
    }

    /// The names of containers, from all captures.
    pub fn names(&self) -> &ContainerNames {
        &self.names
    }

    /// The time span of the captures, and the zone for times of day.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// How much of a time range (wall-clock ns) the captures cover, and how long it is; `None` if that is all or almost all of it.
    pub fn gaps(&self, range: Option<(i64, i64)>) -> Option<(u64, u64)> {
        // A range outside the captures has no length.
        let (from, to) = range.filter(|(from, to)| from < to)?;
        let entries = self.files.iter().flat_map(|capture| capture.file.chunks());
        let time = |boot: u64, offset: i64| (boot as i64).saturating_add(offset).clamp(from, to);
        let mut spans: Vec<(i64, i64)> = entries
            .map(|entry| &entry.summary)
            .map(|s| (time(s.end_min, s.wall_offset), time(s.end_max, s.wall_offset)))
            .collect();
        spans.sort_unstable();
        let mut coverage = Coverage::new(from, to);
        spans.into_iter().for_each(|(start, end)| coverage.add(start, end));
        coverage.gaps(to)
    }

    /// The ids of all containers in the captures.
    pub fn containers(&self) -> KnownContainers {
        input::known_containers(&self.files)
    }

    /// Whether some capture knows a syscall of this name.
    pub fn has_call(&self, name: &str) -> bool {
        self.files.iter().flat_map(|capture| &capture.bindings).any(|binding| binding.calls.has(name))
    }

    /// Prepares a query. Reads no chunks yet.
    ///
    /// # Errors
    /// If a time in the query cannot be resolved in these captures, a prefix of a container id fits several, or an
    /// expression names an event, a syscall or an argument that neither these captures nor this version know.
    pub fn query(&self, mut query: Query) -> Result<Search<'_>, QueryError> {
        if let Some(filter) = &mut query.filter {
            let bindings = self.files.iter().flat_map(|capture| &capture.bindings);
            filter.check(bindings.map(AsRef::as_ref))?;
            filter.resolve(&self.span)?;
        }
        if let Some(containers) = &mut query.containers {
            containers.resolve(&self.containers(), &self.names)?;
        }
        let context = Context { names: &self.names, start: self.span.start };
        Ok(Search { captures: self, query, context, progress: None })
    }
}

/// A query on captures. Each method that reads events starts at the beginning.
#[derive(Debug)]
pub struct Search<'a> {
    captures: &'a Captures,
    query: Query,
    context: Context<'a>,
    progress: Option<&'a ScanProgress>,
}

impl<'a> Search<'a> {
    /// The captures that the query runs on.
    pub fn captures(&self) -> &'a Captures {
        self.captures
    }

    /// The query, with relative times and container prefixes resolved.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Counts the events that [`Self::scan`] and [`Self::copy`] look at.
    #[must_use]
    pub fn with_progress(self, progress: &'a ScanProgress) -> Self {
        Self { progress: Some(progress), ..self }
    }

    pub(super) fn progress(&self) -> Option<&'a ScanProgress> {
        self.progress
    }

    pub(super) fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// Adds what was found before any chunk was read.
    pub(super) fn finished(&self, mut report: ScanReport) -> ScanReport {
        if let Some(containers) = &self.query.containers {
            report.unknown_containers = containers.unknown().to_vec();
        }
        for capture in self.captures.files() {
            report.damaged.add(&capture.path, capture.file.bytes(), capture.file.damage());
        }
        report
    }
}
