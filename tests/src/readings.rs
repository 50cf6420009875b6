//! What the kernel's files say, to be held against the fields of events.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::ktape::{int, text};

/// The text of a file of the kernel's.
///
/// # Panics
/// If it cannot be read.
pub fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A number.
///
/// # Panics
/// If it is none.
pub fn number(text: &str) -> i64 {
    text.trim().parse().unwrap_or_else(|_| panic!("not a number: {text:?}"))
}

/// The number behind a word, as in `memory.stat`.
///
/// # Panics
/// If the word is not there.
pub fn value(text: &str, key: &str) -> i64 {
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix([' ', ':']));
    number(line.unwrap_or_else(|| panic!("no {key} in {text:?}")).split_whitespace().next().unwrap())
}

/// The total of a pressure file, in ns.
///
/// # Panics
/// If the line is not there.
pub fn total(text: &str, line: &str) -> i64 {
    let line = text.lines().find(|candidate| candidate.starts_with(line)).expect("a line of pressure");
    number(line.rsplit_once("total=").expect("a total").1) * 1000
}

/// The last event of a kind for which this holds.
///
/// # Panics
/// If there is none.
pub fn last(events: &[Value], kind: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = events.iter().rfind(|event| text(event, "evt.type") == Some(kind) && wanted(event));
    found.unwrap_or_else(|| panic!("no {kind} that fits among {} events", events.len())).clone()
}

/// Each field lies between two readings, made before and after it; where they agree, it is exact.
///
/// # Panics
/// If one does not.
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

/// None of these fields is known.
///
/// # Panics
/// If one is.
pub fn absent(event: &Value, fields: &[&str]) {
    for field in fields {
        assert!(event.get(field).is_none(), "{field} should not be known: {event}");
    }
}
