//! `--around` and `--before`: the events near others.

use anyhow::Result;

use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::{Captures, Margins, Query, ScanReport};
use ktape_reader::text::units;

/// The values of one of the options.
#[derive(Clone, Debug)]
pub struct Near {
    option: &'static str,
    /// Which events it is about.
    pub filter: Filter,
    /// How far it reaches from each event that passes.
    pub margins: Margins,
}

impl Near {
    /// Parses the values of `--around` and `--before`, of which one is given at most.
    ///
    /// # Errors
    /// The expression or the time is wrong.
    pub fn parse(around: Option<&[String]>, before: Option<&[String]>) -> Result<Option<Self>> {
        let (option, values) = match (around, before) {
            (Some(values), _) => ("--around", values),
            (None, Some(values)) => ("--before", values),
            (None, None) => return Ok(None),
        };
        let [expression, time] = values else { return Ok(None) };
        let filter = Filter::parse(expression).map_err(|error| usage(format!("{option}: {error}")))?;
        filter.hints().iter().for_each(message);
        let before = units::duration(time).map_err(|error| usage(format!("{option}: {error}")))?;
        let after = if option == "--around" { before } else { 0 };
        Ok(Some(Self { option, filter, margins: Margins { before, after } }))
    }

    /// Limits a query to the time near the events, which are found in a pass of its own. Returns the report of that pass.
    ///
    /// # Errors
    /// The expression does not fit the captures, or too many events match.
    pub fn limit(&self, query: &mut Query, captures: &Captures) -> Result<ScanReport> {
        let within = (query.from, query.to);
        let found = captures.around(self.filter.clone(), self.margins, within);
        let (around, report) = found.map_err(usage)?;
        if around.is_empty() {
            message(format_args!("no event matches the expression of {}", self.option));
        }
        query.around = Some(around);
        Ok(report)
    }

    /// The error if there can only be one pass.
    pub fn needs_two_passes(&self) -> anyhow::Error {
        usage(format!(
            "{} reads a capture twice: save it to a file first (ktape capture -o FILE), and read that without --follow",
            self.option
        ))
    }
}
