//! A question, parsed: what to group by, what to gather, and how to order the result.

use std::collections::{BTreeMap, BTreeSet};

use crate::derive::Wanted;
use crate::filter::{Filter, ParseError};
use crate::model::Binding;
use crate::text::time::{Span, TimeError};

use super::expr::{Cell, Expr, Row};
use super::function::{Function, Gathering};
use super::keys::{Key, KeyError};
use super::parse::{self, ExprError, Parser};
use super::unit::{Base, Unit};

/// A question, as it is written.
#[derive(Clone, Debug, Default)]
pub struct Question {
    /// Fields to group by, see [`Key::parse`], or `TITLE = FIELD`. Empty for one row about everything. A path of fields (`a/b/c`) is a tree: rows
    /// for `a`, below them for `b`, and so on.
    pub by: Vec<String>,
    /// Short names of fields to group by, such as `env` for `host.label[env]`.
    pub names: BTreeMap<String, String>,
    /// The width of time steps, ns.
    pub per: Option<u64>,
    /// What local time is ahead of UTC, ns: steps of hours and days begin when local ones do.
    pub utc_offset: i64,
    /// Columns: `EXPR` or `TITLE = EXPR`. If empty, the number of events, and with groups its rate and share.
    pub columns: Vec<String>,
    /// Comparisons of columns, joined by `and` and `or`: only groups that pass are kept.
    pub having: Option<String>,
    /// Titles or expressions of columns, or names of keys, each optionally with `:asc` or `:desc`.
    pub sort: Vec<String>,
    /// Most groups to keep.
    pub top: Option<usize>,
}

/// Why a question is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// What to group by is wrong.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A tree together with other groups.
    #[error("`{0}` is a tree, which cannot be combined with other groups or time steps")]
    Tree(String),
    /// A column is wrong.
    #[error(transparent)]
    Expr(#[from] ExprError),
    /// Two columns or keys have one name.
    #[error("there are two columns `{0}`; give one of them another title: TITLE = EXPRESSION")]
    Twice(String),
    /// A comparison of `having` is wrong.
    #[error("`{0}` is not a comparison of columns: write one such as count > 100 or p99(evt.latency) > 5ms")]
    Having(String),
    /// Units of a comparison do not fit each other.
    #[error("`{0}` compares {1} with {2}")]
    Units(String, &'static str, &'static str),
    /// A number of events is compared with a part of a whole.
    #[error(
        "`{0}` compares a number with a part of a whole: write share(...) for the part of all, or divide by count"
    )]
    Part(String),
    /// There is neither a column nor a key of this name to sort by.
    #[error("cannot sort by `{0}`: it is neither a column nor a key; there are {1}")]
    Sort(String, String),
}

/// A column of the result.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its title.
    pub title: String,
    pub(super) expr: Expr,
}

impl Column {
    /// The unit of its numbers.
    pub fn unit(&self) -> Unit {
        self.expr.unit()
    }
}

/// What rows are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SortBy {
    /// A key, by its index.
    Key(usize),
    /// A column, by its index.
    Column(usize),
}

/// A comparison between two expressions.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    left: Expr,
    is_true: Test,
    right: Expr,
}

/// Which groups are kept.
#[derive(Clone, Debug)]
pub(super) enum Having {
    Any(Vec<Having>),
    All(Vec<Having>),
    Compare(Comparison),
}

impl Having {
    /// Whether a group is kept. A missing value fails every comparison.
    pub(super) fn accepts(&self, row: &dyn Row) -> bool {
        match self {
            Self::Any(parts) => parts.iter().any(|part| part.accepts(row)),
            Self::All(parts) => parts.iter().all(|part| part.accepts(row)),
            Self::Compare(comparison) => {
                let side = |expr: &Expr| Cell::number(&expr.evaluate(row));
                let sides = (side(&comparison.left), side(&comparison.right));
                matches!(sides, (Some(left), Some(right)) if (comparison.is_true)(left, right))
            }
        }
    }
}

