//! The two sides of a comparison: fields, functions of them, values and lists.

use super::{Parser, Step};
use crate::fields::{self, Field, FieldType, Getter, values};
use crate::filter::lexer::Token;
use crate::filter::literal::Written;
use crate::filter::op::{Op, OperandForm};
use crate::filter::quantifier::{MODIFIERS, Quantifier};
use crate::filter::term::Term;
use crate::filter::transformer::Transformer;
use crate::filter::vocabulary::{Doubt, NameOf};
use crate::text::suggest;

/// Deepest nesting of functions.
const MAX_NESTED: usize = 16;
/// Most regular expressions in an expression: each may take up some megabytes.
const MAX_PATTERNS: usize = 32;

/// The functions, as messages list them.
const FUNCTIONS: [&str; 7] = ["tolower", "toupper", "b64", "basename", "len", "concat", "join"];

/// The left side of a comparison.
pub(super) enum Left {
    /// A field.
    Field(Field, FieldType),
    /// A function of fields, the first of which is this one.
    Term(Field, Term),
}

impl Left {
    /// The type of its values.
    pub(super) fn ty(&self) -> FieldType {
        match self {
            Self::Field(_, ty) => *ty,
            Self::Term(_, term) => term.ty(),
        }
    }

    /// Its first field, and all of it as a term.
    pub(super) fn into_term(self) -> (Field, Term) {
        match self {
            Self::Field(field, _) => (field.clone(), Term::Field(field)),
            Self::Term(field, term) => (field, term),
        }
    }
}

/// The right side of a comparison.
pub(super) enum Right {
    /// Values; none for `exists`.
    Values(Vec<Written>),
    /// A list after a modifier.
    Modified(Quantifier, Vec<Written>),
    /// Another field, or a function of fields, and how it is written.
    Term(Term, String),
}

