//! An answer as a table, CSV, TSV or JSON.

use serde_json::{Number, Value};

use super::table::{self, Paper, TextColumn};
use ktape_reader::fields::{FieldType, Shape};
use ktape_reader::stats::text::{Formatter, OTHER};
use ktape_reader::stats::{Answer, AnswerRow, Base, Cell, Column, Datum, Plan};
use ktape_reader::text::escape::{Place, escaped};
use ktape_reader::text::time;

/// The name of the number of keys that a row of a tree has.
const LEVEL: &str = "level";

/// The number of a connection.
const CONN_ID: &str = "conn.id";

/// Whether values of a key are lined up at their right ends.
fn is_right(ty: FieldType) -> bool {
    match ty.shape() {
        Shape::Number | Shape::Hundredths | Shape::Duration => true,
        Shape::Time | Shape::Bool | Shape::Code | Shape::Address | Shape::Text | Shape::Any => false,
    }
}

/// The columns of a table: first those of the keys from `first_key` on, then the values.
pub fn columns<'r>(
    plan: &Plan,
    rows: impl Iterator<Item = &'r AnswerRow> + Clone,
    other: Option<&'r Vec<Cell>>,
    (first_key, format): (usize, &Formatter),
) -> Vec<TextColumn> {
    let mut columns = Vec::new();
    if plan.is_tree() {
        columns.push(branches(plan, rows.clone(), other.is_some(), format));
    } else {
        for (at, key) in plan.keys()[first_key..].iter().enumerate() {
            let values = rows.clone().map(|row| format.key(&row.key[at], key.ty));
            let other = other.iter().map(|_| (if at == 0 { OTHER } else { "" }).to_owned());
            // It keeps rows apart, and means nothing to people.
            if key.name == CONN_ID && plan.keys().len() > 1 {
                continue;
            }
            let head = if key.step_width().is_some() { "TIME".to_owned() } else { head(short(&key.name)) };
            let cells = std::iter::once(head).chain(values).chain(other).collect();
            columns.push(if is_right(key.ty) {
                TextColumn::numbers(cells)
            } else {
                TextColumn::names(cells)
            });
        }
    }
    for (at, column) in plan.columns().iter().enumerate() {
        let unit = column.unit();
        let values =
            rows.clone().map(|row| &row.cells).chain(other).map(|cells| format.cell(&cells[at], unit));
        let cells = std::iter::once(head(&column.title)).chain(values).collect();
        let is_text = matches!(unit.base, Base::Field(_));
        columns.push(if is_text { TextColumn::names(cells) } else { TextColumn::numbers(cells) });
    }
    columns
}

/// Appends an aligned table; names are cut if it is wider than the terminal.
pub fn table(plan: &Plan, answer: &Answer, paper: &Paper, out: &mut Vec<u8>) {
    let format = Formatter::of(plan, answer, &paper.zone);
    table::write(columns(plan, answer.rows.iter(), answer.other.as_ref(), (0, &format)), paper.width, out);
}

/// The keys of a tree as one column: the last one of each row, indented.
fn branches<'r>(
    plan: &Plan,
    rows: impl Iterator<Item = &'r AnswerRow>,
    has_other: bool,
    format: &Formatter,
) -> TextColumn {
    let names: Vec<&str> = plan.keys().iter().map(|key| key.name.as_str()).collect();
    let row = |row: &AnswerRow| {
        let depth = row.key.len();
        let own = row.key.last().zip(plan.keys().get(depth.wrapping_sub(1)));
        let text = own.map_or_else(String::new, |(value, key)| format.key(value, key.ty));
        format!("{}{text}", "  ".repeat(depth.saturating_sub(1)))
    };
    let other = has_other.then(|| OTHER.to_owned());
    TextColumn::names(std::iter::once(head(&names.join("/"))).chain(rows.map(row)).chain(other).collect())
}

/// What the fields of a connection are named in a table, where they are next to each other.
fn short(name: &str) -> &str {
    let Some(own) = name.strip_prefix("conn.") else { return name };
    match own.split_once('.') {
        Some(("client" | "server", part @ ("pid" | "tid" | "container"))) => part,
        _ => own,
    }
}

fn head(title: &str) -> String {
    escaped(title.to_uppercase().as_bytes(), Place::Free).into_owned()
}

/// What separates values of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Separator {
    /// CSV: values in quotes where they need it.
    Comma,
    /// TSV: tabs and newlines in values are escaped.
    Tab,
}

/// Appends a header and one line per row, for programs.
pub fn separated(plan: &Plan, answer: &Answer, separator: Separator, out: &mut Vec<u8>) {
    heads(plan, separator, out);
    lines(plan, answer, separator, out);
}

/// Appends the header.
pub fn heads(plan: &Plan, separator: Separator, out: &mut Vec<u8>) {
    let level = plan.is_tree().then(|| LEVEL.to_owned()).into_iter();
    let heads =
        plan.keys().iter().map(|key| &key.name).chain(plan.columns().iter().map(|column| &column.title));
    line(level.chain(heads.map(|head| escaped(head.as_bytes(), Place::Free).into_owned())), separator, out);
}

