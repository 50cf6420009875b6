//! What events are grouped by, and the code of each event's group.

mod by_files;

use std::collections::BTreeMap;

use events::flags::{NO_RESULT, START_UNKNOWN, UNFINISHED};
use rustc_hash::FxHashMap;

use crate::fields::{Field, FieldError, FieldType, Getter, Shape, Value, lookup};
use crate::model::{Call, CallColumns};
use crate::scan::{FieldColumn, TableMatches};

use super::groups::{Codes, MISSING};

/// Ids above this are looked up in a map.
const MOST_DENSE_IDS: u32 = 1 << 17;

/// Stands for an id whose code is not known yet.
const UNSET: u32 = u32::MAX;

/// Why something cannot be grouped by.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The field is wrong.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// `log2` of something else than a number.
    #[error("`log2({0})` needs a number, and {0} is of type {1}")]
    NotNumber(String, &'static str),
    /// Components of something else than a path.
    #[error("`{0}[{1}]`: only of paths, such as fd.directory, the first components can be chosen")]
    NotPath(String, u8),
    /// Alternatives whose values are of different types.
    #[error("`{0}`: one is of type {1}, another of type {2}; alternatives need values of one kind")]
    Mixed(String, &'static str, &'static str),
}

/// What is done with the value of a field before events are grouped by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reduced {
    /// Nothing.
    Not,
    /// The first components of a path: 2 for `/var/log` of `/var/log/nginx/access.log`.
    Components(u8),
    /// The greatest power of two that it is not less than; 0 for 0, and missing for negative numbers.
    PowerOfTwo,
}

/// Something that events are grouped by.
#[derive(Clone, Debug)]
pub struct Key {
    /// Its name: as it was written, such as a short name.
    pub name: String,
    /// What it stands for: a field, `FIELD[N]`, `log2(FIELD)`, or several of them with `|` between.
    pub field: String,
    /// The type of its values.
    pub ty: FieldType,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Field(Field, Reduced),
    /// The value of the first of these that the event has.
    First(Vec<Key>),
    /// The beginning of the time step in which the event started.
    Step {
        width: i64,
        offset: i64,
    },
}

/// Short names for labels that Docker Compose, Nomad and Kubernetes give to all containers.
const NAMES: [(&str, &str); 9] = [
    ("compose.project", "container.label[com.docker.compose.project]"),
    ("compose.service", "container.label[com.docker.compose.service]"),
    ("k8s.app", "k8s.pod.label[app.kubernetes.io/name]"),
    ("k8s.instance", "k8s.pod.label[app.kubernetes.io/instance]"),
    ("k8s.component", "k8s.pod.label[app.kubernetes.io/component]"),
    ("nomad.namespace", "container.label[com.hashicorp.nomad.namespace]"),
    ("nomad.job", "container.label[com.hashicorp.nomad.job_name]"),
    ("nomad.group", "container.label[com.hashicorp.nomad.task_group_name]"),
    ("nomad.task", "container.label[com.hashicorp.nomad.task_name]"),
];

impl Key {
    /// Parses a field or a short name for one: those in `names` come first, then those of labels that orchestrators give.
    ///
    /// # Errors
    /// As [`Self::parse`].
    pub fn named(text: &str, names: &BTreeMap<String, String>) -> Result<Self, KeyError> {
        if text.contains('|') {
            let keys = text.split('|').map(|part| Self::named(part.trim(), names));
            return Self::first(text, keys.collect::<Result<_, _>>()?);
        }
        let known = NAMES.iter().find(|(name, _)| *name == text).map(|(_, field)| *field);
        match names.get(text).map(String::as_str).or(known) {
            Some(field) => Ok(Self { name: text.to_owned(), ..Self::parse(field)? }),
            None => Self::parse(text),
        }
    }

    /// The same with another name.
    pub(super) fn titled(self, name: &str) -> Self {
        Self { name: name.to_owned(), ..self }
    }

    /// The built-in short names, each with the field that it stands for.
    pub fn short_names() -> impl Iterator<Item = (&'static str, &'static str)> {
        NAMES.into_iter()
    }

    /// The first of several that an event has.
    fn first(text: &str, keys: Vec<Self>) -> Result<Self, KeyError> {
        let is_text = |ty: FieldType| matches!(ty.shape(), Shape::Text | Shape::Address | Shape::Code);
        let first = &keys[0];
        if let Some(other) =
            keys.iter().find(|key| key.ty != first.ty && !(is_text(key.ty) && is_text(first.ty)))
        {
            return Err(KeyError::Mixed(text.to_owned(), first.ty.name(), other.ty.name()));
        }
        let ty = if keys.iter().all(|key| key.ty == first.ty) { first.ty } else { FieldType::Text };
        let fields: Vec<&str> = keys.iter().map(|key| key.field.as_str()).collect();
        Ok(Self { name: text.to_owned(), field: fields.join("|"), ty, source: Source::First(keys) })
    }

