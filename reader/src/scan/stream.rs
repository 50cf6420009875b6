//! A capture replayed while it arrives through a pipe. Each chunk is handed over at once: events that were
//! written late come late here (`evt.late` tells which).

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use capture_format::{FormatError, Header, StreamItem, StreamReader};

use crate::model::Context;
use crate::model::{Binding, Names};

use super::containers::{Ambiguous, Known};
use super::merge::{Outcome, hand_over};
use super::open::OpenChunk;
use super::query::{ChunkRelevance, Query};
use super::sink::{Flow, Sink};

/// Why a stream could not be replayed to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// Reading failed, or there is no capture in it.
    #[error("cannot read the capture from standard input: {0}")]
    Format(#[from] FormatError),
    /// The sink failed.
    #[error("cannot write: {0}")]
    Sink(#[from] io::Error),
    /// A container's prefix fits several by now.
    #[error(transparent)]
    Ambiguous(#[from] Ambiguous),
}

/// Reads up to the first header.
///
/// # Errors
/// If there is none.
pub fn first_header<R: Read>(
    reader: &mut StreamReader<R>,
    outcome: &mut Outcome,
) -> Result<Arc<Header>, FormatError> {
    loop {
        match reader.next_item()? {
            Some(StreamItem::Header(header)) => return Ok(header),
            Some(StreamItem::Damage(damage)) => outcome.damaged.add(Path::new("-"), u64::MAX, &[damage]),
            Some(_) => {}
            None => return Err(FormatError::NotACapture),
        }
    }
}

/// Hands the matching events that arrive after `header` to `sink`.
///
/// # Errors
/// If reading or the sink fails, or a container's prefix turns out to be ambiguous.
pub fn replay_stream<R: Read>(
    reader: &mut StreamReader<R>,
    header: Arc<Header>,
    mut question: Query,
    mut sink: Option<&mut dyn Sink>,
    outcome: &mut Outcome,
) -> Result<(), StreamError> {
    let start = header.created;
    let mut binding = Arc::new(Binding::new(header));
    let (mut names, mut known, mut number) = (Names::default(), Known::default(), 0);
    while let Some(item) = reader.next_item()? {
        match item {
            StreamItem::Header(header) => binding = Arc::new(Binding::new(header)),
            StreamItem::Metadata(records) => {
                records.iter().for_each(|record| names.add(record));
                resolve(&mut question, &known, &names)?;
            }
            StreamItem::Chunk(chunk) => {
                let first = number;
                let (_, bytes) = chunk.place();
                number += chunk.event_rows();
                if learn(&chunk, &binding, &mut known) {
                    resolve(&mut question, &known, &names)?;
                }
                let verdict = question.verdict(&binding, chunk.summary());
                if verdict == ChunkRelevance::Skip {
                    continue;
                }
                let context = Context { names: &names, start };
                let asked = (&question, verdict);
                let opened =
                    OpenChunk::new(chunk, Arc::clone(&binding), first, asked, &context, &mut outcome.lost);
                match opened {
                    Ok(mut open) => {
                        outcome.chunks_read += 1;
                        outcome.matching += open.matching;
                        let Some(sink) = sink.as_mut() else { continue };
                        if open.head().is_some()
                            && hand_over(&mut open, i64::MAX, &context, *sink)? == Flow::Stop
                        {
                            break;
                        }
                        sink.flush()?;
                    }
                    Err(cause) => outcome.damaged.chunk(Path::new("-"), bytes, &cause),
                }
            }
            StreamItem::Damage(damage) => outcome.damaged.add(Path::new("-"), u64::MAX, &[damage]),
            _ => {}
        }
    }
    if let Some(sink) = sink {
        sink.flush()?;
    }
    if let Some(containers) = &question.containers {
        outcome.unknown_containers = containers.unknown().to_vec();
    }
    Ok(())
}

fn resolve(question: &mut Query, known: &Known, names: &Names) -> Result<(), Ambiguous> {
    match &mut question.containers {
        Some(containers) => containers.resolve(known, names),
        None => Ok(()),
    }
}

/// Notes the containers of a chunk; whether there was a new one.
fn learn(chunk: &capture_format::Chunk, binding: &Binding, known: &mut Known) -> bool {
    let Ok(view) = crate::model::ChunkView::open(chunk, binding) else { return false };
    let mut new = false;
    for row in 0..view.cgroup_rows() as u32 {
        new |= known.add_chain(view.cgroup(row).chain);
    }
    new
}
