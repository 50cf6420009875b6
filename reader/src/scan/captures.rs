//! Captures that were opened, and what is asked of them.

use jiff::tz::TimeZone;

use crate::model::{ContainerNames, Context};
use crate::text::time::{Span, TimeError};

use super::container_match::{Ambiguous, KnownContainers};
use super::input::{self, Capture, InputError};
use super::query::Query;
use super::report::ScanReport;

/// Captures that were opened, with what is known across all of them.
#[derive(Debug)]
pub struct Captures {
    files: Vec<Capture>,
    names: ContainerNames,
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
    pub fn names(&self) -> &ContainerNames {
        &self.names
    }

    /// The time that the captures span, and the zone in which times of day are meant.
    pub fn span(&self) -> &Span {
        &self.span
    }

    /// The ids of all containers that occur.
    pub fn containers(&self) -> KnownContainers {
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
