//! Which rows of a chunk pass a filter. Column by column: a comparison looks at each thread, cgroup,
//! syscall number or string of the chunk once, and then at one integer in each row.

use capture_format::ColumnView;
use events::Kind;
use rustc_hash::FxHashMap;

use crate::model::{CallColumns, ChunkView, Event, Rows};

use super::comparison::{Op, Test};
use super::parse::Expr;
use crate::fields::Value;
use crate::fields::dependency::{Dependency, dependency};
use crate::fields::values;
use crate::fields::{Field, FieldType};
use crate::model::Context;

/// Answers that hold for the whole chunk, by the place of the comparison in the expression.
#[derive(Debug, Default)]
struct Memo {
    tasks: Option<Vec<bool>>,
    cgroups: Option<Vec<bool>>,
    calls: FxHashMap<u64, bool>,
    strings: FxHashMap<u32, bool>,
}

/// A filter at work on one chunk.
#[derive(Debug)]
pub struct Evaluator<'f, 'c> {
    expr: &'f Expr,
    context: Context<'c>,
    view: &'f ChunkView<'c>,
    memos: Vec<Memo>,
    scratch: Vec<u8>,
}

impl<'f, 'c> Evaluator<'f, 'c> {
    /// Applies `expr` to `view`.
    pub fn new(expr: &'f Expr, context: Context<'c>, view: &'f ChunkView<'c>) -> Self {
        let mut memos = Vec::new();
        memos.resize_with(count(expr), Memo::default);
        Self { expr, context, view, memos, scratch: Vec::new() }
    }

    /// Keeps those of the rows (ascending) that pass.
    pub fn retain(&mut self, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        self.walk(self.expr, 0, rows, selected);
    }

    /// `first` is the place of the expression's first comparison.
    fn walk(&mut self, expr: &Expr, first: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        if selected.is_empty() {
            return;
        }
        match expr {
            Expr::Test(test) => self.test(test, first, rows, selected),
            Expr::And(parts) => {
                let mut place = first;
                for part in parts {
                    self.walk(part, place, rows, selected);
                    place += count(part);
                }
            }
            Expr::Or(parts) => {
                let mut place = first;
                let mut passed: Vec<u32> = Vec::new();
                for part in parts {
                    let mut some = selected.clone();
                    self.walk(part, place, rows, &mut some);
                    place += count(part);
                    // What has passed need not be asked again.
                    let mut taken = some.iter().peekable();
                    selected.retain(|row| taken.next_if_eq(&row).is_none());
                    passed.append(&mut some);
                }
                passed.sort_unstable();
                *selected = passed;
            }
        }
    }

    fn test(&mut self, test: &Test, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        match dependency(&test.field) {
            Dependency::Segment | Dependency::Table => {
                let value = values::table_value(self.view, rows, &test.field);
                all_or_none(test.accepts(value), selected);
            }
            Dependency::Cgroup => self.cgroup_test(test, place, rows, selected),
            Dependency::Task => self.task_test(test, place, rows, selected),
            Dependency::Call => self.call_test(test, place, rows, selected),
            Dependency::Row => self.row_test(test, place, rows, selected),
        }
    }

    fn cgroup_test(&mut self, test: &Test, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let view = self.view;
        let context = self.context;
        // A prefix of an id may be longer than the part that is shown.
        let full = Field::ContainerFullId;
        let field =
            if test.field == Field::ContainerId && test.op == Op::Equal { &full } else { &test.field };
        let answers = self.memos[place].cgroups.get_or_insert_with(|| {
            (0..view.cgroup_rows() as u32)
                .map(|row| test.accepts(values::cgroup_value(&context, view, Some(row), field)))
                .collect()
        });
        let missing = test.accepts(Value::Missing);
        selected.retain(|row| match view.subject_cgroup(rows, *row as usize) {
            Some(cgroup) => answers.get(cgroup as usize).copied().unwrap_or(missing),
            None => missing,
        });
    }

