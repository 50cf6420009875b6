//! Parses columns: `count`, `p99(evt.latency)`, `errors = count(if evt.failed = true) / count`.

use crate::fields::{Field, FieldError, FieldType, Shape, lookup};
use crate::filter::{Filter, ParseError};
use crate::text::suggest;

use super::expr::{Expr, Operator};
use super::function::{Function, Gathered, Gathering};
use super::unit::{self, Base, Unit};

/// Most brackets within each other.
const MAX_DEPTH: usize = 32;

/// Why a column or a condition is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text does not follow the grammar.
    #[error("`{text}` is not a column: {reason}")]
    Syntax {
        /// The whole text.
        text: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such function.
    #[error("unknown function `{name}`{}; there are {}", suggest::in_brackets(.closest), .all)]
    Function {
        /// The name.
        name: String,
        /// The most similar names.
        closest: Vec<String>,
        /// All names.
        all: String,
    },
    /// A function of numbers has a field that is none.
    #[error(
        "`{function}({field})`: {function} needs a number, and {field} is of type {ty}; use count, distinct, first or last"
    )]
    NotNumber {
        /// The function.
        function: String,
        /// The field.
        field: String,
        /// The type of the field.
        ty: &'static str,
    },
    /// Times are added up.
    #[error("`{function}({field})`: times cannot be added up; use min, max, first or last")]
    Time {
        /// The function.
        function: String,
        /// The field.
        field: String,
    },
    /// A field is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// A condition is wrong.
    #[error("`{text}`: {cause}")]
    Condition {
        /// The condition.
        text: String,
        /// What is wrong with it.
        cause: ParseError,
    },
}

/// Splits at `separator` outside brackets and quotes.
pub(super) fn split<'t>(text: &'t str, separator: &str) -> Vec<&'t str> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = find(rest, separator) {
        parts.push(rest[..at].trim());
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest.trim());
    parts
}