    /// The alternatives, if it is the first of several that an event has.
    pub(super) fn alternatives(&self) -> &[Self] {
        match &self.source {
            Source::First(keys) => keys,
            Source::Field(..) | Source::Step { .. } => &[],
        }
    }

    /// Parses a field, `FIELD[COMPONENTS]` of a path, or `log2(FIELD)`, or several of them with `|` between.
    ///
    /// # Errors
    /// If there is no such field, or it does not have such values.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.contains('|') {
            return Self::named(text, &BTreeMap::new());
        }
        let of = |ty, source| Self { name: text.to_owned(), field: text.to_owned(), ty, source };
        if let Some(inner) = text.strip_prefix("log2(").and_then(|rest| rest.strip_suffix(')')) {
            let (field, ty) = lookup(inner.trim())?;
            return match ty.shape() {
                Shape::Number | Shape::Duration | Shape::Any => {
                    Ok(of(ty, Source::Field(field, Reduced::PowerOfTwo)))
                }
                Shape::Hundredths
                | Shape::Time
                | Shape::Bool
                | Shape::Code
                | Shape::Address
                | Shape::Text => Err(KeyError::NotNumber(inner.trim().to_owned(), ty.name())),
            };
        }
        match lookup(text) {
            Ok((field, ty)) => Ok(of(ty, Source::Field(field, Reduced::Not))),
            Err(error) => {
                let components = text.strip_suffix(']').and_then(|text| text.rsplit_once('['));
                let Some((path, Ok(count))) = components.map(|(path, count)| (path, count.parse())) else {
                    return Err(error.into());
                };
                let (field, ty) = lookup(path).map_err(|_| error)?;
                if ty.shape() != Shape::Text || count == 0 {
                    return Err(KeyError::NotPath(path.to_owned(), count));
                }
                Ok(of(ty, Source::Field(field, Reduced::Components(count))))
            }
        }
    }

    /// Steps of `width` ns, which begin at multiples of it; `offset` is what local time is ahead of UTC, in ns.
    pub fn step(width: u64, offset: i64) -> Self {
        let width = i64::try_from(width).unwrap_or(i64::MAX).max(1);
        let name = "evt.time".to_owned();
        Self { field: name.clone(), name, ty: FieldType::Time, source: Source::Step { width, offset } }
    }

    /// The width of its time steps, ns.
    pub fn step_width(&self) -> Option<i64> {
        match self.source {
            Source::Step { width, .. } => Some(width),
            Source::Field(..) | Source::First(_) => None,
        }
    }

    /// The fields; none for a time step.
    pub(super) fn fields(&self) -> Vec<&Field> {
        match &self.source {
            Source::Field(field, _) => vec![field],
            Source::First(keys) => keys.iter().flat_map(Self::fields).collect(),
            Source::Step { .. } => Vec::new(),
        }
    }

    /// Whether its values are powers of two.
    pub fn is_power_of_two(&self) -> bool {
        matches!(self.source, Source::Field(_, Reduced::PowerOfTwo))
    }

    /// Appends the code of each matching row of a table.
    pub(super) fn codes(&self, table: &TableMatches<'_>, codes: &mut Codes, out: &mut Vec<u32>) {
        match &self.source {
            Source::Step { width, offset } => steps(table, *width, *offset, codes, out),
            Source::Field(field, reduced) => field_codes(table, field, *reduced, codes, out),
            Source::First(keys) => first_codes(table, keys, codes, out),
        }
    }
}

/// Rows that lack the value of a key have that of a later one.
fn first_codes(table: &TableMatches<'_>, keys: &[Key], codes: &mut Codes, out: &mut Vec<u32>) {
    let start = out.len();
    let mut others = Vec::new();
    for key in keys {
        if out.len() == start {
            key.codes(table, codes, out);
        } else if out[start..].contains(&MISSING) {
            others.clear();
            key.codes(table, codes, &mut others);
            let missing = out[start..].iter_mut().zip(&others).filter(|(code, _)| **code == MISSING);
            missing.for_each(|(code, other)| *code = *other);
        }
    }
}

