//! One comparison: of a field with literals, or of what is computed from fields.

use crate::fields::{
    Argument, Compared, Field, FieldError, FieldType, FileValue, Getter, Value, lookup, values,
};
use crate::model::Event;
use crate::syscalls::sockaddr::{self, SockAddr};
use crate::syscalls::{ArgType, ValueSet};
use crate::text::number;
use crate::text::time::{Span, TimeError};

use super::computed::Computed;
use super::error::Refusal;
use super::literal::{Literal, Written};
use super::op::Op;
use super::quantifier::Quantifier;
use super::term::Term;

/// A comparison of a field with literals, or of functions of fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// The field in the expression; the first one, if there are several.
    pub field: Field,
    /// The field whose values are compared: the same, unless its [`crate::fields::Compared`] names another.
    pub compared: Field,
    /// The operator, without inversion.
    pub op: Op,
    /// Empty for [`Op::Exists`], and if two fields are compared.
    pub literals: Vec<Literal>,
    /// How many of the literals have to fit.
    pub quantifier: Quantifier,
    /// Whether the result is inverted, also for missing values.
    pub negated: bool,
    /// Whether each element of a list is compared, instead of the text that they make together.
    by_element: bool,
    /// What is compared, if it is not the field itself with literals.
    pub(super) computed: Option<Box<Computed>>,
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
            let literal = if op.is_text() {
                Literal::of_text(&value.bytes, op)
            } else {
                Literal::read(&value.bytes, (&field, ty), op)
            };
            literal.map_err(|message| Refusal { message, value: Some(at) })
        };
        let literals: Vec<Literal> = values.iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let compared = match field.decl().compared {
            Compared::PrefixOf(name) if op == Op::Equal => {
                lookup(name).map_err(|e: FieldError| refuse(e.to_string()))?.0
            }
            Compared::As(_) if op == Op::Equal || op.is_order() => field.clone().as_compared(),
            Compared::PrefixOf(_) | Compared::As(_) | Compared::Whole => field.clone(),
        };
        Ok(Self {
            field,
            compared,
            op,
            literals,
            quantifier: Quantifier::Any,
            negated,
            by_element: false,
            computed: None,
        })
    }

    /// A comparison of a function of fields with literals, which are read as values of its type.
    ///
    /// # Errors
    /// If the operator does not fit the type or the function cannot have such a value.
    pub(super) fn of_term(
        (field, term): (Field, Term),
        operator: (Op, bool),
        values: &[Written],
    ) -> Result<Self, Refusal> {
        let ty = term.ty();
        let never = |value: &Written| term.why_never(&value.bytes).filter(|_| operator.0 == Op::Equal);
        if let Some((at, message)) =
            values.iter().enumerate().find_map(|(at, value)| never(value).map(|message| (at, message)))
        {
            return Err(Refusal { message, value: Some(at) });
        }
        if operator.0.is_text() && !ty.is_text() {
            let message = format!("this operator needs text, but this has type {}", ty.name());
            return Err(Refusal { message, value: None });
        }
        let comparison = Self::new((field.clone(), ty), operator, values)?;
        Ok(Self { compared: field, computed: Some(Box::new(Computed::with_literals(term))), ..comparison })
    }

    /// A comparison of fields with each other.
    pub(super) fn of_fields(field: Field, computed: Computed, (op, negated): (Op, bool)) -> Self {
        Self {
            compared: field.clone(),
            field,
            op,
            literals: Vec::new(),
            quantifier: Quantifier::Any,
            negated,
            by_element: false,
            computed: Some(Box::new(computed)),
        }
    }

    /// The same with a modifier of the operator.
    #[must_use]
    pub(super) fn quantified(self, modifier: Quantifier, is_opposite: bool) -> Self {
        if !is_opposite {
            return Self { quantifier: modifier, ..self };
        }
        // `!=` was read as the opposite of `=`.
        let (quantifier, is_inverted) = modifier.of_differing(self.literals.len());
        Self { quantifier, negated: (self.negated != is_opposite) != is_inverted, ..self }
    }

    /// The same, with each element of a list instead of the text that they make together.
    #[must_use]
    pub(super) fn by_element(self) -> Self {
        let is_list = self.computed.is_none() && values::is_list(&self.field);
        let elements = is_list.then(|| Box::new(Computed::with_literals(Term::Elements(self.field.clone()))));
        Self { by_element: true, computed: self.computed.or(elements), ..self }
    }

    /// All fields that it compares.
    pub fn fields(&self) -> Vec<&Field> {
        self.computed.as_ref().map_or_else(|| vec![&self.field], |computed| computed.fields())
    }

    /// Whether the literals are prefixes of the compared values.
    pub fn by_prefix(&self) -> bool {
        self.op == Op::Equal
            && self.computed.is_none()
            && matches!(self.field.decl().compared, Compared::PrefixOf(_))
    }

    /// Resolves times that are relative to the capture.
    pub(super) fn resolve(&mut self, span: &Span) -> Result<(), TimeError> {
        self.literals.iter_mut().try_for_each(|literal| literal.resolve(span))
    }

    /// Whether a value passes: one of the field, or of what is computed from it.
    pub fn accepts(&self, value: Value<'_>) -> bool {
        self.finds(value) != self.negated
    }

    /// Whether an event passes, if what is compared has to be computed.
    pub(super) fn accepts_event(&self, event: Event<'_>) -> bool {
        let finds = |value: Value<'_>| self.finds(value);
        self.computed.as_ref().is_some_and(|computed| computed.holds(event, self.op, &finds)) != self.negated
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
            Argument::Descriptor { number, ty, .. } => {
                if self.op.is_text()
                    && matches!(self.compared.getter(), Getter::Argument)
                    && let Value::Bytes(text) = values::argument_value(argument, scratch)
                {
                    return self.finds_bytes(text);
                }
                self.finds_number(number.into(), |literal| literal.of(Some(ty), None))
            }
            Argument::Struct(_)
                if !self.op.is_text()
                    && let Some(numbers) = argument.numbers() =>
            {
                numbers.into_iter().any(|number| self.finds_number(number, |literal| literal.number))
            }
            Argument::Struct(_) => match values::argument_value(argument, scratch) {
                Value::Bytes(text) => self.finds_bytes(text),
                _ => false,
            },
            Argument::Member(value, member) => value.values(member).any(|number| {
                let set = number.set.filter(|_| matches!(self.compared.getter(), Getter::Argument));
                self.finds_named((number.value, Some(number.ty), set), scratch)
            }),
            Argument::Text(bytes) => self.finds_bytes(bytes),
            Argument::Address(bytes) => self.finds_address(bytes, scratch),
            Argument::Addresses(bytes) => {
                sockaddr::addresses(bytes).any(|address| self.finds_address(address, scratch))
            }
            Argument::List(list) if self.by_element => {
                values::arguments(list).any(|element| self.finds_bytes(element))
            }
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
            let fits = |literal: &Literal| literal.is_part_of(value as u64, set);
            return self.quantifier.holds(self.literals.iter().map(fits));
        }
        if self.op.is_text() {
            scratch.clear();
            if values::write_named(value as u64, ty, set, scratch) {
                return self.finds_bytes(scratch);
            }
        }
        self.finds_number(value, |literal| literal.of(ty, set))
    }

    /// The same for a value from the files of a syscall.
    pub(super) fn finds_file_value(&self, value: FileValue<'_>, scratch: &mut Vec<u8>) -> bool {
        match value {
            FileValue::Address(address) => self.finds_socket(address, scratch),
            FileValue::Ip(ip) if self.op == Op::Equal => {
                let fits = |literal: &Literal| {
                    literal.address.as_ref().is_some_and(|wanted| wanted.contains(ip, 0, 0))
                };
                self.quantifier.holds(self.literals.iter().map(fits))
            }
            FileValue::Number(_) | FileValue::Text(_) | FileValue::Ip(_) => self.finds(value.show(scratch)),
        }
    }

    /// The same for a `struct sockaddr`.
    pub(super) fn finds_address(&self, bytes: &[u8], scratch: &mut Vec<u8>) -> bool {
        SockAddr::parse(bytes).is_some_and(|address| self.finds_socket(address, scratch))
    }

    fn finds_socket(&self, address: SockAddr<'_>, scratch: &mut Vec<u8>) -> bool {
        if self.op == Op::Equal
            && let SockAddr::Inet { ip, port, scope } = address
        {
            let fits = |literal: &Literal| {
                literal.address.as_ref().is_some_and(|wanted| wanted.contains(ip, port, scope))
            };
            return self.quantifier.holds(self.literals.iter().map(fits));
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
        let fits = |literal| of(literal).is_some_and(|wanted| self.op.relates(value, wanted));
        self.quantifier.holds(self.literals.iter().map(fits))
    }

    /// The same for text.
    fn finds_bytes(&self, value: &[u8]) -> bool {
        self.quantifier.holds(self.literals.iter().map(|literal| {
            let wanted = literal.bytes.as_slice();
            match self.op {
                Op::Equal if self.by_prefix() => {
                    value == wanted || (!wanted.is_empty() && value != b"host" && value.starts_with(wanted))
                }
                Op::Regex => literal.pattern.as_ref().is_some_and(|pattern| pattern.matches(value)),
                op => op.fits(value, wanted),
            }
        }))
    }
}

#[cfg(test)]
mod tests;
