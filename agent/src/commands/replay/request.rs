//! The request of `ktape replay`: parsed from the arguments, then run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use capture_format::StreamReader;
use jiff::tz::TimeZone;

use super::{ReplayArgs, output};
use crate::commands::inputs;
use crate::commands::selection::{Selection, check_ids, query_error};
use crate::session::messages::message;
use crate::session::scan_line::with_line;
use crate::usage::usage;
use ktape_reader::filter::Filter;
use ktape_reader::scan::follow::Follower;
use ktape_reader::scan::stream::{self, StreamError};
use ktape_reader::scan::{CaptureSet, EventSink, Input, Playback, ScanProgress, ScanReport};
use ktape_reader::text::time::{self, Span};
use ktape_reader::text::units;

/// The parsed arguments, before anything has been read.
pub struct Replay<'a> {
    args: &'a ReplayArgs,
    paths: Vec<PathBuf>,
    selection: Selection,
    pace: Option<Playback>,
    around: Option<AroundOption>,
}

/// The values of `--around`.
struct AroundOption {
    filter: Filter,
    /// Time before and after each event that passes, ns.
    margin: u64,
}

impl AroundOption {
    fn parse(values: &[String]) -> Result<Option<Self>> {
        let [expression, time] = values else { return Ok(None) };
        let filter = Filter::parse(expression).map_err(|error| usage(format!("--around: {error}")))?;
        filter.hints().iter().for_each(message);
        let margin = units::duration(time).map_err(|error| usage(format!("--around: {error}")))?;
        Ok(Some(Self { filter, margin }))
    }
}

impl<'a> Replay<'a> {
    /// Parses the arguments.
    ///
    /// # Errors
    /// An argument is wrong.
    pub fn new(args: &'a ReplayArgs) -> Result<Self> {
        let (paths, positional) = inputs::split("replay", &args.inputs)?;
        let selection = Selection::new(&args.selection, &args.zone, positional)?;
        let pace = match &args.speed {
            Some(text) => Some(Playback::parse(text).ok_or_else(|| {
                usage(format!("`{text}` is not a speed; use a factor such as 1x, 0.5x or 10x"))
            })?),
            None => None,
        };
        // Wrong names end the command before anything is read.
        args.output.view(TimeZone::UTC)?;
        let around = AroundOption::parse(args.around.as_deref().unwrap_or_default())?;
        Ok(Self { args, paths, selection, pace, around })
    }

    /// Reads the captures and prints or copies what matches.
    ///
    /// # Errors
    /// A capture cannot be read, the output cannot be written, or an argument does not fit the captures.
    pub fn run(self) -> Result<ExitCode> {
        if self.args.follow && !self.paths.iter().any(|path| path == Path::new("-")) {
            let [path] = &self.paths[..] else {
                return Err(usage("--follow takes exactly one file or directory"));
            };
            let (follower, name) = (Follower::open(path)?, path.display().to_string());
            return self.stream(follower, &name);
        }
        match Input::open(&self.paths)? {
            Input::Files(set) => self.files(set),
            Input::Pipe => self.stream(io::stdin().lock(), "standard input"),
        }
    }

    fn files(mut self, set: CaptureSet) -> Result<ExitCode> {
        // Events outside the range may be those that others are around.
        let margin = self.around.as_ref().map_or(0, |around| around.margin);
        let captures = self.selection.open(set, margin)?;
        let mut query = self.selection.query_on(&captures)?;
        if let Some(around) = &self.around {
            check_ids(&around.filter, &captures)?;
        }
        let mut first_pass = None;
        if let Some(around) = &self.around {
            let within = (query.from, query.to);
            let (around, report) =
                captures.around(around.filter.clone(), around.margin, within).map_err(usage)?;
            if around.is_empty() {
                message("no event matches the expression of --around");
            }
            query.around = Some(around);
            first_pass = Some(report);
        }
        let progress = ScanProgress::default();
        let search = captures.query(query).map_err(query_error)?.with_progress(&progress);
        let mut report = if let Some(path) = &self.args.write {
            with_line(&progress, || output::copy(path, self.args.force, &search))?
        } else if self.args.count {
            with_line(&progress, || search.count())
        } else {
            search.send(&mut output::sink(self.args, captures.span().zone.clone(), self.pace.take())?)?
        };
        if let Some(first_pass) = first_pass {
            report.damaged.add_pass(&first_pass.damaged);
        }
        output::finish(self.args, &report)
    }

    fn stream(mut self, from: impl io::Read, name: &str) -> Result<ExitCode> {
        if self.around.is_some() {
            return Err(usage(
                "--around reads a capture twice: save it to a file first (ktape capture -o FILE), and replay that without --follow",
            ));
        }
        if self.args.write.is_some() {
            return Err(usage(
                "--write cannot copy standard input: save the capture to a file first (ktape capture -o FILE)",
            ));
        }
        let mut reader = StreamReader::new(from);
        let mut report = ScanReport::default();
        let header = stream::first_header(&mut reader, &mut report)
            .with_context(|| format!("cannot read a capture from {name}"))?;
        let zone = self.selection.zone.clone();
        let zone = zone.unwrap_or_else(|| time::host_zone(&header.time_zone, header.utc_offset));
        let span = Span { start: header.created, end: None, zone };
        let calls = ktape_reader::model::Calls::new(&header);
        let query = self.selection.query(&span, |name| calls.has(name))?;
        let sink = || output::sink(self.args, span.zone, self.pace.take());
        let mut sink = (!self.args.count).then(sink).transpose()?;
        let sink = sink.as_mut().map(|s| s as &mut dyn EventSink);
        stream::replay_stream(&mut reader, header, query, sink, &mut report).map_err(|e| match e {
            StreamError::Ambiguous(ambiguous) => ambiguous.into(),
            StreamError::Unknown(unknown) => usage(unknown),
            other => anyhow::Error::from(other),
        })?;
        output::finish(self.args, &report)
    }
}