/// Where `wanted` is first found outside brackets and quotes.
pub(super) fn find(text: &str, wanted: &str) -> Option<usize> {
    let (mut depth, mut quote) = (0usize, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, _) if depth == 0 && text[at..].starts_with(wanted) => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[') => depth += 1,
            (None, ')' | ']') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// Whether each bracket that is closed has been opened, and the other way round.
pub(super) fn is_balanced(text: &str) -> bool {
    let (mut depth, mut quote) = (0i32, None);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') if depth == 0 => return false,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
    }
    depth == 0
}

/// The title and the expression of `TITLE = EXPR`; a title has no operator and no bracket.
pub(super) fn split_title(text: &str) -> (Option<&str>, &str) {
    let Some((title, rest)) = text.split_once('=') else { return (None, text) };
    let is_title = !title.trim().is_empty()
        && title.chars().all(|c| c.is_alphanumeric() || " _-%./".contains(c))
        && !rest.starts_with('=');
    if is_title { (Some(title.trim()), rest.trim()) } else { (None, text) }
}

/// Parses expressions, and collects what has to be gathered for them.
#[derive(Debug, Default)]
pub(super) struct Parser {
    pub(super) gatherings: Vec<Gathering>,
    pub(super) conditions: Vec<Filter>,
    /// Advice on columns that are valid, and most likely not what was meant.
    pub(super) hints: Vec<String>,
}

impl Parser {
    /// Parses an expression.
    ///
    /// # Errors
    /// See [`ExprError`].
    pub(super) fn expr(&mut self, text: &str) -> Result<Expr, ExprError> {
        self.nested(text, 0)
    }

    /// The same within brackets.
    fn nested(&mut self, text: &str, depth: usize) -> Result<Expr, ExprError> {
        let mut cursor = Cursor { parser: self, text, at: 0, depth };
        let expr = cursor.sum()?;
        cursor.space();
        match cursor.rest() {
            "" => Ok(expr),
            rest => Err(cursor.wrong(format!("`{rest}` was not expected"))),
        }
    }

    fn gather(
        &mut self,
        kind: Gathered,
        field: Option<(Field, FieldType)>,
        condition: Option<Filter>,
    ) -> usize {
        let condition = condition.map(|condition| place(&mut self.conditions, condition));
        place(&mut self.gatherings, Gathering { kind, field, condition })
    }

    /// The number of events that pass.
    pub(super) fn count(&mut self, condition: Option<Filter>) -> Expr {
        let gathering = self.gather(Gathered::Count, None, condition);
        Expr::Aggregate { function: Function::Count, gathering, unit: Unit::PLAIN, hundredths: false }
    }

    fn aggregate(
        &mut self,
        function: Function,
        name: &str,
        field: &str,
        condition: Option<Filter>,
    ) -> Result<Expr, ExprError> {
        let (found, ty) = lookup(field)?;
        let is_number = match ty.shape() {
            Shape::Number | Shape::Hundredths | Shape::Duration | Shape::Time | Shape::Any => true,
            Shape::Bool | Shape::Code | Shape::Address | Shape::Text => false,
        };
        if function.needs_numbers() && !is_number {
            let (function, field) = (name.to_owned(), field.to_owned());
            return Err(ExprError::NotNumber { function, field, ty: ty.name() });
        }
        if function == Function::Sum && ty.shape() == Shape::Time {
            return Err(ExprError::Time { function: name.to_owned(), field: field.to_owned() });
        }
        if function == Function::Count && ty == FieldType::Bool {
            self.hints.push(format!(
                "count({field}) counts events that have the field, whatever its value; those of which it is true: \
                 count({field} = true)"
            ));
        }
        let of_field = Unit::of_field(ty);
        let unit = match function {
            Function::Count | Function::Distinct => Unit::PLAIN,
            Function::First | Function::Last => match of_field.base {
                Base::Plain if ty == FieldType::Any => Unit::of(Base::Field(ty)),
                _ => of_field,
            },
            // How far times are apart.
            Function::Stddev if of_field.base == Base::Time => Unit::of(Base::Duration),
            _ => of_field,
        };
        let hundredths = ty.shape() == Shape::Hundredths;
        let gathering = self.gather(function.gathered(), Some((found, ty)), condition);
        Ok(Expr::Aggregate { function, gathering, unit, hundredths })
    }

    /// A call of a function: its name and what is in the brackets.
    fn call(&mut self, name: &str, argument: Option<&str>, depth: usize) -> Result<Expr, ExprError> {
        match name {
            "rate" => return Ok(Expr::PerSecond(Box::new(self.amount(name, argument, depth)?))),
            "share" => return Ok(Expr::Share(Box::new(self.amount(name, argument, depth)?))),
            _ => {}
        }
        let Some(function) = Function::named(name) else {
            let names: Vec<&str> = Function::names().collect();
            let mut scored: Vec<(usize, &str)> =
                names.iter().map(|known| (suggest::distance(&name.to_lowercase(), known), *known)).collect();
            scored.sort_unstable();
            let closest = scored.into_iter().filter(|(score, _)| *score <= 2).take(3);
            return Err(ExprError::Function {
                name: name.to_owned(),
                closest: closest.map(|(_, known)| known.to_owned()).collect(),
                all: names.join(", "),
            });
        };
        let (field, condition) = match argument {
            None => ("", None),
            Some(argument) => split_condition(argument)?,
        };
        match (function, field) {
            (Function::Count, "" | "*") => Ok(self.count(condition)),
            (_, "") => Err(ExprError::Syntax {
                text: name.to_owned(),
                reason: format!("{name} needs a field: {name}(evt.latency)"),
            }),
            // Also without `if`, it is clear which events to count.
            (Function::Count, _) if condition.is_none() && !is_field(field) => match Filter::parse(field) {
                Ok(condition) => Ok(self.count(Some(condition))),
                Err(cause) if field.contains(['=', '<', '>']) => {
                    Err(ExprError::Condition { text: field.to_owned(), cause })
                }
                Err(_) => self.aggregate(function, name, field, None),
            },
            _ => self.aggregate(function, name, field, condition),
        }
    }

    /// What `rate` and `share` apply to: the number of events, the sum of a field, or an expression.
    fn amount(&mut self, name: &str, argument: Option<&str>, depth: usize) -> Result<Expr, ExprError> {
        let Some(argument) = argument.filter(|text| !text.trim().is_empty()) else {
            return Ok(self.count(None));
        };
        let (field, condition) = split_condition(argument)?;
        match (field, condition) {
            ("", condition) => Ok(self.count(condition)),
            (field, condition) if is_field(field) => self.aggregate(Function::Sum, name, field, condition),
            (_, None) if let Ok(condition) = Filter::parse(argument) => Ok(self.count(Some(condition))),
            _ => self.nested(argument, depth),
        }
    }
}

/// Whether a text names a field. What can only be an expression is not looked up: finding similar names takes time.
fn is_field(text: &str) -> bool {
    !text.contains(['=', '<', '>', '(', ' ']) && lookup(text).is_ok()
}

/// Where a thing is in a list; adds it if it is new.
fn place<T: PartialEq>(list: &mut Vec<T>, thing: T) -> usize {
    list.iter().position(|known| *known == thing).unwrap_or_else(|| {
        list.push(thing);
        list.len() - 1
    })
}

/// The field and the condition of `FIELD if EXPR`.
fn split_condition(argument: &str) -> Result<(&str, Option<Filter>), ExprError> {
    let argument = argument.trim();
    let (field, condition) = match argument.strip_prefix("if ") {
        Some(condition) => ("", condition),
        None => match find(argument, " if ") {
            Some(at) => (argument[..at].trim(), &argument[at + " if ".len()..]),
            None => return Ok((argument, None)),
        },
    };
    let filter = Filter::parse(condition)
        .map_err(|cause| ExprError::Condition { text: condition.to_owned(), cause })?;
    Ok((field, Some(filter)))
}

struct Cursor<'p, 't> {
    parser: &'p mut Parser,
    text: &'t str,
    at: usize,
    depth: usize,
}

impl<'t> Cursor<'_, 't> {
    fn rest(&self) -> &'t str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn wrong(&self, reason: impl Into<String>) -> ExprError {
        ExprError::Syntax { text: self.text.to_owned(), reason: reason.into() }
    }

    /// Skips one of these characters, if it comes next.
    fn one_of(&mut self, characters: &[char]) -> Option<char> {
        self.space();
        let next = self.rest().chars().next().filter(|c| characters.contains(c))?;
        self.at += next.len_utf8();
        Some(next)
    }

    fn sum(&mut self) -> Result<Expr, ExprError> {
        let mut left = self.product()?;
        while let Some(sign) = self.one_of(&['+', '-']) {
            let operator = if sign == '+' { Operator::Add } else { Operator::Subtract };
            let right = self.product()?;
            let (one, other) = (left.unit(), right.unit());
            if !one.adds_to(other) {
                let reason = format!("it adds or subtracts {} and {}", one.name(), other.name());
                return Err(self.wrong(reason));
            }
            let (left_part, right_part) = (left.into_time_per_time(other), right.into_time_per_time(one));
            left = Expr::Binary(operator, Box::new(left_part), Box::new(right_part));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expr, ExprError> {
        let mut left = self.primary()?;
        while let Some(sign) = self.one_of(&['*', '/']) {
            let operator = if sign == '*' { Operator::Multiply } else { Operator::Divide };
            left = Expr::Binary(operator, Box::new(left), Box::new(self.primary()?));
        }
        Ok(left)
    }

    fn primary(&mut self) -> Result<Expr, ExprError> {
        self.space();
        if self.depth >= MAX_DEPTH {
            return Err(self.wrong("it has too many brackets"));
        }
        if self.one_of(&['(']).is_some() {
            self.depth += 1;
            let inner = self.sum()?;
            self.depth -= 1;
            return match self.one_of(&[')']) {
                Some(_) => Ok(inner),
                None => Err(self.wrong("a closing bracket is missing")),
            };
        }
        let rest = self.rest();
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
        let word = &rest[..rest.find(|c| !is_word(c)).unwrap_or(rest.len())];
        if word.is_empty() {
            return Err(match rest.chars().next() {
                Some(c) => self.wrong(format!("a function or a number is missing before `{c}`")),
                None => self.wrong("a function or a number is missing at the end"),
            });
        }
        self.at += word.len();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let (number, unit) =
                unit::literal(word).ok_or_else(|| self.wrong(format!("`{word}` is not a number")))?;
            if unit.is_plain() && self.one_of(&['%']).is_some() {
                return Ok(Expr::Literal(number / 100.0, Unit::of(Base::Share)));
            }
            return Ok(Expr::Literal(number, unit));
        }
        let argument = self.brackets()?;
        if argument.is_none() && Function::named(word).is_none() && is_field(word) {
            return Err(self.wrong(format!(
                "`{word}` is a field; use it with a function: sum({word}), max({word}), last({word})"
            )));
        }
        self.parser.call(word, argument, self.depth + 1)
    }

    /// The text in brackets, if they come next.
    fn brackets(&mut self) -> Result<Option<&'t str>, ExprError> {
        if self.one_of(&['(']).is_none() {
            return Ok(None);
        }
        let start = self.at;
        let (mut depth, mut quote) = (1usize, None);
        for (at, c) in self.text[start..].char_indices() {
            match (quote, c) {
                (Some(open), _) if c == open => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') => quote = Some(c),
                (None, '(') => depth += 1,
                (None, ')') if depth == 1 => {
                    self.at = start + at + 1;
                    return Ok(Some(&self.text[start..start + at]));
                }
                (None, ')') => depth -= 1,
                (None, _) => {}
            }
        }
        Err(self.wrong("a closing bracket is missing"))
    }
}
