//! Finds the time around events, in a pass of its own.

use crate::filter::Filter;

use super::around::{Around, Collected, MAX_WINDOWS, Window};
use super::captures::{Captures, QueryError};
use super::query::Query;
use super::report::ScanReport;

/// Why the time around events cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum AroundError {
    /// The expression does not fit the captures.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// It selects too much.
    #[error(
        "more than {MAX_WINDOWS} separate ranges of time: use an expression that matches fewer events, or a longer time"
    )]
    TooMany,
}

/// How far the time around an event reaches, in ns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Margins {
    /// Before it started.
    pub before: u64,
    /// After it ended.
    pub after: u64,
}

impl Captures {
    /// The time around all events that pass an expression: from some time before each one started until some time
    /// after it ended. `within`: as [`Query::from`] and [`Query::to`]; events that are not near this range are not looked for. The
    /// report is that of reading all of these events.
    ///
    /// # Errors
    /// If the expression does not fit the captures, or the ranges of time are more than a million.
    pub fn around(
        &self,
        filter: Filter,
        margins: Margins,
        within: (Option<i64>, Option<i64>),
    ) -> Result<(Around, ScanReport), AroundError> {
        let [before, after] = [margins.before, margins.after].map(|ns| i64::try_from(ns).unwrap_or(i64::MAX));
        // Those that ended long before the range can still reach into it, and those that started long after it.
        let search = self.query(Query {
            from: within.0.map(|from| from.saturating_sub(after)),
            to: within.1.map(|to| to.saturating_add(before)),
            filter: Some(filter),
            ..Query::default()
        })?;
        let (collected, report) = search.scan(
            Collected::default,
            |collected, chunk| {
                for table in chunk.tables() {
                    table.events().for_each(|event| {
                        collected.add(Window {
                            from: event.start().saturating_sub(before),
                            to: event.end().saturating_add(after),
                        });
                    });
                }
            },
            Collected::add_all,
        );
        let around = collected.finish(search.query().filter.clone()).ok_or(AroundError::TooMany)?;
        Ok((around, report))
    }
}

#[cfg(test)]
mod tests;
