//! A chunk in memory, with the rows of it that match a query.

use std::sync::Arc;

use capture_format::{Chunk, FormatError};
use events::Kind;
use self_cell::self_cell;

use crate::filter::Evaluator;
use crate::model::{Binding, ChunkView, Context, Event, Rows, column};

use super::columns::{ChunkMatches, MatchingRows};
use super::query::{ChunkRelevance, LossTally, Query};

/// The change of the wall clock offset since the previous clock event, ns.
const CLOCK_STEP: u16 = column(Kind::Clock, "step");

/// A decoded chunk with its segment and position in the capture.
#[derive(Debug)]
pub(super) struct ChunkSource {
    pub(super) chunk: Box<Chunk>,
    pub(super) binding: Arc<Binding>,
    /// Number of events in the capture before this chunk.
    pub(super) first_number: u64,
}

/// A query as it applies to one chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkQuery<'a> {
    pub(super) query: &'a Query,
    pub(super) relevance: ChunkRelevance,
    pub(super) context: &'a Context<'a>,
    /// Decode all columns of tables with matches now, so that damage cannot show up later. Otherwise each column is
    /// decoded when it is first used.
    pub(super) decode: bool,
}

self_cell!(
    struct Opened {
        owner: ChunkSource,
        #[covariant]
        dependent: ChunkView,
    }

    impl {Debug}
);

/// A chunk with the rows that match a query.
#[derive(Debug)]
pub(super) struct MatchedChunk {
    cell: Opened,
    selected: Vec<MatchingRows>,
    /// Number of matching events, without loss rows that are only shown in addition.
    pub(super) matching: u64,
}

impl MatchedChunk {
    /// Opens a chunk and selects its rows.
    ///
    /// # Errors
    /// If a column that is needed is damaged.
    pub(super) fn new(
        source: ChunkSource,
        chunk_query: ChunkQuery<'_>,
        tally: &mut LossTally,
    ) -> Result<Self, FormatError> {
        let cell = Opened::try_new(source, |source| {
            let mut view = ChunkView::open(&source.chunk, &source.binding)?;
            view.first_number = source.first_number;
            Ok::<_, FormatError>(view)
        })?;
        // The context's lifetime shrinks to that of the view.
        let (selected, matching) = cell.with_dependent(|_, view| {
            let Context { names, start } = *chunk_query.context;
            let chunk_query = ChunkQuery { context: &Context { names, start }, ..chunk_query };
            select(view, chunk_query, tally)
        })?;
        Ok(Self { cell, selected, matching })
    }

    pub(super) fn view(&self) -> &ChunkView<'_> {
        self.cell.borrow_dependent()
    }

    /// Whether there are no rows to show.
    pub(super) fn is_empty(&self) -> bool {
        self.selected.is_empty()
    }

    /// Each table with rows to show, including loss rows that are only shown in addition.
    pub(super) fn selected(&self) -> impl Iterator<Item = (&Rows<'_>, &[u32])> {
        let view = self.view();
        self.selected.iter().filter_map(move |s| Some((view.table(s.place)?, s.rows.as_slice())))
    }

    /// The matches, table by table.
    pub(super) fn matches<'a>(&'a self, context: &'a Context<'a>) -> ChunkMatches<'a> {
        ChunkMatches::new(context, self.view(), &self.selected)
    }

    /// The same chunk with its matches sorted by end time.
    pub(super) fn in_order(self) -> OrderedChunk {
        let view = self.cell.borrow_dependent();
        let mut matches: Vec<Match> = Vec::with_capacity(self.selected.iter().map(|s| s.rows.len()).sum());
        for selection in &self.selected {
            let Some(rows) = view.table(selection.place) else { continue };
            matches.extend(selection.rows.iter().map(|row| Match {
                time: view.wall(rows.end(*row as usize)),
                place: selection.place as u16,
                row: *row,
            }));
        }
        if !matches.is_sorted() {
            matches.sort_unstable();
        }
        OrderedChunk { chunk: self, matches, next: 0 }
    }
}

/// A matching event of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Match {
    /// End of the event, wall-clock ns.
    time: i64,
    /// The table, as an index into [`Binding::events`].
    place: u16,
    row: u32,
}

/// A chunk whose matches are taken one by one, by end time.
#[derive(Debug)]
pub(super) struct OrderedChunk {
    chunk: MatchedChunk,
    matches: Vec<Match>,
    next: usize,
}

impl OrderedChunk {
    /// End of the next event, wall-clock ns; `None` if there is none left.
    pub(super) fn head(&self) -> Option<i64> {
        self.matches.get(self.next).map(|m| m.time)
    }

    /// Removes and returns the next match.
    pub(super) fn pop(&mut self) -> Option<Match> {
        let next = self.matches.get(self.next).copied();
        self.next += 1;
        next
    }

    /// The event of a match.
    pub(super) fn event<'a>(&'a self, context: &'a Context<'a>, found: Match) -> Option<Event<'a>> {
        let view = self.chunk.view();
        Some(Event::new(context, view, view.table(usize::from(found.place))?, found.row as usize))
    }
}

fn select(
    view: &ChunkView<'_>,
    chunk_query: ChunkQuery<'_>,
    tally: &mut LossTally,
) -> Result<(Vec<MatchingRows>, u64), FormatError> {
    let ChunkQuery { query, relevance, context, decode } = chunk_query;
    let in_containers = query.in_containers(view);
    let mut evaluator = query.filter.as_ref().map(|f| Evaluator::new(f.expr(), *context, view));
    let asks_for_loss = query.asks_for_loss();
    let asks_for_clock = query.filter.as_ref().is_some_and(|filter| filter.asks_for(Kind::Clock));
    let (mut selected, mut matching): (Vec<MatchingRows>, u64) = (Vec::new(), 0);
    for rows in view.tables() {
        let loss = rows.event.kind == Some(Kind::Loss);
        let possible = if loss { query.losses(context, view, rows, tally) } else { Vec::new() };
        let along = loss && !asks_for_loss;
        let found = if along {
            possible
        } else if relevance == ChunkRelevance::Read || loss {
            let mut found = query.matching(view, rows, evaluator.as_mut(), in_containers.as_deref());
            if rows.event.kind == Some(Kind::Clock) && !asks_for_clock {
                // Clock events are written every second; only those that report a clock change are of interest.
                found.retain(|row| rows.number(CLOCK_STEP, *row as usize).is_some_and(|step| step != 0));
            }
            matching += found.len() as u64;
            found
        } else {
            Vec::new()
        };
        if found.is_empty() {
            continue;
        }
        if decode {
            rows.decode_all()?;
        }
        selected.push(MatchingRows { place: rows.place, rows: found, along });
    }
    Ok((selected, matching))
}
