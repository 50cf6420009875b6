//! Reads the kernel's files, to compare them with the fields of events.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::ktape::{int, text};

/// Content of a file.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Parses a number.
///
/// # Panics
/// If `text` is not a number.
pub fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// The number after a key at the start of a line, as in `memory.stat`.
///
/// # Panics
/// If there is no such key.
pub fn value(text: &str, key: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']));
    number(line.unwrap_or_else(|| panic!("no {key} in {text:?}")).split_whitespace().next().unwrap())
}

/// The `total` in a line (`some` or `full`) of a pressure file, in ns.
///
/// # Panics
/// If there is no such line.
pub fn total(text: &str, line: &str) -> i64 {
    let line = text.lines().find(|candidate| candidate.starts_with(line)).expect("a line of pressure");
    number(line.rsplit_once("total=").expect("a total").1) * 1000
}

/// The last event of a type that `wanted` accepts.
///
/// # Panics
/// If there is none.
pub fn last(events: &[Value], kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = events.iter().rfind(|event| text(event, "evt.type") == Some(kind) && wanted(event));
    found.unwrap_or_else(|| panic!("no matching {kind} among {} events", events.len())).clone()
}

/// Asserts that each field lies between the values read before and after the event.
///
/// # Panics
/// If a field does not.
pub fn bracketed(event: &Value, before: &BTreeMap<&str, i64>, after: &BTreeMap<&str, i64>) {
    let mut wrong = Vec::new();
    for (field, &one) in before {
        let other = after[field];
        match int(event, field) {
            Some(found) if (one.min(other)..=one.max(other)).contains(&found) => {}
            found => wrong.push(format!("{field}: {found:?}, not in {one}..={other}")),
        }
    }
    assert!(wrong.is_empty(), "{}\n{event}", wrong.join("\n"));
}

/// Asserts that the event has none of these fields.
///
/// # Panics
/// If it has one.
pub fn absent(event: &Value, fields: &[&str]) {
    for field in fields {
        assert!(event.get(field).is_none(), "unexpected field {field}: {event}");
    }
}
