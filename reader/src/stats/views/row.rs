//! The events of one row of an answer, as a filter expression.

use crate::fields::{FieldType, Shape, lookup};
use crate::filter::Filter;
use crate::stats::datum::Datum;
use crate::stats::keys::Key;
use crate::stats::plan::Plan;
use crate::text::escape;
use crate::text::time;

use super::View;

/// Why there is no filter for a row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowFilterError {
    /// The template has a key that the rows do not have, because they are grouped by others.
    #[error("`{{{0}}}` is none of the groups")]
    Key(String),
    /// The row has no value for a key, and the template does more than test for equality.
    #[error("the row has no value for `{0}`")]
    Missing(String),
}

/// The expression for the events of a row: all keys have its values. Empty if there are no keys.
///
/// Fields with several values per event, such as `fd.name`, match if one of the values is that of the row: the expression
/// can find more events than the row counts.
pub fn row_filter(plan: &Plan, row: &[Datum]) -> String {
    // Of what did not fit below a parent, the parent is known.
    let known = plan.keys().iter().zip(row).filter(|(_, value)| **value != Datum::Other);
    let parts: Vec<String> = known.map(|(key, value)| of_key(key, value)).collect();
    parts.join(" and ")
}

/// The same for what a view opens: its template with the row's values, or the keys if it has none, or if the rows are grouped
/// by others than the template has.
///
/// # Errors
/// The row lacks a value that the template needs.
pub fn row_filter_of(view: &View, plan: &Plan, row: &[Datum]) -> Result<String, RowFilterError> {
    match view.enter.as_ref().and_then(|enter| enter.filter.as_deref()) {
        Some(template) => match fill(template, plan.keys(), row) {
            Err(RowFilterError::Key(_)) => Ok(row_filter(plan, row)),
            filled => filled,
        },
        None => Ok(row_filter(plan, row)),
    }
}

/// The comparisons that hold for the events of a key's value.
fn of_key(key: &Key, value: &Datum) -> String {
    if let Some(width) = key.step_width()
        && let Datum::Number(start) = value
    {
        let at = |ns: i128| time::rfc3339(i64::try_from(ns).unwrap_or(i64::MAX));
        return format!("evt.time >= {} and evt.time < {}", at(*start), at(start + i128::from(width)));
    }
    if let Some(field) = key.field.strip_prefix("log2(").and_then(|rest| rest.strip_suffix(')')) {
        let field = field.trim();
        return match value {
            Datum::Number(0) => format!("{field} = 0"),
            Datum::Number(from) => {
                format!("{field} >= {} and {field} < {}", number(*from, key.ty), number(from * 2, key.ty))
            }
            // Or it is negative.
            Datum::Missing | Datum::Text(_) | Datum::Other => format!("not {field} >= 0"),
        };
    }
    if let (Err(_), Some((path, components))) = (lookup(&key.field), components(&key.field)) {
        return match value {
            Datum::Text(text) => beginning(path, components, text),
            Datum::Missing | Datum::Number(_) | Datum::Other => format!("not {path} exists"),
        };
    }
    if !key.alternatives().is_empty() {
        return of_alternatives(key.alternatives(), value);
    }
    match literal(value, key.ty) {
        Some(literal) => format!("{} = {literal}", key.field),
        None => format!("not {} exists", key.field),
    }
}

/// The value is that of a key, and the event has none of the keys before it.
fn of_alternatives(keys: &[Key], value: &Datum) -> String {
    let absent =
        |keys: &[Key]| -> Vec<String> { keys.iter().map(|key| of_key(key, &Datum::Missing)).collect() };
    if *value == Datum::Missing {
        return absent(keys).join(" and ");
    }
    let each = keys.iter().enumerate().filter_map(|(at, key)| {
        let own = of_key(key, value);
        // Not every key can have the value: the path of a file is no address.
        Filter::parse(&own).ok()?;
        Some(absent(&keys[..at]).into_iter().chain([own]).collect::<Vec<_>>().join(" and "))
    });
    let each: Vec<String> = each.collect();
    match &each[..] {
        [only] => only.clone(),
        several => format!("({})", several.join(" or ")),
    }
}

/// The field and the number of `FIELD[N]`.
fn components(name: &str) -> Option<(&str, usize)> {
    let (path, count) = name.strip_suffix(']')?.rsplit_once('[')?;
    Some((path, count.parse().ok()?))
}

/// A path, or all below it if it has as many components as are kept, so that more may have followed.
fn beginning(field: &str, components: usize, path: &[u8]) -> String {
    let whole = quoted(path);
    let is_beginning = path.first() == Some(&b'/')
        && path.len() > 1
        && path.iter().filter(|byte| **byte == b'/').count() == components;
    if !is_beginning {
        return format!("{field} = {whole}");
    }
    let below = quoted(&[path, b"/"].concat());
    format!("({field} = {whole} or {field} startswith {below})")
}

