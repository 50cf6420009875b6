//! The question of `ktape stats`: parsed from the arguments, then answered.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use anyhow::{Result, bail};

use super::{Format, StatsArgs, output};
use crate::commands::selection::{Selection, query_error};
use crate::commands::{inputs, report};
use crate::session::messages::message;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::Input;
use ktape_reader::stats::{Answer, Plan, Question, RELATIVE_ERROR, STANDARD_ERROR};
use ktape_reader::text::units::{self, count_text};

/// Rows of a table, unless more are wanted.
const ROWS: usize = 50;

/// Answers the question.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or the output cannot be written.
pub fn run(args: &StatsArgs) -> Result<ExitCode> {
    let (paths, positional) = inputs::split("stats", &args.inputs)?;
    let selection = Selection::new(&args.selection, &args.zone, positional)?;
    let question = question(args)?;
    // Wrong names end the command before anything is read.
    let plan = Plan::new(&question).map_err(usage)?;
    plan.conditions().iter().flat_map(Filter::hints).for_each(message);
    let Input::Files(set) = Input::open(&paths)? else {
        bail!(
            "`ktape stats` cannot read standard input: save the capture to a file first (ktape capture -o FILE)"
        );
    };
    let captures = selection.open(set, 0)?;
    let query = selection.query_on(&captures)?;
    let span = captures.span();
    let mut plan = Plan::new(&Question { utc_offset: span.utc_offset(), ..question }).map_err(usage)?;
    let bindings = captures.files().iter().flat_map(|capture| &capture.bindings);
    plan.resolve(bindings.map(AsRef::as_ref), span).map_err(usage)?;
    let search = captures.query(query).map_err(query_error)?;
    let (answer, scanned) = search.answer(&plan);
    let mut out = Vec::new();
    match args.format {
        Format::Table => output::table(&plan, &answer, &span.zone, super::table::terminal_width(), &mut out),
        Format::Csv => output::separated(&plan, &answer, output::Separator::Comma, &mut out),
        Format::Tsv => output::separated(&plan, &answer, output::Separator::Tab, &mut out),
        Format::Json => output::json(&plan, &answer, &mut out),
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&out)?;
    stdout.flush()?;
    notes(&answer, args.format);
    Ok(report::finish(&scanned, args.strict))
}

fn question(args: &StatsArgs) -> Result<Question> {
    let per = args.per.as_deref().map(units::duration).transpose().map_err(usage)?;
    if per == Some(0) {
        return Err(usage("--per: the time step must be longer than 0"));
    }
    let top = match args.top {
        Some(0) => None,
        None => (args.format == Format::Table).then_some(ROWS),
        top => top,
    };
    Ok(Question {
        by: args.by.clone(),
        names: BTreeMap::new(),
        per,
        utc_offset: 0,
        columns: args.columns.clone(),
        having: args.having.clone(),
        sort: args.sort.clone(),
        top,
    })
}

/// What has to be known about the numbers.
fn notes(answer: &Answer, format: Format) {
    if answer.more > 0 && format == Format::Table {
        message(format_args!("{} more groups; --top 0 prints all", count_text(answer.more as u64)));
    }
    if answer.other.is_some() {
        message(format_args!(
            "there are more groups than fit into memory: the least of them are together in the last row, and numbers of \
             others may be too low, those of the leading column by at most {}",
            count_text(answer.undercount as u64)
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
