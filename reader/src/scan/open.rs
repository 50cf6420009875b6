//! A chunk in memory, with the events of it that are wanted in the order of their ends.

use std::sync::Arc;

use capture_format::{Chunk, FormatError};
use events::Kind;
use self_cell::self_cell;

use crate::filter::Evaluator;
use crate::model::Context;
use crate::model::{Binding, ChunkView, column};

use super::query::{ChunkRelevance, LossTally, Query};

/// By how much the wall clock was set.
const CLOCK_STEP: u16 = column(Kind::Clock, "step");

#[derive(Debug)]
struct Owner {
    chunk: Box<Chunk>,
    binding: Arc<Binding>,
}

self_cell!(
    struct Opened {
        owner: Owner,
        #[covariant]
        dependent: ChunkView,
    }

    impl {Debug}
);

/// An event of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pick {
    /// When it ended, wall-clock ns.
    pub time: i64,
    /// Its table's place in [`Binding::events`].
    pub place: u16,
    /// Its row.
    pub row: u32,
}

/// A chunk with the events that are wanted.
#[derive(Debug)]
pub struct OpenChunk {
    cell: Opened,
    picks: Vec<Pick>,
    next: usize,
    /// How many of the events match (losses that are only told along do not).
    pub matching: u64,
}

impl OpenChunk {
    /// Opens a chunk and selects its events.
    ///
    /// # Errors
    /// If a column that is needed is damaged.
    pub fn new(
        chunk: Box<Chunk>,
        binding: Arc<Binding>,
        first_number: u64,
        (question, verdict): (&Query, ChunkRelevance),
        context: &Context<'_>,
        tally: &mut LossTally,
    ) -> Result<Self, FormatError> {
        let cell = Opened::try_new(Owner { chunk, binding }, |owner| {
            let mut view = ChunkView::open(&owner.chunk, &owner.binding)?;
            view.first_number = first_number;
            Ok::<_, FormatError>(view)
        })?;
        let (picks, matching) = cell.with_dependent(|_, view| {
            select(view, question, verdict, &Context { names: context.names, start: context.start }, tally)
        })?;
        Ok(Self { cell, picks, next: 0, matching })
    }

    /// The chunk.
    pub fn view(&self) -> &ChunkView<'_> {
        self.cell.borrow_dependent()
    }

    /// When the next event ended, wall-clock ns; `None` if there is none left.
    pub fn head(&self) -> Option<i64> {
        self.picks.get(self.next).map(|p| p.time)
    }

    /// The next event, which is passed over.
    pub fn pop(&mut self) -> Option<Pick> {
        let pick = self.picks.get(self.next).copied();
        self.next += 1;
        pick
    }
}

fn select(
    view: &ChunkView<'_>,
    question: &Query,
    verdict: ChunkRelevance,
    context: &Context<'_>,
    tally: &mut LossTally,
) -> Result<(Vec<Pick>, u64), FormatError> {
    let in_containers = question.in_containers(view);
    let mut evaluator = question.filter.as_ref().map(|f| Evaluator::new(f.expr(), *context, view));
    let asked_for_loss = question.asks_for_loss();
    let asked_for_clock = question.filter.as_ref().is_some_and(|filter| filter.asks_for(Kind::Clock));
    let (mut picks, mut matching): (Vec<Pick>, u64) = (Vec::new(), 0);
    for rows in view.tables() {
        let loss = rows.event.kind == Some(Kind::Loss);
        let told = if loss { question.losses(context, view, rows, tally) } else { Vec::new() };
        let selected = if loss && !asked_for_loss {
            told
        } else if verdict == ChunkRelevance::Read || loss {
            let mut found = question.matching(view, rows, evaluator.as_mut(), in_containers.as_deref());
            if rows.event.kind == Some(Kind::Clock) && !asked_for_clock {
                // How the clocks lie to each other is bookkeeping; that one was set is news.
                found.retain(|row| rows.number(CLOCK_STEP, *row as usize).is_some_and(|step| step != 0));
            }
            matching += found.len() as u64;
            found
        } else {
            Vec::new()
        };
        if selected.is_empty() {
            continue;
        }
        // From here on nothing can turn out to be damaged.
        rows.decode_all()?;
        picks.extend(selected.into_iter().map(|row| Pick {
            time: view.wall(rows.end(row as usize)),
            place: rows.place as u16,
            row,
        }));
    }
    if !picks.is_sorted() {
        picks.sort_unstable();
    }
    Ok((picks, matching))
}
