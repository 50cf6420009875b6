//! The question on a capture that comes through a pipe, or grows.

use std::io::{self, Read};
use std::iter;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};
use capture_format::StreamReader;

use super::arriving::{Arriving, Subject};
use super::request::Parsed;
use crate::session::interrupt::{Interrupt, InterruptiblePipe};
use crate::usage::usage;
use ktape_reader::model::Binding;
use ktape_reader::scan::follow::Follower;
use ktape_reader::scan::stream::{self, StreamError};
use ktape_reader::scan::{ArrivedChunk, ScanReport, scan_stream};
use ktape_reader::text::time::{self, Span};

/// The time that a heatmap is about if its end is not known, ns.
pub const HEATMAP_RANGE: u64 = 60_000_000_000;

/// Answers the question about what comes through standard input.
///
/// # Errors
/// It is not a capture, an argument does not fit it, or the output cannot be written.
pub fn stdin(parsed: &Parsed<'_>) -> Result<ExitCode> {
    let interrupt = Interrupt::catch()?;
    let pipe = InterruptiblePipe::new(io::stdin().lock(), interrupt);
    // After a signal, a pipe is read to its end.
    answer(parsed, pipe, "standard input", Arc::default())
}

/// Answers the question about a file that grows, or the newest file of a directory and its successors.
///
/// # Errors
/// As [`stdin`].
pub fn follow(parsed: &Parsed<'_>, path: &Path) -> Result<ExitCode> {
    let follower = Follower::open(path)?;
    let interrupt = Interrupt::catch()?;
    let stop = interrupt.flag();
    answer(parsed, follower.until(stop.clone()), &path.display().to_string(), stop)
}

fn answer(parsed: &Parsed<'_>, from: impl Read, name: &str, stop: Arc<AtomicBool>) -> Result<ExitCode> {
    parsed.selection.check_one_pass()?;
    let mut reader = StreamReader::new(from);
    let mut report = ScanReport::default();
    let header = stream::first_header(&mut reader, &mut report)
        .with_context(|| format!("cannot read a capture from {name}"))?;
    let zone = parsed.selection.zone.clone();
    let zone = zone.unwrap_or_else(|| time::host_zone(&header.time_zone, header.utc_offset));
    let span = Span { start: header.created, end: None, zone };
    let binding = Binding::new(header.clone());
    let query = parsed.query(&span, |name| binding.calls.has(name))?;
    let plan = parsed.plan(iter::once(&binding), &span, HEATMAP_RANGE)?;
    let wanted = plan.wanted();
    let subject = Subject {
        query: query.clone(),
        start: span.start,
        zone: span.zone,
        is_shown: parsed.args.follow,
        stop,
    };
    let arriving = Arriving::new(parsed, plan, subject)?;
    let taker = arriving.taker();
    let take = |chunk: &ArrivedChunk<'_>| taker.take(chunk);
    scan_stream(&mut reader, header, (query, wanted), &mut report, take).map_err(|error| match error {
        StreamError::Ambiguous(ambiguous) => ambiguous.into(),
        StreamError::Unknown(unknown) => usage(unknown),
        other => anyhow::Error::from(other),
    })?;
    arriving.finish(parsed, &report)
}
