//! The matching rows of a chunk, table by table, with the values of a field for all of them at once.

use std::fmt;

use capture_format::{ColumnView, StrId};
use events::Kind;

use crate::fields::dependency::{Dependency, dependency};
use crate::fields::{Field, Getter, Value, values};
use crate::model::{CallColumns, Calls, ChunkView, Context, Event, Rows};

/// The matching rows of a table.
#[derive(Debug)]
pub(super) struct MatchingRows {
    /// The table, as an index into [`crate::model::Binding::events`].
    pub(super) place: usize,
    /// Ascending.
    pub(super) rows: Vec<u32>,
    pub(super) role: Role,
}

/// Why rows are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// They match the query.
    Match,
    /// Losses, where no expression selects events: printed among the events, but not counted as matches.
    Loss,
    /// Losses of events that might have matched an expression, or may belong to a selected container: reported, and kept
    /// in copies, but never printed as if they had matched.
    PossibleLoss,
}

/// The matches in one chunk. See [`super::Search::scan`].
#[derive(Clone, Copy, Debug)]
pub struct ChunkMatches<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    selected: &'a [MatchingRows],
}

impl<'a> ChunkMatches<'a> {
    pub(super) fn new(
        context: &'a Context<'a>,
        view: &'a ChunkView<'a>,
        selected: &'a [MatchingRows],
    ) -> Self {
        Self { context, view, selected }
    }

    /// The whole chunk.
    pub fn view(&self) -> &'a ChunkView<'a> {
        self.view
    }

    /// What the values of its events depend on outside the chunk.
    pub(crate) fn context(&self) -> &'a Context<'a> {
        self.context
    }

    /// Each event table with matching rows.
    pub fn tables(&self) -> impl Iterator<Item = TableMatches<'a>> + use<'a> {
        let (context, view) = (self.context, self.view);
        self.selected.iter().filter(|selection| selection.role == Role::Match).filter_map(move |selection| {
            Some(TableMatches {
                context,
                view,
                rows: view.table(selection.place)?,
                matching: &selection.rows,
            })
        })
    }
}

/// The matching rows of one event table of a chunk.
#[derive(Clone, Copy, Debug)]
pub struct TableMatches<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    rows: &'a Rows<'a>,
    matching: &'a [u32],
}

impl<'a> TableMatches<'a> {
    /// The kind of the events; `None` if this version does not know it.
    pub fn kind(&self) -> Option<Kind> {
        self.rows.event.kind
    }

    /// The whole table.
    pub fn table(&self) -> &'a Rows<'a> {
        self.rows
    }

    /// The system calls of its capture.
    pub(crate) fn calls(&self) -> &'a Calls {
        &self.view.binding.calls
    }

    /// How many rows the task dictionary of the chunk has.
    pub(crate) fn task_rows(&self) -> usize {
        self.view.task_rows()
    }

    /// Whether it is known what a row of the file dictionary stands for.
    pub(crate) fn is_known_file(&self, row: u32) -> bool {
        self.view.file(row).is_known()
    }

    /// The numbers of the matching rows, ascending; at least one.
    pub fn rows(&self) -> &'a [u32] {
        self.matching
    }

    /// The same table with fewer matching rows, ascending.
    pub(crate) fn narrowed<'b>(&self, rows: &'b [u32]) -> TableMatches<'b>
    where
        'a: 'b,
    {
        TableMatches { context: self.context, view: self.view, rows: self.rows, matching: rows }
    }

    /// The matching events, in the order of the table.
    pub fn events(&self) -> impl Iterator<Item = Event<'a>> + use<'a> {
        let (context, view, rows) = (self.context, self.view, self.rows);
        self.matching.iter().map(move |row| Event::new(context, view, rows, *row as usize))
    }

    /// The values of a field in this table.
    pub fn column(&self, field: &'a Field) -> FieldColumn<'a> {
        FieldColumn {
            context: self.context,
            view: self.view,
            rows: self.rows,
            call: CallColumns::new(self.rows),
            field,
            ids: self.ids(field),
        }
    }

    fn ids(&self, field: &Field) -> Ids<'a> {
        if !field.getter().is_of(self.rows.event.field_owner()) {
            return Ids::Constant;
        }
        match dependency(field) {
            Dependency::Segment | Dependency::Table => Ids::Constant,
            Dependency::Cgroup => Ids::Cgroup,
            Dependency::Task => Ids::Task(self.rows.tasks()),
            Dependency::Call if field.getter().is_by_call(self.kind()) => {
                Ids::Call(CallColumns::new(self.rows).keys())
            }
            Dependency::Call => Ids::Constant,
            Dependency::Files => Ids::None,
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

/// How rows refer to the values of a field.
#[derive(Clone, Copy, Debug)]
enum Ids<'a> {
    /// All rows have the same value.
    Constant,
    /// By row of the cgroup dictionary.
    Cgroup,
    /// By row of the task dictionary.
    Task(&'a [u32]),
    /// By syscall key.
    Call(&'a [u64]),
    /// By string number.
    String(&'a [StrId]),
    /// Each row has its own value.
    None,
}

/// The values of a field in one table of a chunk.
///
/// Many fields have few distinct values in a chunk: those of a thread, a container, a syscall or a string. For them,
/// [`Self::id`] returns a small number for each row. Rows with the same number have the same value, so a program can
/// count numbers and look at each value once. The numbers are valid only within this table of this chunk.
#[derive(Clone, Copy)]
pub struct FieldColumn<'a> {
    context: &'a Context<'a>,
    view: &'a ChunkView<'a>,
    rows: &'a Rows<'a>,
    call: CallColumns<'a>,
    field: &'a Field,
    ids: Ids<'a>,
}

impl<'a> FieldColumn<'a> {
    /// Whether [`Self::id`] returns numbers for this field; otherwise each row has a value of its own.
    pub fn has_ids(&self) -> bool {
        !matches!(self.ids, Ids::None)
    }

    /// The number that identifies the value of a row. `None` if the field has no numbers or the row refers to nothing;
    /// use [`Self::value`] then.
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

    /// The ids of all rows of the table, if they are rows of the task dictionary.
    pub(crate) fn task_ids(&self) -> Option<&'a [u32]> {
        if let Ids::Task(ids) = self.ids { Some(ids) } else { None }
    }

    /// The stored numbers of all rows of the table, not only of matching ones, if the field is a plain number.
    ///
    /// Durations of events with unknown start are not valid values; [`Self::value`] returns them as missing.
    pub fn stored_numbers(&self) -> Option<&'a [u64]> {
        match self.field.getter() {
            Getter::Column(kind, own) if self.rows.event.field_owner() == Some(*kind) => {
                match self.rows.table.column(self.rows.event.known(*own)?) {
                    Ok(ColumnView::U64(numbers)) => Some(numbers),
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// The value of a row. May overwrite `scratch` to build text.
    pub fn value<'s>(&self, row: u32, scratch: &'s mut Vec<u8>) -> Value<'s>
    where
        'a: 's,
    {
        let event = Event::new(self.context, self.view, self.rows, row as usize);
        values::value_of_call(event.call_of(self.call), self.field, scratch)
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