/// Appends one line per row.
pub fn lines(plan: &Plan, answer: &Answer, separator: Separator, out: &mut Vec<u8>) {
    let level = |level: usize| plan.is_tree().then(|| level.to_string()).into_iter();
    for row in &answer.rows {
        let key = |at: usize, ty| row.key.get(at).map_or_else(String::new, |value| plain_datum(value, ty));
        let keys = plan.keys().iter().enumerate().map(|(at, own)| key(at, own.ty));
        let cells = row.cells.iter().zip(plan.columns()).map(plain_cell);
        line(level(row.key.len()).chain(keys).chain(cells), separator, out);
    }
    if let Some(other) = &answer.other {
        let keys =
            plan.keys().iter().enumerate().map(|(at, _)| (if at == 0 { OTHER } else { "" }).to_owned());
        let cells = other.iter().zip(plan.columns()).map(plain_cell);
        line(level(0).chain(keys).chain(cells), separator, out);
    }
}

fn line(cells: impl Iterator<Item = String>, separator: Separator, out: &mut Vec<u8>) {
    for (at, cell) in cells.enumerate() {
        match separator {
            _ if at == 0 => {}
            Separator::Comma => out.push(b','),
            Separator::Tab => out.push(b'\t'),
        }
        if separator == Separator::Comma && cell.contains([',', '"', '\n', '\r']) {
            out.extend_from_slice(format!("\"{}\"", cell.replace('"', "\"\"")).as_bytes());
        } else {
            out.extend_from_slice(cell.as_bytes());
        }
    }
    out.push(b'\n');
}

/// A value for a program: numbers in ns and bytes, times in UTC, nothing if it is missing.
fn plain_datum(value: &Datum, ty: FieldType) -> String {
    match value {
        Datum::Missing => String::new(),
        Datum::Other => OTHER.to_owned(),
        Datum::Text(text) => escaped(text, Place::Free).into_owned(),
        Datum::Number(number) => match ty.shape() {
            Shape::Time => rfc3339(*number),
            Shape::Hundredths => format!("{:.2}", *number as f64 / 100.0),
            Shape::Number
            | Shape::Duration
            | Shape::Bool
            | Shape::Code
            | Shape::Address
            | Shape::Text
            | Shape::Any => number.to_string(),
        },
    }
}

fn plain_cell((cell, column): (&Cell, &Column)) -> String {
    match (cell, column.unit().base) {
        (Cell::Missing, _) => String::new(),
        (Cell::Datum(value), Base::Field(ty)) => plain_datum(value, ty),
        (Cell::Number(number) | Cell::Datum(Datum::Number(number)), Base::Time) => rfc3339(*number),
        (Cell::Number(number), _) => number.to_string(),
        (Cell::Real(number), _) => plain_real(*number),
        (Cell::Datum(value), _) => plain_datum(value, FieldType::Any),
    }
}

/// With as many digits as are needed to read the same number again.
fn plain_real(number: f64) -> String {
    number.to_string()
}

fn rfc3339(ns: i128) -> String {
    time::rfc3339(i64::try_from(ns).unwrap_or(i64::MAX))
}

/// Appends one object per row, with the keys first. Missing values are null.
pub fn json(plan: &Plan, answer: &Answer, out: &mut Vec<u8>) {
    let columns = |cells: &[Cell]| -> Vec<(String, Value)> {
        let values = cells.iter().zip(plan.columns());
        values.map(|(cell, column)| (column.title.clone(), json_cell(cell, column))).collect()
    };
    for AnswerRow { key, cells } in &answer.rows {
        let level = plan.is_tree().then(|| (LEVEL.to_owned(), key.len().into()));
        let keys = key.iter().zip(plan.keys());
        let keys = keys.map(|(value, key)| (key.name.clone(), json_datum(value, key.ty)));
        let other = (key.last() == Some(&Datum::Other)).then(|| (OTHER.to_owned(), Value::Bool(true)));
        object(level.into_iter().chain(keys).chain(other).chain(columns(cells)), out);
    }
    if let Some(cells) = &answer.other {
        object(std::iter::once((OTHER.to_owned(), Value::Bool(true))).chain(columns(cells)), out);
    }
}

fn object(members: impl Iterator<Item = (String, Value)>, out: &mut Vec<u8>) {
    for (at, (name, value)) in members.enumerate() {
        out.push(if at == 0 { b'{' } else { b',' });
        out.extend_from_slice(format!("{}:{value}", Value::String(name)).as_bytes());
    }
    out.extend_from_slice(b"}\n");
}

fn json_cell(cell: &Cell, column: &Column) -> Value {
    match (cell, column.unit().base) {
        (Cell::Missing | Cell::Datum(Datum::Missing), _) => Value::Null,
        (Cell::Real(number), _) => Number::from_f64(*number).map_or(Value::Null, Value::Number),
        (Cell::Datum(value), Base::Field(ty)) => json_datum(value, ty),
        (Cell::Number(number) | Cell::Datum(Datum::Number(number)), base) if base != Base::Time => {
            whole(*number)
        }
        (cell, _) => Value::String(plain_cell((cell, column))),
    }
}

fn json_datum(value: &Datum, ty: FieldType) -> Value {
    match value {
        Datum::Missing | Datum::Other => Value::Null,
        Datum::Number(number) if ty.shape() == Shape::Bool => Value::Bool(*number != 0),
        Datum::Number(number) if !matches!(ty.shape(), Shape::Time | Shape::Hundredths) => whole(*number),
        value => Value::String(plain_datum(value, ty)),
    }
}

/// A whole number; as text if it is too large for one.
fn whole(number: i128) -> Value {
    match (i64::try_from(number), u64::try_from(number)) {
        (Ok(number), _) => number.into(),
        (_, Ok(number)) => number.into(),
        _ => Value::String(number.to_string()),
    }
}
