//! Decides without reading events which chunks may contain a match and which lost events might have been one. In doubt
//! the answer is yes.

use capture_format::{ChunkSummary, SummaryValue, SummaryValues};
use events::Kind;

use crate::fields::dependency::{Dependency, dependency};
use crate::fields::{Getter, Summarized, Value, values};
use crate::model::dictionaries::{CGROUP, dict_column};
use crate::model::{Binding, ChunkView, Context, column};

use super::comparison::Comparison;
use super::op::Op;
use super::parse::Expr;

/// Whether a chunk may contain an event that passes.
pub fn may_match(expr: &Expr, binding: &Binding, summary: &ChunkSummary) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|p| may_match(p, binding, summary)),
        Expr::Or(parts) => parts.iter().any(|p| may_match(p, binding, summary)),
        Expr::Comparison(test) => chunk_may_pass(test, binding, summary),
    }
}

/// The distinct container chains of a chunk.
pub fn chains<'s>(binding: &Binding, summary: &'s ChunkSummary) -> SummaryValues<'s> {
    match binding.dict_column(CGROUP, const { dict_column(CGROUP, "chain") }) {
        Some(column) => summary.values(CGROUP, column),
        None => SummaryValues::NotKept,
    }
}

fn chunk_may_pass(test: &Comparison, binding: &Binding, summary: &ChunkSummary) -> bool {
    if test.accepts(Value::Missing) {
        return true;
    }
    if test.computed.is_some() {
        // Values of functions are not summarized, but each field has to occur.
        return test.fields().iter().all(|field| has_owner(field.getter(), binding, summary));
    }
    let has = |kind: Kind| binding.table_of(kind).is_some_and(|t| summary.rows(t.id) > 0);
    let has_named = || {
        binding.events.iter().any(|t| summary.rows(t.id) > 0 && test.accepts(Value::Bytes(t.name.as_bytes())))
    };
    let has_call = || {
        let Some((table, nr)) = binding.column_of(Kind::Syscall, const { column(Kind::Syscall, "nr") })
        else {
            return has(Kind::Syscall);
        };
        let mut name = Vec::new();
        summary.values(table, nr).may_contain(|value| match value {
            SummaryValue::U64(key) => {
                name.clear();
                binding.calls.write_name(key, &mut name);
                test.accepts(Value::Bytes(&name))
            }
            SummaryValue::Bytes(_) => true,
        })
    };
    let decl = test.compared.decl();
    match decl.summarized {
        Summarized::KindName => has_named(),
        Summarized::TypeName => {
            // `syscall` is not an event type: the type of these events is the name of the call.
            let other = binding.events.iter().any(|t| {
                t.kind != Some(Kind::Syscall)
                    && summary.rows(t.id) > 0
                    && test.accepts(Value::Bytes(t.name.as_bytes()))
            });
            other || (has(Kind::Syscall) && has_call())
        }
        Summarized::CallName => has(Kind::Syscall) && has_call(),
        // The chain is empty for events of the host and of unknown cgroups.
        Summarized::Chain(get) => chains(binding, summary).may_contain(|value| match value {
            SummaryValue::Bytes(chain) => test.accepts(get(chain)),
            SummaryValue::U64(_) => true,
        }),
        Summarized::Time => {
            let wall = |boot: u64| i128::from((boot as i64).saturating_add(summary.wall_offset));
            let (low, high) = (wall(summary.start_min), wall(summary.end_max));
            range_may_pass(test, low, high)
        }
        Summarized::No => has_owner(&decl.getter, binding, summary),
    }
}

/// Whether a chunk has events that can have a field.
fn has_owner(getter: &Getter, binding: &Binding, summary: &ChunkSummary) -> bool {
    getter.kinds().is_none()
        || binding.events.iter().any(|t| getter.is_of(t.field_owner()) && summary.rows(t.id) > 0)
}

/// Whether any number from `low` to `high` may pass.
fn range_may_pass(test: &Comparison, low: i128, high: i128) -> bool {
    if test.negated {
        return true;
    }
    test.literals.iter().filter_map(|l| l.number).any(|literal| match test.op {
        Op::Less => low < literal,
        Op::LessOrEqual => low <= literal,
        Op::Greater => high > literal,
        Op::GreaterOrEqual => high >= literal,
        Op::Equal => (low..=high).contains(&literal),
        _ => true,
    })
}

/// What a loss row records about the lost events.
#[derive(Clone, Copy, Debug)]
pub struct LostEvents {
    /// Number of the kind; 0 if unknown.
    pub kind: u64,
    /// Row of the cgroup, if known.
    pub cgroup: Option<u32>,
    /// Earliest possible time of the events, wall-clock ns.
    pub from: i64,
    /// Latest possible time, wall-clock ns.
    pub to: i64,
}

