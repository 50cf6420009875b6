//! Reads the file of a view: which keys there are, and what is wrong with it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::iter;
use std::path::Path;

use toml::{Table, Value};

use crate::filter::{Filter, ParseError};
use crate::text::escape::defused;
use crate::text::{suggest, units};

use super::{Enter, Origin, View, is_kind, row};
use crate::stats::plan::{Plan, Question, QuestionError};

/// All keys of a view.
const KEYS: [&str; 12] = [
    "title", "question", "needs", "kinds", "filter", "by", "per", "columns", "having", "sort", "top", "enter",
];
const ENTER_KEYS: [&str; 2] = ["view", "filter"];

/// Larger files are no views.
const MOST_BYTES: u64 = 64 << 10;

/// Why a file is not a view. Names the file, the key and what is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {}{reason}", .key.as_ref().map(|key| format!("{key}: ")).unwrap_or_default())]
pub struct ViewError {
    /// The file.
    pub file: String,
    /// The key that is wrong, if it is one.
    pub key: Option<String>,
    /// What is wrong.
    pub reason: String,
}

/// Short names for fields, each with the field.
pub(super) type Names = BTreeMap<String, String>;

/// What is wrong with a key.
type Wrong = (Option<&'static str>, String);

pub(super) fn open(path: &Path, names: &Names) -> Result<View, ViewError> {
    let fail = |reason: String| ViewError { file: path.display().to_string(), key: None, reason };
    let io = |error: io::Error| fail(error.to_string());
    let name = path.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !is_name(&name) {
        return Err(fail(
            "the name of the file becomes the name of the view: small letters, digits and hyphens, then .toml".into(),
        ));
    }
    let size = fs::metadata(path).map_err(io)?.len();
    if size > MOST_BYTES {
        return Err(fail(format!("too large for a view: at most {}", units::size_text(MOST_BYTES))));
    }
    let text = fs::read_to_string(path).map_err(io)?;
    parse(&name, text, Origin::File(path.to_path_buf()), names)
        .map_err(|(key, reason)| ViewError { key: key.map(str::to_owned), ..fail(reason) })
}

/// Whether a word can be the name of a view.
pub(super) fn is_name(word: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    word.starts_with(|c: char| c.is_ascii_lowercase()) && word.bytes().all(allowed)
}

/// Parses and checks a view, except for the view that it opens.
pub(super) fn parse(name: &str, text: String, origin: Origin, names: &Names) -> Result<View, Wrong> {
    let table: Table = text
        .parse()
        .map_err(|error: toml::de::Error| (None, defused(error.to_string().trim()).into_owned()))?;
    known(&table, &KEYS, None)?;
    let view = View {
        name: name.to_owned(),
        title: required(&table, "title")?,
        question: required(&table, "question")?,
        needs: word(&table, "needs")?,
        kinds: list(&table, "kinds")?,
        filter: word(&table, "filter")?,
        table: Question {
            by: list(&table, "by")?,
            names: names.clone(),
            per: per(&table)?,
            utc_offset: 0,
            columns: list(&table, "columns")?,
            having: word(&table, "having")?,
            sort: list(&table, "sort")?,
            top: top(&table)?,
        },
        enter: enter(&table)?,
        origin,
        text,
    };
    check(&view)?;
    Ok(view)
}

fn known(table: &Table, keys: &[&str], inside: Option<&'static str>) -> Result<(), Wrong> {
    match table.keys().find(|key| !keys.contains(&key.as_str())) {
        Some(key) => {
            let hint = suggest::did_you_mean(key, keys.iter().copied());
            let key = defused(key);
            Err((inside, format!("unknown key `{key}`{hint}; there are {}", keys.join(", "))))
        }
        None => Ok(()),
    }
}

fn word(table: &Table, key: &'static str) -> Result<Option<String>, Wrong> {
    match table.get(key) {
        None => Ok(None),
        Some(Value::String(text)) if !text.trim().is_empty() => Ok(Some(text.trim().to_owned())),
        Some(Value::String(_)) => Err((Some(key), "is empty".into())),
        Some(other) => Err((Some(key), format!("has to be text in quotes, not {}", kind_of(other)))),
    }
}

fn required(table: &Table, key: &'static str) -> Result<String, Wrong> {
    let text = word(table, key)?.ok_or_else(|| (None, format!("the key `{key}` is missing")))?;
    match text.contains(char::is_control) {
        true => Err((Some(key), "has to be one line, without control characters".into())),
        false => Ok(text),
    }
}

/// A list of texts; one text may have several, separated by commas.
fn list(table: &Table, key: &'static str) -> Result<Vec<String>, Wrong> {
    let wrong = |other: &Value| -> Wrong {
        (Some(key), format!("has to be a list such as [\"a\", \"b\"], not {}", kind_of(other)))
    };
    match table.get(key) {
        None => Ok(Vec::new()),
        Some(Value::String(text)) => Ok(vec![text.clone()]),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| match value {
                Value::String(text) => Ok(text.clone()),
                other => Err(wrong(other)),
            })
            .collect(),
        Some(other) => Err(wrong(other)),
    }
}

