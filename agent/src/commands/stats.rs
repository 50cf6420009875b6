//! `ktape stats`: groups, counts and sums events of captures.

mod output;
mod plot;
mod request;
mod table;
mod view;

pub use table::terminal_width;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::selection::{SelectionOptions, ZoneOptions, times};
use crate::session::options::{OUTPUT, selectors};
use crate::store::output::is_broken_pipe;
use crate::usage::usage;
use ktape_reader::scan::container_match::Ambiguous;

const WHAT: &str = "Groups and columns";

const PICTURES: &str = "Pictures";

const AFTER_HELP: &str = concat!(
    "\
Views:
  files, errors, containers, block, ...     answers to common questions: `ktape
                                            views` lists them, and explains how
                                            to write one

Groups:
  proc.name, container.name, fd.name, ...   any field, see `ktape fields`
  container.label[app], host.label[zone]    labels
  host.label[zone]/k8s.ns.name/proc.name    a tree, each row with the sum of what is
                                            below it
  fd.directory[2]                           the first two components of a path
  log2(evt.latency)                         powers of two

Columns:
  count                        events; count(FIELD): those that have the field
  sum, avg, min, max, stddev   of a field: sum(evt.buflen)
  p50, p99, p99.9, ...         percentiles, at most 1 % off: p99(evt.latency)
  distinct                     different values, exact up to 4,096
  first, last, any             the value of the first or last event
  rate, rate(FIELD)            events, or the sum of a field, per second
  share, share(FIELD)          part of all events, or of the sum of a field
  sum(FIELD if EXPR)           only of events that match
  count(EXPR)                  only events that match
  a / b, a * 100, a - b        arithmetic between them
  TITLE = ...                  gives a column a title

",
    times!(),
    selectors!(),
    "
Examples:
  ktape stats web.ktape
  ktape stats web.ktape files 'proc.name = nginx'
  ktape stats web.ktape --by proc.name
  ktape stats web.ktape 'evt.is_io = true' --by fd.name -c 'sum(evt.buflen)'
  ktape stats web.ktape --by syscall.type -c 'count,p99(evt.latency)'
  ktape stats web.ktape -e connect --by container.name --per 1s -c rate
  ktape stats web.ktape --by proc.name -c 'failed = count(evt.failed = true)'
  ktape stats web.ktape --by proc.name --having 'count > 1000' --format csv
  ktape stats web.ktape 'evt.type = fsync' --histogram evt.latency
  ktape stats web.ktape --by container.name --per 1s --plot"
);

/// Arguments of `ktape stats`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct StatsArgs {
    /// Captures or directories of captures, then the name of a view (see Views) [default: overview], then a filter expression
    #[arg(value_name = "FILE|VIEW|EXPR", required = true)]
    inputs: Vec<OsString>,
    /// Answer the question of the view in this file; the options below replace its parts
    #[arg(long, value_name = "FILE", help_heading = WHAT)]
    view: Option<PathBuf>,
    /// Group by these fields, separated by commas (see Groups) [default: one row for all events]
    #[arg(long, value_name = "FIELDS", help_heading = WHAT)]
    by: Vec<String>,
    /// Group by time, too, in steps of TIME, such as 1s or 5m
    #[arg(long, value_name = "TIME", help_heading = WHAT)]
    per: Option<String>,
    /// What to compute for each group, separated by commas (see Columns) [default: count,rate,share]
    #[arg(short, long, value_name = "LIST", help_heading = WHAT)]
    columns: Vec<String>,
    /// Only groups of which this is true, such as 'count > 100 and p99(evt.latency) > 5ms'
    #[arg(long, value_name = "COMPARISON", help_heading = WHAT)]
    having: Option<String>,
    /// Order by these columns or fields, separated by commas, each optionally with :asc or :desc [default: by time, then by
    /// the first column, greatest first]
    #[arg(long, value_name = "LIST", help_heading = WHAT)]
    sort: Vec<String>,
    /// Only the first N groups; 0: all. With --per, those that come first over the whole time [default: 50 in tables]
    #[arg(short = 'n', long, value_name = "N", help_heading = WHAT)]
    top: Option<usize>,
    /// Draw the first column: as a bar for each row, or with --per and other groups as a line over time
    #[arg(long, help_heading = PICTURES)]
    plot: bool,
    /// Group by powers of two of this field and draw a bar for each
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["by", "per", "view", "heatmap", "sort"], help_heading = PICTURES)]
    histogram: Option<String>,
    /// Draw powers of two of this field over time, darker where there is more of the first column; --per sets the time step
    #[arg(long, value_name = "FIELD", conflicts_with_all = ["by", "view", "sort", "top"], help_heading = PICTURES)]
    heatmap: Option<String>,
    /// Which events.
    #[command(flatten)]
    selection: SelectionOptions,
    /// Output format: table, csv (with a header line), tsv or json (one JSON object per line); the last three have numbers in ns
    /// and bytes, without units
    #[arg(long, value_enum, default_value_t, hide_possible_values = true, help_heading = OUTPUT)]
    format: Format,
    /// The zone of times.
    #[command(flatten)]
    zone: ZoneOptions,
    /// Exit with code 3 if events that could match were lost, or if data is damaged
    #[arg(long, help_heading = OUTPUT)]
    strict: bool,
    /// The view that a command of its own stands for.
    #[arg(skip)]
    own: Option<OwnView>,
}

/// The view of a command that is a question of `ktape stats`.
#[derive(Clone, Copy, Debug)]
struct OwnView {
    /// Its name, which is that of the command.
    name: &'static str,
    /// Whether the options stand for its groups, even if they name none.
    is_grouped: bool,
}

impl StatsArgs {
    /// Makes it the question of a command with the name of a view; with `is_grouped`, without the groups of the view.
    pub(super) fn answer(&mut self, name: &'static str, is_grouped: bool) {
        self.own = Some(OwnView { name, is_grouped });
    }

    /// Whether the output is a table.
    pub(super) fn is_table(&self) -> bool {
        self.format == Format::Table
    }

    /// Whether groups are given that are not those of a view.
    pub(super) fn is_grouped(&self) -> bool {
        !self.by.is_empty() || self.per.is_some() || self.histogram.is_some() || self.heatmap.is_some()
    }

    /// Whether columns are given.
    pub(super) fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Groups, unless some are given.
    pub(super) fn set_by(&mut self, by: &str) {
        if self.by.is_empty() {
            self.by.push(by.to_owned());
        }
    }

    /// Columns, unless some are given.
    pub(super) fn set_columns(&mut self, columns: Vec<String>) {
        if self.columns.is_empty() {
            self.columns = columns;
        }
    }

    /// The name of the command.
    fn command(&self) -> &'static str {
        self.own.map_or("stats", |own| own.name)
    }

    /// Whether a table has pictures.
    fn is_plot(&self) -> bool {
        self.plot || self.histogram.is_some()
    }
}

/// The values of `--format`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Aligned columns, with units.
    #[default]
    Table,
    /// One object per line.
    Json,
    /// With a header line.
    Csv,
    /// The same, separated by tabs.
    Tsv,
}

/// Prints the answer.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or the output cannot be written.
pub fn run(args: &StatsArgs) -> Result<ExitCode> {
    match request::run(args) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ambiguous>() => Err(usage(error)),
        result => result,
    }
}
