//! The CSV view (RFC 4180, but lines end with a newline alone). Columns are fields; `evt.args` also
//! holds what events other than syscalls say.

use events::Kind;

use crate::fields::{self, Field, FieldError, FieldType, Getter, Value, values};
use crate::model::Event;
use crate::text::escape::{self, Place};
use crate::text::time::ClockWriter;

use super::{View, event_text};

/// A column of the output.
#[derive(Debug)]
struct CsvColumn {
    /// Its heading.
    name: String,
    field: Field,
    /// Its values are points in time. A column of a kind stays a number.
    is_time: bool,
}

impl CsvColumn {
    fn new(name: String, field: Field) -> Self {
        let is_time = field.decl().ty == FieldType::Time && matches!(field.getter(), Getter::Event(_));
        Self { name, field, is_time }
    }
}

/// Writes events as CSV.
#[derive(Debug)]
pub struct CsvView {
    columns: Vec<CsvColumn>,
    clock: ClockWriter,
    scratch: Vec<u8>,
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
        Self::of(
            fields.into_iter().map(|field| CsvColumn::new(field.decl().name.to_owned(), field)).collect(),
        )
    }

    /// A view of these fields, by their names.
    ///
    /// # Errors
    /// If there is no field of such a name.
    pub fn with_columns(names: &str) -> Result<Self, FieldError> {
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let columns = names.map(|name| Ok(CsvColumn::new(name.to_owned(), fields::lookup(name)?.0)));
        Ok(Self::of(columns.collect::<Result<_, _>>()?))
    }

    fn of(columns: Vec<CsvColumn>) -> Self {
        Self { columns, clock: ClockWriter::rfc3339(), scratch: Vec::new(), cell: Vec::new() }
    }
}

impl View for CsvView {
    fn begin(&mut self, out: &mut Vec<u8>) {
        for (i, column) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(column.name.as_bytes());
        }
        out.push(b'\n');
    }

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        for (i, CsvColumn { field, is_time, .. }) in self.columns.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            if field.decl().worded {
                self.cell.clear();
                if event.kind() == Some(Kind::Syscall) {
                    if let Value::Bytes(args) = values::value(event, field, &mut self.scratch) {
                        self.cell.extend_from_slice(args);
                    }
                } else {
                    event_text::write_event_text(event, &mut self.cell);
                }
                event_text::write_unknown(event, &mut self.cell);
                // This is text of ours, escaped already.
                quote(self.cell.trim_ascii_start(), out);
                continue;
            }
            match values::value(event, field, &mut self.scratch) {
                Value::Missing => {}
                Value::Int(ns) if *is_time => self.clock.write(ns as i64, out),
                Value::Int(value) => event_text::write_int(value, out),
                Value::Bytes(bytes) => {
                    self.cell.clear();
                    escape::escape(bytes, Place::Free, &mut self.cell);
                    quote(&self.cell, out);
                }
            }
        }
        out.push(b'\n');
    }
}

/// Appends a cell, in quotes if it has to be.
fn quote(cell: &[u8], out: &mut Vec<u8>) {
    if !cell.iter().any(|b| matches!(b, b',' | b'"')) {
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
