//! Chosen fields as text: one line an event, in columns as those of `ps -o`. A column ends at a space; spaces in values
//! are escaped in all columns but the last.

use jiff::tz::TimeZone;

use crate::fields::{FieldError, FieldType, Shape};
use crate::model::Event;

use super::View;
use super::cell::{CellStyle, CellWriter, ChosenField, pad};

/// Printed in place of a value that an event does not have.
const MISSING: u8 = b'-';

/// Writes fields of events in columns.
#[derive(Debug)]
pub struct ColumnsView {
    fields: Vec<ChosenField>,
    cells: CellWriter,
    cell: Vec<u8>,
}

impl ColumnsView {
    /// A view of these fields, by their names; times are those of the day in `zone`.
    ///
    /// # Errors
    /// If there is no field of such a name.
    pub fn new(names: &str, zone: TimeZone) -> Result<Self, FieldError> {
        let fields = ChosenField::parse_list(names)?;
        Ok(Self { fields, cells: CellWriter::time_of_day(zone), cell: Vec::new() })
    }
}

/// How wide a column is at least, and whether its values stand on its right. Fixed, so that equal values are equal lines.
const fn width(ty: FieldType) -> (usize, bool) {
    match ty.shape() {
        Shape::Number | Shape::Hundredths => (6, true),
        Shape::Duration => (8, true),
        Shape::Time => (18, false),
        Shape::Bool => (5, false),
        Shape::Code => (9, false),
        Shape::Address | Shape::Text | Shape::Any => (15, false),
    }
}

impl View for ColumnsView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let last = self.fields.len() - 1;
        for (i, field) in self.fields.iter().enumerate() {
            if i > 0 {
                out.push(b' ');
            }
            let style = if i == last { CellStyle::LastColumn } else { CellStyle::Column };
            self.cell.clear();
            if !self.cells.write(event, field, style, &mut self.cell) {
                self.cell.push(MISSING);
            }
            let (width, is_right) = width(field.ty);
            if is_right {
                let length = String::from_utf8_lossy(&self.cell).chars().count();
                out.resize(out.len() + width.saturating_sub(length), b' ');
            }
            let start = out.len();
            out.extend_from_slice(&self.cell);
            if !is_right && i < last {
                pad(start, width, false, out);
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
