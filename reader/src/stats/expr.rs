//! The expression of a column: aggregates and arithmetic between them.

use super::datum::Datum;
use super::function::Function;
use super::unit::{Base, Unit};

/// A value of a column for one group.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// There is no value: an average of nothing, a division by zero.
    Missing,
    /// An exact whole number.
    Number(i128),
    /// Any other number.
    Real(f64),
    /// A value of a field.
    Datum(Datum),
}

impl Cell {
    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) | Self::Datum(Datum::Number(number)) => Some(*number as f64),
            Self::Real(number) => Some(*number),
            Self::Missing | Self::Datum(_) => None,
        }
    }

    /// A number that need not be finite.
    fn real(number: f64) -> Self {
        if number.is_finite() { Self::Real(number) } else { Self::Missing }
    }
}

/// An operator between two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Expr {
    /// A number with its unit.
    Literal(f64, Unit),
    /// A function of what has been gathered, by its index in the plan; its unit, and whether values are in hundredths.
    Aggregate { function: Function, gathering: usize, unit: Unit, hundredths: bool },
    /// Divided by the time that the row stands for, in seconds.
    PerSecond(Box<Expr>),
    /// Divided by the value for all groups together.
    Share(Box<Expr>),
    /// Two numbers.
    Binary(Operator, Box<Expr>, Box<Expr>),
}

/// What an expression is evaluated on.
pub(super) trait Row {
    /// The value of a function for the group.
    fn aggregate(&self, function: Function, gathering: usize) -> Cell;

    /// The same for all groups together.
    fn total(&self) -> &dyn Row;

    /// The time that it stands for, in seconds; `None` if that is not known.
    fn seconds(&self) -> Option<f64>;
}

impl Expr {
    /// The value for a group.
    pub(super) fn evaluate(&self, row: &dyn Row) -> Cell {
        match self {
            // 2^53: all whole numbers up to there are exact.
            Self::Literal(number, _) if number.fract() == 0.0 && number.abs() <= 9e15 => {
                Cell::Number(*number as i128)
            }
            Self::Literal(number, _) => Cell::real(*number),
            Self::Aggregate { function, gathering, hundredths, .. } => {
                let cell = row.aggregate(*function, *gathering);
                let is_number = !matches!(function, Function::Count | Function::Distinct);
                match cell.number() {
                    Some(number) if *hundredths && is_number => Cell::real(number / 100.0),
                    _ => cell,
                }
            }
            Self::PerSecond(inner) => match (inner.evaluate(row).number(), row.seconds()) {
                (Some(number), Some(seconds)) => Cell::real(number / seconds),
                _ => Cell::Missing,
            },
            Self::Share(inner) => {
                let (part, whole) = (inner.evaluate(row).number(), inner.evaluate(row.total()).number());
                match (part, whole) {
                    (Some(part), Some(whole)) => Cell::real(part / whole),
                    _ => Cell::Missing,
                }
            }
            Self::Binary(operator, left, right) => {
                compute(*operator, &left.evaluate(row), &right.evaluate(row))
            }
        }
    }

    /// Time per time is in ns per second: gives a number that stands for a part of a whole the same unit.
    pub(super) fn into_time_per_time(self, other: Unit) -> Self {
        let unit = Unit::of(Base::Duration).per_second();
        match self.unit() {
            own if other == unit && own != unit => {
                Self::Binary(Operator::Multiply, Box::new(Self::Literal(1e9, unit)), Box::new(self))
            }
            _ => self,
        }
    }

    /// The unit of its values.
    pub(super) fn unit(&self) -> Unit {
        match self {
            Self::Literal(_, unit) => *unit,
            Self::Aggregate { unit, .. } => *unit,
            Self::PerSecond(inner) => inner.unit().per_second(),
            Self::Share(_) => Unit::of(Base::Share),
            Self::Binary(operator, left, right) => unit_of(*operator, left.unit(), right.unit()),
        }
    }
}

fn compute(operator: Operator, left: &Cell, right: &Cell) -> Cell {
    if let (Cell::Number(left), Cell::Number(right)) = (left, right) {
        let exact = match operator {
            Operator::Add => left.checked_add(*right),
            Operator::Subtract => left.checked_sub(*right),
            Operator::Multiply => left.checked_mul(*right),
            Operator::Divide => None,
        };
        if let Some(exact) = exact {
            return Cell::Number(exact);
        }
    }
    let (Some(left), Some(right)) = (left.number(), right.number()) else { return Cell::Missing };
    Cell::real(match operator {
        Operator::Add => left + right,
        Operator::Subtract => left - right,
        Operator::Multiply => left * right,
        Operator::Divide => left / right,
    })
}

/// The unit of a result. Products of units that do not fit each other give a plain number.
fn unit_of(operator: Operator, left: Unit, right: Unit) -> Unit {
    match operator {
        Operator::Subtract if left == right && left == Unit::of(Base::Time) => Unit::of(Base::Duration),
        // A time plus or minus a duration is a time; a number minus a part of a whole is a part: 1 - share.
        Operator::Add | Operator::Subtract if left.is_plain() || right.base == Base::Time => right,
        Operator::Add | Operator::Subtract => left,
        Operator::Multiply | Operator::Divide if right.is_plain() => left,
        Operator::Multiply if left.is_plain() => right,
        Operator::Multiply if right == Unit::of(Base::Share) => left,
        Operator::Multiply | Operator::Divide => Unit::PLAIN,
    }
}
