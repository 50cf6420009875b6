//! Where the events of `ktape stats` come from: files, a pipe, a file that grows, or the recorder.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::request::{Found, Parsed};
use super::{StatsArgs, live, stream, view};
use crate::commands::selection::query_error;
use crate::commands::{inputs, report};
use crate::session::scan_line::with_line;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::{CaptureSet, Input, ScanProgress};
use ktape_reader::stats::views::recorded_kinds;

/// Answers the question.
///
/// # Errors
/// The arguments are wrong, a capture cannot be read, or the output cannot be written.
pub fn run(args: &StatsArgs) -> Result<ExitCode> {
    if args.live {
        let (expression, view) = view::split_live(args)?;
        let expression = expression.as_deref().map(Filter::parse).transpose().map_err(usage)?;
        return live::run(&Parsed::new(args, view, expression)?);
    }
    let (inputs, view) = view::split(args)?;
    let (paths, expression) = inputs::split(args.command(), &inputs)?;
    let parsed = Parsed::new(args, view, expression)?;
    if args.follow && !paths.iter().any(|path| path == Path::new("-")) {
        let [path] = &paths[..] else {
            return Err(usage("--follow takes exactly one file or directory"));
        };
        return stream::follow(&parsed, path);
    }
    match Input::open(&paths)? {
        Input::Files(set) => files(&parsed, set),
        Input::Pipe => stream::stdin(&parsed),
    }
}

fn files(parsed: &Parsed<'_>, set: CaptureSet) -> Result<ExitCode> {
    let captures = parsed.selection.open(set)?;
    let (query, first_pass) = parsed.selection.query_on(&captures)?;
    let query = parsed.of_view(query);
    let span = captures.span();
    let range = query.from.unwrap_or(span.start)..query.to.or(span.end).unwrap_or(span.start);
    let bindings = captures.files().iter().flat_map(|capture| &capture.bindings);
    let range = range.end.saturating_sub(range.start).unsigned_abs();
    let plan = parsed.plan(bindings.map(AsRef::as_ref), span, range)?;
    let progress = ScanProgress::default();
    let search = captures.query(query).map_err(query_error)?.with_progress(&progress);
    let (answer, mut scanned) = with_line(&progress, || search.answer(&plan));
    if let Some(first_pass) = first_pass {
        scanned.damaged.add_pass(&first_pass.damaged);
    }
    let gaps = captures.gaps(answer.range);
    parsed.print(&plan, &answer, &Found { zone: &span.zone, kinds: recorded_kinds(&captures), gaps })?;
    Ok(report::finish(&scanned, parsed.args.strict))
}
