//! Queries, and how they apply to chunks, events and losses.

use std::collections::BTreeMap;
use std::sync::Arc;

use capture_format::{ChunkSummary, SummaryValue};
use events::Kind;
use rustc_hash::FxHashSet;

use crate::filter::prune::{self, LostEvents};
use crate::filter::{Evaluator, Filter, ParseError};
use crate::model::Context;
use crate::model::{Binding, ChunkView, Rows, column};

use super::around::Around;
use super::container_match::Containers;
use super::parties::{Party, concerns_others, parties};

/// Most combinations of kind and stage to count, since a file may claim any number.
const MAX_REASONS: usize = 64;

/// A query. Each condition that is not set matches everything.
#[derive(Clone, Debug, Default)]
pub struct Query {
    /// Only events of these containers.
    pub containers: Option<Containers>,
    /// Only events of these cgroups of the recording host, by id; set by the recorder.
    pub cgroups: Option<Arc<FxHashSet<u64>>>,
    /// Only events that ended at or after this, wall-clock ns.
    pub from: Option<i64>,
    /// Only events that started at or before this, wall-clock ns.
    pub to: Option<i64>,
    /// Only events that pass; its times are resolved.
    pub filter: Option<Filter>,
    /// Only events around others.
    pub around: Option<Around>,
}

/// What a query needs of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkRelevance {
    /// Nothing.
    Skip,
    /// Lost events that might have matched.
    LossOnly,
    /// Events that may match.
    Read,
}

impl From<Filter> for Query {
    fn from(filter: Filter) -> Self {
        Self { filter: Some(filter), ..Self::default() }
    }
}

/// Lost events that might have matched, by where they were lost.
#[derive(Clone, Debug, Default)]
pub struct LossTally {
    /// The sum of all kinds and stages.
    pub total: u64,
    /// By kind and stage.
    pub by: BTreeMap<(String, String), u64>,
}

impl LossTally {
    /// Adds lost events of one kind, lost at one stage.
    fn note(&mut self, kind: String, stage: String, count: u64) {
        self.total = self.total.saturating_add(count);
        let mut key = (kind, stage);
        if self.by.len() >= MAX_REASONS && !self.by.contains_key(&key) {
            key = ("other".to_owned(), "other".to_owned());
        }
        let sum = self.by.entry(key).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds another tally.
    pub(super) fn add(&mut self, other: &Self) {
        for ((kind, stage), count) in &other.by {
            self.note(kind.clone(), stage.clone(), *count);
        }
    }
}

impl Query {
    /// Whether the query selects loss events themselves, instead of showing them in addition to matching events.
    pub fn asks_for_loss(&self) -> bool {
        self.filter.as_ref().is_some_and(Filter::asks_for_loss)
    }

    /// What the query needs of a chunk, from its summary alone.
    pub fn relevance(&self, binding: &Binding, summary: &ChunkSummary) -> ChunkRelevance {
        let wall = |boot: u64| (boot as i64).saturating_add(summary.wall_offset);
        if self.from.is_some_and(|from| wall(summary.end_max) < from) {
            return ChunkRelevance::Skip;
        }
        // Losses may have happened long before the chunk that reports them.
        let lossy = binding.table_of(Kind::Loss).is_some_and(|t| summary.rows(t.id) > 0);
        let otherwise = if lossy { ChunkRelevance::LossOnly } else { ChunkRelevance::Skip };
        if self.to.is_some_and(|to| wall(summary.start_min) > to) {
            return otherwise;
        }
        let is_outside = |around: &Around| !around.overlaps(wall(summary.start_min), wall(summary.end_max));
        if self.around.as_ref().is_some_and(is_outside) {
            return otherwise;
        }
        if let Some(containers) = &self.containers
            && !prune::chains(binding, summary)
                .may_contain(|v| matches!(v, SummaryValue::Bytes(chain) if containers.match_chain(chain)))
        {
            return otherwise;
        }
        match &self.filter {
            Some(filter) if !prune::may_match(filter.expr(), binding, summary) => otherwise,
            _ => ChunkRelevance::Read,
        }
    }

    /// A query for all events that pass an expression.
    ///
    /// # Errors
    /// If the expression does not parse.
    pub fn parse(expression: &str) -> Result<Self, ParseError> {
        Ok(Self::from(Filter::parse(expression)?))
    }

