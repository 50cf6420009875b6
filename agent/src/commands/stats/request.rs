//! The question of `ktape stats`: parsed from the arguments, and how its answer is printed.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context as _, Result};
use events::KindSet;
use jiff::tz::TimeZone;

use super::table::{Paper, terminal_width};
use super::{Format, StatsArgs, output, plot, view};
use crate::commands::selection::Selection;
use crate::commands::tree::is_utf8;
use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::model::Binding;
use ktape_reader::scan::Query;
use ktape_reader::stats::chart::Ink;
use ktape_reader::stats::text::Formatter;
use ktape_reader::stats::views::View;
use ktape_reader::stats::{Answer, Cell, Plan, Question, RELATIVE_ERROR, STANDARD_ERROR};
use ktape_reader::text::time::Span;
use ktape_reader::text::units::{self, count_text};

/// Rows of a table, unless more are wanted.
const ROWS: usize = 50;

/// The shortest `--interval`, ns.
const SHORTEST_INTERVAL: u64 = 100_000_000;

/// The shortest `--last`, ns: the recorder hands events over once a second.
const SHORTEST_LAST: u64 = 1_000_000_000;

/// What failed if the output cannot be written.
pub const CANNOT_WRITE: &str = "cannot write to standard output";

/// The parsed arguments, before anything has been read.
pub struct Parsed<'a> {
    pub args: &'a StatsArgs,
    pub selection: Selection,
    pub question: Question,
    pub view: Option<View>,
    /// How often the table of a running capture is shown.
    pub interval: Duration,
    /// The time that the answer about a running capture goes back, ns.
    pub last: Option<u64>,
}

impl<'a> Parsed<'a> {
    /// Parses all arguments but those that name captures.
    ///
    /// # Errors
    /// One of them is wrong.
    pub fn new(args: &'a StatsArgs, view: Option<View>, expression: Option<Filter>) -> Result<Self> {
        let selection = Selection::new(&args.selection, &args.zone, expression)?;
        let question = question(args, view.as_ref())?;
        // Wrong names end the command before anything is read.
        let plan = Plan::new(&question).map_err(usage)?;
        plan.hints().iter().for_each(message);
        let interval = units::duration(&args.interval).map_err(usage)?;
        if interval < SHORTEST_INTERVAL {
            return Err(usage(format!("--interval must be at least 100 ms, not `{}`", args.interval)));
        }
        let last = args.last.as_deref().map(units::duration).transpose().map_err(usage)?;
        if last.is_some_and(|last| last < SHORTEST_LAST) {
            return Err(usage("--last must be at least 1 s: events arrive once a second"));
        }
        if last.is_some() && !args.is_running() {
            return Err(usage(
                "--last is about a running capture (--live or -f); of a file, use --from -10s",
            ));
        }
        Ok(Self { args, selection, question, view, interval: Duration::from_nanos(interval), last })
    }

    /// The query on captures with this span.
    ///
    /// # Errors
    /// As [`Selection::query`].
    pub fn query(&self, span: &Span, is_call: impl Fn(&str) -> bool) -> Result<Query> {
        Ok(self.of_view(self.selection.query(span, is_call)?))
    }

    /// A query, and the events that the view is about.
    pub fn of_view(&self, mut query: Query) -> Query {
        if let Some(of_view) = self.view.as_ref().and_then(View::event_filter) {
            query.filter = Some(match query.filter.take() {
                Some(filter) => of_view.and(filter),
                None => of_view,
            });
        }
        query
    }

    /// The plan for captures with these headers. A heatmap has about 60 steps in `range`, ns.
    ///
    /// # Errors
    /// A column does not fit the captures.
    pub fn plan<'b>(
        &self,
        bindings: impl Iterator<Item = &'b Binding> + Clone,
        span: &Span,
        range: u64,
    ) -> Result<Plan> {
        let mut question = self.question.clone();
        question.utc_offset = span.utc_offset();
        if self.args.heatmap.is_some() && question.per.is_none() {
            question.per = Some(step(range));
        }
        let mut plan = Plan::new(&question).map_err(usage)?;
        plan.resolve(bindings, span).map_err(usage)?;
        Ok(plan)
    }

    /// Prints the answer, and what has to be known about it.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn print(&self, plan: &Plan, answer: &Answer, found: &Found<'_>) -> Result<()> {
        let out = text(self.args, plan, answer, found.zone);
        let mut stdout = io::stdout().lock();
        stdout.write_all(&out).and_then(|()| stdout.flush()).context(CANNOT_WRITE)?;
        drop(stdout);
        notes(plan, answer, found, self.args.format);
        let is_empty = answer.rows.is_empty();
        let is_explained =
            self.view.as_ref().is_some_and(|view| view::note_missing(view, plan, found.kinds, is_empty));
        if is_empty && !is_explained && self.args.format == Format::Table {
            message("no event matches");
        }
        Ok(())
    }
}

