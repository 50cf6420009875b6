//! What a view needs in a capture, and what of it is not there.

use events::{KINDS, Kind, KindSet};

use crate::filter::Filter;
use crate::scan::Captures;
use crate::stats::expr::Expr;
use crate::stats::function::Gathering;
use crate::stats::plan::{Column, Plan};

use super::{View, is_kind};

/// What of a view is not in a capture.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Kinds of which the view needs at least one, and none is there; empty if one is, or all events are looked at.
    pub kinds: Vec<&'static str>,
    /// Titles of columns that are empty, because there are no events of these kinds.
    pub columns: Vec<(String, Vec<&'static str>)>,
}

/// The kinds of which captures contain events, as far as this version knows them.
pub fn recorded_kinds(captures: &Captures) -> KindSet {
    let mut kinds = KindSet::EMPTY;
    for capture in captures.files() {
        for entry in capture.file.chunks() {
            for table in capture.bindings[entry.segment].events.iter() {
                if let Some(kind) = table.kind
                    && entry.summary.rows(table.id) > 0
                {
                    kinds = kinds.with(kind);
                }
            }
        }
    }
    let follows = |kind: &Kind| kind.follows_from().iter().any(|from| kinds.contains(*from));
    KINDS.into_iter().filter(follows).fold(kinds, KindSet::with)
}

impl View {
    /// The kinds of which it needs at least one; empty for any.
    fn needed_kinds(&self) -> KindSet {
        let words = self.kinds.iter().flat_map(|words| words.split(',')).map(str::trim);
        words.filter(|word| !word.is_empty()).fold(KindSet::EMPTY, |set, word| {
            let kind = KINDS.into_iter().find(|kind| kind.decl().name == word);
            set.with(kind.unwrap_or(Kind::Syscall))
        })
    }

    /// Whether its rows are kinds of events: then it is about whatever there is.
    fn is_of_any_kind(&self) -> bool {
        self.kinds.is_empty() && self.table.by.iter().any(|key| key == "evt.category" || key == "evt.type")
    }

    /// The words for `capture -e` that record what it needs; none if any capture does.
    pub fn to_record(&self, plan: &Plan) -> Vec<String> {
        if self.is_of_any_kind() {
            return Vec::new();
        }
        let own = self.kinds.iter().flat_map(|words| words.split(',')).map(|word| word.trim().to_owned());
        let mut words: Vec<String> = own.filter(|word| !word.is_empty()).collect();
        let has_calls = words.iter().any(|word| !is_kind(word)) || words.iter().any(|word| word == "syscall");
        for set in plan.columns().iter().flat_map(|column| kinds_of(plan, column)) {
            let names = names(set);
            let is_there = names.iter().any(|name| words.iter().any(|word| word == name))
                || has_calls && set.contains(Kind::Syscall);
            if let (false, Some(name)) = (is_there, names.first()) {
                words.push((*name).to_owned());
            }
        }
        words.retain(|word| !matches!(word.as_str(), "loss" | "clock"));
        words
    }

    /// What of it a capture does not have that has events of these kinds.
    pub fn missing(&self, plan: &Plan, recorded: KindSet) -> Missing {
        let needed = self.needed_kinds();
        let has = |set: KindSet| set.iter().any(|kind| recorded.contains(kind));
        if !needed.is_empty() && !has(needed) {
            return Missing { kinds: names(needed), columns: Vec::new() };
        }
        if self.is_of_any_kind() {
            return Missing::default();
        }
        let columns = plan.columns().iter().filter_map(|column| {
            let absent = kinds_of(plan, column).into_iter().find(|set| !has(*set))?;
            Some((column.title.clone(), names(absent)))
        });
        Missing { kinds: Vec::new(), columns: columns.collect() }
    }
}

fn names(kinds: KindSet) -> Vec<&'static str> {
    kinds.iter().map(|kind| kind.decl().name).collect()
}

/// For each thing that a column is computed from, the kinds of which it needs at least one.
fn kinds_of(plan: &Plan, column: &Column) -> Vec<KindSet> {
    fn walk(expr: &Expr, plan: &Plan, out: &mut Vec<KindSet>) {
        match expr {
            Expr::Literal(..) => {}
            Expr::Aggregate { gathering, .. } => out.extend(of_gathering(plan, &plan.gatherings[*gathering])),
            Expr::PerSecond(inner) | Expr::Share(inner) => walk(inner, plan, out),
            Expr::Binary(_, left, right) => {
                walk(left, plan, out);
                walk(right, plan, out);
            }
        }
    }
    let mut out = Vec::new();
    walk(&column.expr, plan, &mut out);
    out
}

fn of_gathering(plan: &Plan, gathering: &Gathering) -> Option<KindSet> {
    let of_field = gathering.field.as_ref().and_then(|(field, _)| field.getter().kinds());
    of_field.or_else(|| of_condition(&plan.conditions[gathering.condition?]))
}

/// The kinds of which a condition needs one, if its comparisons name some.
fn of_condition(condition: &Filter) -> Option<KindSet> {
    let named = KINDS.into_iter().filter(|kind| condition.asks_for(*kind));
    let named = named.fold(KindSet::EMPTY, KindSet::with);
    if !named.is_empty() {
        return Some(named);
    }
    let plain = condition.comparisons().into_iter().filter(|comparison| !comparison.negated);
    { plain }.find_map(|comparison| comparison.fields().into_iter().find_map(|field| field.getter().kinds()))
}