fn field_codes(
    table: &TableMatches<'_>,
    field: &Field,
    reduced: Reduced,
    codes: &mut Codes,
    out: &mut Vec<u32>,
) {
    let mut coder = Coder { reduced, codes, scratch: Vec::new() };
    let column = table.column(field);
    if column.has_ids() {
        coder.by_id(table, &column, out);
    } else if let Getter::Files(_) | Getter::RequestFiles(_) = field.getter() {
        by_files::codes(&mut coder, table, (field, &column), out);
    } else {
        out.extend(table.rows().iter().map(|row| coder.code(&column, *row)));
    }
}

fn steps(table: &TableMatches<'_>, width: i64, offset: i64, codes: &mut Codes, out: &mut Vec<u32>) {
    let (mut start, mut end, mut code) = (0, 0, 0);
    for event in table.events() {
        let time = event.start();
        if !(start..end).contains(&time) {
            let local = time.saturating_add(offset);
            start = (local - local.rem_euclid(width)).saturating_sub(offset);
            end = start.saturating_add(width);
            code = codes.code(Value::Int(start.into()));
        }
        out.push(code);
    }
}

/// Gives codes to the values of rows.
struct Coder<'c> {
    reduced: Reduced,
    codes: &'c mut Codes,
    scratch: Vec<u8>,
}

impl Coder<'_> {
    fn code(&mut self, column: &FieldColumn<'_>, row: u32) -> u32 {
        let value = column.value(row, &mut self.scratch);
        self.codes.code(match (self.reduced, value) {
            (Reduced::Components(count), Value::Bytes(path)) => Value::Bytes(components(path, count)),
            (Reduced::PowerOfTwo, Value::Int(number @ 0..)) => Value::Int(power_of_two(number)),
            (Reduced::PowerOfTwo, Value::Int(_) | Value::Bytes(_)) => Value::Missing,
            (_, value) => value,
        })
    }

    /// The same for fields of threads, whose rows are numbered from 0: the most frequent ones.
    fn by_task(
        &mut self,
        table: &TableMatches<'_>,
        (column, ids): (&FieldColumn<'_>, &[u32]),
        out: &mut Vec<u32>,
    ) {
        let mut codes = vec![UNSET; table.task_rows()];
        let (mut last, mut last_code) = (UNSET, 0);
        out.extend(table.rows().iter().map(|row| {
            let id = ids.get(*row as usize).copied().unwrap_or(UNSET);
            if id != last || id == UNSET {
                last = id;
                last_code = match codes.get_mut(id as usize) {
                    Some(code) => {
                        if *code == UNSET {
                            *code = self.code(column, *row);
                        }
                        *code
                    }
                    None => self.code(column, *row),
                };
            }
            last_code
        }));
    }

    /// Looks at each value once.
    fn by_id(&mut self, table: &TableMatches<'_>, column: &FieldColumn<'_>, out: &mut Vec<u32>) {
        let mut dense: Vec<u32> = Vec::new();
        let mut sparse: FxHashMap<u32, u32> = FxHashMap::default();
        let (mut last, mut last_code) = (None, 0);
        if let Some(ids) = column.task_ids() {
            return self.by_task(table, (column, ids), out);
        }
        for row in table.rows() {
            let id = column.id(*row);
            if id.is_none() || id != last {
                last_code = match id {
                    None => self.code(column, *row),
                    Some(id) if id < MOST_DENSE_IDS => {
                        let at = id as usize;
                        if dense.len() <= at {
                            dense.resize(at + 1, UNSET);
                        }
                        if dense[at] == UNSET {
                            dense[at] = self.code(column, *row);
                        }
                        dense[at]
                    }
                    Some(id) => *sparse.entry(id).or_insert_with(|| self.code(column, *row)),
                };
                last = id;
            }
            out.push(last_code);
        }
    }
}

/// The first components of a path; the whole of what is no absolute path.
fn components(path: &[u8], count: u8) -> &[u8] {
    if path.first() != Some(&b'/') {
        return path;
    }
    let slashes = path.iter().enumerate().skip(1).filter(|(_, byte)| **byte == b'/');
    match { slashes }.nth(usize::from(count) - 1) {
        Some((end, _)) => &path[..end],
        None => path,
    }
}

fn power_of_two(number: i128) -> i128 {
    if number < 1 { 0 } else { 1 << number.ilog2() }
}