/// A parsed question.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(super) keys: Vec<Key>,
    /// Whether the keys are a path, with a row for each part of it.
    pub(super) is_tree: bool,
    pub(super) columns: Vec<Column>,
    pub(super) gatherings: Vec<Gathering>,
    pub(super) conditions: Vec<Filter>,
    hints: Vec<String>,
    pub(super) having: Option<Having>,
    /// Each with whether it is descending.
    pub(super) sort: Vec<(SortBy, bool)>,
    pub(super) top: Option<usize>,
    /// What groups are kept by when they do not fit into memory.
    pub(super) weight: (Function, usize),
}

impl Plan {
    /// Parses a question.
    ///
    /// # Errors
    /// See [`QuestionError`].
    pub fn new(question: &Question) -> Result<Self, QuestionError> {
        let step = question.per.map(|width| Key::step(width, question.utc_offset));
        let named =
            question.by.iter().flat_map(|text| parse::split(text, ",")).filter(|text| !text.is_empty());
        let mut names: Vec<&str> = named.collect();
        let tree = names.iter().copied().find(|name| parse::split(name, "/").len() > 1);
        if let Some(path) = tree {
            if names.len() > 1 || step.is_some() {
                return Err(QuestionError::Tree(path.to_owned()));
            }
            names = parse::split(path, "/");
        }
        let named = names.into_iter().map(|text| {
            let (title, field) = parse::split_title(text);
            let key = Key::named(field, &question.names)?;
            Ok(match title {
                Some(title) => key.titled(title),
                None => key,
            })
        });
        let keys = step.into_iter().map(Ok).chain(named).collect::<Result<Vec<Key>, KeyError>>()?;
        let mut parser = Parser::default();
        let mut columns = Vec::new();
        for text in question.columns.iter().flat_map(|text| parse::split(text, ",")).filter(|t| !t.is_empty())
        {
            let (title, expr) = parse::split_title(text);
            columns.push(Column { title: title.unwrap_or(text).to_owned(), expr: parser.expr(expr)? });
        }
        if columns.is_empty() {
            let defaults: &[&str] =
                if keys.is_empty() { &["count", "rate"] } else { &["count", "rate", "share"] };
            for title in defaults {
                columns.push(Column { title: (*title).to_owned(), expr: parser.expr(title)? });
            }
        }
        let names = keys.iter().map(|key| &key.name).chain(columns.iter().map(|column| &column.title));
        let mut known = BTreeSet::new();
        if let Some(name) = { names }.find(|name| !known.insert(*name)) {
            return Err(QuestionError::Twice(name.clone()));
        }
        let having =
            question.having.as_deref().map(|text| having(text, &columns, &mut parser)).transpose()?;
        let mut sort = question
            .sort
            .iter()
            .flat_map(|text| parse::split(text, ","))
            .map(|text| sort_by(text, &keys, &columns, &mut parser))
            .collect::<Result<Vec<_>, _>>()?;
        if sort.is_empty() {
            sort = default_sort(&keys, &columns);
        }
        let events = parser.count(None);
        let weight = sort
            .iter()
            .find_map(|(by, _)| match by {
                SortBy::Column(at) => additive(&columns[*at].expr),
                SortBy::Key(_) => None,
            })
            .or_else(|| additive(&events))
            .unwrap_or((Function::Count, 0));
        let Parser { gatherings, conditions, mut hints } = parser;
        hints.extend(conditions.iter().flat_map(Filter::hints).cloned());
        let is_tree = tree.is_some();
        Ok(Self {
            keys,
            is_tree,
            columns,
            gatherings,
            conditions,
            hints,
            having,
            sort,
            top: question.top,
            weight,
        })
    }

    /// What it groups by.
    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether it groups by a path: then rows may have values of the first keys alone, and stand before what is below them.
    pub fn is_tree(&self) -> bool {
        self.is_tree
    }

    /// Whether it groups by powers of two of one field.
    pub fn is_histogram(&self) -> bool {
        matches!(&self.keys[..], [key] if key.is_power_of_two())
    }

    /// Whether a column is a rate, so that the length of the time range matters.
    pub fn has_rates(&self) -> bool {
        fn is_rate(expr: &Expr) -> bool {
            match expr {
                Expr::PerSecond(_) => true,
                Expr::Share(inner) => is_rate(inner),
                Expr::Binary(_, left, right) => is_rate(left) || is_rate(right),
                Expr::Literal(..) | Expr::Aggregate { .. } => false,
            }
        }
        self.columns.iter().any(|column| is_rate(&column.expr))
    }

