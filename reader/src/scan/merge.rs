//! Files replayed in one order of time: events by their end, across chunks, segments and files.

use std::io;
use std::sync::Arc;

use capture_format::{ChunkEntry, FormatError};

use crate::model::{Binding, Context, Event};

use super::damaged::Damaged;
use super::input::Capture;
use super::open::OpenChunk;
use super::query::{ChunkRelevance, LossTally, Query};
use super::sink::{Flow, Sink};

/// Chunks in memory at once. If more than this overlap in time, the order is no longer exact; a
/// capture made by one recorder needs two or three.
const MAX_OPEN: usize = 64;

/// What a replay found besides the events it handed over.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Events that matched.
    pub matching: u64,
    /// Lost events that might have.
    pub lost: LossTally,
    /// What could not be read.
    pub damaged: Damaged,
    /// More chunks than can be kept overlapped, so the order may be wrong.
    pub disordered: bool,
    /// Chunks that were read.
    pub chunks_read: u64,
    /// Containers that were asked for and did not occur.
    pub unknown_containers: Vec<String>,
}

struct Plan<'a> {
    capture: &'a Capture,
    entry: &'a ChunkEntry,
    binding: &'a Arc<Binding>,
    first_number: u64,
    verdict: ChunkRelevance,
    from: i64,
}

/// Hands the matching events of all captures to `sink`, in the order of their ends. Without a sink they
/// are only counted.
///
/// # Errors
/// If the sink fails. Damage in a capture is part of the outcome.
pub fn replay_files(
    captures: &[Capture],
    question: &Query,
    context: &Context<'_>,
    mut sink: Option<&mut dyn Sink>,
) -> io::Result<Outcome> {
    let mut outcome = Outcome::default();
    let plans = plan(captures, question);
    let mut waiting = plans.iter().peekable();
    let mut open: Vec<OpenChunk> = Vec::new();
    loop {
        // Everything that can come before the next event must be open.
        let mut head = open.iter().filter_map(OpenChunk::head).min();
        while let Some(plan) = waiting.peek()
            && head.is_none_or(|head| plan.from <= head)
        {
            if open.len() >= MAX_OPEN {
                outcome.disordered = true;
                break;
            }
            let Some(plan) = waiting.next() else { break };
            match open_chunk(plan, question, context, &mut outcome.lost) {
                Ok(chunk) => {
                    outcome.chunks_read += 1;
                    outcome.matching += chunk.matching;
                    if let Some(time) = chunk.head()
                        && sink.is_some()
                    {
                        head = Some(head.map_or(time, |h| h.min(time)));
                        open.push(chunk);
                    }
                }
                Err(cause) => outcome.damaged.chunk(&plan.capture.path, plan.entry.len, &cause),
            }
        }
        let Some(sink) = sink.as_mut() else { break };
        let Some(first) = (0..open.len()).min_by_key(|i| open[*i].head()) else { break };
        // As many of its events as come before those of all others.
        let others = open.iter().enumerate().filter(|(i, _)| *i != first).filter_map(|(_, c)| c.head());
        let until = others.chain(waiting.peek().map(|p| p.from)).min().unwrap_or(i64::MAX);
        if hand_over(&mut open[first], until, context, *sink)? == Flow::Stop {
            break;
        }
        open.retain(|chunk| chunk.head().is_some());
    }
    if let Some(sink) = sink {
        sink.flush()?;
    }
    Ok(outcome)
}

/// The chunks that may matter, in the order of their earliest event.
fn plan<'a>(captures: &'a [Capture], question: &Query) -> Vec<Plan<'a>> {
    let mut plans: Vec<Plan<'a>> = Vec::new();
    for capture in captures {
        for entry in capture.file.chunks() {
            let binding = &capture.bindings[entry.segment];
            let summary = &entry.summary;
            plans.push(Plan {
                capture,
                entry,
                binding,
                first_number: 0,
                verdict: question.verdict(binding, summary),
                from: (summary.end_min as i64).saturating_add(summary.wall_offset),
            });
        }
    }
    plans.sort_by_key(|p| p.from);
    let mut number = 0;
    for plan in &mut plans {
        plan.first_number = number;
        number += plan.binding.events.iter().map(|t| u64::from(plan.entry.summary.rows(t.id))).sum::<u64>();
    }
    plans.retain(|p| p.verdict != ChunkRelevance::Skip);
    plans
}

fn open_chunk(
    plan: &Plan<'_>,
    question: &Query,
    context: &Context<'_>,
    lost: &mut LossTally,
) -> Result<OpenChunk, FormatError> {
    let chunk = Box::new(plan.capture.file.read_chunk(plan.entry)?);
    let binding = Arc::clone(plan.binding);
    OpenChunk::new(chunk, binding, plan.first_number, (question, plan.verdict), context, lost)
}

/// Hands over the events of a chunk that ended no later than `until`, at least one.
pub(super) fn hand_over(
    chunk: &mut OpenChunk,
    until: i64,
    context: &Context<'_>,
    sink: &mut dyn Sink,
) -> io::Result<Flow> {
    let mut some = false;
    while let Some(time) = chunk.head() {
        if some && time > until {
            break;
        }
        some = true;
        let Some(pick) = chunk.pop() else { break };
        let view = chunk.view();
        let Some(rows) = view.table(usize::from(pick.place)) else { continue };
        if sink.event(Event::new(context, view, rows, pick.row as usize))? == Flow::Stop {
            return Ok(Flow::Stop);
        }
    }
    Ok(Flow::Continue)
}