/// Whether any of the lost events might have passed.
pub fn may_match_lost(expr: &Expr, context: &Context<'_>, view: &ChunkView<'_>, lost: &LostEvents) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|p| may_match_lost(p, context, view, lost)),
        Expr::Or(parts) => parts.iter().any(|p| may_match_lost(p, context, view, lost)),
        Expr::Comparison(test) => lost_may_pass(test, context, view, lost),
    }
}

/// Whether events of this kind can pass, whatever their values are.
pub fn may_match_kind(expr: &Expr, kind: Kind) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|part| may_match_kind(part, kind)),
        Expr::Or(parts) => parts.iter().any(|part| may_match_kind(part, kind)),
        Expr::Comparison(test) => kind_may_pass(test, kind),
    }
}

fn kind_may_pass(test: &Comparison, kind: Kind) -> bool {
    let has = |getter: &Getter| getter.is_of(Some(kind.field_owner()));
    if test.computed.is_some() {
        return test.fields().iter().all(|field| has(field.getter())) || test.accepts(Value::Missing);
    }
    let decl = test.compared.decl();
    let has_kind_name = || test.accepts(Value::Bytes(kind.decl().name.as_bytes()));
    match decl.summarized {
        Summarized::KindName => has_kind_name(),
        // The names of calls.
        Summarized::TypeName => kind == Kind::Syscall || has_kind_name(),
        Summarized::Time => true,
        Summarized::CallName | Summarized::Chain(_) | Summarized::No => {
            has(&decl.getter) || test.accepts(Value::Missing)
        }
    }
}

fn lost_may_pass(test: &Comparison, context: &Context<'_>, view: &ChunkView<'_>, lost: &LostEvents) -> bool {
    let table = view.binding.events.iter().find(|t| u64::from(t.id.0) == lost.kind);
    let syscall = table.is_some_and(|t| t.kind == Some(Kind::Syscall));
    // Events of another kind do not have this field.
    let can_have =
        |getter: &Getter| table.is_none_or(|t| getter.is_of(t.field_owner())) || test.accepts(Value::Missing);
    if test.computed.is_some() {
        return test.fields().iter().all(|field| can_have(field.getter()));
    }
    let has_kind_name = || table.is_none_or(|t| test.accepts(Value::Bytes(t.name.as_bytes())));
    let has_call_name = || view.binding.calls.names().any(|name| test.accepts(Value::Bytes(name.as_bytes())));
    let decl = test.compared.decl();
    match decl.summarized {
        Summarized::KindName => has_kind_name(),
        Summarized::TypeName if syscall => has_call_name(),
        Summarized::TypeName => has_kind_name(),
        Summarized::CallName if syscall => has_call_name(),
        // A lost call may have started at any time before it ended.
        Summarized::Time => range_may_pass(test, i128::MIN, i128::from(lost.to)),
        Summarized::CallName | Summarized::Chain(_) | Summarized::No => match dependency(&test.compared) {
            Dependency::Cgroup => {
                let known = lost.cgroup.map(|row| view.cgroup(row)).is_some_and(|c| c.is_known());
                !known || test.accepts(values::cgroup_value(context, view, lost.cgroup, &test.compared))
            }
            Dependency::Segment
            | Dependency::Table
            | Dependency::Task
            | Dependency::Call
            | Dependency::Files
            | Dependency::Row => can_have(&decl.getter),
        },
    }
}

#[cfg(test)]
mod kind_tests {
    use events::{KINDS, Kind};

    use crate::filter::Filter;

    #[test]
    fn kinds_that_cannot_pass_follow_from_names_and_fields() {
        let of = |text: &str| {
            let filter = Filter::parse(text).unwrap();
            KINDS.into_iter().filter(|kind| filter.may_match_kind(*kind)).collect::<Vec<_>>()
        };
        assert_eq!(of("evt.category = exec"), [Kind::Exec]);
        assert_eq!(of("evt.type = fsync"), [Kind::Syscall]);
        assert_eq!(of("evt.type = fork and proc.name = sh"), [Kind::Syscall, Kind::Fork]);
        assert_eq!(of("block.service > 10ms or evt.category = oom"), [Kind::Block, Kind::Oom]);
        // What others lack, they do not equal.
        assert_eq!(of("block.service != 10ms"), KINDS);
        assert_eq!(of("not evt.category = exec").len(), KINDS.len() - 1);
        assert_eq!(of("proc.name = sh"), KINDS);
    }
}
