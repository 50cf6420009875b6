//! The result of some chunks. Results of different chunks merge, in any order, to that of all of them.

use crate::fields::Field;
use crate::filter::Evaluator;
use crate::scan::{ChunkMatches, TableMatches};

use super::datum::Datum;
use super::expr::Cell;
use super::function::Gathering;
use super::gathered::{self, Store};
use super::groups::{self, Codes, Groups};
use super::keys::{self, numbers};
use super::plan::Plan;

/// Check memory after this number of events: groups that exist can grow, too.
const EVENTS_BETWEEN_CHECKS: usize = 1 << 18;

/// Check memory when this number of groups has been added.
const GROUPS_BETWEEN_CHECKS: usize = 1 << 14;

/// What some chunks contribute to the groups.
#[derive(Debug)]
pub(super) struct Partial<'p> {
    plan: &'p Plan,
    /// Most bytes to use.
    budget: usize,
    pub(super) codes: Vec<Codes>,
    pub(super) groups: Groups,
    /// What is gathered, as in the plan.
    pub(super) stores: Vec<Store>,
    /// The sum of the groups that did not fit, if there were any.
    pub(super) other: Option<Vec<Store>>,
    /// By how much what groups are kept by may be too low, because part of it is elsewhere ([`Plan::kept_by`]).
    pub(super) undercount: f64,
    /// Whether some groups did not fit.
    pub(super) is_bounded: bool,
    /// Events since the last check of memory.
    unchecked: usize,
    /// Groups at the last check.
    checked_groups: usize,
    buffers: Buffers,
}

/// Memory that is used for each table again.
#[derive(Debug, Default)]
struct Buffers {
    /// The group of each row of a table, valid for matching rows.
    group_of: Vec<u32>,
    /// The codes of matching rows, for each key.
    codes: Vec<Vec<u32>>,
}

fn stores(gatherings: &[Gathering], groups: usize) -> Vec<Store> {
    let new = |gathering: &Gathering| {
        let mut store = Store::new(gathering.kind);
        store.resize(groups);
        store
    };
    gatherings.iter().map(new).collect()
}

impl<'p> Partial<'p> {
    /// Nothing yet.
    pub(super) fn new(plan: &'p Plan, budget: usize) -> Self {
        Self {
            plan,
            budget,
            codes: plan.keys.iter().map(|_| Codes::default()).collect(),
            groups: Groups::new(plan.keys.len()),
            stores: stores(&plan.gatherings, 0),
            other: None,
            undercount: 0.0,
            is_bounded: false,
            unchecked: 0,
            checked_groups: 0,
            buffers: Buffers::default(),
        }
    }

    /// Adds the matching events of a chunk.
    pub(super) fn fold(&mut self, chunk: &ChunkMatches<'_>) {
        let conditions = &self.plan.conditions;
        let mut evaluators: Vec<_> = conditions
            .iter()
            .map(|condition| Evaluator::new(condition.expr(), *chunk.context(), chunk.view()))
            .collect();
        for table in chunk.tables() {
            self.assign(&table);
            let passing: Vec<Vec<u32>> = evaluators
                .iter_mut()
                .map(|evaluator| {
                    let mut rows = table.rows().to_vec();
                    evaluator.retain(table.table(), &mut rows);
                    rows
                })
                .collect();
            let groups = self.groups.len();
            for (store, gathering) in self.stores.iter_mut().zip(&self.plan.gatherings) {
                store.resize(groups);
                let rows = gathering.condition.map_or(table.rows(), |condition| &passing[condition]);
                gather(store, gathering, &table.narrowed(rows), &self.buffers.group_of);
            }
            self.unchecked += table.rows().len();
        }
        let is_due = self.groups.len() > self.checked_groups + GROUPS_BETWEEN_CHECKS;
        if is_due || self.unchecked > EVENTS_BETWEEN_CHECKS {
            self.bound();
        }
    }

    /// Determines the group of each matching row.
    fn assign(&mut self, table: &TableMatches<'_>) {
        let Buffers { group_of, codes } = &mut self.buffers;
        let rows = table.rows();
        if group_of.len() < table.table().len() {
            group_of.resize(table.table().len(), 0);
        }
        codes.resize_with(self.plan.keys.len(), Vec::new);
        for ((key, own), out) in self.plan.keys.iter().zip(&mut self.codes).zip(codes.iter_mut()) {
            out.clear();
            key.codes(table, own, out);
        }
        match &codes[..] {
            [] => {
                let group = self.groups.group(&[]);
                rows.iter().for_each(|row| group_of[*row as usize] = group);
            }
            [codes] => {
                let (mut last, mut group) = (u32::MAX, 0);
                for (row, code) in rows.iter().zip(codes) {
                    if *code != last {
                        group = self.groups.group(&[*code]);
                        last = *code;
                    }
                    group_of[*row as usize] = group;
                }
            }
            [first, second] => {
                let (mut last, mut group) = ((u32::MAX, u32::MAX), 0);
                for ((row, first), second) in rows.iter().zip(first).zip(second) {
                    if (*first, *second) != last {
                        group = self.groups.group(&[*first, *second]);
                        last = (*first, *second);
                    }
                    group_of[*row as usize] = group;
                }
            }
            keys => {
                let mut combined = vec![0; keys.len()];
                for (position, row) in rows.iter().enumerate() {
                    keys.iter().zip(&mut combined).for_each(|(codes, code)| *code = codes[position]);
                    group_of[*row as usize] = self.groups.group(&combined);
                }
            }
        }
    }

