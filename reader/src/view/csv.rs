//! The CSV view (RFC 4180, but lines end with a newline alone). Columns are fields; `evt.args` also
//! holds the description of events other than syscalls. Text that is cut ends with `...`; `?` stands for text that could
//! not be read.

use crate::fields::{self, FieldError};
use crate::model::Event;

use super::View;
use super::cell::{CellStyle, CellWriter, ChosenField};

/// Writes events as CSV.
#[derive(Debug)]
pub struct CsvView {
    columns: Vec<ChosenField>,
    cells: CellWriter,
    cell: Vec<u8>,
}

impl Default for CsvView {
    fn default() -> Self {
        Self::new()
    }
}

impl CsvView {
    /// A view of the default columns; times are UTC.
    pub fn new() -> Self {
        let fields = fields::placed(|decl| decl.csv);
        let columns = fields.into_iter().map(|field| ChosenField {
            name: field.decl().name.to_owned(),
            ty: field.decl().ty,
            field,
        });
        Self::of(columns.collect())
    }

    /// A view of these fields, by their names.
    ///
    /// # Errors
    /// If there is no field of such a name.
    pub fn with_columns(names: &str) -> Result<Self, FieldError> {
        ChosenField::parse_list(names).map(Self::of)
    }

    fn of(columns: Vec<ChosenField>) -> Self {
        Self { columns, cells: CellWriter::rfc3339(), cell: Vec::new() }
    }
}

impl View for CsvView {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            quote(column.name.as_bytes(), out);
        }
        out.push(b'\n');
    }

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            self.cell.clear();
            self.cells.write(event, column, CellStyle::Csv, &mut self.cell);
            quote(&self.cell, out);
        }
        out.push(b'\n');
    }
}

/// Appends a cell, in quotes if it has to be.
fn quote(cell: &[u8], out: &mut Vec<u8>) {
    if !cell.iter().any(|b| matches!(b, b',' | b'"' | b'\n' | b'\r')) {
        out.extend_from_slice(cell);
        return;
    }
    out.push(b'"');
    for byte in cell {
        if *byte == b'"' {
            out.push(b'"');
        }
        out.push(*byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests;
