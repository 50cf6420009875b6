//! What can be told about a filter without reading events: which chunks may contain a match, and which
//! lost events might have been one. Both err on the side of yes.

use capture_format::{ChunkSummary, SummaryValue, SummaryValues};
use events::Kind;

use crate::model::dictionaries::{CGROUP, dict_column};
use crate::model::{Binding, ChunkView, column};

use super::comparison::{Op, Test};
use super::eval::{is_time, only_syscalls};
use super::parse::Expr;
use crate::fields::Field;
use crate::fields::Value;
use crate::fields::dependency::{Dependency, dependency};
use crate::fields::values;
use crate::model::Context;

/// Whether a chunk may contain an event that passes.
pub fn may_match(expr: &Expr, binding: &Binding, summary: &ChunkSummary) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|p| may_match(p, binding, summary)),
        Expr::Or(parts) => parts.iter().any(|p| may_match(p, binding, summary)),
        Expr::Test(test) => chunk_may_pass(test, binding, summary),
    }
}

/// The distinct container chains of a chunk.
pub fn chains<'s>(binding: &Binding, summary: &'s ChunkSummary) -> SummaryValues<'s> {
    match binding.dict_column(CGROUP, const { dict_column(CGROUP, "chain") }) {
        Some(column) => summary.values(CGROUP, column),
        None => SummaryValues::NotKept,
    }
}

fn chunk_may_pass(test: &Test, binding: &Binding, summary: &ChunkSummary) -> bool {
    if test.accepts(Value::Missing) {
        return true;
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
    match &test.field {
        Field::Category => has_named(),
        Field::Type => {
            // The name of the table `syscall` is no type of event.
            let other = binding.events.iter().any(|t| {
                t.kind != Some(Kind::Syscall)
                    && summary.rows(t.id) > 0
                    && test.accepts(Value::Bytes(t.name.as_bytes()))
            });
            other || (has(Kind::Syscall) && has_call())
        }
        Field::Call => has(Kind::Syscall) && has_call(),
        Field::Column(kind, _) => has(*kind),
        Field::ContainerId | Field::ContainerFullId | Field::ContainerChain => {
            chain_may_pass(test, binding, summary)
        }
        field if only_syscalls(field) => has(Kind::Syscall),
        _ if is_time(test) => {
            let wall = |boot: u64| i128::from((boot as i64).saturating_add(summary.wall_offset));
            let (low, high) = (wall(summary.start_min), wall(summary.end_max));
            range_may_pass(test, low, high)
        }
        _ => true,
    }
}

fn chain_may_pass(test: &Test, binding: &Binding, summary: &ChunkSummary) -> bool {
    // An event of the host has an empty chain, and so has one of an unknown cgroup.
    chains(binding, summary).may_contain(|value| {
        let SummaryValue::Bytes(chain) = value else { return true };
        if chain.is_empty() {
            return test.field != Field::ContainerChain && test.accepts(Value::Bytes(b"host"));
        }
        let innermost = chain.rsplit(|b| *b == b'>').next().unwrap_or_default();
        match test.field {
            Field::ContainerChain => test.accepts(Value::Bytes(chain)),
            Field::ContainerId if test.op != Op::Equal => {
                test.accepts(Value::Bytes(crate::model::short_id(innermost)))
            }
            _ => test.accepts(Value::Bytes(innermost)),
        }
    })
}

/// Whether some number from `low` to `high` may pass.
fn range_may_pass(test: &Test, low: i128, high: i128) -> bool {
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

/// What is known of events that were lost.
#[derive(Clone, Copy, Debug)]
pub struct Lost {
    /// Their kind's number; 0 if unknown.
    pub kind: u64,
    /// The row of their cgroup, if there is one.
    pub cgroup: Option<u32>,
    /// The earliest moment at which they can have happened, wall-clock ns.
    pub from: i64,
    /// The latest one.
    pub to: i64,
}

/// Whether a lost event might have passed.
pub fn may_match_lost(expr: &Expr, context: &Context<'_>, view: &ChunkView<'_>, lost: &Lost) -> bool {
    match expr {
        Expr::And(parts) => parts.iter().all(|p| may_match_lost(p, context, view, lost)),
        Expr::Or(parts) => parts.iter().any(|p| may_match_lost(p, context, view, lost)),
        Expr::Test(test) => lost_may_pass(test, context, view, lost),
    }
}

fn lost_may_pass(test: &Test, context: &Context<'_>, view: &ChunkView<'_>, lost: &Lost) -> bool {
    let table = view.binding.events.iter().find(|t| u64::from(t.id.0) == lost.kind);
    let syscall = table.is_some_and(|t| t.kind == Some(Kind::Syscall));
    match &test.field {
        Field::Category => table.is_none_or(|t| test.accepts(Value::Bytes(t.name.as_bytes()))),
        Field::Type if !syscall => table.is_none_or(|t| test.accepts(Value::Bytes(t.name.as_bytes()))),
        Field::Type | Field::Call if syscall => {
            view.binding.calls.names().any(|name| test.accepts(Value::Bytes(name.as_bytes())))
        }
        Field::Column(kind, _) => table.is_none_or(|t| t.kind == Some(*kind)) || test.accepts(Value::Missing),
        field if only_syscalls(field) => table.is_none() || syscall || test.accepts(Value::Missing),
        field if dependency(field) == Dependency::Cgroup => {
            let known = lost.cgroup.map(|row| view.cgroup(row)).is_some_and(|c| c.is_known());
            let full = Field::ContainerFullId;
            let field = if *field == Field::ContainerId && test.op == Op::Equal { &full } else { field };
            !known || test.accepts(values::cgroup_value(context, view, lost.cgroup, field))
        }
        // A call that was lost can have begun at any time before it ended.
        _ if is_time(test) => range_may_pass(test, i128::MIN, i128::from(lost.to)),
        _ => true,
    }
}
