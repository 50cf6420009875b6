//! A capture replayed while it arrives through a pipe. Each chunk is shown at once, so late events are not put in
//! order; `evt.late` marks them.

use std::io::{self, Read};
use std::iter;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use capture_format::{ChunkSummary, FormatError, Header, StreamItem, StreamReader};

use crate::derive::Wanted;
use crate::filter::ParseError;
use crate::model::Binding;

use super::container_match::{Ambiguous, KnownContainers};
use super::incoming::{ArrivedChunk, Incoming};
use super::open::MatchedChunk;
use super::query::{ChunkRelevance, Query};
use super::report::ScanReport;
use super::sink::EventSink;

/// Why a stream could not be replayed to the end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Reading failed, or the stream is not a capture.
    #[error("cannot read the capture from standard input: {0}")]
    Format(#[from] FormatError),
    /// The sink failed.
    #[error("cannot write: {0}")]
    Sink(#[from] io::Error),
    /// A prefix of a container id fits several containers.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
    /// An expression names an event, a syscall or an argument that the first segment does not have.
    #[error(transparent)]
    Unknown(#[from] ParseError),
}

/// Reads up to the first header.
///
/// # Errors
/// If the stream has none.
pub fn first_header<R: Read>(
    reader: &mut StreamReader<R>,
    report: &mut ScanReport,
) -> Result<Arc<Header>, FormatError> {
    loop {
        match reader.next_item()? {
            Some(StreamItem::Header(header)) => return Ok(header),
            Some(StreamItem::Damage(damage)) => report.damaged.add(Path::new("-"), u64::MAX, &[damage]),
            Some(_) => {}
            None => return Err(FormatError::NotACapture),
        }
    }
}

/// Passes the matching events that arrive after `header` to `sink`.
///
/// # Errors
/// If reading or the sink fails, a prefix of a container id becomes ambiguous, or an expression names what the first
/// segment does not have.
pub fn replay_stream<R: Read>(
    reader: &mut StreamReader<R>,
    header: Arc<Header>,
    query: Query,
    mut sink: Option<&mut dyn EventSink>,
    report: &mut ScanReport,
) -> Result<(), StreamError> {
    let mut incoming = Incoming::new(Binding::new(header), query);
    each_chunk(reader, &mut incoming, report, |incoming, _, open, _| match (open, &mut sink) {
        (Some(open), Some(sink)) => incoming.send(open, *sink),
        _ => Ok(ControlFlow::Continue(())),
    })?;
    if let Some(sink) = sink {
        sink.flush()?;
    }
    Ok(())
}

/// Passes the chunks that arrive after `header` to `take` until it wants no more, with the events that match, and those that are
/// computed from others, if some are wanted. Only the columns that are used are decoded.
///
/// # Errors
/// If reading fails, a prefix of a container id becomes ambiguous, or an expression names what the first segment does not
/// have.
pub fn scan_stream<R: Read>(
    reader: &mut StreamReader<R>,
    header: Arc<Header>,
    (query, wanted): (Query, Wanted),
    report: &mut ScanReport,
    mut take: impl FnMut(&ArrivedChunk<'_>) -> ControlFlow<()>,
) -> Result<(), StreamError> {
    let mut incoming = Incoming::new(Binding::new(header), query).undecoded().deriving(wanted);
    each_chunk(reader, &mut incoming, report, |incoming, summary, open, report| {
        let open = open.map(|open| incoming.with_derived(open, report)).unwrap_or_default();
        Ok(incoming.pass(summary, &open, report, &mut take))
    })?;
    let _ = incoming.pass_end(report, &mut take);
    Ok(())
}

/// Reads to the end and passes each chunk to `take`, without its events if it has none that match.
fn each_chunk<R: Read>(
    reader: &mut StreamReader<R>,
    incoming: &mut Incoming,
    report: &mut ScanReport,
    mut take: impl FnMut(
        &mut Incoming,
        &ChunkSummary,
        Option<MatchedChunk>,
        &mut ScanReport,
    ) -> io::Result<ControlFlow<()>>,
) -> Result<(), StreamError> {
    if let Some(filter) = &incoming.query.filter {
        filter.check(iter::once(incoming.binding.as_ref()))?;
    }
    let mut known = KnownContainers::default();
    while let Some(item) = reader.next_item()? {
        match item {
            StreamItem::Header(header) => incoming.binding = Arc::new(Binding::new(header)),
            StreamItem::Metadata(records) => {
                records.iter().for_each(|record| incoming.names.add(record));
                resolve(incoming, &known)?;
            }
            StreamItem::Chunk(chunk) => {
                let (_, bytes) = chunk.place();
                if learn(&chunk, &incoming.binding, &mut known) {
                    resolve(incoming, &known)?;
                }
                let summary = chunk.summary().clone();
                let relevance = incoming.query.relevance(&incoming.binding, &summary);
                let open = if relevance == ChunkRelevance::Skip && !incoming.needs_all() {
                    incoming.pass_over(&chunk);
                    None
                } else {
                    match incoming.open(chunk, relevance, &mut report.lost) {
                        Ok(open) => {
                            report.chunks_read += 1;
                            report.matching += open.matching;
                            Some(open)
                        }
                        Err(cause) => {
                            report.damaged.chunk(Path::new("-"), bytes, &cause);
                            None
                        }
                    }
                };
                if take(incoming, &summary, open, report)?.is_break() {
                    break;
                }
            }
            StreamItem::Damage(damage) => report.damaged.add(Path::new("-"), u64::MAX, &[damage]),
            _ => {}
        }
    }
    if let Some(containers) = &incoming.query.containers {
        report.unknown_containers = containers.unknown().to_vec();
    }
    Ok(())
}

fn resolve(incoming: &mut Incoming, known: &KnownContainers) -> Result<(), Ambiguous> {
    match &mut incoming.query.containers {
        Some(containers) => containers.resolve(known, &incoming.names),
        None => Ok(()),
    }
}

/// Adds the containers of a chunk; returns whether one was new.
fn learn(chunk: &capture_format::Chunk, binding: &Binding, known: &mut KnownContainers) -> bool {
    let Ok(view) = crate::model::ChunkView::open(chunk, binding) else { return false };
    let mut new = false;
    for row in 0..view.cgroup_rows() as u32 {
        new |= known.add_chain(view.cgroup(row).chain);
    }
    new
}
