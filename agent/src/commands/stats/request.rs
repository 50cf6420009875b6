//! The question of `ktape stats`: parsed from the arguments, then answered.

use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use super::table::{Paper, terminal_width};
use super::{Format, StatsArgs, output, plot, view};
use crate::commands::selection::{Selection, query_error};
use crate::commands::tree::is_utf8;
use crate::commands::{inputs, report};
use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::scan::{Captures, Input};
use ktape_reader::stats::chart::Ink;
use ktape_reader::stats::text::Formatter;
use ktape_reader::stats::views::View;
use ktape_reader::stats::{Answer, Cell, Plan, Question, RELATIVE_ERROR, STANDARD_ERROR};
use ktape_reader::text::units::{self, count_text};

/// Rows of a table, unless more are wanted.
const ROWS: usize = 50;

/// Answers the question.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or the output cannot be written.
pub fn run(args: &StatsArgs) -> Result<ExitCode> {
    let (inputs, view) = view::split(args)?;
    let (paths, positional) = inputs::split(args.command(), &inputs)?;
    let selection = Selection::new(&args.selection, &args.zone, positional)?;
    let mut question = question(args, view.as_ref())?;
    // Wrong names end the command before anything is read.
    let plan = Plan::new(&question).map_err(usage)?;
    plan.hints().iter().for_each(message);
    let Input::Files(set) = Input::open(&paths)? else {
        bail!(
            "`ktape {}` cannot read standard input: save the capture to a file first (ktape capture -o FILE)",
            args.command()
        );
    };
    let captures = selection.open(set, 0)?;
    let mut query = selection.query_on(&captures)?;
    if let Some(of_view) = view.as_ref().and_then(View::event_filter) {
        query.filter = Some(match query.filter.take() {
            Some(filter) => of_view.and(filter),
            None => of_view,
        });
    }
    let span = captures.span();
    question.utc_offset = span.utc_offset();
    if args.heatmap.is_some() && question.per.is_none() {
        let range = query.from.unwrap_or(span.start)..query.to.or(span.end).unwrap_or(span.start);
        question.per = Some(step(range.end.saturating_sub(range.start).unsigned_abs()));
    }
    let mut plan = Plan::new(&question).map_err(usage)?;
    let bindings = captures.files().iter().flat_map(|capture| &capture.bindings);
    plan.resolve(bindings.map(AsRef::as_ref), span).map_err(usage)?;
    let search = captures.query(query).map_err(query_error)?;
    let (answer, scanned) = search.answer(&plan);
    let mut out = Vec::new();
    let ink = if is_utf8() { Ink::Unicode } else { Ink::Ascii };
    let paper = Paper { zone: span.zone.clone(), width: terminal_width(), ink };
    match args.format {
        Format::Table if args.heatmap.is_some() => plot::heatmap(&plan, &answer, &paper, &mut out),
        Format::Table if args.is_plot() => plot::table(&plan, &answer, &paper, &mut out),
        Format::Table => output::table(&plan, &answer, &paper, &mut out),
        Format::Csv => output::separated(&plan, &answer, output::Separator::Comma, &mut out),
        Format::Tsv => output::separated(&plan, &answer, output::Separator::Tab, &mut out),
        Format::Json => output::json(&plan, &answer, &mut out),
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out).and_then(|()| stdout.flush()).context("cannot write to standard output")?;
    let is_empty = answer.rows.is_empty();
    notes(&plan, &answer, &captures, args.format);
    let is_explained = view.as_ref().is_some_and(|view| view::note_missing(view, &plan, &captures, is_empty));
    if is_empty && !is_explained && args.format == Format::Table {
        message("no event matches");
    }
    Ok(report::finish(&scanned, args.strict))
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
fn notes(plan: &Plan, answer: &Answer, captures: &Captures, format: Format) {
    if let Some((covered, range)) = plan.has_rates().then(|| captures.gaps(answer.range)).flatten() {
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
        let most =
            Formatter::of(plan, answer, &captures.span().zone).cell(&Cell::Real(answer.undercount), unit);
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
