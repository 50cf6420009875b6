//! One comparison of a field with literals.

use crate::fields::{Argument, Compared, Field, FieldError, FieldType, Getter, Value, lookup, values};
use crate::syscalls::sockaddr::SockAddr;
use crate::syscalls::{ArgType, ValueSet};
use crate::text::time::{Span, TimeError};
use crate::text::{glob, number};

use super::literal::{Literal, Written};
use super::op::Op;

/// A comparison of a field with literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The field in the expression.
    pub field: Field,
    /// The field whose values are compared: the same, unless its [`crate::fields::Compared`] names another.
    pub compared: Field,
    /// The operator, without inversion.
    pub op: Op,
    /// Empty for [`Op::Exists`].
    pub literals: Vec<Literal>,
    /// Whether the result is inverted, also for missing values.
    pub negated: bool,
}

/// Why there is no such comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// What is wrong.
    pub(super) message: String,
    /// The position of the value that is wrong, if it is one.
    pub(super) value: Option<usize>,
}

impl Comparison {
    /// A comparison; reads the literals as values of the field's type.
    ///
    /// # Errors
    /// If the operator does not fit the type or the field cannot have such a value.
    pub(super) fn new(
        (field, ty): (Field, FieldType),
        (op, negated): (Op, bool),
        values: &[Written],
    ) -> Result<Self, Refusal> {
        let refuse = |message: String| Refusal { message, value: None };
        if op.is_order() && !ty.is_ordered() {
            return Err(refuse(format!(
                "`<` and `>` need a number, size, duration or time field, but this field has type {}",
                ty.name()
            )));
        }
        // Attributes of containers are text, whatever it stands for.
        let is_text = ty.is_text() || matches!(field.getter(), Getter::Attribute);
        if op.is_text() && !is_text {
            return Err(refuse(format!(
                "this operator needs a text field, but this field has type {}",
                ty.name()
            )));
        }
        if op == Op::Has && !matches!(ty, FieldType::Any | FieldType::Flags(_)) {
            return Err(refuse(format!(
                "`has` needs flags, such as evt.arg.flags, but this field has type {}",
                ty.name()
            )));
        }
        let read = |(at, value): (usize, &Written)| {
            if op.is_text() {
                return Ok(Literal::text(&value.bytes));
            }
            Literal::read(&value.bytes, (&field, ty), op)
                .map_err(|message| Refusal { message, value: Some(at) })
        };
        let literals: Vec<Literal> = values.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let compared = match field.decl().compared {
            Compared::PrefixOf(name) if op == Op::Equal => {
                lookup(name).map_err(|e: FieldError| refuse(e.to_string()))?.0
            }
            Compared::As(_) if op == Op::Equal || op.is_order() => field.clone().as_compared(),
            Compared::PrefixOf(_) | Compared::As(_) | Compared::Whole => field.clone(),
        };
        Ok(Self { field, compared, op, literals, negated })
    }

    /// Whether the literals are prefixes of the compared values.
    pub fn by_prefix(&self) -> bool {
        self.op == Op::Equal && matches!(self.field.decl().compared, Compared::PrefixOf(_))
    }

    /// Resolves times that are relative to the capture.
    pub(super) fn resolve(&mut self, span: &Span) -> Result<(), TimeError> {
        self.literals.iter_mut().try_for_each(|literal| literal.resolve(span))
    }

    /// Whether a value passes.
    pub fn accepts(&self, value: Value<'_>) -> bool {
        self.finds(value) != self.negated
    }

    /// Whether a value passes, before [`Self::negated`]. Of several values, one is enough.
    pub(super) fn finds(&self, value: Value<'_>) -> bool {
        match value {
            Value::Missing => false,
            _ if self.op == Op::Exists => true,
            Value::Int(value) => self.finds_number(value, |literal| literal.number),
            Value::Bytes(bytes) => self.finds_bytes(bytes),
        }
    }

    /// The same for an argument of a syscall.
    pub(super) fn finds_argument(&self, argument: Argument<'_>, scratch: &mut Vec<u8>) -> bool {
        match argument {
            Argument::Missing => false,
            _ if self.op == Op::Exists => true,
            Argument::Number { value, ty, set } => {
                let set = set.filter(|_| matches!(self.compared.getter(), Getter::Argument));
                self.finds_named((value, ty, set), scratch)
            }
            Argument::Text(bytes) => self.finds_bytes(bytes),
            Argument::Address(bytes) => self.finds_address(bytes, scratch),
            Argument::List(list) => {
                scratch.clear();
                values::join(list, b' ', scratch);
                self.finds_bytes(scratch)
            }
        }
    }

    /// The same for a number whose values may have names.
    fn finds_named(
        &self,
        (value, ty, set): (i128, Option<ArgType>, Option<&ValueSet>),
        scratch: &mut Vec<u8>,
    ) -> bool {
        if self.op == Op::Has {
            return self.literals.iter().any(|literal| literal.is_part_of(value as u64, set));
        }
        if self.op.is_text() {
            scratch.clear();
            if values::write_named(value as u64, ty, set, scratch) {
                return self.finds_bytes(scratch);
            }
        }
        self.finds_number(value, |literal| literal.of(ty, set))
    }

    /// The same for a `struct sockaddr`.
    pub(super) fn finds_address(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
        let Some(address) = SockAddr::parse(bytes) else { return false };
        if self.op == Op::Equal
            && let SockAddr::Inet { ip, port, scope } = address
        {
            return self
                .literals
                .iter()
                .filter_map(|literal| literal.address.as_ref())
                .any(|wanted| wanted.contains(ip, port, scope));
        }
        scratch.clear();
        address.format(scratch);
        self.finds(Value::Bytes(scratch))
    }

    /// The same for a number, of literals that are numbers in the same sense.
    fn finds_number(&self, value: i128, of: impl Fn(&Literal) -> Option<i128>) -> bool {
        if self.op.is_text() {
            let mut text = Vec::new();
            number::signed(value as i64, &mut text);
            return self.finds_bytes(&text);
        }
        self.literals.iter().filter_map(of).any(|literal| match self.op {
            Op::Less => value < literal,
            Op::LessOrEqual => value <= literal,
            Op::Greater => value > literal,
            Op::GreaterOrEqual => value >= literal,
            _ => value == literal,
        })
    }

    /// The same for text.
    fn finds_bytes(&self, value: &[u8]) -> bool {
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
                Op::Has => wanted
                    .split(|b| *b == b'|')
                    .all(|word| value.split(|b| *b == b'|').any(|has| has == word)),
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