impl Parser<'_> {
    /// The left side of a comparison, which begins with a word.
    pub(super) fn left(&mut self, name: &str, at: usize) -> Step<Left> {
        let is_function = self.opens() && !name.contains('.') && !["and", "or"].contains(&name);
        if !is_function {
            let (field, ty) = self.field(name, at)?;
            return Ok(Left::Field(field, ty));
        }
        if name == "val" {
            return Err((
                "val() stands on the right of a comparison, as in proc.name = val(proc.pname)".into(),
                at,
            ));
        }
        let term = self.function(name, at, 0)?;
        let mut found = Vec::new();
        term.add_fields(&mut found);
        match found.first() {
            Some(field) => Ok(Left::Term((*field).clone(), term)),
            None => Err((format!("{name}() needs a field"), at)),
        }
    }

    /// What follows an operator, which is written as `word`.
    pub(super) fn right(&mut self, word: &str, op: Op) -> Step<Right> {
        let form = OperandForm::of(word);
        let mut right = match (form, self.peek()) {
            (OperandForm::Nothing, _) => Right::Values(Vec::new()),
            (OperandForm::List, Some((Token::Word(name), at))) if name == "val" && self.opens_after(1) => {
                return Err((format!("`{word}` needs a list of values; a single field follows `=`"), *at));
            }
            (OperandForm::List, _) => Right::Values(self.list_or_none(word)?),
            (_, Some((Token::Word(name), at))) if self.opens_after(1) => {
                self.at += 1;
                self.modified(name, *at, op)?
            }
            _ => Right::Values(vec![self.value()?]),
        };
        if let Right::Values(values) | Right::Modified(_, values) = &mut right {
            if form == OperandForm::Hex {
                values.iter_mut().try_for_each(|value| read_hex(word, value))?;
            }
            if op == Op::Regex {
                self.patterns += values.len();
                if self.patterns > MAX_PATTERNS {
                    let at = values.first().map_or(0, |value| value.at);
                    return Err((format!("more than {MAX_PATTERNS} regular expressions"), at));
                }
            }
        }
        Ok(right)
    }

    /// A list after the modifier `name`, or a function of this name.
    fn modified(&mut self, name: &str, at: usize, op: Op) -> Step<Right> {
        if let Some(quantifier) = Quantifier::from_text(name) {
            if op.is_order() {
                let message = format!("`{name}` follows an operator of text or equality, not `<` or `>`");
                return Err((message, at));
            }
            return Ok(Right::Modified(quantifier, self.list(name)?));
        }
        let term = if name == "val" {
            self.at += 1;
            let inner = self.term(1)?;
            self.close()?;
            inner
        } else {
            self.function(name, at, 0)?
        };
        Ok(Right::Term(term, self.written(at)))
    }

    /// A function whose opening bracket comes next.
    fn function(&mut self, name: &str, at: usize, depth: usize) -> Step<Term> {
        if depth > MAX_NESTED {
            return Err((format!("functions are nested more than {MAX_NESTED} deep"), at));
        }
        let transformer = Transformer::from_name(name);
        if transformer.is_none() && !FUNCTIONS.contains(&name) {
            return Err((unknown_function(name), at));
        }
        self.at += 1;
        let term = match transformer {
            Some(transformer) => {
                let (inner, at) = (self.term(depth + 1)?, at + name.len() + 1);
                self.transformed((transformer, name), inner, at)?
            }
            None if name == "join" => self.joined(depth)?,
            None => Term::Joined(self.texts(name, depth)?, Box::default()),
        };
        self.close()?;
        Ok(term)
    }

    fn transformed(&self, (transformer, name): (Transformer, &str), inner: Term, at: usize) -> Step<Term> {
        match inner {
            Term::Field(field) if transformer == Transformer::Length && may_be_list(&field) => {
                Ok(Term::Count(field))
            }
            inner if inner.ty().is_text() => Ok(Term::Transformed(transformer, Box::new(inner))),
            inner => {
                let (what, ty) = (self.written(at), inner.ty().name());
                Err((format!("{name}() needs text, but {what} has type {ty}"), at))
            }
        }
    }

    /// The arguments of `join`.
    fn joined(&mut self, depth: usize) -> Step<Term> {
        let at = self.position();
        let Some((Token::Quoted(separator), _)) = self.next() else {
            return Err((
                "join() needs a separator in quotes and a list, as in join(',', proc.args)".into(),
                at,
            ));
        };
        let (separator, here) = (Box::from(&**separator), self.position());
        let Some((Token::Comma, _)) = self.next() else {
            return Err(("expected `,` and a list".into(), here));
        };
        let at = self.position();
        if self.opens() {
            self.at += 1;
            let parts = self.texts("join", depth)?;
            self.close()?;
            return Ok(Term::Joined(parts, separator));
        }
        match self.term(depth + 1)? {
            Term::Field(field) if may_be_list(&field) => Ok(Term::JoinedElements(field, separator)),
            _ => {
                let what = self.written(at);
                Err((format!("{what} is no list; join several: join(',', (proc.name, proc.pname))"), at))
            }
        }
    }

    /// Fields, functions and values, of which one at least is not a value.
    fn texts(&mut self, name: &str, depth: usize) -> Step<Vec<Term>> {
        let mut parts = Vec::new();
        loop {
            let at = self.position();
            let part = match self.peek() {
                Some((Token::Quoted(text), _)) => {
                    self.at += 1;
                    Term::Text(Box::from(&**text))
                }
                Some((Token::Word(word), _)) if word.bytes().all(|byte| byte.is_ascii_digit()) => {
                    self.at += 1;
                    Term::Text(Box::from(word.as_bytes()))
                }
                _ => self.term(depth + 1)?,
            };
            if !part.ty().is_text() {
                let (what, ty) = (self.written(at), part.ty().name());
                return Err((format!("{name}() needs text, but {what} has type {ty}"), at));
            }
            parts.push(part);
            match self.peek() {
                Some((Token::Comma, _)) => self.at += 1,
                _ => return Ok(parts),
            }
        }
    }

    /// A field, or a function of fields.
    fn term(&mut self, depth: usize) -> Step<Term> {
        let at = self.position();
        match self.next() {
            Some((Token::Word(name), _)) if self.opens() && name != "val" => self.function(name, at, depth),
            Some((Token::Word(name), _)) => Ok(Term::Field(self.field(name, at)?.0)),
            _ => Err(("expected a field".into(), at)),
        }
    }

    /// A field; notes the name of an argument that this version does not know.
    fn field(&mut self, name: &str, at: usize) -> Step<(Field, FieldType)> {
        let (field, ty) = fields::lookup(name).map_err(|e| (e.to_string(), at))?;
        if let (Getter::Argument | Getter::RawArgument, Some(argument)) = (field.getter(), field.key_name()) {
            let offset = field.decl().name.len() + 1;
            self.doubts.extend(Doubt::about(NameOf::Argument, argument.as_bytes(), &self.text, at + offset));
        }
        Ok((field, ty))
    }

    pub(super) fn value(&mut self) -> Step<Written> {
        let at = self.position();
        match self.next() {
            Some((Token::Word(word), _)) => {
                Ok(Written { bytes: word.as_bytes().to_vec(), is_quoted: false, at })
            }
            Some((Token::Quoted(bytes), _)) => Ok(Written { bytes: bytes.clone(), is_quoted: true, at }),
            Some((Token::Open, _)) => Err((
                "expected a value; put values with special characters in quotes, and lists after a modifier: anyof (a, b)"
                    .into(),
                at,
            )),
            Some(_) => Err(("expected a value; put values with special characters in quotes".into(), at)),
            None => Err(("expected a value, but the expression ends here".into(), at)),
        }
    }

    /// A list after the operator `word`, which may be empty: rules of Falco have lists to be filled in.
    fn list_or_none(&mut self, word: &str) -> Step<Vec<Written>> {
        let at = self.at;
        match [self.next(), self.next()] {
            [Some((Token::Open, _)), Some((Token::Close, _))] => {
                self.hints.push(format!("`{word} ()` is never true: the list is empty"));
                Ok(Vec::new())
            }
            _ => {
                self.at = at;
                self.list(word)
            }
        }
    }

    /// A list after the operator or the modifier `word`.
    fn list(&mut self, word: &str) -> Step<Vec<Written>> {
        let at = self.position();
        let Some((Token::Open, _)) = self.next() else {
            return Err((format!("expected a list: {word} (a, b, c)"), at));
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

    /// The end of a function.
    fn close(&mut self) -> Step<()> {
        let at = self.position();
        match self.next() {
            Some((Token::Close, _)) => Ok(()),
            Some((Token::Comma, _)) => Err(("one argument too many; expected `)`".into(), at)),
            _ => Err(("expected `)`".into(), at)),
        }
    }

    /// Whether an opening bracket comes next.
    fn opens(&self) -> bool {
        self.opens_after(0)
    }

    fn opens_after(&self, tokens: usize) -> bool {
        matches!(self.tokens.get(self.at + tokens), Some((Token::Open, _)))
    }

    /// The expression from here to the next token.
    pub(super) fn written(&self, from: usize) -> String {
        let text = self.text.get(from..self.position()).unwrap_or_default();
        text.trim_end().to_owned()
    }
}

fn may_be_list(field: &Field) -> bool {
    values::is_list(field) || matches!(field.getter(), Getter::Argument | Getter::RawArgument)
}

fn unknown_function(name: &str) -> String {
    let known = format!("the functions are {}, and val on the right", FUNCTIONS.join(" "));
    if name == "getopt" {
        return format!("getopt() is not supported; {known}");
    }
    let hint = suggest::did_you_mean(name, FUNCTIONS.into_iter().chain(["val"]).chain(MODIFIERS));
    format!(
        "`{name}` is neither a function nor a modifier{hint}; {known}; the modifiers are {}",
        MODIFIERS.join(" ")
    )
}

/// Reads bytes in hexadecimal.
fn read_hex(word: &str, value: &mut Written) -> Step<()> {
    let digits: Option<Vec<u8>> =
        value.bytes.iter().map(|byte| Some(char::from(*byte).to_digit(16)? as u8)).collect();
    match digits {
        Some(digits) if !digits.is_empty() && digits.len() % 2 == 0 => {
            value.bytes = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
            // Bytes are compared as they stand.
            value.is_quoted = true;
            Ok(())
        }
        _ => {
            let shown = String::from_utf8_lossy(&value.bytes).into_owned();
            Err((format!("`{shown}` is not a sequence of bytes in hexadecimal: {word} cafe00"), value.at))
        }
    }
}

#[cfg(test)]
mod tests;
