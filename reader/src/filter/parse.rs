//! Parses an expression into a tree of comparisons.

mod operand;

use std::sync::Arc;

use super::comparison::Comparison;
use super::computed::Computed;
use super::error::ParseError;
use super::hint;
use super::lexer::{self, Spanned, Token};
use super::literal::Written;
use super::op::Op;
use super::vocabulary::{Doubt, NameOf};
use crate::fields::FieldType;
use operand::{Left, Right};

/// Deepest nesting of parentheses and `not`.
const MAX_DEPTH: usize = 100;
/// Longest expression, in bytes.
const MAX_LENGTH: usize = 64 * 1024;

/// A parsed expression, with `not` pushed down into the comparisons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expr {
    /// All parts must pass.
    And(Vec<Expr>),
    /// At least one part must pass.
    Or(Vec<Expr>),
    /// One comparison.
    Comparison(Comparison),
}

/// A parsed expression, with advice on it.
#[derive(Clone, Debug)]
pub struct Parsed {
    /// The tree.
    pub expr: Expr,
    /// Names that this version does not know.
    pub(super) doubts: Vec<Doubt>,
    /// Advice on comparisons that are most likely mistakes.
    pub hints: Vec<String>,
}

/// Parses an expression.
///
/// # Errors
/// If the expression is not valid; the error points at the column.
pub fn parse(text: &str) -> Result<Parsed, ParseError> {
    let fail = |(message, at): (String, usize)| ParseError::new(text, message, at);
    if text.len() > MAX_LENGTH {
        return Err(fail((format!("the expression is longer than {MAX_LENGTH} bytes"), 0)));
    }
    let tokens = lexer::tokens(text).map_err(fail)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        text: Arc::from(text),
        doubts: Vec::new(),
        hints: Vec::new(),
        patterns: 0,
    };
    let expr = parser.any_of(false, 0).map_err(fail)?;
    match parser.peek() {
        None => Ok(Parsed { expr, doubts: parser.doubts, hints: parser.hints }),
        Some((Token::Close, at)) => Err(fail(("`)` without a matching `(`".into(), *at))),
        Some((_, at)) => Err(fail(("expected `and`, `or` or the end of the expression".into(), *at))),
    }
}

struct Parser<'a> {
    tokens: &'a [Spanned],
    at: usize,
    text: Arc<str>,
    doubts: Vec<Doubt>,
    hints: Vec<String>,
    /// How many regular expressions there are so far.
    patterns: usize,
}