/// The answer as text.
pub fn text(args: &StatsArgs, plan: &Plan, answer: &Answer, zone: &TimeZone) -> Vec<u8> {
    let mut out = Vec::new();
    let ink = if is_utf8() { Ink::Unicode } else { Ink::Ascii };
    let paper = Paper { zone: zone.clone(), width: terminal_width(), ink };
    match args.format {
        Format::Table if args.heatmap.is_some() => plot::heatmap(plan, answer, &paper, &mut out),
        Format::Table if args.is_plot() => plot::table(plan, answer, &paper, &mut out),
        Format::Table => output::table(plan, answer, &paper, &mut out),
        Format::Csv => output::separated(plan, answer, output::Separator::Comma, &mut out),
        Format::Tsv => output::separated(plan, answer, output::Separator::Tab, &mut out),
        Format::Json => output::json(plan, answer, &mut out),
    }
    out
}

/// What is known of the captures that were read.
pub struct Found<'a> {
    /// The zone of times.
    pub zone: &'a TimeZone,
    /// The kinds of their events.
    pub kinds: KindSet,
    /// The time that they cover, and the time from the first to the last; `None` if it is almost the same.
    pub gaps: Option<(u64, u64)>,
}

/// The question of the view, with the parts that options replace.
fn question(args: &StatsArgs, view: Option<&View>) -> Result<Question> {
    let mut question = view.map(|view| view.table.clone()).unwrap_or_default();
    question.names = crate::commands::views::names()?;
    if !args.by.is_empty() || args.own.is_some_and(|own| own.is_grouped) {
        question.by.clone_from(&args.by);
        // What is left is the order by columns.
        question
            .sort
            .retain(|sort| view.is_some_and(|view| view.columns().any(|(title, _)| sort.starts_with(title))));
    }
    if !args.columns.is_empty() {
        question.columns.clone_from(&args.columns);
        (question.sort, question.having) = (Vec::new(), None);
    }
    if let Some(per) = &args.per {
        question.per = Some(units::duration(per).map_err(usage)?);
    }
    if question.per == Some(0) {
        return Err(usage("--per: the time step must be longer than 0"));
    }
    if args.having.is_some() {
        question.having.clone_from(&args.having);
    }
    if !args.sort.is_empty() {
        question.sort.clone_from(&args.sort);
    } else if args.per.is_some() {
        // In the order of time.
        question.sort.clear();
    }
    let powers = args.histogram.as_ref().or(args.heatmap.as_ref()).map(|field| format!("log2({field})"));
    if let Some(powers) = powers {
        question.by = vec![powers.clone()];
        question.sort = vec![powers];
        if args.heatmap.is_some() {
            // The first column decides what is dark.
            question.sort.clear();
        }
    }
    let is_drawn = args.histogram.is_some() || args.heatmap.is_some();
    if args.format != Format::Table && (is_drawn || args.plot) {
        return Err(usage(
            "pictures are only in tables: leave --format away, or use --by 'log2(FIELD)' and --per",
        ));
    }
    question.top = match args.top {
        None if is_drawn => None,
        Some(0) => None,
        None => question.top.or((args.format == Format::Table).then_some(ROWS)),
        top => top,
    };
    Ok(question)
}

/// A time step for about 60 steps in a range, both in ns.
fn step(range: u64) -> u64 {
    const SECOND: u64 = 1_000_000_000;
    let decimal = (0..10).flat_map(|power| [1, 2, 5].map(|digit| digit * 10u64.pow(power)));
    let coarse = [15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400].map(|s| s * SECOND);
    let steps = decimal.filter(|step| *step <= 10 * SECOND).chain(coarse);
    { steps }.find(|step| range / step <= 60).unwrap_or(86_400 * SECOND)
}

/// What has to be known about the numbers.
fn notes(plan: &Plan, answer: &Answer, found: &Found<'_>, format: Format) {
    if let Some((covered, range)) = found.gaps.filter(|_| plan.has_rates()) {
        message(format_args!(
            "the captures cover {} of {}; rates are per second of all of it",
            units::duration_text(covered),
            units::duration_text(range)
        ));
    }
    if answer.more > 0 && format == Format::Table {
        message(format_args!("{} more groups; --top 0 prints all", count_text(answer.more as u64)));
    }
    if answer.is_bounded {
        let (kept_by, unit) = plan.kept_by();
        let most = Formatter::of(plan, answer, found.zone).cell(&Cell::Real(answer.undercount), unit);
        message(format_args!(
            "there are more groups than fit into memory: the least of them are together in rows `other`, and numbers of \
             the rest may be too low, their {kept_by} by at most {most}"
        ));
    }
    if answer.is_estimate {
        message(format_args!(
            "numbers of different values above {} are estimates, with a standard error of {:.1} %",
            count_text(ktape_reader::stats::EXACT as u64),
            STANDARD_ERROR * 100.0
        ));
    }
    const { assert!(RELATIVE_ERROR == 0.01, "the help has this number") };
}
