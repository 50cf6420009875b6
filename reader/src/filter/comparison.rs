//! One comparison of a field with literals.

use crate::text::time::{Span, TimeError, TimeSpec};
use crate::text::{number, units};

use crate::fields::{Equality, Field, FieldError, FieldType, Value, lookup};
use crate::text::glob;

/// How a value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// Equal to one of the literals (`=`, `==`, `in`).
    Equal,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
    /// `contains`
    Contains,
    /// `icontains`: ignores the case of ASCII letters.
    ContainsAnyCase,
    /// `startswith`
    StartsWith,
    /// `endswith`
    EndsWith,
    /// `glob`
    Glob,
    /// `exists`
    Exists,
}

impl Op {
    /// The operator written as `text`, and whether its result is inverted (`!=`).
    pub(super) fn from_text(text: &str) -> Option<(Self, bool)> {
        Some(match text {
            "=" | "==" => (Self::Equal, false),
            "!=" => (Self::Equal, true),
            "in" => (Self::Equal, false),
            "<" => (Self::Less, false),
            "<=" => (Self::LessOrEqual, false),
            ">" => (Self::Greater, false),
            ">=" => (Self::GreaterOrEqual, false),
            "contains" => (Self::Contains, false),
            "icontains" => (Self::ContainsAnyCase, false),
            "startswith" => (Self::StartsWith, false),
            "endswith" => (Self::EndsWith, false),
            "glob" => (Self::Glob, false),
            "exists" => (Self::Exists, false),
            _ => return None,
        })
    }

    fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }

    fn is_text(self) -> bool {
        matches!(
            self,
            Self::Contains | Self::ContainsAnyCase | Self::StartsWith | Self::EndsWith | Self::Glob
        )
    }
}

/// A value in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Literal {
    /// The text as written, without quotes.
    pub bytes: Vec<u8>,
    /// The number, if it is one.
    pub number: Option<i128>,
    /// The time, if it has to be resolved against the capture.
    time: Option<TimeSpec>,
}

/// A comparison of a field with literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The field in the expression.
    pub field: Field,
    /// The field whose values are compared: the same, except for prefix comparisons ([`Equality`]).
    pub compared: Field,
    /// The operator, without inversion.
    pub op: Op,
    /// Empty for [`Op::Exists`].
    pub literals: Vec<Literal>,
    /// Whether the result is inverted, also for missing values.
    pub negated: bool,
}

impl Literal {
    fn read(bytes: &[u8], ty: FieldType) -> Result<Self, String> {
        let text = String::from_utf8_lossy(bytes);
        let mut literal = Self { bytes: bytes.to_vec(), number: number::parse(&text), time: None };
        match ty {
            FieldType::Text | FieldType::Any => {}
            FieldType::Number if literal.number.is_some() => {}
            FieldType::Number => return Err(format!("`{text}` is not a number")),
            FieldType::Duration => {
                if literal.number.is_none() {
                    let ns = units::duration(&text).map_err(|e| e.to_string())?;
                    literal.number = Some(i128::from(ns));
                }
            }
            FieldType::Time => {
                if literal.number.is_none() || text.starts_with('-') {
                    literal.time = Some(TimeSpec::parse(&text).map_err(|e| e.to_string())?);
                    literal.number = None;
                }
            }
            FieldType::Bool => {
                literal.number = match text.as_ref() {
                    "true" | "1" => Some(1),
                    "false" | "0" => Some(0),
                    _ => return Err(format!("`{text}` is neither true nor false")),
                };
            }
        }
        Ok(literal)
    }
}

impl Comparison {
    /// A comparison; reads the literals as values of the field's type.
    ///
    /// # Errors
    /// A message if the operator does not fit the type or a literal cannot be read.
    pub(super) fn new(
        (field, ty): (Field, FieldType),
        (op, negated): (Op, bool),
        values: &[Vec<u8>],
    ) -> Result<Self, String> {
        if op.is_order() && matches!(ty, FieldType::Text | FieldType::Bool) {
            return Err(format!(
                "`<` and `>` need a number, duration or time field, but this field has type {}",
                ty.name()
            ));
        }
        if op.is_text() && !matches!(ty, FieldType::Text | FieldType::Any) {
            return Err(format!("this operator needs a text field, but this field has type {}", ty.name()));
        }
        let literals: Vec<Literal> =
            values.iter().map(|bytes| Literal::read(bytes, ty)).collect::<Result<_, _>>()?;
        if op.is_order()
            && ty == FieldType::Any
            && let Some(bad) = literals.iter().find(|l| l.number.is_none())
        {
            return Err(format!("`{}` is not a number", String::from_utf8_lossy(&bad.bytes)));
        }
        let compared = match (op, field.decl().equality) {
            (Op::Equal, Equality::PrefixOf(name)) => lookup(name).map_err(|e: FieldError| e.to_string())?.0,
            _ => field.clone(),
        };
        Ok(Self { field, compared, op, literals, negated })
    }

    /// Whether the literals are prefixes of the compared values.
    pub fn by_prefix(&self) -> bool {
        self.op == Op::Equal && self.field.decl().equality != Equality::Whole
    }

    /// Resolves times that are relative to the capture.
    pub(super) fn resolve(&mut self, span: &Span) -> Result<(), TimeError> {
        for literal in &mut self.literals {
            if let Some(time) = &literal.time {
                literal.number = Some(i128::from(time.resolve(span)?));
            }
        }
        Ok(())
    }

    /// Whether a value passes.
    pub fn accepts(&self, value: Value<'_>) -> bool {
        let found = match value {
            Value::Missing => false,
            _ if self.op == Op::Exists => true,
            Value::Int(value) => self.accepts_int(value),
            Value::Bytes(bytes) => self.accepts_bytes(bytes),
        };
        found != self.negated
    }

    /// Whether a number passes, before [`Self::negated`].
    fn accepts_int(&self, value: i128) -> bool {
        if self.op.is_text() {
            let mut text = Vec::new();
            number::signed(value as i64, &mut text);
            return self.accepts_bytes(&text);
        }
        self.literals.iter().filter_map(|l| l.number).any(|literal| match self.op {
            Op::Less => value < literal,
            Op::LessOrEqual => value <= literal,
            Op::Greater => value > literal,
            Op::GreaterOrEqual => value >= literal,
            _ => value == literal,
        })
    }

    /// Whether text passes, before [`Self::negated`].
    fn accepts_bytes(&self, value: &[u8]) -> bool {
        self.literals.iter().any(|literal| {
            let wanted = literal.bytes.as_slice();
            match self.op {
                Op::Equal if self.by_prefix() => {
                    value == wanted || (!wanted.is_empty() && value != b"host" && value.starts_with(wanted))
                }
                Op::Equal => value == wanted,
                Op::Contains => contains(value, wanted),
                Op::ContainsAnyCase => contains(&value.to_ascii_lowercase(), &wanted.to_ascii_lowercase()),
                Op::StartsWith => value.starts_with(wanted),
                Op::EndsWith => value.ends_with(wanted),
                Op::Glob => glob::matches(wanted, value),
                Op::Exists | Op::Less | Op::LessOrEqual | Op::Greater | Op::GreaterOrEqual => false,
            }
        })
    }
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    needle.is_empty() || haystack.windows(needle.len()).any(|window| window == needle)
}

#[cfg(test)]
mod tests;
