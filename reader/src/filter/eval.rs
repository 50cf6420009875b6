//! Finds the rows of a chunk that pass a filter, column by column: a comparison evaluates each thread, cgroup, syscall
//! number or string of the chunk once, and then looks at one integer per row.

mod computed;

use capture_format::ColumnView;
use rustc_hash::FxHashMap;

use crate::fields::dependency::{Dependency, dependency};
use crate::fields::marks::{self, Mark};
use crate::fields::{Argument, Getter, Value, values};
use crate::model::{CallColumns, ChunkView, Context, Event, FilesKey, Rows};

use super::comparison::Comparison;
use super::parse::Expr;

/// Cached results of one comparison, valid for the whole chunk.
#[derive(Debug, Default)]
struct Memo {
    tasks: Option<Vec<bool>>,
    cgroups: Option<Vec<bool>>,
    calls: FxHashMap<u64, bool>,
    strings: FxHashMap<u32, bool>,
    files: FxHashMap<FilesKey, bool>,
    /// By what decides the value of a comparison that is computed.
    computed: FxHashMap<u64, bool>,
}

/// Evaluates a filter on one chunk.
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

    /// Keeps only the rows that pass. `selected` must be ascending.
    pub fn retain(&mut self, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        self.walk(self.expr, 0, rows, selected);
    }

    /// `first` is the index in `memos` of the first comparison in `expr`.
    fn walk(&mut self, expr: &Expr, first: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        if selected.is_empty() {
            return;
        }
        match expr {
            Expr::Comparison(test) => self.compare(test, first, rows, selected),
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
                    // Rows that passed need no further comparison.
                    let mut taken = some.iter().peekable();
                    selected.retain(|row| taken.next_if_eq(&row).is_none());
                    passed.append(&mut some);
                }
                passed.sort_unstable();
                *selected = passed;
            }
        }
    }

    fn compare(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        if test.computed.is_some() {
            return self.by_computed(test, place, rows, selected);
        }
        if !test.compared.getter().is_of(rows.event.field_owner()) {
            return all_or_none(test.accepts(Value::Missing), selected);
        }
        match dependency(&test.compared) {
            Dependency::Segment | Dependency::Table => {
                let value = values::table_value(self.view, rows, &test.compared);
                all_or_none(test.accepts(value), selected);
            }
            Dependency::Cgroup => self.by_cgroup(test, place, rows, selected),
            Dependency::Task => self.by_task(test, place, rows, selected),
            Dependency::Call => self.by_call(test, place, rows, selected),
            Dependency::Files => self.by_files(test, place, rows, selected),
            Dependency::Row => self.by_row(test, place, rows, selected),
        }
    }

    fn by_cgroup(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let view = self.view;
        let context = self.context;
        let answers = self.memos[place].cgroups.get_or_insert_with(|| {
            (0..view.cgroup_rows() as u32)
                .map(|row| test.accepts(values::cgroup_value(&context, view, Some(row), &test.compared)))
                .collect()
        });
        let missing = test.accepts(Value::Missing);
        selected.retain(|row| match view.subject_cgroup(rows, *row as usize) {
            Some(cgroup) => answers.get(cgroup as usize).copied().unwrap_or(missing),
            None => missing,
        });
    }

    fn by_task(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let (view, scratch) = (self.view, &mut self.scratch);
        let answers = self.memos[place].tasks.get_or_insert_with(|| {
            let accepts = |row| match test.compared.getter() {
                // One of several ancestors is enough.
                Getter::Process(get) => {
                    let key = test.compared.key_position();
                    get.any(view, row, key, &mut |value| test.finds(value)) != test.negated
                }
                _ => test.accepts(values::task_value(view, row, &test.compared, scratch)),
            };
            (0..view.task_rows() as u32).map(accepts).collect()
        });
        let missing = test.accepts(Value::Missing);
        let tasks = rows.tasks();
        selected.retain(|row| match tasks.get(*row as usize) {
            Some(task) => answers.get(*task as usize).copied().unwrap_or(missing),
            None => missing,
        });
    }

    fn by_call(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let Some(first) = selected.first().copied() else { return };
        if !test.compared.getter().is_by_call(rows.event.kind) {
            let value = values::value(
                Event::new(&self.context, self.view, rows, first as usize),
                &test.compared,
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
                    let calls = &self.view.binding.calls;
                    test.accepts(values::call_value(calls, key, &test.compared, &mut self.scratch))
                });
            }
            answer
        });
    }

    fn by_row(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        match test.compared.getter() {
            Getter::Column(_, own) | Getter::SockAddr(_, own)
                if self.string_column(test, place, *own, rows, selected) =>
            {
                return;
            }
            Getter::Argument | Getter::RawArgument => return self.by_argument(test, rows, selected),
            _ => {}
        }
        let (context, view, scratch) = (&self.context, self.view, &mut self.scratch);
        selected.retain(|row| {
            test.accepts(values::value(
                Event::new(context, view, rows, *row as usize),
                &test.compared,
                scratch,
            ))
        });
    }

    /// Values that follow from the files of a call: one of them is enough.
    fn by_files(&mut self, test: &Comparison, place: usize, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let Some(get) = test.compared.getter().files() else { return };
        let columns = CallColumns::new(rows);
        let (context, view, scratch) = (&self.context, self.view, &mut self.scratch);
        let memo = &mut self.memos[place].files;
        selected.retain(|row| {
            let call = Event::new(context, view, rows, *row as usize).call_of(columns);
            *memo.entry(call.files_key()).or_insert_with(|| {
                let found = get(&call, &mut |value| test.finds_file_value(value, scratch));
                found != test.negated
            })
        });
    }

    fn by_argument(&mut self, test: &Comparison, rows: &Rows<'c>, selected: &mut Vec<u32>) {
        let columns = CallColumns::new(rows);
        let (context, view, scratch) = (&self.context, self.view, &mut self.scratch);
        let (mut last, mut argument_key) = (None, None);
        selected.retain(|row| {
            let call = Event::new(context, view, rows, *row as usize).call_of(columns);
            let key = call.key();
            if last != Some(key) {
                last = Some(key);
                argument_key = values::ArgumentKey::of(&call, &test.compared);
            }
            let argument = argument_key.map_or(Argument::Missing, |key| key.get(&call));
            test.finds_argument(argument, scratch) != test.negated
        });
    }

    /// Compares a string column, evaluating each string once. Returns false if the column has another type.
    fn string_column(
        &mut self,
        test: &Comparison,
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
            // What could not be read is stored as an empty string.
            let event = Event::new(&self.context, self.view, rows, *row as usize);
            if marks::of_column(&event, own) == Mark::Unread {
                return test.accepts(Value::Missing);
            }
            *memo.entry(id.0).or_insert_with(|| {
                let (context, view) = (&self.context, self.view);
                if let Getter::SockAddr(..) = test.compared.getter() {
                    return test.finds_address(view.chunk.str(*id), &mut self.scratch) != test.negated;
                }
                let value = values::value(
                    Event::new(context, view, rows, *row as usize),
                    &test.compared,
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

/// Number of comparisons in an expression.
fn count(expr: &Expr) -> usize {
    match expr {
        Expr::Comparison(_) => 1,
        Expr::And(parts) | Expr::Or(parts) => parts.iter().map(count).sum(),
    }
}
