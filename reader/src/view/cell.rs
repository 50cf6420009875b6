//! One value of an event as a piece of a line: what the outputs of chosen fields have in common.

use events::Kind;
use jiff::tz::TimeZone;

use crate::fields::marks::{self, Mark};
use crate::fields::{Field, FieldError, FieldType, Getter, Shape, Value, lookup, values};
use crate::model::Event;
use crate::text::escape::{self, Place};
use crate::text::time::ClockWriter;
use crate::text::{number, units};

use super::event_text::{self, CUT};

/// Stands for text that could not be read.
pub(super) const UNREAD: &[u8] = b"?";

/// A field that was chosen for output, with the name that the user gave.
#[derive(Clone, Debug)]
pub(super) struct ChosenField {
    pub(super) name: String,
    pub(super) field: Field,
    pub(super) ty: FieldType,
}

impl ChosenField {
    /// The field of this name.
    pub(super) fn parse(name: &str) -> Result<Self, FieldError> {
        let (field, ty) = lookup(name)?;
        Ok(Self { name: name.to_owned(), field, ty })
    }

    /// The fields in a comma-separated list of names; a comma within brackets belongs to a key.
    pub(super) fn parse_list(names: &str) -> Result<Vec<Self>, FieldError> {
        let mut is_key = false;
        let parts = names.split(|c| {
            is_key = c == '[' || is_key && c != ']';
            c == ',' && !is_key
        });
        let chosen = parts.map(str::trim).filter(|name| !name.is_empty()).map(Self::parse);
        let chosen = chosen.collect::<Result<Vec<_>, _>>()?;
        // An empty list: no field has an empty name.
        if chosen.is_empty() { Self::parse(names).map(|field| vec![field]) } else { Ok(chosen) }
    }
}

/// How values are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CellStyle {
    /// For people, in a column that ends at a space: durations with units, empty text as `""`.
    Column,
    /// The same in the last column, where spaces stay.
    LastColumn,
    /// Within a template: durations in ns, as sysdig prints them.
    Template,
    /// For programs: durations in ns, flags as 1 and 0, the times of kinds' columns as numbers.
    Csv,
}

impl CellStyle {
    const fn place(self) -> Place {
        match self {
            Self::Column => Place::Word,
            Self::LastColumn | Self::Template | Self::Csv => Place::Free,
        }
    }
}

/// Writes values.
#[derive(Debug)]
pub(super) struct CellWriter {
    clock: ClockWriter,
    scratch: Vec<u8>,
}

impl CellWriter {
    /// With times of day in `zone`.
    pub(super) fn time_of_day(zone: TimeZone) -> Self {
        Self { clock: ClockWriter::time_of_day(zone), scratch: Vec::new() }
    }

    /// With times as RFC 3339.
    pub(super) fn rfc3339() -> Self {
        Self { clock: ClockWriter::rfc3339(), scratch: Vec::new() }
    }

    /// Appends the value of a field; false, and nothing, if the event has none.
    pub(super) fn write(
        &mut self,
        event: Event<'_>,
        chosen: &ChosenField,
        style: CellStyle,
        out: &mut Vec<u8>,
    ) -> bool {
        let field = &chosen.field;
        if field.decl().worded {
            let start = out.len();
            let is_there = write_words(event, field, &mut self.scratch, out);
            if style == CellStyle::Column {
                escape_spaces(start, out);
            }
            return is_there;
        }
        let mark = marks::of_field(&event, field);
        if mark == Mark::Unread {
            out.extend_from_slice(UNREAD);
            return true;
        }
        if let Some(list) = values::list(event, field, &mut self.scratch) {
            if list.is_empty() {
                return false;
            }
            let start = out.len();
            write_list(list, out);
            if style == CellStyle::Column {
                escape_spaces(start, out);
            }
        } else {
            match values::value(event, field, &mut self.scratch) {
                Value::Missing => return false,
                Value::Int(value) => write_int(value, chosen, style, &mut self.clock, out),
                Value::Bytes(b"") if style == CellStyle::Column || style == CellStyle::LastColumn => {
                    out.extend_from_slice(b"\"\"");
                }
                Value::Bytes(bytes) => escape::escape(bytes, style.place(), out),
            }
        }
        if mark == Mark::Cut {
            out.extend_from_slice(CUT);
        }
        true
    }
}

/// The arguments of a syscall, or the description of another event: text made by this crate, escaped already and marked
/// where it is incomplete.
pub(super) fn write_words(event: Event<'_>, field: &Field, scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    if event.kind() == Some(Kind::Syscall) {
        if let Value::Bytes(args) = values::value(event, field, scratch) {
            out.extend_from_slice(args);
        }
    } else {
        event_text::write_event_text(event, out);
    }
    event_text::write_unknown(event, out);
    if out.get(start) == Some(&b' ') {
        out.remove(start);
    }
    out.len() > start
}

fn write_int(
    value: i128,
    chosen: &ChosenField,
    style: CellStyle,
    clock: &mut ClockWriter,
    out: &mut Vec<u8>,
) {
    let is_readable = matches!(style, CellStyle::Column | CellStyle::LastColumn);
    match chosen.ty.shape() {
        Shape::Time if style != CellStyle::Csv || matches!(chosen.field.getter(), Getter::Event(_)) => {
            clock.write(value as i64, out);
        }
        Shape::Duration if is_readable && value >= 0 => {
            units::write_duration(u64::try_from(value).unwrap_or(u64::MAX), out);
        }
        Shape::Bool if style != CellStyle::Csv => {
            out.extend_from_slice(if value != 0 { b"true" } else { b"false" });
        }
        Shape::Hundredths => number::hundredths(value, out),
        Shape::Time
        | Shape::Duration
        | Shape::Bool
        | Shape::Number
        | Shape::Code
        | Shape::Address
        | Shape::Text
        | Shape::Any => event_text::write_int(value, out),
    }
}

/// Appends the elements of a list with spaces between them. One that is empty, or has a space or a quote in it, stands in
/// quotes, so that the elements stay distinguishable.
fn write_list(list: &[u8], out: &mut Vec<u8>) {
    for (i, element) in values::arguments(list).enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        if element.is_empty() || element.iter().any(|byte| matches!(byte, b' ' | b'"')) {
            escape::quote(element, out);
        } else {
            escape::escape(element, Place::Free, out);
        }
    }
}

/// Escapes the spaces in what was appended from `start` on, as they are where a column ends at one.
fn escape_spaces(start: usize, out: &mut Vec<u8>) {
    if out[start..].contains(&b' ') {
        let text = out.split_off(start);
        for byte in text {
            if byte == b' ' { out.extend_from_slice(b"\\x20") } else { out.push(byte) }
        }
    }
}

/// Appends spaces to what was appended from `start` on, up to this many characters; what is longer is cut if `is_fixed`,
/// without the mark at its end.
pub(super) fn pad(start: usize, width: usize, is_fixed: bool, out: &mut Vec<u8>) {
    let text = String::from_utf8_lossy(&out[start..]);
    let length = text.chars().count();
    if length < width {
        out.resize(out.len() + width - length, b' ');
    } else if is_fixed && length > width {
        let mark = if text.ends_with("...") { width.min(CUT.len()) } else { 0 };
        let kept: usize = text.chars().take(width - mark).map(char::len_utf8).sum();
        out.truncate(start + kept);
        out.extend_from_slice(&CUT[..mark]);
    }
}
