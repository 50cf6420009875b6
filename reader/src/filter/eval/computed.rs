//! Comparisons of functions of fields, and of fields with each other: once for each combination of what decides their
//! values.

use capture_format::{ColumnView, StrId};
use events::Kind;

use super::{Evaluator, all_or_none};
use crate::fields::dependency::{Dependency, dependency};
use crate::fields::marks::{self, Mark};
use crate::fields::{Field, Getter, Value};
use crate::filter::comparison::Comparison;
use crate::model::{CallColumns, Event, Rows};

impl<'c> Evaluator<'_, 'c> {
    pub(super) fn by_computed(
        &mut self,
        test: &Comparison,
        place: usize,
        rows: &Rows<'c>,
        selected: &mut Vec<u32>,
    ) {
        let fields = test.fields();
        let has = |field: &&Field| field.getter().is_of(rows.event.field_owner());
        if !fields.iter().all(has) {
            return all_or_none(test.accepts(Value::Missing), selected);
        }
        let (context, view) = (&self.context, self.view);
        let event = |row: u32| Event::new(context, view, rows, row as usize);
        let passes = |row: u32| test.accepts_event(event(row));
        let memos = &mut self.memos[place];
        let memo = &mut memos.computed;
        let mut once = |key: u64, row: u32| *memo.entry(key).or_insert_with(|| passes(row));
        // What a row lacks has a key of its own.
        let known = |key: Option<u32>| key.map_or(u64::MAX, u64::from);
        match common(&fields) {
            Dependency::Call if rows.event.kind.is_some_and(Kind::has_files) => {
                let columns = CallColumns::new(rows);
                // The type of a request is not that of the call that does the same.
                let of_table = u64::from(rows.event.kind == Some(Kind::Syscall)) << 63;
                selected.retain(|row| once(columns.key(*row as usize) ^ of_table, *row));
            }
            Dependency::Segment | Dependency::Table | Dependency::Call => {
                let Some(first) = selected.first() else { return };
                all_or_none(passes(*first), selected);
            }
            Dependency::Cgroup => {
                selected.retain(|row| once(known(view.subject_cgroup(rows, *row as usize)), *row));
            }
            Dependency::Task => selected.retain(|row| once(known(rows.task(*row as usize)), *row)),
            Dependency::Files => {
                let columns = CallColumns::new(rows);
                selected.retain(|row| {
                    let key = event(*row).call_of(columns).files_key();
                    *memos.files.entry(key).or_insert_with(|| passes(*row))
                });
            }
            Dependency::Row => match string_column(&fields, rows) {
                Some((own, ids)) => selected.retain(|row| match ids.get(*row as usize) {
                    // What could not be read is stored as an empty string.
                    Some(id) if marks::of_column(&event(*row), own) != Mark::Unread => {
                        once(u64::from(id.0), *row)
                    }
                    _ => passes(*row),
                }),
                None => selected.retain(|row| passes(*row)),
            },
        }
    }
}

/// What the values of all fields depend on. Of different parts of an event, on the event.
fn common(fields: &[&Field]) -> Dependency {
    let all = fields.iter().map(|field| dependency(field));
    let join = |a, b| match (a, b) {
        // The segment is the same for all events of a chunk.
        (Dependency::Segment, other) | (other, Dependency::Segment) => other,
        (a, b) if a == b => a,
        _ => Dependency::Row,
    };
    all.fold(Dependency::Segment, join)
}

/// The strings that decide the value, if it depends on nothing else than a column of them.
fn string_column<'c>(fields: &[&Field], rows: &Rows<'c>) -> Option<(u16, &'c [StrId])> {
    let (first, others) = fields.split_first()?;
    let Getter::Column(_, own) = first.getter() else { return None };
    if others.iter().any(|other| other != first) {
        return None;
    }
    match rows.event.known(*own).map(|column| rows.table.column(column)) {
        Some(Ok(ColumnView::Bytes(ids))) => Some((*own, ids)),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
