//! The filter: sysdig's expressions over the fields of events. A field that an event does not have
//! fails every comparison, and `x != y` is exactly `not (x = y)`: true where x is missing. `docs/filters.md` describes the
//! language.

pub mod comparison;
mod computed;
mod error;
pub mod eval;
mod hint;
mod lexer;
pub mod literal;
mod op;
pub mod parse;
mod pattern;
pub mod prune;
mod quantifier;
mod symbols;
mod term;
mod transformer;
mod vocabulary;

#[cfg(test)]
mod request_tests;
#[cfg(test)]
mod tests;

use events::{KINDS, Kind, KindSet, SAMPLES};

use crate::derive::Wanted;
use crate::fields::{Field, Getter, Summarized, lookup};
use crate::model::Binding;
use crate::model::dictionaries::Shown;
use crate::text::time::{Span, TimeError};

pub use comparison::Comparison;
pub use error::ParseError;
pub use eval::Evaluator;
pub use op::Op;
pub use parse::Expr;
pub use quantifier::Quantifier;

use literal::Written;
use parse::Parsed;
use vocabulary::Doubt;

/// Fields of parents that are stored with their children.
const PARENTS: [&str; 4] = ["proc.pname", "proc.ppid", "proc.ppid.ts", "proc.ppid.duration"];

/// A compiled expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    expr: Expr,
    doubts: Vec<Doubt>,
    hints: Vec<String>,
}

impl From<Expr> for Filter {
    fn from(expr: Expr) -> Self {
        Self { expr, doubts: Vec::new(), hints: Vec::new() }
    }
}

