//! The matching rows of a chunk, table by table, with the values of a field for all of them at once.

use std::fmt;

use capture_format::{ColumnView, StrId};
use events::Kind;

use crate::fields::dependency::{Dependency, dependency};
use crate::fields::{Field, Getter, Value, values};
use crate::model::{CallColumns, ChunkView, Context, Event, Rows};

/// The rows of a table that match.
#[derive(Debug)]
pub(super) struct Selection {
    /// The table's place in [`crate::model::Binding::events`].
    pub(super) place: usize,
    /// Ascending.
    pub(super) rows: Vec<u32>,
    /// They are losses that are shown along with events that match, and do not match themselves.
    pub(super) along: bool,
}

/// What matches in one chunk. See [`super::Search::scan`].
#[derive(Clone, Copy, Debug)]
pub struct ChunkMatches<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    selected: &'a [Selection],
}

impl<'a> ChunkMatches<'a> {
    pub(super) fn new(context: &'a Context<'a>, view: &'a ChunkView<'a>, selected: &'a [Selection]) -> Self {
        Self { context, view, selected }
    }

    /// The chunk.
    pub fn view(&self) -> &'a ChunkView<'a> {
        self.view
    }

    /// Each event table with rows that match.
    pub fn tables(&self) -> impl Iterator<Item = TableMatches<'a>> + use<'a> {
        let (context, view) = (self.context, self.view);
        self.selected.iter().filter(|selection| !selection.along).filter_map(move |selection| {
            Some(TableMatches {
                context,
                view,
                rows: view.table(selection.place)?,
                matching: &selection.rows,
            })
        })
    }
}

/// The rows of one event table of a chunk that match.
#[derive(Clone, Copy, Debug)]
pub struct TableMatches<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    rows: &'a Rows<'a>,
    matching: &'a [u32],
}

impl<'a> TableMatches<'a> {
    /// The kind of its events; `None` if this version does not know it.
    pub fn kind(&self) -> Option<Kind> {
        self.rows.event.kind
    }

    /// The table.
    pub fn table(&self) -> &'a Rows<'a> {
        self.rows
    }

    /// The numbers of the rows that match, ascending; at least one.
    pub fn rows(&self) -> &'a [u32] {
        self.matching
    }

    /// The events that match, in the order of the table.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + use<'a> {
        let (context, view, rows) = (self.context, self.view, self.rows);
        self.matching.iter().map(move |row| Event::new(context, view, rows, *row as usize))
    }

    /// The values of a field in this table.
    pub fn column(&self, field: &'a Field) -> FieldColumn<'a> {
        FieldColumn { context: self.context, view: self.view, rows: self.rows, field, ids: self.ids(field) }
    }

    fn ids(&self, field: &Field) -> Ids<'a> {
        if field.getter().kind().is_some_and(|kind| self.kind() != Some(kind)) {
            return Ids::Constant;
        }
        match dependency(field) {
            Dependency::Segment | Dependency::Table => Ids::Constant,
            Dependency::Cgroup => Ids::Cgroup,
            Dependency::Task => Ids::Task(self.rows.task),
            Dependency::Call if self.kind() == Some(Kind::Syscall) => {
                Ids::Call(CallColumns::new(self.rows).nr)
            }
            Dependency::Call => Ids::Constant,
            Dependency::Row => {
                let Getter::Column(_, own) = field.getter() else { return Ids::None };
                match self.rows.event.known(*own).map(|c| self.rows.table.column(c)) {
                    Some(Ok(ColumnView::Bytes(ids))) => Ids::String(ids),
                    _ => Ids::None,
                }
            }
        }
    }
}

/// What the rows of a chunk refer to instead of having a value of their own.
#[derive(Clone, Copy, Debug)]
enum Ids<'a> {
    /// All rows have the same value.
    Constant,
    /// A row of the cgroup dictionary.
    Cgroup,
    /// A row of the task dictionary.
    Task(&'a [u32]),
    /// A syscall.
    Call(&'a [u64]),
    /// A string of the chunk.
    String(&'a [StrId]),
    /// Each row has its own value.
    None,
}

/// The values of a field in one table of a chunk.
///
/// Many fields have few different values in a chunk: those of a thread, a container, a syscall, a string. For them
/// [`Self::id`] gives a small number for each row, and rows with the same number have the same value: look at each
/// value once and count numbers. Numbers mean nothing outside the table of the chunk.
#[derive(Clone, Copy)]
pub struct FieldColumn<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    rows: &'a Rows<'a>,
    field: &'a Field,
    ids: Ids<'a>,
}

impl<'a> FieldColumn<'a> {
    /// Whether rows have a number for their value, see [`Self::id`]; otherwise each row has a value of its own.
    pub fn has_ids(&self) -> bool {
        !matches!(self.ids, Ids::None)
    }

    /// The number that stands for the value of a row. `None` if the field has no numbers, or the row refers to nothing:
    /// then ask for [`Self::value`].
    #[inline]
    pub fn id(&self, row: u32) -> Option<u32> {
        let at = row as usize;
        match self.ids {
            Ids::Constant => Some(0),
            Ids::Cgroup => self.view.subject_cgroup(self.rows, at),
            Ids::Task(tasks) => tasks.get(at).copied(),
            Ids::Call(keys) => keys.get(at).and_then(|key| u32::try_from(*key).ok()),
            Ids::String(ids) => ids.get(at).map(|id| id.0),
            Ids::None => None,
        }
    }

    /// The number of a row as it is stored, where the field's value is a plain number of each row: a slice that has one for
    /// each row of the table, not only for those that match.
    ///
    /// Durations of events whose start is not known are no values, see [`Self::value`].
    pub fn stored_numbers(&self) -> Option<&'a [u64]> {
        match self.field.getter() {
            Getter::Column(kind, own) if self.rows.event.kind == Some(*kind) => {
                match self.rows.table.column(self.rows.event.known(*own)?) {
                    Ok(ColumnView::U64(numbers)) => Some(numbers),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The value of a row. Text may be written to `scratch`, whatever was in it.
    pub fn value<'s>(&self, row: u32, scratch: &'s mut Vec<u8>) -> Value<'s>
    where
        'a: 's,
    {
        let event = Event::new(self.context, self.view, self.rows, row as usize);
        values::value(event, self.field, scratch)
    }
}

impl fmt::Debug for FieldColumn<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FieldColumn")
            .field("field", self.field)
            .field("ids", &self.ids)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
