//! Events through a template, as sysdig's `-p` has it: `%evt.time %proc.name opens %fd.name`.
//!
//! `%FIELD` is the value of a field, `%20FIELD` the same padded or cut to 20 characters (`%-20FIELD` too), `%%` a percent
//! sign; `\n`, `\t`, `\\`, `\"`, `\e` and `\xNN` are as in all escaped text. A star at the beginning is accepted and means
//! nothing: a missing value is always `<NA>`, and every event is printed.

use jiff::tz::TimeZone;

use crate::fields::FieldError;
use crate::model::Event;
use crate::text::escape;

use super::View;
use super::cell::{CellStyle, CellWriter, ChosenField, pad};

/// Printed in place of a value that an event does not have.
const MISSING: &[u8] = b"<NA>";
/// The widest that a value can be made.
const WIDEST: usize = 1000;

/// Why a template cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// There is no field of this name.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A percent sign without a name.
    #[error("no field follows `%` in `{0}`; write %evt.time, %20proc.name, or %% for a percent sign")]
    NoName(String),
    /// A width above the maximum.
    #[error("the width in `%{0}` is above 1000 characters")]
    Width(String),
    /// An escape that is not known.
    #[error("unknown escape in `{0}`; write \\n, \\t, \\e, \\xNN, or \\\\ for a backslash")]
    Escape(String),
    /// It names no field: every line would be the same.
    #[error("`{0}` names no field; write a template such as '%evt.time %proc.name %evt.type %evt.args'")]
    NoField(String),
}

#[derive(Debug)]
enum Piece {
    Text(Vec<u8>),
    Field { field: ChosenField, width: Option<usize> },
}

/// Writes events through a template.
#[derive(Debug)]
pub struct TemplateView {
    pieces: Vec<Piece>,
    cells: CellWriter,
}

impl TemplateView {
    /// A view by this template; times are those of the day in `zone`.
    ///
    /// # Errors
    /// If it names what is no field, or no field at all.
    pub fn new(template: &str, zone: TimeZone) -> Result<Self, TemplateError> {
        let pieces = parse(template)?;
        if !pieces.iter().any(|piece| matches!(piece, Piece::Field { .. })) {
            return Err(TemplateError::NoField(template.to_owned()));
        }
        Ok(Self { pieces, cells: CellWriter::time_of_day(zone) })
    }
}

fn parse(template: &str) -> Result<Vec<Piece>, TemplateError> {
    let mut pieces = Vec::new();
    let mut rest = template.strip_prefix('*').unwrap_or(template);
    let mut text = Vec::new();
    while let Some(at) = rest.find('%') {
        text.append(&mut unescape(&rest[..at])?);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('%') {
            text.push(b'%');
            rest = after;
            continue;
        }
        let (width, name) = split_width(rest)?;
        let length = name_length(name);
        if length == 0 {
            return Err(TemplateError::NoName(format!("%{rest}")));
        }
        if !text.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut text)));
        }
        pieces.push(Piece::Field { field: ChosenField::parse(&name[..length])?, width });
        rest = &name[length..];
    }
    text.append(&mut unescape(rest)?);
    if !text.is_empty() {
        pieces.push(Piece::Text(text));
    }
    Ok(pieces)
}

fn unescape(text: &str) -> Result<Vec<u8>, TemplateError> {
    escape::unescape(text).ok_or_else(|| TemplateError::Escape(text.to_owned()))
}

/// The width before a name, and the name with what follows it.
fn split_width(text: &str) -> Result<(Option<usize>, &str), TemplateError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let name = digits.trim_start_matches(|c: char| c.is_ascii_digit());
    let digits = &digits[..digits.len() - name.len()];
    if digits.is_empty() {
        return Ok((None, text));
    }
    match digits.parse() {
        Ok(width @ 1..=WIDEST) => Ok((Some(width), name)),
        _ => Err(TemplateError::Width(digits.to_owned())),
    }
}

/// How many bytes of the text are a name and its key. A full stop at the end belongs to the sentence.
fn name_length(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.');
    let length = text.find(|c| !is_name(c)).unwrap_or(text.len());
    let key = text[length..].starts_with('[').then(|| text[length..].find(']')).flatten();
    match key {
        Some(key) => length + key + 1,
        None => text[..length].trim_end_matches('.').len(),
    }
}

impl View for TemplateView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.extend_from_slice(text),
                Piece::Field { field, width } => {
                    let start = out.len();
                    if !self.cells.write(event, field, CellStyle::Template, out) {
                        out.extend_from_slice(MISSING);
                    }
                    if let Some(width) = width {
                        pad(start, *width, true, out);
                    }
                }
            }
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
