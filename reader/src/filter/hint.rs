//! Advice on comparisons that are valid, but most likely mistakes.

use crate::fields::FieldType;

use super::comparison::Comparison;
use super::literal::Written;
use super::op::Op;

/// What text output shows for a missing value, here and in other tools.
const MISSING: [&[u8]; 2] = [b"-", b"<NA>"];

/// Whether a value is what output shows for a missing one.
fn is_missing(value: &Written) -> bool {
    !value.is_quoted && MISSING.contains(&value.bytes.as_slice())
}

/// Whether a value looks like a pattern.
fn is_pattern(value: &Written) -> bool {
    !value.is_quoted && value.bytes.iter().any(|b| matches!(b, b'*' | b'?'))
}

/// Whether a regular expression matches nothing but itself.
fn is_plain(value: &Written) -> bool {
    !value.is_quoted && value.bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(b))
}

/// Advice on a comparison of text whose literals look like something else; quotes keep it silent.
pub(super) fn of(name: &str, comparison: &Comparison, ty: FieldType, values: &[Written]) -> Option<String> {
    if comparison.op == Op::Regex
        && let Some(value) = values.iter().find(|value| is_plain(value))
    {
        let text = String::from_utf8_lossy(&value.bytes);
        return Some(format!(
            "`regex` matches the whole value; for a part of it use: {name} regex '.*{text}.*', or contains"
        ));
    }
    if comparison.op != Op::Equal || !matches!(ty, FieldType::Text | FieldType::File | FieldType::Any) {
        return None;
    }
    let shown = |value: &Written| String::from_utf8_lossy(&value.bytes).into_owned();
    if let Some(value) = values.iter().find(|value| is_missing(value)) {
        let text = shown(value);
        return Some(format!(
            "`{name} = {text}` compares with the text `{text}`; for events without a value use: not {name} exists"
        ));
    }
    let value = values.iter().find(|value| is_pattern(value))?;
    let text = shown(value);
    Some(format!("`=` compares `{text}` as it stands; for a pattern use: {name} glob '{text}'"))
}

/// A reminder that a field never has a value.
pub(super) fn of_unrecorded(name: &str, comparison: &Comparison) -> Option<String> {
    let decl = comparison.field.decl();
    decl.is_unrecorded.then(|| format!("`{name}` {}", decl.doc))
}

/// Advice on a number without a unit that is compared with a duration.
pub(super) fn of_duration(name: &str, ty: FieldType, values: &[Written]) -> Option<String> {
    let is_plain = |value: &&Written| {
        value.bytes != b"0" && !value.bytes.is_empty() && value.bytes.iter().all(u8::is_ascii_digit)
    };
    let value = values.iter().find(|value| ty == FieldType::Duration && is_plain(value))?;
    let text = String::from_utf8_lossy(&value.bytes);
    Some(format!(
        "`{text}` has no unit, and is compared with {name} in nanoseconds, as in sysdig; units: {text}ms, {text}s"
    ))
}

/// What to add to the message that refuses a value.
pub(super) fn for_refused(name: &str, value: &Written, ty: FieldType) -> String {
    if is_missing(value) {
        return format!("; for events without a value use: not {name} exists");
    }
    if is_pattern(value) && ty.is_text() {
        let text = String::from_utf8_lossy(&value.bytes);
        return format!("; for a pattern use: {name} glob '{text}'");
    }
    String::new()
}