fn per(table: &Table) -> Result<Option<u64>, Wrong> {
    let Some(text) = word(table, "per")? else { return Ok(None) };
    match units::duration(&text) {
        Ok(0) => Err((Some("per"), "the time step must be longer than 0".into())),
        Ok(ns) => Ok(Some(ns)),
        Err(error) => Err((Some("per"), error.to_string())),
    }
}

fn top(table: &Table) -> Result<Option<usize>, Wrong> {
    match table.get("top") {
        None => Ok(None),
        Some(Value::Integer(number)) if *number > 0 => {
            Ok(Some(usize::try_from(*number).unwrap_or(usize::MAX)))
        }
        Some(_) => Err((Some("top"), "has to be a number of rows, 1 or more".into())),
    }
}

fn enter(table: &Table) -> Result<Option<Enter>, Wrong> {
    let inner = match table.get("enter") {
        None => return Ok(None),
        Some(Value::Table(inner)) => inner,
        Some(other) => {
            let reason = format!("has to be a table such as {{ view = \"files\" }}, not {}", kind_of(other));
            return Err((Some("enter"), reason));
        }
    };
    known(inner, &ENTER_KEYS, Some("enter"))?;
    let within = |(_, reason): Wrong| (Some("enter"), reason);
    Ok(Some(Enter {
        view: required(inner, "view").map_err(within)?,
        filter: word(inner, "filter").map_err(within)?,
    }))
}

fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::String(_) => "text",
        Value::Integer(_) | Value::Float(_) => "a number",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a time",
        Value::Array(_) => "a list",
        Value::Table(_) => "a table",
    }
}

/// Checks everything that the keys contain, one after the other, so that the error names the key.
fn check(view: &View) -> Result<(), Wrong> {
    for word in view.kinds.iter().flat_map(|words| words.split(',')).map(str::trim).filter(|w| !w.is_empty())
    {
        if !is_kind(word) && checked(&format!("syscall.type = {word}")).is_err() {
            return Err((Some("kinds"), unknown_kind(word)));
        }
    }
    if let Some(filter) = &view.filter {
        checked(filter).map_err(|error| (Some("filter"), error.to_string()))?;
    }
    let table = &view.table;
    if table.by.is_empty() && table.columns.is_empty() {
        return Err((None, "a view needs groups or columns: the key `by`, `columns`, or both".into()));
    }
    let wrong = |key| move |error: QuestionError| (Some(key), error.to_string());
    let by =
        Question { by: table.by.clone(), names: table.names.clone(), per: table.per, ..Question::default() };
    Plan::new(&by).map_err(wrong("by"))?;
    let columns = Question { columns: table.columns.clone(), ..by };
    Plan::new(&columns).map_err(wrong("columns"))?;
    let having = Question { having: table.having.clone(), ..columns };
    Plan::new(&having).map_err(wrong("having"))?;
    let plan = Plan::new(&Question { sort: table.sort.clone(), ..having }).map_err(wrong("sort"))?;
    let resolved = plan.conditions().iter().try_for_each(|condition| condition.check(iter::empty()));
    resolved.map_err(|error| (Some("columns"), error.to_string()))?;
    match &view.enter {
        Some(Enter { filter: Some(template), .. }) => {
            row::check_template(template, plan.keys()).map_err(|reason| (Some("enter"), reason))
        }
        _ => Ok(()),
    }
}

fn checked(filter: &str) -> Result<Filter, ParseError> {
    let filter = Filter::parse(filter)?;
    filter.check(iter::empty())?;
    Ok(filter)
}

fn unknown_kind(word: &str) -> String {
    let kinds = events::KINDS.iter().map(|kind| kind.decl().name);
    let hint = match suggest::did_you_mean(word, kinds.clone()) {
        hint if hint.is_empty() => format!("; kinds are {}", kinds.collect::<Vec<_>>().join(", ")),
        hint => hint,
    };
    format!("`{}` is neither a kind of event nor a syscall{hint}", defused(word))
}