/// Calls `add` with each matching row that has a number, and the number.
pub(super) fn numbers(table: &TableMatches<'_>, field: &Field, mut add: impl FnMut(u32, i128)) {
    if let Getter::Duration = field.getter() {
        let (durations, flags) = (table.table().durations(), table.table().all_flags());
        for row in table.rows() {
            let at = *row as usize;
            let is_known = flags.get(at).is_none_or(|flags| *flags as u32 & START_UNKNOWN == 0);
            if let Some(duration) = durations.get(at).filter(|_| is_known) {
                add(*row, i128::from(*duration));
            }
        }
        return;
    }
    if let Getter::Result(is_wanted) = field.getter() {
        return results(table, *is_wanted, add);
    }
    let column = table.column(field);
    let mut scratch = Vec::new();
    let mut last: Option<(u32, Option<i128>)> = None;
    for row in table.rows() {
        let number = match (column.id(*row), last) {
            (Some(id), Some((known, number))) if id == known => number,
            (id, _) => {
                let number = match column.value(*row, &mut scratch) {
                    Value::Int(number) => Some(number),
                    Value::Missing | Value::Bytes(_) => None,
                };
                last = id.map(|id| (id, number));
                number
            }
        };
        if let Some(number) = number {
            add(*row, number);
        }
    }
}

/// The same for the results of calls of which `is_wanted` is true.
fn results(table: &TableMatches<'_>, is_wanted: fn(&Call) -> bool, mut add: impl FnMut(u32, i128)) {
    let columns = CallColumns::new(table.table());
    let (keys, results, flags) = (columns.keys(), columns.results(), table.table().all_flags());
    let calls = table.calls();
    let mut known: FxHashMap<u64, bool> = FxHashMap::default();
    let (mut last, mut is_counted) = (u64::MAX, false);
    for row in table.rows() {
        let at = *row as usize;
        let (Some(key), Some(result)) = (keys.get(at), results.get(at)) else { continue };
        if *key != last {
            last = *key;
            is_counted = *known.entry(last).or_insert_with(|| calls.get(last).is_some_and(is_wanted));
        }
        let flags = flags.get(at).map_or(0, |flags| *flags as u32);
        if is_counted && *result >= 0 && flags & (UNFINISHED | NO_RESULT) == 0 {
            add(*row, i128::from(*result));
        }
    }
}

/// The different values of a field in the matching rows of a table, and the code of each row.
pub(super) fn values(table: &TableMatches<'_>, field: &Field) -> (Codes, Vec<u32>) {
    let (mut codes, mut of_rows) = (Codes::default(), Vec::with_capacity(table.rows().len()));
    field_codes(table, field, Reduced::Not, &mut codes, &mut of_rows);
    (codes, of_rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_reduced_to_components() {
        let path = b"/var/log/nginx/access.log";
        assert_eq!(components(path, 1), b"/var");
        assert_eq!(components(path, 2), b"/var/log");
        assert_eq!(components(path, 3), b"/var/log/nginx");
        assert_eq!(components(path, 4), path);
        assert_eq!(components(path, 9), path);
        assert_eq!(components(b"/", 2), b"/");
        assert_eq!(components(b"pipe:[1]", 1), b"pipe:[1]");
    }

    #[test]
    fn numbers_are_reduced_to_powers_of_two() {
        let reduced = [0, 1, 2, 3, 4, 1023, 1024].map(power_of_two);
        assert_eq!(reduced, [0, 1, 2, 2, 4, 512, 1024]);
    }

    #[test]
    fn keys_are_checked() {
        assert!(Key::parse("fd.directory[2]").is_ok());
        assert!(Key::parse("container.label[app]").is_ok());
        assert!(Key::parse("log2(evt.latency)").is_ok());
        assert_eq!(Key::parse("fd.rip | fd.name").unwrap().ty, FieldType::Text);
        assert_eq!(Key::named("k8s.app|container.name", &BTreeMap::new()).unwrap().alternatives().len(), 2);
        let wrong = |text: &str| Key::parse(text).map(|_| ()).unwrap_err().to_string();
        assert_eq!(wrong("log2(fd.name)"), "`log2(fd.name)` needs a number, and fd.name is of type text");
        assert_eq!(
            wrong("evt.latency[2]"),
            "`evt.latency[2]`: only of paths, such as fd.directory, the first components can be chosen"
        );
        assert!(
            wrong("proc.nam").starts_with("unknown field `proc.nam` (did you mean"),
            "{}",
            wrong("proc.nam")
        );
        assert_eq!(
            wrong("proc.name|proc.pid"),
            "`proc.name|proc.pid`: one is of type text, another of type number; alternatives need values of one kind"
        );
    }
}