    /// Adds another result of the same plan.
    pub(super) fn merge(&mut self, other: &Partial<'_>) {
        self.absorb(other, 0..other.groups.len(), false);
        if let Some(rest) = &other.other {
            self.add_to_other(rest, 0);
        }
        self.undercount += other.undercount;
        self.is_bounded |= other.is_bounded;
        self.bound();
    }

    /// Removes the groups whose first key is a time step before this one, wall-clock ns, and returns them as a result of their
    /// own.
    pub(super) fn take_before(&mut self, step: i64) -> Self {
        let steps = self.codes.first().map(Codes::values).unwrap_or_default();
        let is_before = |group: &usize| {
            let code = self.groups.codes(*group)[0] as usize;
            matches!(steps.get(code), Some(Datum::Number(start)) if *start < i128::from(step))
        };
        let (before, rest): (Vec<usize>, Vec<usize>) = (0..self.groups.len()).partition(is_before);
        let (mut taken, mut kept) = (Self::new(self.plan, self.budget), Self::new(self.plan, self.budget));
        taken.absorb(self, before.into_iter(), false);
        kept.absorb(self, rest.into_iter(), false);
        kept.other = self.other.take();
        (kept.undercount, kept.is_bounded) = (self.undercount, self.is_bounded);
        kept.buffers = std::mem::take(&mut self.buffers);
        *self = kept;
        taken
    }

    /// Adds groups of another result. With `is_up`, they do not fit: each becomes part of what does not fit below its parent, or
    /// of all that does not fit.
    fn absorb(&mut self, other: &Partial<'_>, groups: impl Iterator<Item = usize>, is_up: bool) {
        let values: Vec<Vec<Datum>> = other.codes.iter().map(Codes::values).collect();
        let mut codes = vec![0; self.codes.len()];
        for from in groups {
            codes.copy_from_slice(other.groups.codes(from));
            if is_up && !(self.plan.is_tree && to_parent(&mut codes)) {
                self.add_to_other(&other.stores, from);
                continue;
            }
            for ((code, own), values) in codes.iter_mut().zip(&mut self.codes).zip(&values) {
                if *code != groups::OTHER {
                    *code = own.code(values[*code as usize].value());
                }
            }
            let to = self.groups.group(&codes) as usize;
            for (own, theirs) in self.stores.iter_mut().zip(&other.stores) {
                own.resize(self.groups.len());
                own.merge(to, theirs, from);
            }
        }
    }

    fn add_to_other(&mut self, rest: &[Store], from: usize) {
        let other = self.other.get_or_insert_with(|| stores(&self.plan.gatherings, 1));
        other.iter_mut().zip(rest).for_each(|(own, theirs)| own.merge(0, theirs, from));
    }

    /// Bytes of memory, roughly.
    fn bytes(&self) -> usize {
        let codes: usize = self.codes.iter().map(Codes::bytes).sum();
        let stores: usize = self.stores.iter().map(Store::bytes).sum();
        codes + stores + self.groups.bytes()
    }

    /// If the groups use too much memory, keeps those that lead in the order of the result, at half of it.
    fn bound(&mut self) {
        // In a tree, parents can be too many, too: each round removes a level of them.
        for _ in 0..self.plan.keys.len().max(1) {
            let bytes = self.bytes();
            if bytes <= self.budget || self.groups.len() < 2 {
                break;
            }
            self.halve(bytes);
        }
        (self.unchecked, self.checked_groups) = (0, self.groups.len());
    }

