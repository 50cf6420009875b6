//! The answer to a question: rows in order, and what is to be known about them.

use std::cmp::Ordering;

use rustc_hash::{FxHashMap, FxHashSet};

use super::datum::Datum;
use super::expr::{Cell, Row};
use super::function::Function;
use super::gathered::Store;
use super::groups::{Codes, OTHER};
use super::keys::Key;
use super::partial::Partial;
use super::plan::{Plan, SortBy};

/// A row of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct AnswerRow {
    /// The values of the keys; in a tree, of the first ones, for the row that adds up all that is below them.
    pub key: Vec<Datum>,
    /// The values of the columns.
    pub cells: Vec<Cell>,
}

/// A group over time.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// The group over the whole time; its key lacks the time step.
    pub whole: AnswerRow,
    /// When each step begins, wall-clock ns, and the values of the columns in it. Steps without events are missing.
    pub steps: Vec<(i64, Vec<Cell>)>,
}

/// The answer to a question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The rows, in order.
    pub rows: Vec<AnswerRow>,
    /// With time steps, the same by group: each of them over the whole time, in order.
    pub series: Vec<Series>,
    /// Groups that did not fit into memory, together; `None` if all did.
    pub other: Option<Vec<Cell>>,
    /// All events together.
    pub total: Vec<Cell>,
    /// Rows that are not among [`Self::rows`] because only the first ones were wanted.
    pub more: usize,
    /// Whether some groups did not fit into memory.
    pub is_bounded: bool,
    /// If so, by how much what groups are kept by ([`Plan::kept_by`]) may be too low in a row.
    pub undercount: f64,
    /// Whether some number of different values is an estimate ([`super::STANDARD_ERROR`]).
    pub is_estimate: bool,
    /// The time that it is about, wall-clock ns; `None` if that is not known.
    pub range: Option<(i64, i64)>,
}

/// A group over the whole time, with its codes without that of the time step.
type WholeGroup = (Vec<u32>, AnswerRow);

/// One group, as expressions see it.
struct Group<'a> {
    stores: &'a [Store],
    group: usize,
    seconds: Option<f64>,
    total: Option<&'a Group<'a>>,
}

impl Row for Group<'_> {
    fn aggregate(&self, function: Function, gathering: usize) -> Cell {
        self.stores[gathering].value(function, self.group)
    }

    fn total(&self) -> &dyn Row {
        self.total.map_or(self, |total| total)
    }

    fn seconds(&self) -> Option<f64> {
        self.seconds
    }
}

fn seconds(from: i64, to: i64) -> Option<f64> {
    (to > from).then(|| (to - from) as f64 / 1e9)
}

impl Answer {
    /// The answer that follows from the result of all chunks.
    pub(super) fn new(plan: &Plan, partial: &mut Partial<'_>, range: Option<(i64, i64)>) -> Self {
        partial.complete();
        let total_stores = partial.total();
        let whole = range.and_then(|(from, to)| seconds(from, to));
        let total = Group { stores: &total_stores, group: 0, seconds: whole, total: None };
        let values: Vec<Vec<Datum>> = partial.codes.iter().map(Codes::values).collect();
        let is_stepped = plan.keys.first().is_some_and(|key| key.step_width().is_some());
        let leading = if is_stepped { leading(plan, partial, &values, &total) } else { Vec::new() };
        let (rows, more) = if plan.is_tree {
            tree(plan, partial, &values, &total)
        } else {
            flat(plan, partial, &values, &total, (&leading, range))
        };
        let series = if is_stepped { series(leading, &rows, plan.top) } else { Vec::new() };
        let other = partial
            .other
            .as_ref()
            .map(|stores| plan.cells(&Group { stores, group: 0, seconds: whole, total: Some(&total) }));
        let is_estimate = partial
            .stores
            .iter()
            .any(|store| (0..partial.groups.len()).any(|group| store.is_estimate(group)));
        Self {
            rows,
            series,
            other,
            total: plan.cells(&total),
            more,
            is_bounded: partial.is_bounded,
            undercount: partial.undercount,
            is_estimate,
            range,
        }
    }
}