    /// What groups are kept by when they do not fit into memory, and its unit.
    pub fn kept_by(&self) -> (String, Unit) {
        let (function, gathering) = self.weight;
        match (function, &self.gatherings[gathering].field) {
            (Function::Sum, Some((field, ty))) => {
                (format!("sum({})", field.decl().name), Unit::of_field(*ty))
            }
            _ => ("count".to_owned(), Unit::PLAIN),
        }
    }

    /// The columns of a group without events; shares and rates of nothing are 0.
    pub fn nothing(&self) -> Vec<Cell> {
        let is_sum = |column: &Column| additive(&column.expr).is_some();
        self.columns
            .iter()
            .map(|column| if is_sum(column) { Cell::Number(0) } else { Cell::Missing })
            .collect()
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What rows are ordered by, each with whether it is descending.
    pub fn sort(&self) -> &[(SortBy, bool)] {
        &self.sort
    }

    /// The conditions of columns.
    pub fn conditions(&self) -> &[Filter] {
        &self.conditions
    }

    /// What it needs of events that are computed from others.
    pub fn wanted(&self) -> Wanted {
        let keys = self.keys.iter().flat_map(Key::fields);
        let columns = self.gatherings.iter().filter_map(|gathering| Some(&gathering.field.as_ref()?.0));
        let of_fields = keys.chain(columns).map(|field| {
            let getter = field.getter();
            Wanted { kinds: getter.derived(), files: getter.files().is_some() }
        });
        of_fields.chain(self.conditions.iter().map(Filter::wanted)).fold(Wanted::default(), Wanted::and)
    }

    /// Advice on columns that are valid, and most likely not what was meant.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Checks the names in the conditions of columns against captures, and resolves times in them.
    ///
    /// # Errors
    /// As [`Filter::check`] and [`Filter::resolve`].
    pub fn resolve<'b>(
        &mut self,
        captures: impl Iterator<Item = &'b Binding> + Clone,
        span: &Span,
    ) -> Result<(), ResolveError> {
        for condition in &mut self.conditions {
            condition.check(captures.clone())?;
            condition.resolve(span)?;
        }
        Ok(())
    }
}