    fn halve(&mut self, bytes: usize) {
        let kept = (self.groups.len() as f64 * self.budget as f64 / bytes as f64 / 2.0) as usize;
        let weights = (0..self.groups.len()).map(|group| (self.weight(group), group));
        // What did not fit below a parent makes its sum whole: it comes first, but not before all others.
        let (mut others, mut own): (Vec<_>, Vec<_>) =
            weights.partition(|(_, group)| self.groups.codes(*group).last() == Some(&groups::OTHER));
        for list in [&mut others, &mut own] {
            list.sort_unstable_by(|a: &(f64, usize), b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        }
        let of_others = others.len().min(kept.div_ceil(2).max(kept.saturating_sub(own.len())));
        let of_own = own.len().min(kept - of_others.min(kept)).max(usize::from(of_others == 0));
        let dropped: Vec<(f64, usize)> = [others.split_off(of_others), own.split_off(of_own)].concat();
        let kept = others.into_iter().chain(own);
        let most = dropped.iter().map(|(weight, _)| *weight).fold(0.0, f64::max);
        let mut bounded = Self::new(self.plan, self.budget);
        bounded.other = self.other.take();
        bounded.is_bounded = true;
        // A group loses itself or, in a tree, what does not fit directly below it: one of those that are dropped.
        bounded.undercount = self.undercount + most;
        bounded.absorb(self, kept.map(|(_, group)| group), false);
        bounded.absorb(self, dropped.iter().map(|(_, group)| *group), true);
        bounded.buffers = std::mem::take(&mut self.buffers);
        *self = bounded;
    }

    /// What decides which groups are kept: what the first sorted column counts or sums.
    fn weight(&self, group: usize) -> f64 {
        let (function, gathering) = self.plan.weight;
        match self.stores[gathering].value(function, group) {
            Cell::Number(number) => number as f64,
            Cell::Real(number) => number,
            Cell::Missing | Cell::Datum(_) => 0.0,
        }
    }

    /// Everything that was gathered, in one group.
    pub(super) fn total(&self) -> Vec<Store> {
        let mut total = stores(&self.plan.gatherings, 1);
        for (sum, store) in total.iter_mut().zip(&self.stores) {
            (0..self.groups.len()).for_each(|group| sum.merge(0, store, group));
        }
        if let Some(other) = &self.other {
            total.iter_mut().zip(other).for_each(|(sum, store)| sum.merge(0, store, 0));
        }
        total
    }

    /// Makes sure that there is a group if events are not grouped: nothing has a count, too.
    pub(super) fn complete(&mut self) {
        if self.plan.keys.is_empty() {
            self.groups.group(&[]);
            self.stores.iter_mut().for_each(|store| store.resize(1));
        }
    }

    /// The groups that differ only in the first key, put together: the codes of the other keys, and the stores.
    pub(super) fn without_first_key(&self) -> (Groups, Vec<Store>) {
        self.put_together(self.plan.keys.len() - 1, |codes| &codes[1..])
    }

    /// The groups that have the same first keys, put together.
    pub(super) fn rolled_up(&self, keys: usize) -> (Groups, Vec<Store>) {
        self.put_together(keys, |codes| &codes[..keys])
    }

    fn put_together(&self, keys: usize, part: impl Fn(&[u32]) -> &[u32]) -> (Groups, Vec<Store>) {
        let mut groups = Groups::new(keys);
        let mut merged = stores(&self.plan.gatherings, 0);
        for from in 0..self.groups.len() {
            let to = groups.group(part(self.groups.codes(from))) as usize;
            for (own, theirs) in merged.iter_mut().zip(&self.stores) {
                own.resize(groups.len());
                own.merge(to, theirs, from);
            }
        }
        (groups, merged)
    }
}

/// Replaces the last value of a group in a tree by what does not fit below its parent; false if the group has no parent.
fn to_parent(codes: &mut [u32]) -> bool {
    let depth = codes.iter().position(|code| *code == groups::OTHER).unwrap_or(codes.len());
    if depth < 2 {
        return false;
    }
    codes[depth - 1] = groups::OTHER;
    true
}

/// Adds the matching rows of a table to a store.
fn gather(store: &mut Store, gathering: &Gathering, table: &TableMatches<'_>, group_of: &[u32]) {
    let group = |row: u32| group_of[row as usize] as usize;
    let Some((field, _)) = &gathering.field else {
        if let Store::Count(counts) = store {
            table.rows().iter().for_each(|row| counts[group(*row)] += 1);
        }
        return;
    };
    match store {
        Store::Count(counts) => {
            let (_, codes) = keys::values(table, field);
            for (row, code) in table.rows().iter().zip(codes) {
                counts[group(*row)] += u64::from(code != groups::MISSING);
            }
        }
        Store::Sum(sums) => numbers(table, field, |row, number| sums[group(row)].add(number)),
        Store::Extremes(list) => {
            numbers(table, field, |row, number| gathered::extend(&mut list[group(row)], number));
        }
        Store::Moments(list) => numbers(table, field, |row, number| list[group(row)].add(number as f64)),
        Store::Quantiles(list) => numbers(table, field, |row, number| list[group(row)].add(number)),
        Store::Distinct(list) => {
            let (values, codes) = keys::values(table, field);
            let hashes: Vec<u64> = values.values().iter().map(gathered::hash).collect();
            for (row, code) in table.rows().iter().zip(codes).filter(|(_, code)| *code != groups::MISSING) {
                list[group(*row)].add(hashes[code as usize]);
            }
        }
        Store::First(list) => timed(table, field, |row, time, value| {
            gathered::first(&mut list[group(row)], time, value);
        }),
        Store::Last(list) => timed(table, field, |row, time, value| {
            gathered::last(&mut list[group(row)], time, value);
        }),
    }
}

/// Calls `add` with each matching row, when its event started, and a way to get its value.
fn timed(table: &TableMatches<'_>, field: &Field, mut add: impl FnMut(u32, i64, &mut dyn FnMut() -> Datum)) {
    let column = table.column(field);
    let mut scratch = Vec::new();
    for event in table.events() {
        let row = event.row as u32;
        add(row, event.start(), &mut || Datum::from(column.value(row, &mut scratch)));
    }
}
