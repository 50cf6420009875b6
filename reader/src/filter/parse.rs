//! Parses an expression into a tree of comparisons.

use std::sync::Arc;

use super::comparison::Comparison;
use super::error::ParseError;
use super::hint;
use super::lexer::{self, Spanned, Token};
use super::literal::Written;
use super::op::Op;
use super::vocabulary::{Doubt, NameOf};
use crate::fields::{self, FieldType, Getter};

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
    let mut parser =
        Parser { tokens: &tokens, at: 0, text: Arc::from(text), doubts: Vec::new(), hints: Vec::new() };
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
        let field = fields::lookup(name).map_err(|e| (e.to_string(), at))?;
        let operator_at = self.position();
        let (word, op) = match self.next() {
            Some((Token::Symbol(word), _)) => (*word, Op::from_text(word)),
            Some((Token::Word(word), _)) => (word.as_str(), Op::from_text(word)),
            _ => return Err((missing_operator(name, field.1), operator_at)),
        };
        let Some((op, opposite)) = op else {
            let message = match word {
                "and" | "or" => missing_operator(name, field.1),
                _ => format!(
                    "unknown operator `{word}`; the operators are = == != < <= > >= contains icontains startswith endswith glob in exists"
                ),
            };
            return Err((message, operator_at));
        };
        let value_at = self.position();
        let values = match op {
            Op::Exists => Vec::new(),
            _ if word == "in" => self.list()?,
            _ => vec![self.value()?],
        };
        let ty = field.1;
        let comparison = Comparison::new(field, (op, opposite != negated), &values).map_err(|refusal| {
            match refusal.value.and_then(|at| values.get(at)) {
                Some(value) => (refusal.message + &hint::for_refused(name, value, ty), value.at),
                None => (refusal.message, if op == Op::Exists { operator_at } else { value_at }),
            }
        })?;
        self.doubt_names(&comparison, ty, (&values, at));
        self.hints.extend(hint::of(name, &comparison, ty, &values));
        Ok(Expr::Comparison(comparison))
    }

    /// Notes the names that this version does not know: of an argument that is compared, of events and syscalls that a field
    /// is compared with.
    fn doubt_names(&mut self, comparison: &Comparison, ty: FieldType, (values, at): (&[Written], usize)) {
        if let (Getter::Argument | Getter::RawArgument, Some(name)) =
            (comparison.field.getter(), comparison.field.key_name())
        {
            let offset = comparison.field.decl().name.len() + 1;
            self.doubts.extend(Doubt::about(NameOf::Argument, name.as_bytes(), &self.text, at + offset));
        }
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

    fn value(&mut self) -> Step<Written> {
        let at = self.position();
        match self.next() {
            Some((Token::Word(word), _)) => {
                Ok(Written { bytes: word.as_bytes().to_vec(), is_quoted: false, at })
            }
            Some((Token::Quoted(bytes), _)) => Ok(Written { bytes: bytes.clone(), is_quoted: true, at }),
            Some(_) => Err(("expected a value; put values with special characters in quotes".into(), at)),
            None => Err(("expected a value, but the expression ends here".into(), at)),
        }
    }

    fn list(&mut self) -> Step<Vec<Written>> {
        let at = self.position();
        let Some((Token::Open, _)) = self.next() else {
            return Err(("expected a list: in (a, b, c)".into(), at));
        };
        let mut values = vec![self.value()?];
        loop {
            let here = self.position();
            match self.next() {
                Some((Token::Comma, _)) => values.push(self.value()?),
                Some((Token::Close, _)) => return Ok(values),
                _ => return Err(("expected `,` or `)` in this list".into(), here)),
            }
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
