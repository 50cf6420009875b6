//! What is compared, if it is more than a field: functions of fields.

use crate::fields::{Argument, Field, FieldType, Getter, Value, values};
use crate::model::Event;
use crate::text::number;

use super::transformer::Transformer;

/// A field, or a function of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Term {
    /// The values of a field: of `fd.name`, that of each file.
    Field(Field),
    /// The elements of a field that is a list; its values where it is none.
    Elements(Field),
    /// The number of these elements; the length of the text where it is no list.
    Count(Field),
    /// A text of the expression.
    Text(Box<[u8]>),
    /// A function of the values of another term.
    Transformed(Transformer, Box<Term>),
    /// The first values of terms, with a separator between them; missing if one of them is.
    Joined(Vec<Term>, Box<[u8]>),
    /// The elements of a list, with a separator between them.
    JoinedElements(Field, Box<[u8]>),
}

impl Term {
    /// The type of its values.
    pub(super) fn ty(&self) -> FieldType {
        match self {
            // Attributes of containers are text, unless they are compared as the numbers that they stand for.
            Self::Field(field) if matches!(field.getter(), Getter::Attribute) => FieldType::Text,
            Self::Field(field) => field.decl().ty,
            Self::Elements(_) | Self::Text(_) | Self::Joined(..) | Self::JoinedElements(..) => {
                FieldType::Text
            }
            Self::Count(_) => FieldType::Unsigned,
            Self::Transformed(transformer, _) => transformer.result(),
        }
    }

    /// Why none of its values is `text`, if none can be.
    pub(super) fn why_never(&self, text: &[u8]) -> Option<String> {
        match self {
            Self::Transformed(transformer, _) => transformer.why_never(text),
            Self::Field(_)
            | Self::Elements(_)
            | Self::Count(_)
            | Self::Text(_)
            | Self::Joined(..)
            | Self::JoinedElements(..) => None,
        }
    }

    /// Adds its fields, in the order of the expression. It has no value in events that lack one of them.
    pub(super) fn add_fields<'t>(&'t self, fields: &mut Vec<&'t Field>) {
        match self {
            Self::Field(field)
            | Self::Elements(field)
            | Self::Count(field)
            | Self::JoinedElements(field, _) => fields.push(field),
            Self::Text(_) => {}
            Self::Transformed(_, inner) => inner.add_fields(fields),
            Self::Joined(parts, _) => parts.iter().for_each(|part| part.add_fields(fields)),
        }
    }

    /// Whether `found` returns true for one of its values in an event. Later values are not tried.
    pub(super) fn any(&self, event: Event<'_>, found: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
        match self {
            Self::Field(field) => any_of_field(event, field, found),
            Self::Elements(field) => match values::list(event, field, &mut Vec::new()) {
                Some(list) => values::arguments(list).any(|element| found(Value::Bytes(element))),
                None => any_of_field(event, field, found),
            },
            Self::Count(field) => match values::list(event, field, &mut Vec::new()) {
                Some(list) => found(Value::Int(values::arguments(list).count() as i128)),
                None => any_of_field(event, field, &mut |value| {
                    with_text(value, |text| Transformer::Length.with(text, found))
                }),
            },
            Self::Text(text) => found(Value::Bytes(text)),
            Self::Transformed(transformer, inner) => {
                inner.any(event, &mut |value| with_text(value, |text| transformer.with(text, found)))
            }
            Self::Joined(parts, separator) => {
                let mut joined = Vec::new();
                let is_whole = parts.iter().enumerate().all(|(i, part)| {
                    if i > 0 {
                        joined.extend_from_slice(separator);
                    }
                    part.any(event, &mut |value| {
                        with_text(value, |text| {
                            joined.extend_from_slice(text);
                            true
                        })
                    })
                });
                is_whole && found(Value::Bytes(&joined))
            }
            Self::JoinedElements(field, separator) => {
                let mut scratch = Vec::new();
                let Some(list) = values::list(event, field, &mut scratch) else { return false };
                let elements: Vec<&[u8]> = values::arguments(list).collect();
                found(Value::Bytes(&elements.join(&**separator)))
            }
        }
    }
}

fn any_of_field(event: Event<'_>, field: &Field, found: &mut dyn FnMut(Value<'_>) -> bool) -> bool {
    let mut scratch = Vec::new();
    if let Some(get) = field.getter().files() {
        let has = field.getter().is_of(event.field_owner());
        return has && get(&event.call(), &mut |value| found(value.show(&mut scratch)));
    }
    if let Getter::Process(get) = field.getter() {
        return event.task().is_some_and(|task| get.any(event.view, task, field.key_position(), found));
    }
    if let Getter::Argument = field.getter()
        && field.getter().is_of(event.field_owner())
        && let call = event.call()
        && let Some(key) = values::ArgumentKey::of(&call, field)
        && let Argument::Descriptor { number, .. } = key.get(&call)
        && found(Value::Int(number.into()))
    {
        // Compared with another field, a descriptor is its number; as text, it is followed by what it stands for.
        return true;
    }
    match values::value(event, field, &mut scratch) {
        Value::Missing => false,
        value => found(value),
    }
}

/// Calls `then` with a value as text: numbers in decimal. False for a missing one.
pub(super) fn with_text(value: Value<'_>, then: impl FnOnce(&[u8]) -> bool) -> bool {
    match value {
        Value::Missing => false,
        Value::Bytes(text) => then(text),
        Value::Int(value) => {
            let mut text = Vec::new();
            number::signed(value as i64, &mut text);
            then(&text)
        }
    }
}
