//! Comparisons of more than one field with literals: of functions of fields, and of fields with each other.

use crate::fields::{Compared, Field, FieldType, Shape, Value};
use crate::model::Event;

use super::error::Refusal;
use super::op::Op;
use super::term::{Term, with_text};

/// What a comparison compares, if it is not a field with literals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Computed {
    left: Term,
    /// What it is compared with; `None` for the literals of the comparison.
    right: Option<Term>,
}

impl Computed {
    /// Compares with the literals of the comparison.
    pub(super) fn with_literals(left: Term) -> Self {
        Self { left, right: None }
    }

    /// Compares two terms.
    ///
    /// # Errors
    /// If the operator does not apply to two fields, or their types differ. `names`: what the expression calls them.
    pub(super) fn with_term(left: Term, op: Op, right: Term, names: [&str; 2]) -> Result<Self, Refusal> {
        let refuse = |message: String| Err(Refusal { message, value: None });
        let terms = [as_compared(left, op), as_compared(right, op)];
        let types = [terms[0].ty(), terms[1].ty()];
        if op.takes_pattern() {
            return refuse("this operator takes a pattern, which cannot be a field".to_owned());
        }
        let mut named = names.into_iter().zip(types);
        if let Some((name, ty)) = named.clone().find(|(_, ty)| op.is_order() && !ty.is_ordered()) {
            return refuse(format!(
                "`<` and `>` need a number, size, duration or time, but {name} has type {}",
                full_name(ty)
            ));
        }
        if let Some((name, ty)) = named.find(|(_, ty)| op.is_text() && !ty.is_text()) {
            return refuse(format!("this operator needs text, but {name} has type {}", full_name(ty)));
        }
        if !are_comparable(types[0], types[1]) {
            let [left, right] = types.map(full_name);
            return refuse(format!(
                "values of types {left} and {right} cannot be compared: {} and {}",
                names[0], names[1]
            ));
        }
        let [left, right] = terms;
        Ok(Self { left, right: Some(right) })
    }

    /// Its fields, in the order of the expression.
    pub(super) fn fields(&self) -> Vec<&Field> {
        let mut fields = Vec::new();
        self.left.add_fields(&mut fields);
        if let Some(right) = &self.right {
            right.add_fields(&mut fields);
        }
        fields
    }

    /// Whether it holds for an event. Of several values, one is enough. `finds`: compares a value with the literals.
    pub(super) fn holds(&self, event: Event<'_>, op: Op, finds: &dyn Fn(Value<'_>) -> bool) -> bool {
        self.left.any(event, &mut |left| match &self.right {
            None => finds(left),
            Some(right) => right.any(event, &mut |right| relates(op, left, right)),
        })
    }
}

/// A term with the numbers that `=`, `<` and `>` compare, where it shows them as text.
fn as_compared(term: Term, op: Op) -> Term {
    match term {
        Term::Field(field)
            if (op == Op::Equal || op.is_order())
                && !field.decl().ty.is_text()
                && matches!(field.decl().compared, Compared::As(_)) =>
        {
            Term::Field(field.as_compared())
        }
        other => other,
    }
}

/// Whether a value of one type may equal one of the other.
fn are_comparable(left: FieldType, right: FieldType) -> bool {
    match (left.shape(), right.shape()) {
        (Shape::Text, other) | (other, Shape::Text) => {
            matches!(other, Shape::Text | Shape::Code | Shape::Address | Shape::Any)
        }
        (Shape::Any, other) | (other, Shape::Any) => {
            matches!(other, Shape::Any | Shape::Number | Shape::Code | Shape::Address)
        }
        // A size is no count, and a port is no id.
        (left_shape, right_shape) => left_shape == right_shape && left.name() == right.name(),
    }
}

/// The name of a type, with what tells numbers apart.
fn full_name(ty: FieldType) -> &'static str {
    match ty {
        FieldType::Hundredths => "number with decimals",
        other => other.name(),
    }
}

/// Compares two values.
fn relates(op: Op, left: Value<'_>, right: Value<'_>) -> bool {
    if let (Value::Int(left), Value::Int(right)) = (left, right)
        && !op.is_text()
    {
        return op.relates(left, right);
    }
    with_text(left, |left| with_text(right, |right| op.fits(left, right)))
}

#[cfg(test)]
mod tests;