/// One row for each group, and how many groups were cut.
fn flat(
    plan: &Plan,
    partial: &Partial<'_>,
    values: &[Vec<Datum>],
    total: &Group<'_>,
    (leading, range): (&[WholeGroup], Option<(i64, i64)>),
) -> (Vec<AnswerRow>, usize) {
    let step = plan.keys.first().and_then(Key::step_width);
    let top = step.and(plan.top).map(|top| top.min(leading.len()));
    let wanted: Option<FxHashSet<&[u32]>> =
        top.map(|top| leading[..top].iter().map(|(codes, _)| &codes[..]).collect());
    let mut rows = Vec::with_capacity(partial.groups.len());
    for at in 0..partial.groups.len() {
        let codes = partial.groups.codes(at);
        if wanted.as_ref().is_some_and(|wanted| !wanted.contains(&codes[1..])) {
            continue;
        }
        let key = data(codes, values);
        let seconds = match (step, key.first(), range) {
            (Some(width), Some(Datum::Number(start)), Some((from, to))) => {
                let start = i64::try_from(*start).unwrap_or(i64::MAX);
                let end = start.saturating_add(width);
                // What began before the capture has a step of its own.
                seconds(start.max(from), end.min(to)).or_else(|| seconds(start, end))
            }
            (Some(width), ..) => Some(width as f64 / 1e9),
            (None, ..) => total.seconds,
        };
        let group = Group { stores: &partial.stores, group: at, seconds, total: Some(total) };
        if plan.having.as_ref().is_none_or(|having| having.accepts(&group)) {
            rows.push(AnswerRow { key, cells: plan.cells(&group) });
        }
    }
    rows.sort_by(|a, b| plan.compare(a, b));
    match (&wanted, plan.top) {
        (Some(wanted), _) => (rows, leading.len() - wanted.len()),
        (None, Some(top)) => {
            let more = rows.len().saturating_sub(top);
            rows.truncate(top);
            (rows, more)
        }
        (None, None) => (rows, 0),
    }
}

/// For each key, one row for each combination of values up to it, parents first; and how many rows were cut. `having` decides
/// about the last key, and `top` about what is directly below a row. What did not fit below a row is one row, the last.
fn tree(
    plan: &Plan,
    partial: &Partial<'_>,
    values: &[Vec<Datum>],
    total: &Group<'_>,
) -> (Vec<AnswerRow>, usize) {
    // Below the codes of a parent: the rows, with their own codes.
    let mut children: FxHashMap<Vec<u32>, Vec<(Vec<u32>, AnswerRow)>> = FxHashMap::default();
    for depth in (1..=plan.keys.len()).rev() {
        let (groups, stores) = partial.rolled_up(depth);
        for at in 0..groups.len() {
            let codes = groups.codes(at);
            // Nothing is known of what is below.
            if codes[..depth - 1].contains(&OTHER) {
                continue;
            }
            let group = Group { stores: &stores, group: at, seconds: total.seconds, total: Some(total) };
            let is_kept = if codes[depth - 1] == OTHER {
                plan.having.is_none()
            } else if depth == plan.keys.len() {
                plan.having.as_ref().is_none_or(|having| having.accepts(&group))
            } else {
                children.contains_key(codes)
            };
            if is_kept {
                let row = AnswerRow { key: data(codes, values), cells: plan.cells(&group) };
                children.entry(codes[..depth - 1].to_vec()).or_default().push((codes.to_vec(), row));
            }
        }
    }
    let mut more = 0;
    for rows in children.values_mut() {
        let other =
            rows.iter().position(|(codes, _)| codes.last() == Some(&OTHER)).map(|at| rows.swap_remove(at));
        rows.sort_by(|a, b| plan.compare(&a.1, &b.1));
        let top = plan.top.unwrap_or(rows.len());
        more += rows.len().saturating_sub(top);
        rows.truncate(top);
        rows.extend(other);
    }
    let mut rows = Vec::new();
    let mut open = vec![children.remove(&[][..]).unwrap_or_default().into_iter()];
    while let Some(level) = open.last_mut() {
        match level.next() {
            Some((codes, row)) => {
                rows.push(row);
                open.push(children.remove(&codes).unwrap_or_default().into_iter());
            }
            None => drop(open.pop()),
        }
    }
    (rows, more)
}

