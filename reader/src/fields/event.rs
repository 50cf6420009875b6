//! Values that every event has, and those of its table and its capture.

use capture_format::Header;

use super::value::{Value, number, optional, text};
use crate::model::{Event, Rows};

pub(super) fn hostname(header: &Header) -> Value<'_> {
    text(header.host.as_bytes())
}

pub(super) fn host_label<'a>(header: &'a Header, key: &str) -> Value<'a> {
    let label = header.labels.iter().find(|(name, _)| name == key);
    label.map_or(Value::Missing, |(_, value)| Value::Bytes(value.as_bytes()))
}

pub(super) fn direction<'a>(_rows: &Rows<'a>) -> Value<'a> {
    Value::Bytes(b"<")
}

pub(super) fn kind<'a>(rows: &Rows<'a>) -> Value<'a> {
    Value::Bytes(rows.event.name.as_bytes())
}

pub(super) fn number_of<'a>(event: &Event<'a>) -> Value<'a> {
    number(event.number())
}

pub(super) fn start<'a>(event: &Event<'a>) -> Value<'a> {
    number(event.start())
}

/// May be negative, for events that started before the capture.
pub(super) fn since_start<'a>(event: &Event<'a>) -> Value<'a> {
    Value::Int(i128::from(event.start()) - i128::from(event.context.start))
}

pub(super) fn cpu<'a>(event: &Event<'a>) -> Value<'a> {
    optional(event.cpu())
}