/// Why a condition does not fit the captures.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// It names something that no capture has.
    #[error(transparent)]
    Unknown(#[from] ParseError),
    /// It has a time that cannot be resolved.
    #[error(transparent)]
    Time(#[from] TimeError),
}

/// The function in an expression that grows with every event, and what it is computed from.
fn additive(expr: &Expr) -> Option<(Function, usize)> {
    match expr {
        Expr::Aggregate { function: function @ (Function::Count | Function::Sum), gathering, .. } => {
            Some((*function, *gathering))
        }
        Expr::Aggregate { .. } | Expr::Literal(..) => None,
        Expr::PerSecond(inner) | Expr::Share(inner) => additive(inner),
        Expr::Binary(_, left, right) => additive(left).or_else(|| additive(right)),
    }
}

/// By time if there are steps, then by the first column with numbers, greatest first.
fn default_sort(keys: &[Key], columns: &[Column]) -> Vec<(SortBy, bool)> {
    let by_time = keys.first().filter(|key| key.step_width().is_some()).map(|_| (SortBy::Key(0), false));
    let is_number = |column: &Column| !matches!(column.unit().base, Base::Field(_));
    let by_number = columns.iter().position(is_number).map(|at| (SortBy::Column(at), true));
    by_time.into_iter().chain(by_number).collect()
}

fn sort_by(
    text: &str,
    keys: &[Key],
    columns: &[Column],
    parser: &mut Parser,
) -> Result<(SortBy, bool), QuestionError> {
    let (name, descending) = match text.rsplit_once(':') {
        Some((name, "asc")) => (name.trim(), Some(false)),
        Some((name, "desc")) => (name.trim(), Some(true)),
        _ => (text, None),
    };
    if let Some(at) = columns.iter().position(|column| column.title == name) {
        return Ok((SortBy::Column(at), descending.unwrap_or(true)));
    }
    let is_step = |key: &Key| key.step_width().is_some() && matches!(name, "time" | "TIME");
    if let Some(at) = keys.iter().position(|key| key.name == name || is_step(key)) {
        return Ok((SortBy::Key(at), descending.unwrap_or(false)));
    }
    // The expression of a column that has another title.
    if let Ok(expr) = parser.expr(name)
        && let Some(at) = columns.iter().position(|column| column.expr == expr)
    {
        return Ok((SortBy::Column(at), descending.unwrap_or(true)));
    }
    let names = keys.iter().map(|key| key.name.as_str()).chain(columns.iter().map(|c| c.title.as_str()));
    let names: Vec<&str> = names.collect();
    Err(QuestionError::Sort(name.to_owned(), names.join(", ")))
}

fn having(text: &str, columns: &[Column], parser: &mut Parser) -> Result<Having, QuestionError> {
    // Of brackets around all of it, the content counts, unless it is one side of a comparison: (sum(a) - sum(b)) > 5.
    if let Some(inner) = text.trim().strip_prefix('(').and_then(|rest| rest.strip_suffix(')'))
        && parse::is_balanced(inner)
    {
        return having(inner, columns, parser);
    }
    for (word, put_together) in [(" or ", Having::Any as fn(Vec<Having>) -> Having), (" and ", Having::All)] {
        let parts = parse::split(text, word);
        if parts.len() > 1 {
            let parts = parts.into_iter().map(|part| having(part, columns, parser));
            return parts.collect::<Result<_, _>>().map(put_together);
        }
    }
    comparison(text, columns, parser).map(Having::Compare)
}

/// Compares two numbers.
type Test = fn(f64, f64) -> bool;

/// The operators of comparisons.
const COMPARISONS: [(&str, Test); 6] = [
    (">=", |a, b| a >= b),
    ("<=", |a, b| a <= b),
    ("!=", |a, b| a != b),
    (">", |a, b| a > b),
    ("<", |a, b| a < b),
    ("=", |a, b| a == b),
];

fn comparison(text: &str, columns: &[Column], parser: &mut Parser) -> Result<Comparison, QuestionError> {
    let places = COMPARISONS.iter().filter_map(|test| Some((parse::find(text, test.0)?, test)));
    // The first one; of those at the same place, the longest.
    let first = places.min_by_key(|(at, (operator, _))| (*at, std::cmp::Reverse(operator.len())));
    if let Some((at, (operator, is_true))) = first {
        let mut side = |text: &str| {
            let text = text.trim();
            let unquoted = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
            match columns.iter().find(|column| column.title == unquoted) {
                Some(column) => Ok(column.expr.clone()),
                None => parser.expr(text),
            }
        };
        let (left, right) = (side(&text[..at])?, side(&text[at + operator.len()..])?);
        let units = (left.unit(), right.unit());
        // A number without a unit is one of whatever it is compared with: of nanoseconds, of bytes.
        let is_bare = |expr: &Expr| matches!(expr, Expr::Literal(_, unit) if unit.is_plain());
        if !units.0.compares_with(units.1) && !is_bare(&left) && !is_bare(&right) {
            let kinds = (units.0.name(), units.1.name());
            return Err(QuestionError::Units(text.trim().to_owned(), kinds.0, kinds.1));
        }
        let is_amount = |expr: &Expr| {
            matches!(expr, Expr::Aggregate { .. } | Expr::PerSecond(_)) && expr.unit().base == Base::Plain
        };
        let is_percent = |expr: &Expr| matches!(expr, Expr::Literal(_, unit) if unit.is_part());
        if is_amount(&left) && is_percent(&right) || is_percent(&left) && is_amount(&right) {
            return Err(QuestionError::Part(text.trim().to_owned()));
        }
        let (left, right) = match is_percent(&left) || is_percent(&right) {
            true => (left.into_time_per_time(units.1), right.into_time_per_time(units.0)),
            false => (left, right),
        };
        return Ok(Comparison { left, is_true: *is_true, right });
    }
    Err(QuestionError::Having(text.to_owned()))
}