/// The values that codes stand for.
fn data(codes: &[u32], values: &[Vec<Datum>]) -> Vec<Datum> {
    codes.iter().zip(values).map(|(code, values)| values[*code as usize].clone()).collect()
}

/// The groups without their time step, over the whole time and in order, with their codes.
fn leading(plan: &Plan, partial: &Partial<'_>, values: &[Vec<Datum>], total: &Group<'_>) -> Vec<WholeGroup> {
    let (groups, stores) = partial.without_first_key();
    let mut rows: Vec<WholeGroup> = (0..groups.len())
        .map(|at| {
            let group = Group { stores: &stores, group: at, seconds: total.seconds, total: Some(total) };
            let codes = groups.codes(at).to_vec();
            // Without a time, all are equal in it.
            let key = std::iter::once(Datum::Missing).chain(data(&codes, &values[1..])).collect();
            (codes, AnswerRow { key, cells: plan.cells(&group) })
        })
        .collect();
    rows.sort_by(|a, b| plan.compare(&a.1, &b.1));
    rows
}

/// The rows of each of the first groups.
fn series(leading: Vec<WholeGroup>, rows: &[AnswerRow], top: Option<usize>) -> Vec<Series> {
    let mut by_group: FxHashMap<&[Datum], Vec<(i64, Vec<Cell>)>> = FxHashMap::default();
    for row in rows {
        let [Datum::Number(start), group @ ..] = &row.key[..] else { continue };
        let start = i64::try_from(*start).unwrap_or(i64::MAX);
        by_group.entry(group).or_default().push((start, row.cells.clone()));
    }
    let mut series = Vec::new();
    for (_, mut whole) in leading.into_iter().take(top.unwrap_or(usize::MAX)) {
        whole.key.remove(0);
        // `having` may have removed all of its steps.
        let Some(mut steps) = by_group.remove(&whole.key[..]) else { continue };
        steps.sort_by_key(|(start, _)| *start);
        series.push(Series { whole, steps });
    }
    series
}

impl Plan {
    /// The values of all columns for a group.
    fn cells(&self, group: &Group<'_>) -> Vec<Cell> {
        self.columns.iter().map(|column| column.expr.evaluate(group)).collect()
    }

    /// The order of two rows: as sorted, then by their keys.
    fn compare(&self, a: &AnswerRow, b: &AnswerRow) -> Ordering {
        for (by, descending) in &self.sort {
            let order = match by {
                SortBy::Key(at) => directed(a.key.get(*at).cmp(&b.key.get(*at)), *descending),
                SortBy::Column(at) => compare_cells(&a.cells[*at], &b.cells[*at], *descending),
            };
            if order != Ordering::Equal {
                return order;
            }
        }
        a.key.cmp(&b.key)
    }
}

fn directed(order: Ordering, descending: bool) -> Ordering {
    if descending { order.reverse() } else { order }
}

/// Missing values come last in both directions.
fn compare_cells(a: &Cell, b: &Cell, descending: bool) -> Ordering {
    let is_missing = |cell: &Cell| matches!(cell, Cell::Missing | Cell::Datum(Datum::Missing));
    match (is_missing(a), is_missing(b)) {
        (true, true) => return Ordering::Equal,
        (true, false) => return Ordering::Greater,
        (false, true) => return Ordering::Less,
        (false, false) => {}
    }
    let order = match (a, b) {
        (Cell::Number(a), Cell::Number(b)) => a.cmp(b),
        (Cell::Datum(a), Cell::Datum(b)) => a.cmp(b),
        _ => match (a.number(), b.number()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => Ordering::Equal,
        },
    };
    directed(order, descending)
}
