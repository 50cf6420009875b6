//! The request of `ktape replay`: parsed from the arguments, then run.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use capture_format::StreamReader;
use jiff::tz::TimeZone;

use super::{ReplayArgs, output};
use crate::commands::inputs;
use crate::commands::selection::{Selection, query_error};
use crate::session::scan_line::with_line;
use crate::usage::usage;
use ktape_reader::scan::follow::Follower;
use ktape_reader::scan::stream::{self, StreamError};
use ktape_reader::scan::{CaptureSet, EventSink, Input, Playback, Query, ScanProgress, ScanReport};
use ktape_reader::text::time::{self, Span};

/// The parsed arguments, before anything has been read.
pub struct Replay<'a> {
    args: &'a ReplayArgs,
    paths: Vec<PathBuf>,
    selection: Selection,
    pace: Option<Playback>,
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
        Ok(Self { args, paths, selection, pace })
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
        let captures = self.selection.open(set)?;
        let (query, first_pass) = self.selection.query_on(&captures)?;
        no_derived(&query)?;
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
        self.selection.check_one_pass()?;
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
        no_derived(&query)?;
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

/// Events that are computed from others are for `ktape stats`.
fn no_derived(query: &Query) -> Result<()> {
    let Some(kind) = query.filter.as_ref().and_then(|filter| filter.derived().iter().next()) else {
        return Ok(());
    };
    let from: Vec<&str> = kind.computed_from().iter().map(|from| from.decl().name).collect();
    let name = kind.decl().name;
    Err(usage(format!(
        "{name} events are computed from others: use ktape stats -e {name}, or replay those that they follow from: -e {}",
        from.join(",")
    )))
}