type Step<T> = Result<T, (String, usize)>;

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Spanned> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Spanned> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn position(&self) -> usize {
        self.peek().map_or(self.text.len(), |(_, at)| *at)
    }

    fn keyword(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Some((Token::Word(w), _)) if w == word);
        self.at += usize::from(found);
        found
    }

    fn any_of(&mut self, negated: bool, depth: usize) -> Step<Expr> {
        let mut parts = vec![self.all_of(negated, depth)?];
        while self.keyword("or") {
            parts.push(self.all_of(negated, depth)?);
        }
        Ok(join(parts, !negated))
    }

    fn all_of(&mut self, negated: bool, depth: usize) -> Step<Expr> {
        let mut parts = vec![self.one(negated, depth)?];
        while self.keyword("and") {
            parts.push(self.one(negated, depth)?);
        }
        Ok(join(parts, negated))
    }

    fn one(&mut self, negated: bool, depth: usize) -> Step<Expr> {
        let at = self.position();
        if depth > MAX_DEPTH {
            return Err((format!("parentheses and `not` are nested more than {MAX_DEPTH} deep"), at));
        }
        if self.keyword("not") {
            return self.one(!negated, depth + 1);
        }
        match self.next() {
            Some((Token::Open, _)) => {
                let inner = self.any_of(negated, depth + 1)?;
                match self.next() {
                    Some((Token::Close, _)) => Ok(inner),
                    Some((_, here)) => Err(("expected `and`, `or` or `)`".into(), *here)),
                    None => Err(("`(` without a matching `)`".into(), at)),
                }
            }
            Some((Token::Word(name), _)) => self.comparison(name, at, negated),
            Some(_) => Err(("expected a field, `not` or `(`".into(), at)),
            None => Err(("expected a field, but the expression ends here".into(), at)),
        }
    }

    fn comparison(&mut self, name: &str, at: usize, negated: bool) -> Step<Expr> {
        let left = self.left(name, at)?;
        let (name, ty) = (self.written(at), left.ty());
        let operator_at = self.position();
        let (word, op) = match self.next() {
            Some((Token::Symbol(word), _)) => (*word, Op::from_text(word)),
            Some((Token::Word(word), _)) => (word.as_str(), Op::from_text(word)),
            _ => return Err((missing_operator(&name, ty), operator_at)),
        };
        let Some((op, opposite)) = op else {
            let message = match word {
                "and" | "or" => missing_operator(&name, ty),
                _ => Op::unknown(word),
            };
            return Err((message, operator_at));
        };
        let value_at = self.position();
        let is_plain = matches!(left, Left::Field(..));
        let operator = (op, opposite != negated);
        let (modifier, values, compared) = match self.right(word, op)? {
            Right::Values(values) => (None, values, None),
            Right::Modified(modifier, values) => (Some(modifier), values, None),
            Right::Term(term, name) => (None, Vec::new(), Some((term, name))),
        };
        let made = match (left, compared) {
            (Left::Field(field, ty), None) => Comparison::new((field, ty), operator, &values),
            (Left::Term(field, term), None) => Comparison::of_term((field, term), operator, &values),
            (left, Some((right, right_name))) => {
                let (field, term) = left.into_term();
                Computed::with_term(term, op, right, [&name, &right_name])
                    .map(|computed| Comparison::of_fields(field, computed, operator))
            }
        };
        let mut comparison = made.map_err(|refusal| match refusal.value.and_then(|at| values.get(at)) {
            Some(value) => (refusal.message + &hint::for_refused(&name, value, ty), value.at),
            None => (refusal.message, if op == Op::Exists { operator_at } else { value_at }),
        })?;
        if let Some(modifier) = modifier {
            comparison = comparison.quantified(modifier, opposite);
        }
        if word == "intersects" {
            comparison = comparison.by_element();
        }
        if is_plain {
            self.doubt_values(&comparison, ty, &values);
        }
        self.hints.extend(hint::of_unrecorded(&name, &comparison));
        self.hints.extend(hint::of_duration(&name, ty, &values));
        self.hints.extend(hint::of(&name, &comparison, ty, &values));
        Ok(Expr::Comparison(comparison))
    }

    /// Notes the names of events and syscalls that a field is compared with and that this version does not know.
    fn doubt_values(&mut self, comparison: &Comparison, ty: FieldType, values: &[Written]) {
        let of = match ty {
            FieldType::Kind => NameOf::Kind,
            FieldType::Call => NameOf::Call,
            FieldType::EventType => NameOf::EventType,
            _ => return,
        };
        if comparison.op == Op::Equal {
            let text = &self.text;
            self.doubts.extend(values.iter().filter_map(|v| Doubt::about(of, &v.bytes, text, v.at)));
        }
    }
}

fn missing_operator(name: &str, ty: FieldType) -> String {
    match ty {
        FieldType::Bool => format!("expected an operator, as in `{name} = true`"),
        _ => format!("expected an operator, as in `{name} = value` or `{name} exists`"),
    }
}

fn join(mut parts: Vec<Expr>, or: bool) -> Expr {
    match (parts.len(), or) {
        (1, _) => parts.remove(0),
        (_, true) => Expr::Or(parts),
        (_, false) => Expr::And(parts),
    }
}

#[cfg(test)]
mod tests;
