//! Chosen fields as JSON: one object a line, with the same keys in every line; what an event does not have is `null`.
//! Where text is cut or could not be read, `evt.incomplete` has the names of its fields.

use crate::fields::marks::{self, Mark};
use crate::fields::{FieldError, Value, values};
use crate::model::Event;
use crate::text::time::ClockWriter;

use super::View;
use super::cell::{ChosenField, write_words};
use super::json::{write_escaped, write_list, write_typed, write_value};

/// The key that is added where it matters.
const INCOMPLETE: &str = "evt.incomplete";

/// Writes fields of events as JSON.
#[derive(Debug)]
pub struct JsonFieldsView {
    /// Each with its key as JSON.
    fields: Vec<(Vec<u8>, ChosenField)>,
    clock: ClockWriter,
    scratch: Vec<u8>,
    words: Vec<u8>,
    /// The names of the fields whose text is incomplete, each with a NUL.
    incomplete: Vec<u8>,
}

impl JsonFieldsView {
    /// A view of these fields, by their names; times are UTC.
    ///
    /// # Errors
    /// If there is no field of such a name.
    pub fn new(names: &str) -> Result<Self, FieldError> {
        let fields = ChosenField::parse_list(names)?.into_iter().map(|field| {
            let mut key = Vec::new();
            write_value(Value::Bytes(field.name.as_bytes()), &mut key);
            key.push(b':');
            (key, field)
        });
        Ok(Self {
            fields: fields.collect(),
            clock: ClockWriter::rfc3339(),
            scratch: Vec::new(),
            words: Vec::new(),
            incomplete: Vec::new(),
        })
    }
}

impl View for JsonFieldsView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        self.incomplete.clear();
        for (i, (key, chosen)) in self.fields.iter().enumerate() {
            out.push(if i == 0 { b'{' } else { b',' });
            out.extend_from_slice(key);
            let field = &chosen.field;
            if field.decl().worded {
                self.words.clear();
                if write_words(event, field, &mut self.scratch, &mut self.words) {
                    write_escaped(&self.words, out);
                } else {
                    write_value(Value::Missing, out);
                }
                continue;
            }
            let mark = marks::of_field(&event, field);
            if mark != Mark::Whole {
                self.incomplete.extend_from_slice(chosen.name.as_bytes());
                self.incomplete.push(0);
            }
            if mark == Mark::Unread {
                write_value(Value::Missing, out);
            } else if let Some(list) = values::list(event, field, &mut self.scratch) {
                write_list(list, out);
            } else {
                let value = values::typed_value(event, field, &mut self.scratch);
                write_typed(value, chosen.ty, &mut self.clock, out);
            }
        }
        if !self.incomplete.is_empty() && !self.fields.iter().any(|(_, chosen)| chosen.name == INCOMPLETE) {
            out.extend_from_slice(b",\"evt.incomplete\":");
            write_list(&self.incomplete, out);
        }
        out.extend_from_slice(b"}\n");
    }
}

#[cfg(test)]
mod tests;
