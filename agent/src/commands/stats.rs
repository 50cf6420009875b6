//! `ktape stats`: groups, counts and sums events of captures.

mod arriving;
mod live;
mod output;
mod plot;
mod request;
mod screen;
mod sources;
mod stream;
mod table;
mod view;

pub use table::terminal_width;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;

use super::allocator;
use super::selection::{SelectionOptions, ZoneOptions, times};
use crate::session::options::{OUTPUT, selectors};
use crate::store::output::is_broken_pipe;
use crate::usage::usage;
use ktape_reader::scan::container_match::Ambiguous;

const WHAT: &str = "Groups and columns";

const PICTURES: &str = "Pictures";

const RUNNING: &str = "Running captures";

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
  ktape stats web.ktape --before 'evt.type = oom' 500ms --by proc.name
  ktape stats web.ktape 'evt.type = fsync' --histogram evt.latency
  ktape stats web.ktape --by container.name --per 1s --plot
  ktape stats -f web.ktape --by proc.name --last 10s
  ktape stats --live -d 30s files 'proc.name = nginx'
  ktape stats --live --by syscall.type -- make
  ktape capture -o - | ktape stats - --by proc.name"
);

/// Arguments of `ktape stats`.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct StatsArgs {
    /// Captures, directories of captures or `-` for stdin, then the name of a view (see Views) [default: overview], then a filter expression
    #[arg(value_name = "FILE|VIEW|EXPR", required_unless_present = "live")]
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
    /// Record, and answer the question about what happens from now on, without a file: `ktape stats --live [VIEW] [EXPR]`
    #[arg(long, conflicts_with_all = ["follow", "from", "to"], help_heading = RUNNING)]
    live: bool,
    /// With --live: stop after this time, such as 30s or 10m [default: run until Ctrl-C]
    #[arg(short, long, value_name = "DURATION", requires = "live", help_heading = RUNNING)]
    duration: Option<String>,
    /// Read on while the file grows and show the table again and again; for a directory, follow the newest file and its
    /// successors
    #[arg(short, long, help_heading = RUNNING)]
    follow: bool,
    /// How often the table is shown again
    #[arg(long, value_name = "TIME", default_value = "2s", help_heading = RUNNING)]
    interval: String,
    /// Only the events that ended in the last TIME
    #[arg(long, value_name = "TIME", help_heading = RUNNING)]
    last: Option<String>,
    /// Exit with code 3 if events that could match were lost, or if data is damaged
    #[arg(long, help_heading = OUTPUT)]
    strict: bool,
    /// Options of --live.
    #[command(flatten)]
    recorder: live::RecorderOptions,
    /// With --live: run this command, count only what it and its descendants do, and stop when it exits
    #[arg(last = true, value_name = "COMMAND", requires = "live")]
    command: Vec<OsString>,
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

    /// Whether the events are those of a capture that goes on.
    fn is_running(&self) -> bool {
        self.follow || self.live
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
    allocator::keep_memory();
    match sources::run(args) {
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) if error.is::<Ambiguous>() => Err(usage(error)),
        result => result,
    }
}
