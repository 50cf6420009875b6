//! Captures that were opened, and what is asked of them.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use capture_format::FormatError;
use jiff::tz::TimeZone;

use crate::model::{Context, Names};
use crate::text::time::{Span, TimeError};

use super::capture_set::CaptureSet;
use super::columns::ChunkMatches;
use super::container_match::{Ambiguous, Known};
use super::copy;
use super::input::{self, Capture, InputError};
use super::parallel;
use super::plan;
use super::query::Query;
use super::report::ScanReport;
use super::sink::Sink;
use super::time_order::{self, Events};

/// Captures that were opened, with what is known across all of them.
#[derive(Debug)]
pub struct Captures {
    files: Vec<Capture>,
    names: Names,
    span: Span,
    unreadable: Vec<InputError>,
}

/// Why a query cannot be asked of captures.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// A time that is relative to the capture has no place in it.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The beginning of a container's id fits several.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
}

impl Captures {
    /// Opens files; a directory stands for the files in it that are named `*.ktape`.
    ///
    /// # Errors
    /// If one does not exist or is no capture. In a directory, files that are no captures are left out, see
    /// [`Self::unreadable`].
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, InputError> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_path_buf()).collect();
        CaptureSet::of(&paths)?.open(None, None)
    }

    /// Captures that are open already.
    pub fn new(files: Vec<Capture>) -> Self {
        let (names, span) = (input::names(&files), input::span(&files, None));
        Self { files, names, span, unreadable: Vec::new() }
    }

    pub(super) fn with_unreadable(files: Vec<Capture>, unreadable: Vec<InputError>) -> Self {
        Self { unreadable, ..Self::new(files) }
    }

    /// Times of day in queries are of this zone, instead of the first host's.
    #[must_use]
    pub fn in_zone(mut self, zone: TimeZone) -> Self {
        self.span.zone = zone;
        self
    }

    /// Times in queries count from the beginning and the end of this span, of which the captures may be a part.
    #[must_use]
    pub fn within(mut self, span: Span) -> Self {
        self.span = span;
        self
    }

    /// The files, in the order in which they were named.
    pub fn files(&self) -> &[Capture] {
        &self.files
    }

    /// Files of a directory that could not be opened.
    pub fn unreadable(&self) -> &[InputError] {
        &self.unreadable
    }

    /// The names of containers, from all captures.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// The time that the captures span, and the zone in which times of day are meant.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The ids of all containers that occur.
    pub fn containers(&self) -> Known {
        input::known_containers(&self.files)
    }

    /// Whether some capture knows a syscall of this name.
    pub fn has_call(&self, name: &str) -> bool {
        self.files.iter().flat_map(|capture| &capture.bindings).any(|binding| binding.calls.has(name))
    }

    /// Asks for the events that match a query. Nothing is read yet.
    ///
    /// # Errors
    /// If a time in the query has no place in these captures, or the beginning of a container's id fits several.
    pub fn query(&self, mut query: Query) -> Result<Search<'_>, QueryError> {
        if let Some(filter) = &mut query.filter {
            filter.resolve(&self.span)?;
        }
        if let Some(containers) = &mut query.containers {
            containers.resolve(&self.containers(), &self.names)?;
        }
        let context = Context { names: &self.names, start: self.span.start };
        Ok(Search { captures: self, query, context })
    }
}

/// A query to captures. Every way to read its events starts at the beginning.
#[derive(Debug)]
pub struct Search<'a> {
    captures: &'a Captures,
    query: Query,
    context: Context<'a>,
}

impl<'a> Search<'a> {
    /// The captures.
    pub fn captures(&self) -> &'a Captures {
        self.captures
    }

    /// What was asked, with everything that was relative to the captures resolved.
    pub fn query(&self) -> &Query {
        &self.query
    }

    pub(super) fn context(&self) -> &Context<'a> {
        &self.context
    }

    /// The matching events, in the order of their ends.
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }

    /// Hands the matching events to a sink, in the order of their ends, until it wants no more.
    ///
    /// # Errors
    /// If the sink fails. Damage in a capture is part of the report.
    pub fn send(&self, sink: &mut dyn Sink) -> io::Result<ScanReport> {
        time_order::send(self.events(), sink)
    }

    /// How many events match.
    pub fn count(&self) -> ScanReport {
        self.scan(|| (), |(), _| {}, |(), ()| {}).1
    }

    /// Looks at all chunks that may have matching events, in any order and on all cores. Each thread starts with `new()`,
    /// adds chunks to it with `fold`, and what the threads have is added up with `merge`. Only the columns that are looked
    /// at are decoded.
    pub fn scan<T: Send>(
        &self,
        new: impl Fn() -> T + Sync,
        fold: impl Fn(&mut T, &ChunkMatches<'_>) + Sync,
        merge: impl FnMut(&mut T, T),
    ) -> (T, ScanReport) {
        let (value, report) = parallel::scan(self, new, fold, merge);
        (value, self.finished(report))
    }

    /// Hands each chunk that may have matching events to `look`, one after the other in the order of the files.
    pub fn for_each_chunk(&self, mut look: impl FnMut(&ChunkMatches<'_>)) -> ScanReport {
        let mut report = ScanReport::default();
        for capture in self.captures.files() {
            for plan in plan::by_place(capture, &self.query) {
                match plan.open(&self.query, &self.context, false, &mut report.lost) {
                    Ok(chunk) => {
                        report.chunks_read += 1;
                        report.matching += chunk.matching;
                        look(&chunk.matches(&self.context));
                    }
                    Err(cause) => report.damaged.chunk(&capture.path, plan.entry.len, &cause),
                }
            }
        }
        self.finished(report)
    }

    /// Writes the matching events to a new capture, segment by segment in the order of the files; a segment without one is
    /// left out, unless it is the only one.
    ///
    /// # Errors
    /// If writing fails. Damage in a capture is part of the report.
    pub fn copy<W: Write>(&self, out: &mut W) -> Result<ScanReport, FormatError> {
        copy::copy(self, out).map(|report| self.finished(report))
    }

    /// Adds what was known before the chunks were read.
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