    fn task_test(&mut self, test: &Test, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let (view, scratch) = (self.view, &mut self.scratch);
        let answers = self.memos[place].tasks.get_or_insert_with(|| {
            (0..view.task_rows() as u32)
                .map(|row| test.accepts(values::task_value(view, row, &test.field, scratch)))
                .collect()
        });
        let missing = test.accepts(Value::Missing);
        selected.retain(|row| match rows.task.get(*row as usize) {
            Some(task) => answers.get(*task as usize).copied().unwrap_or(missing),
            None => missing,
        });
    }

    fn call_test(&mut self, test: &Test, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let Some(first) = selected.first().copied() else { return };
        if rows.event.kind != Some(Kind::Syscall) {
            let value = values::value(
                Event::new(&self.context, self.view, rows, first as usize),
                &test.field,
                &mut self.scratch,
            );
            return all_or_none(test.accepts(value), selected);
        }
        let columns = CallColumns::new(rows);
        let (mut last, mut answer) = (None, false);
        selected.retain(|row| {
            let key = columns.key(*row as usize);
            if last != Some(key) {
                last = Some(key);
                answer = *self.memos[place].calls.entry(key).or_insert_with(|| {
                    let (context, view) = (&self.context, self.view);
                    test.accepts(values::value(
                        Event::new(context, view, rows, *row as usize),
                        &test.field,
                        &mut self.scratch,
                    ))
                });
            }
            answer
        });
    }

    fn row_test(&mut self, test: &Test, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        if let Field::Column(kind, own) = test.field {
            if rows.event.kind != Some(kind) {
                return all_or_none(test.accepts(Value::Missing), selected);
            }
            if self.string_column(test, place, own, rows, selected) {
                return;
            }
        }
        if rows.event.kind != Some(Kind::Syscall) && only_syscalls(&test.field) {
            return all_or_none(test.accepts(Value::Missing), selected);
        }
        let (context, view, scratch) = (&self.context, self.view, &mut self.scratch);
        selected.retain(|row| {
            test.accepts(values::value(Event::new(context, view, rows, *row as usize), &test.field, scratch))
        });
    }

    /// A column of strings, each of which is looked at once. False if it is another column.
    fn string_column(
        &mut self,
        test: &Test,
        place: usize,
        own: u16,
        rows: &Rows<'c>,
        selected: &mut Vec<u32>,
    ) -> bool {
        let Some(Ok(ColumnView::Bytes(ids))) = rows.event.known(own).map(|c| rows.table.column(c)) else {
            return false;
        };
        let memo = &mut self.memos[place].strings;
        selected.retain(|row| {
            let Some(id) = ids.get(*row as usize) else { return test.accepts(Value::Missing) };
            *memo.entry(id.0).or_insert_with(|| {
                let (context, view) = (&self.context, self.view);
                let value = values::value(
                    Event::new(context, view, rows, *row as usize),
                    &test.field,
                    &mut self.scratch,
                );
                test.accepts(value)
            })
        });
        true
    }
}

fn all_or_none(all: bool, selected: &mut Vec<u32>) {
    if !all {
        selected.clear();
    }
}

/// Fields of which other events than syscalls have no value.
pub(super) fn only_syscalls(field: &Field) -> bool {
    matches!(
        field,
        Field::Args
            | Field::ArgNamed(_)
            | Field::ArgAt(_)
            | Field::Result
            | Field::RawResult
            | Field::Failed
            | Field::FdNum
            | Field::FdName
            | Field::Call
            | Field::Abi
    )
}

/// How many comparisons an expression has.
fn count(expr: &Expr) -> usize {
    match expr {
        Expr::Test(_) => 1,
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(count).sum(),
    }
}

/// Whether a field's values are points in time.
pub(super) fn is_time(test: &Test) -> bool {
    test.field == Field::RawTime || (test.field == Field::Start && test.ty == FieldType::Time)
}