/// A value as an expression compares it; `None` if it is missing.
fn literal(value: &Datum, ty: FieldType) -> Option<String> {
    match value {
        Datum::Missing | Datum::Other => None,
        Datum::Text(text) => Some(quoted(text)),
        Datum::Number(value) => Some(number(*value, ty)),
    }
}

fn number(value: i128, ty: FieldType) -> String {
    match ty.shape() {
        Shape::Bool => (if value == 0 { "false" } else { "true" }).to_owned(),
        Shape::Time => time::rfc3339(i64::try_from(value).unwrap_or(i64::MAX)),
        Shape::Hundredths => {
            format!("{}{}.{:02}", if value < 0 { "-" } else { "" }, value.abs() / 100, value.abs() % 100)
        }
        Shape::Number | Shape::Duration | Shape::Code | Shape::Address | Shape::Text | Shape::Any => {
            value.to_string()
        }
    }
}

fn quoted(text: &[u8]) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    escape::quote(text, &mut out);
    // What is not valid UTF-8 has been escaped.
    String::from_utf8_lossy(&out).into_owned()
}

/// Puts the row's values in the places of a template.
fn fill(template: &str, keys: &[Key], row: &[Datum]) -> Result<String, RowFilterError> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((before, name, after)) = next_place(rest) {
        let at = keys.iter().position(|key| key.name == name);
        let Some((key, value)) = at.and_then(|at| Some((keys.get(at)?, row.get(at)?))) else {
            return Err(RowFilterError::Key(name.to_owned()));
        };
        out.push_str(before);
        match literal(value, key.ty) {
            Some(literal) => out.push_str(&literal),
            None => without_value(&mut out).ok_or_else(|| RowFilterError::Missing(name.to_owned()))?,
        }
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

/// The text before the next `{KEY}`, the key, and the text after it.
fn next_place(template: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = template.split_once('{')?;
    let (name, after) = rest.split_once('}')?;
    Some((before, name.trim(), after))
}

/// Turns `FIELD =` at the end into `not FIELD exists`, and `FIELD !=` into `FIELD exists`.
fn without_value(out: &mut String) -> Option<()> {
    let text = out.trim_end();
    let (text, is_equal) = match (text.strip_suffix("!="), text.strip_suffix('=')) {
        (Some(text), _) => (text, false),
        (None, Some(text)) => (text.strip_suffix('=').unwrap_or(text), true),
        (None, None) => return None,
    };
    let text = text.trim_end();
    let start = text.rfind(|c: char| c.is_whitespace() || c == '(').map_or(0, |at| at + 1);
    let (before, field) = text.split_at(start);
    *out = format!("{before}{}{field} exists", if is_equal { "not " } else { "" });
    Some(())
}

/// Checks that a template is an expression with whatever values a row has.
pub(super) fn check_template(template: &str, keys: &[Key]) -> Result<(), String> {
    let typical: Vec<Datum> = keys.iter().map(|key| typical(key.ty)).collect();
    for row in [typical, vec![Datum::Missing; keys.len()]] {
        match fill(template, keys, &row) {
            Ok(filter) => {
                Filter::parse(&filter).map_err(|error| error.to_string())?;
            }
            Err(RowFilterError::Key(name)) => {
                let names: Vec<&str> = keys.iter().map(|key| key.name.as_str()).collect();
                return Err(format!("`{{{name}}}` is none of the groups of `by`: {}", names.join(", ")));
            }
            // Not every comparison has a meaning without a value.
            Err(RowFilterError::Missing(_)) => {}
        }
    }
    Ok(())
}

/// Some value that a field of this type can have.
fn typical(ty: FieldType) -> Datum {
    let text = |text: &str| Datum::Text(text.as_bytes().into());
    match ty {
        FieldType::Address => text("127.0.0.1"),
        FieldType::SockAddr => text("127.0.0.1:80"),
        FieldType::Signal => text("SIGKILL"),
        FieldType::Errno | FieldType::Outcome => text("ENOENT"),
        FieldType::Kind => text("exec"),
        FieldType::Call | FieldType::EventType => text("read"),
        FieldType::OneOf(words) | FieldType::Flags(words) => {
            text(words.all.first().copied().unwrap_or_default())
        }
        FieldType::Text | FieldType::File | FieldType::Any => text("x y"),
        FieldType::Number
        | FieldType::Unsigned
        | FieldType::Size
        | FieldType::Hundredths
        | FieldType::Port
        | FieldType::Duration
        | FieldType::Time
        | FieldType::Bool => Datum::Number(1),
    }
}
