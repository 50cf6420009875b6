//! A chunk in memory, with the rows of it that match a query.

use std::sync::Arc;

use capture_format::{Chunk, FormatError};
use events::Kind;
use self_cell::self_cell;

use crate::filter::Evaluator;
use crate::model::{Binding, ChunkView, Context, Event, Rows, column};

use super::columns::{ChunkMatches, MatchingRows, Role};
use super::privacy::SelectedRows;
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
    /// Number of matching events; loss rows count only if the query asks for them.
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
            let selected = select(view, chunk_query, tally)?;
            // A damaged column counts as empty, so that it may have hidden matches.
            view.chunk.failure().map_or(Ok(selected), Err)
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

    /// Each table with rows that match, and with losses of events that might have matched.
    pub(super) fn selected(&self) -> impl Iterator<Item = (&Rows<'_>, &[u32])> {
        let view = self.view();
        self.selected.iter().filter_map(move |s| Some((view.table(s.place)?, s.rows.as_slice())))
    }

    /// The same with whether they match.
    pub(super) fn selections(&self) -> Vec<SelectedRows<'_, '_>> {
        let view = self.view();
        let selected = self.selected.iter();
        let rows = selected.filter_map(|s| {
            Some(SelectedRows { table: view.table(s.place)?, rows: &s.rows, is_match: s.role == Role::Match })
        });
        rows.collect()
    }

    /// The matches, table by table.
    pub(super) fn matches<'a>(&'a self, context: &'a Context<'a>) -> ChunkMatches<'a> {
        ChunkMatches::new(context, self.view(), &self.selected)
    }

    /// The same chunk with its matches sorted by end time.
    pub(super) fn in_order(self) -> OrderedChunk {
        let view = self.cell.borrow_dependent();
        let mut matches: Vec<Match> = Vec::with_capacity(self.selected.iter().map(|s| s.rows.len()).sum());
        for selection in self.selected.iter().filter(|selection| selection.role != Role::PossibleLoss) {
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
        if loss && !asks_for_loss {
            for (role, found) in losses(query, view, rows, possible, in_containers.as_deref()) {
                select_rows(rows, role, found, &mut selected);
            }
            continue;
        }
        let found = if relevance == ChunkRelevance::Read || loss {
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
        select_rows(rows, Role::Match, found, &mut selected);
    }
    if decode {
        let tables = selected.iter().filter_map(|selection| view.table(selection.place));
        tables.into_iter().try_for_each(Rows::decode_all)?;
    }
    Ok((selected, matching))
}

fn select_rows(rows: &Rows<'_>, role: Role, found: Vec<u32>, selected: &mut Vec<MatchingRows>) {
    if !found.is_empty() {
        selected.push(MatchingRows { place: rows.place, rows: found, role });
    }
}

/// Losses of events that might have matched: certain ones, of selected containers, and possible ones. With an expression
/// all are only possible, since it cannot be evaluated on a lost event.
fn losses(
    query: &Query,
    view: &ChunkView<'_>,
    rows: &Rows<'_>,
    possible: Vec<u32>,
    in_containers: Option<&[bool]>,
) -> [(Role, Vec<u32>); 2] {
    let is_inside = |row: u32| match (in_containers, view.subject_cgroup(rows, row as usize)) {
        (None, _) => true,
        (Some(inside), Some(cgroup)) => inside.get(cgroup as usize) == Some(&true),
        (Some(_), None) => false,
    };
    let is_around = |row: usize| {
        let (from, to) = (view.wall(rows.start(row)), view.wall(rows.end(row)));
        query.around.as_ref().is_none_or(|around| around.overlaps(from, to))
    };
    let is_certain = |row: &u32| query.filter.is_none() && is_inside(*row) && is_around(*row as usize);
    let (certain, others) = possible.into_iter().partition(is_certain);
    [(Role::Loss, certain), (Role::PossibleLoss, others)]
}
