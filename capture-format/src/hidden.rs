//! Values that a copy replaces by blanks.

use std::collections::{HashMap, HashSet};

use crate::column_type::TableId;

/// Values of one chunk that copies do not contain: whole dictionary rows, and columns of rows.
///
/// A hidden value is replaced by the blank of its type: 0, the empty string or its [mark](Self::mark), the empty list, and
/// for a reference the blank row of its dictionary, in which every value is blank.
#[derive(Clone, Debug, Default)]
pub struct Hidden {
    rows: HashSet<(TableId, u32)>,
    columns: HashMap<(TableId, u32), Vec<u16>>,
    marks: Vec<(TableId, u16, &'static [u8])>,
}

impl Hidden {
    /// Nothing is hidden.
    pub fn new() -> Self {
        Self::default()
    }

    /// Stores the blank row in place of this row of a dictionary.
    pub fn hide_row(&mut self, table: TableId, row: u32) {
        self.rows.insert((table, row));
    }

    /// Stores blanks in place of these columns of a row, of a dictionary or of an event table.
    pub fn hide_columns(&mut self, table: TableId, row: u32, columns: impl IntoIterator<Item = u16>) {
        self.columns.entry((table, row)).or_default().extend(columns);
    }

    /// Sets the blank of a column of strings to `text`, which marks values as hidden rather than unknown.
    pub fn mark(&mut self, table: TableId, column: u16, text: &'static [u8]) {
        self.marks.push((table, column, text));
    }

    /// Whether nothing is hidden.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() && self.columns.is_empty()
    }

    pub(crate) fn has_row(&self, table: TableId, row: u32) -> bool {
        self.rows.contains(&(table, row))
    }

    pub(crate) fn columns(&self, table: TableId, row: u32) -> &[u16] {
        if self.columns.is_empty() {
            return &[];
        }
        self.columns.get(&(table, row)).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn text(&self, table: TableId, column: usize) -> &'static [u8] {
        let mark = self.marks.iter().find(|(t, c, _)| *t == table && usize::from(*c) == column);
        mark.map_or(b"", |(_, _, text)| text)
    }
}