impl Filter {
    /// Compiles an expression.
    ///
    /// # Errors
    /// If the expression does not parse, names an unknown field, or compares a field with a value that it cannot have. Names
    /// that only captures of other versions can have are left to [`Self::check`].
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        let Parsed { expr, doubts, hints } = parse::parse(text)?;
        Ok(Self { expr, doubts, hints })
    }

    /// Checks the names of events, syscalls and arguments that this version does not know against the captures that are
    /// going to be read; none for events that this version records.
    ///
    /// # Errors
    /// If no capture has such a name; the error points at it and suggests others.
    pub fn check<'b>(&self, captures: impl Iterator<Item = &'b Binding> + Clone) -> Result<(), ParseError> {
        self.doubts.iter().try_for_each(|doubt| doubt.settle(captures.clone()))
    }

    /// Advice on comparisons that are valid, and most likely not what was meant.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// The filter for `-e`: events of the listed kinds and syscalls; `None` for an empty list.
    ///
    /// # Errors
    /// A message about a word that is neither a kind nor a syscall.
    pub fn of_events(list: &[String], is_call: impl Fn(&str) -> bool) -> Result<Option<Self>, String> {
        let (mut kinds, mut calls) = (Vec::new(), Vec::new());
        for word in list.iter().flat_map(|l| l.split(',')).map(str::trim).filter(|w| !w.is_empty()) {
            let kind = KINDS.iter().any(|k| k.decl().name == word);
            let call = is_call(word);
            if !kind && !call {
                let names: Vec<&str> = KINDS.iter().map(|k| k.decl().name).collect();
                return Err(format!(
                    "`{word}` is neither a kind of event ({}) nor a syscall of this capture{}",
                    names.join(", "),
                    vocabulary::closest_event(word)
                ));
            }
            if word == Kind::Sample.decl().name {
                // As in `capture -e sample`: all kinds of samples.
                kinds.extend(SAMPLES.map(|kind| written(kind.decl().name)));
            } else if kind {
                kinds.push(written(word));
            }
            if call {
                calls.push(written(word));
            }
        }
        let mut parts = Vec::new();
        for (name, words) in [("evt.category", kinds), ("syscall.type", calls)] {
            if !words.is_empty() {
                let field = lookup(name).map_err(|e| e.to_string())?;
                let comparison = Comparison::new(field, (Op::Equal, false), &words);
                parts.push(Expr::Comparison(comparison.map_err(|refusal| refusal.message)?));
            }
        }
        Ok(match parts.len() {
            0 => None,
            1 => parts.pop().map(Self::from),
            _ => Some(Self::from(Expr::Or(parts))),
        })
    }

    /// A filter for events that pass both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            expr: Expr::And(vec![self.expr, other.expr]),
            doubts: [self.doubts, other.doubts].concat(),
            hints: [self.hints, other.hints].concat(),
        }
    }

    /// Resolves times that are relative to the capture. Call it before evaluating.
    ///
    /// # Errors
    /// If a time of day is ambiguous, or a time is relative to an end that is not known.
    pub fn resolve(&mut self, span: &Span) -> Result<(), TimeError> {
        fn walk(expr: &mut Expr, span: &Span) -> Result<(), TimeError> {
            match expr {
                Expr::And(parts) | Expr::Or(parts) => parts.iter_mut().try_for_each(|p| walk(p, span)),
                Expr::Comparison(comparison) => comparison.resolve(span),
            }
        }
        walk(&mut self.expr, span)
    }

    /// The expression as a tree.
    pub fn expr(&self) -> &Expr {
        &self.expr
    }

    /// All comparisons, in the order of the expression.
    pub fn comparisons(&self) -> Vec<&Comparison> {
        fn walk<'a>(expr: &'a Expr, out: &mut Vec<&'a Comparison>) {
            match expr {
                Expr::And(parts) | Expr::Or(parts) => parts.iter().for_each(|p| walk(p, out)),
                Expr::Comparison(comparison) => out.push(comparison),
            }
        }
        let mut out = Vec::new();
        walk(&self.expr, &mut out);
        out
    }

    /// Whether the filter selects loss events.
    pub fn asks_for_loss(&self) -> bool {
        self.asks_for(Kind::Loss)
    }

    /// Whether the filter names this kind of event, or a field that only such events have.
    pub fn asks_for(&self, kind: Kind) -> bool {
        let name = kind.decl().name.as_bytes();
        // A function may change the case of a name.
        let names = |c: &Comparison| {
            let is_name =
                |bytes: &[u8]| bytes.eq_ignore_ascii_case(name) && (c.computed.is_some() || bytes == name);
            !c.negated && c.op == Op::Equal && c.literals.iter().any(|literal| is_name(&literal.bytes))
        };
        self.comparisons().into_iter().any(|c| {
            c.fields().into_iter().any(|field| match field.decl().summarized {
                Summarized::KindName | Summarized::TypeName => names(c),
                Summarized::No | Summarized::CallName | Summarized::Chain(_) | Summarized::Time => {
                    field.getter().kinds() == Some(KindSet::of(&[kind]))
                }
            })
        })
    }

    /// The kinds among those that it names that are computed from others ([`Kind::is_derived`]).
    pub fn derived(&self) -> KindSet {
        KINDS.into_iter().filter(|kind| kind.is_derived() && self.asks_for(*kind)).collect()
    }

    /// What it needs of events that are computed from others.
    pub(crate) fn wanted(&self) -> Wanted {
        let kinds = self.derived();
        let mut fields = self.comparisons().into_iter().flat_map(Comparison::fields);
        Wanted { kinds, files: fields.any(|field| field.getter().files().is_some()) }
    }

    /// Whether events of this kind can pass; if not, they need not be recorded.
    pub fn may_match_kind(&self, kind: Kind) -> bool {
        prune::may_match_kind(&self.expr, kind)
    }

    /// Whether it selects events by more than kind, call and time: by who they are about, or by their contents.
    pub fn selects_parties(&self) -> bool {
        let fields = self.comparisons().into_iter().flat_map(Comparison::fields);
        { fields }.any(|field| match field.decl().summarized {
            Summarized::KindName | Summarized::TypeName | Summarized::CallName | Summarized::Time => false,
            Summarized::No | Summarized::Chain(_) => true,
        })
    }

    /// The fields that are compared without `not`.
    fn named_fields(&self) -> impl Iterator<Item = &Field> {
        self.comparisons().into_iter().filter(|c| !c.negated).flat_map(Comparison::fields)
    }

    /// The columns of kinds (by this version's index) that are compared without `not`.
    pub fn named_columns(&self) -> impl Iterator<Item = (Kind, u16)> {
        self.named_fields().filter_map(|field| match field.getter() {
            Getter::Column(kind, own) | Getter::Part(kind, own, _) => Some((*kind, *own)),
            _ => None,
        })
    }

    /// How much of the ancestors of processes it compares.
    pub fn names_ancestors(&self) -> Shown {
        let of_field = |field: &Field| match field.getter() {
            Getter::Process(get) if !get.names_others(field.key_position()) => Shown::Nothing,
            Getter::Process(get) if get.is_private => Shown::All,
            Getter::Process(_) => Shown::Name,
            _ if PARENTS.contains(&field.decl().name) => Shown::Name,
            _ => Shown::Nothing,
        };
        self.named_fields().map(of_field).max().unwrap_or(Shown::Nothing)
    }

    /// The prefixes of container ids that the filter compares with.
    pub fn container_ids(&self) -> impl Iterator<Item = &[u8]> {
        self.comparisons()
            .into_iter()
            .filter(|c| c.by_prefix())
            .flat_map(|c| c.literals.iter().map(|l| l.bytes.as_slice()))
    }
}

fn written(word: &str) -> Written {
    Written { bytes: word.as_bytes().to_vec(), is_quoted: false, at: 0 }
}