    /// The matching rows of a table, ascending. Loss rows match if the query selects loss events.
    pub fn matching<'c>(
        &self,
        view: &ChunkView<'c>,
        rows: &Rows<'c>,
        evaluator: Option<&mut Evaluator<'_, 'c>>,
        in_containers: Option<&[bool]>,
    ) -> Vec<u32> {
        let mut selected: Vec<u32> = (0..rows.len() as u32).collect();
        let summary = view.chunk.summary();
        if let Some(from) = self.from.filter(|from| view.wall(summary.end_min) < *from) {
            selected.retain(|row| view.wall(rows.end(*row as usize)) >= from);
        }
        if let Some(to) = self.to.filter(|to| view.wall(summary.end_max) > *to) {
            selected.retain(|row| view.wall(rows.start(*row as usize)) <= to);
        }
        let whole = (view.wall(summary.start_min), view.wall(summary.end_max));
        if let Some(around) = self.around.as_ref().filter(|around| !around.contains(whole.0, whole.1)) {
            let time = |row: usize| (view.wall(rows.start(row)), view.wall(rows.end(row)));
            selected.retain(|row| {
                let (start, end) = time(*row as usize);
                around.overlaps(start, end)
            });
        }
        if let Some(answers) = in_containers {
            let inside = |cgroup: Option<u32>| cgroup.is_some_and(|c| answers.get(c as usize) == Some(&true));
            let concerned = concerns_others(rows.event.kind);
            let others: Vec<Party<'_>> = parties(rows).filter(|_| concerned).collect();
            selected.retain(|row| {
                let row = *row as usize;
                inside(view.subject_cgroup(rows, row))
                    || others.iter().any(|party| inside(party.rows(view, row).0))
            });
        }
        if let Some(evaluator) = evaluator {
            evaluator.retain(rows, &mut selected);
        }
        selected
    }

    /// For each cgroup of a chunk, whether it is selected; `None` if the query selects no containers or cgroups.
    pub fn in_containers(&self, view: &ChunkView<'_>) -> Option<Vec<bool>> {
        if self.containers.is_none() && self.cgroups.is_none() {
            return None;
        }
        let boot_id = view.binding.header.boot_id;
        let is_meant = |row| {
            let cgroup = view.cgroup(row);
            self.containers.as_ref().is_none_or(|containers| containers.match_cgroup(boot_id, &cgroup))
                && self.cgroups.as_ref().is_none_or(|cgroups| cgroups.contains(&cgroup.id))
        };
        Some((0..view.cgroup_rows() as u32).map(is_meant).collect())
    }

    /// The loss rows that report events which might have matched; adds these events to the tally.
    pub fn losses(
        &self,
        context: &Context<'_>,
        view: &ChunkView<'_>,
        rows: &Rows<'_>,
        tally: &mut LossTally,
    ) -> Vec<u32> {
        let mut matching = Vec::new();
        for row in 0..rows.len() {
            let number = |own: u16| rows.number(own, row).unwrap_or(0);
            let to = view.wall(rows.end(row));
            let from = number(const { column(Kind::Loss, "from") });
            let lost = LostEvents {
                kind: number(const { column(Kind::Loss, "kind") }),
                cgroup: view.subject_cgroup(rows, row),
                from: if from == 0 { i64::MIN } else { view.wall(from).min(to) },
                to,
            };
            if !self.might_match(context, view, &lost) {
                continue;
            }
            let count = number(const { column(Kind::Loss, "count") });
            let kind = match view.binding.events.iter().find(|t| u64::from(t.id.0) == lost.kind) {
                Some(table) => table.name.clone(),
                None => "unknown".to_owned(),
            };
            let stage = rows.bytes(const { column(Kind::Loss, "stage") }, row).unwrap_or_default();
            let stage = String::from_utf8_lossy(stage).into_owned();
            tally.note(kind, stage, count);
            matching.push(row as u32);
        }
        matching
    }

    fn might_match(&self, context: &Context<'_>, view: &ChunkView<'_>, lost: &LostEvents) -> bool {
        // A lost call may have started at any time, so only its end can rule it out.
        if self.from.is_some_and(|from| lost.to < from) || self.to.is_some_and(|to| lost.from > to) {
            return false;
        }
        // A lost event may also be one that others are around.
        let is_one = |around: &Around| {
            around.filter().is_some_and(|filter| prune::may_match_lost(filter.expr(), context, view, lost))
        };
        if self.around.as_ref().is_some_and(|around| !around.overlaps(lost.from, lost.to) && !is_one(around))
        {
            return false;
        }
        if let Some(containers) = &self.containers {
            let cgroup = lost.cgroup.map(|row| view.cgroup(row)).filter(|c| c.is_known());
            let boot_id = view.binding.header.boot_id;
            if cgroup.is_some_and(|c| !containers.match_cgroup(boot_id, &c)) {
                return false;
            }
        }
        match &self.filter {
            Some(filter) if !filter.asks_for_loss() => {
                prune::may_match_lost(filter.expr(), context, view, lost)
            }
            _ => true,
        }
    }
}
