//! Checks a filled chunk and makes its summary.

use crate::{
    builder::{ChunkBuilder, ColumnBuilder, wrong_builder},
    column_type::ColumnType,
    error::FormatError,
    group::Distinct,
    intern::StrId,
    limits::{
        MAX_LIST, MAX_LIST_VALUES, MAX_ROWS, MAX_STRING_BYTES, MAX_STRINGS, MAX_SUMMARY_BYTES,
        MAX_SUMMARY_VALUES, MAX_TABLES,
    },
    schema::{Schema, TableRole},
    summary::{ChunkSummary, EventTimes, KIND_BYTES, KIND_TOO_MANY, KIND_U64},
    varint::put,
};

/// Checks what the format requires of a chunk: one value for each row in every column, references and strings that exist,
/// nothing above its limit.
pub(crate) fn check(builder: &ChunkBuilder) -> Result<(), FormatError> {
    let limit = |what, found: usize, limit: usize| FormatError::limit(None, what, found as u64, limit as u64);
    limit("strings", builder.strings.ends().len() + 1, MAX_STRINGS)?;
    limit("bytes of all strings", builder.strings.arena().len(), MAX_STRING_BYTES)?;
    let strings = builder.strings.ends().len() + 1;
    for (table, schema) in builder.tables.iter().zip(builder.schema.tables()) {
        let rows = table.rows() as usize;
        limit("rows", rows, MAX_ROWS)?;
        for (i, (column, declared)) in table.columns.iter().zip(&schema.columns).enumerate() {
            let result = (|| {
                if column.len() != rows {
                    let expected = format_args!("one for each of {rows} rows");
                    let found = column.len() as u64;
                    return Err(FormatError::invalid(None, "values of a column", expected, found));
                }
                match (column, declared.ty) {
                    (ColumnBuilder::U32(v), ColumnType::Ref(to)) => {
                        let bound = builder.schema.index(to).map_or(0, |i| builder.rows_at(i) as usize);
                        below(v, bound, "reference")?;
                        if to == schema.id { not_later(v, None) } else { Ok(()) }
                    }
                    (ColumnBuilder::U32(v), ColumnType::Bytes) => below(v, strings, "string number"),
                    (ColumnBuilder::ListU64 { ends, values }, ColumnType::U64List { .. }) => {
                        lists(ends, values.len())
                    }
                    (ColumnBuilder::ListU32 { ends, values }, ColumnType::BytesList { .. }) => {
                        below(values, strings, "string number")?;
                        lists(ends, values.len())
                    }
                    (ColumnBuilder::U64(_), ColumnType::U64 | ColumnType::I64) => Ok(()),
                    (_, ty) => wrong_builder(ty),
                }
            })();
            result.map_err(|e: FormatError| e.in_column(schema.id, i))?;
        }
    }
    Ok(())
}

/// References of a table to itself: no row may refer to a later one.
pub(crate) fn not_later(refs: &[u32], offset: Option<u64>) -> Result<(), FormatError> {
    match refs.iter().enumerate().find(|(row, to)| **to as usize > *row) {
        Some((row, to)) => {
            let expected = format_args!("at most its own number, {row}");
            Err(FormatError::invalid(offset, "reference of a row to its own table", expected, (*to).into()))
        }
        None => Ok(()),
    }
}

fn below(values: &[u32], bound: usize, what: &'static str) -> Result<(), FormatError> {
    let max = values.iter().copied().max().unwrap_or(0);
    if !values.is_empty() && max as usize >= bound {
        return Err(FormatError::invalid(None, what, format_args!("below {bound}"), max.into()));
    }
    Ok(())
}

fn lists(ends: &[u32], values: usize) -> Result<(), FormatError> {
    FormatError::limit(None, "values of a list column", values as u64, MAX_LIST_VALUES as u64)?;
    let longest = ends.windows(2).map(|w| w[1] - w[0]).chain(ends.first().copied()).max().unwrap_or(0);
    FormatError::limit(None, "length of a list", longest.into(), MAX_LIST as u64)
}

/// The summary of a chunk that was checked.
pub(crate) fn summarize(builder: &ChunkBuilder) -> ChunkSummary {
    let schema = &builder.schema;
    let mut detail = Vec::new();
    let filled: Vec<usize> = (0..builder.tables.len()).filter(|&i| builder.rows_at(i) > 0).collect();
    put(&mut detail, filled.len() as u64);
    for &i in &filled {
        put(&mut detail, schema.tables()[i].id.0.into());
        put(&mut detail, builder.rows_at(i).into());
    }
    let columns = filled.iter().flat_map(|&i| schema.tables()[i].summary.iter().map(move |&c| (i, c)));
    put(&mut detail, columns.clone().count() as u64);
    let needs_weights = columns.clone().any(|(i, _)| schema.tables()[i].role == TableRole::Dictionary);
    let weights = if needs_weights { weights(builder) } else { Vec::new() };
    let mut distinct = Distinct::default();
    for (i, column) in columns {
        put(&mut detail, schema.tables()[i].id.0.into());
        put(&mut detail, column.into());
        let weights = (schema.tables()[i].role == TableRole::Dictionary).then(|| weights[i].as_slice());
        match &builder.tables[i].columns[column as usize] {
            ColumnBuilder::U64(values) => summarize_numbers(values, weights, &mut distinct, &mut detail),
            ColumnBuilder::U32(values) => {
                summarize_strings(builder, values, weights, &mut distinct, &mut detail);
            }
            // The schema allows numbers and strings in a summary.
            ColumnBuilder::ListU64 { .. } | ColumnBuilder::ListU32 { .. } => wrong_builder(ColumnType::Bytes),
        }
    }
    ChunkSummary::new(times(builder), builder.wall_offset, detail)
}

fn times(builder: &ChunkBuilder) -> EventTimes {
    let (mut start_min, mut end_min, mut end_max) = (u64::MAX, u64::MAX, 0);
    for (table, schema) in builder.tables.iter().zip(builder.schema.tables()) {
        let column = |c: u16| match &table.columns[c as usize] {
            ColumnBuilder::U64(v) => v.as_slice(),
            ColumnBuilder::U32(_) | ColumnBuilder::ListU64 { .. } | ColumnBuilder::ListU32 { .. } => {
                wrong_builder(ColumnType::U64)
            }
        };
        if schema.role != TableRole::Event || table.rows() == 0 {
            continue;
        }
        let Some(ends) = schema.time.map(column) else { continue };
        end_min = ends.iter().copied().fold(end_min, u64::min);
        end_max = ends.iter().copied().fold(end_max, u64::max);
        start_min = match schema.duration.map(column) {
            Some(durations) => {
                ends.iter().zip(durations).map(|(e, d)| e.saturating_sub(*d)).fold(start_min, u64::min)
            }
            None => start_min.min(end_min),
        };
    }
    if end_min == u64::MAX && end_max == 0 {
        return EventTimes::default();
    }
    EventTimes { start_min, end_min, end_max }
}

/// For each dictionary, by dense index, the tables that its references lead to, directly or through others.
///
/// A few columns make a schema with more paths than can be walked, so each table is looked at once.
fn reached(schema: &Schema) -> Vec<TableSet> {
    let mut reached = vec![TableSet::default(); schema.tables().len()];
    // Backwards: each dictionary comes before those it refers to.
    for i in schema.dictionaries().iter().rev().map(|&i| i as usize) {
        let mut all = TableSet::default();
        for to in references(schema, i) {
            all.insert(to);
            all.merge(&reached[to]);
        }
        reached[i] = all;
    }
    reached
}

/// The other tables that the columns of a table refer to, by dense index.
fn references(schema: &Schema, table: usize) -> impl Iterator<Item = usize> {
    let all = schema.tables()[table].columns.iter().filter_map(|c| schema.index(c.ty.reference()?));
    all.filter(move |to| *to != table)
}

/// A set of tables by dense index.
#[derive(Clone, Default)]
struct TableSet([u64; MAX_TABLES / 64]);

impl TableSet {
    fn insert(&mut self, table: usize) {
        self.0[table / 64] |= 1 << (table % 64);
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word |= other);
    }

    fn contains(&self, table: usize) -> bool {
        self.0[table / 64] & 1 << (table % 64) != 0
    }
}

/// For each dictionary row the number of event rows that refer to it, directly or through other dictionaries, but not through
/// later rows of its own. If several
/// columns of an event table lead to a dictionary, the first one counts: an event counts once, for its subject.
fn weights(builder: &ChunkBuilder) -> Vec<Vec<u32>> {
    let schema = &builder.schema;
    let reached = reached(schema);
    let mut weights: Vec<Vec<u32>> = builder
        .tables
        .iter()
        .zip(schema.tables())
        .map(|(t, s)| match s.role {
            TableRole::Event => Vec::new(),
            TableRole::Dictionary => vec![0; t.rows() as usize],
        })
        .collect();
    let events = (0..schema.tables().len()).filter(|&i| schema.tables()[i].role == TableRole::Event);
    // Each dictionary is before those it refers to, so its own weights are complete when its turn comes.
    for i in events.chain(schema.dictionaries().iter().map(|&i| i as usize)) {
        let table = &schema.tables()[i];
        // The tables that earlier columns lead to.
        let mut covered = TableSet::default();
        for (column, declared) in builder.tables[i].columns.iter().zip(&table.columns) {
            let to = declared.ty.reference().and_then(|to| schema.index(to));
            let Some(to) = to.filter(|to| *to != i) else { continue };
            let ColumnBuilder::U32(refs) = column else { wrong_builder(declared.ty) };
            let counted = covered.contains(to);
            covered.insert(to);
            covered.merge(&reached[to]);
            if table.role == TableRole::Event && counted {
                continue;
            }
            let from = std::mem::take(&mut weights[i]);
            for (row, &r) in refs.iter().enumerate() {
                let by = from.get(row).copied().unwrap_or(1);
                weights[to][r as usize] = weights[to][r as usize].saturating_add(by);
            }
            weights[i] = from;
        }
    }
    weights
}

/// Distinct values with the sum of their weights (1 for each row if there are none); `None` if there are too many values.
fn count(
    values: impl ExactSizeIterator<Item = u64>,
    weights: Option<&[u32]>,
    distinct: &mut Distinct,
) -> Option<Vec<(u64, u64)>> {
    distinct.reset(values.len().min(MAX_SUMMARY_VALUES));
    let mut counts: Vec<(u64, u64)> = Vec::new();
    for (row, value) in values.enumerate() {
        let n = distinct.add(value) as usize;
        if n == counts.len() {
            if n == MAX_SUMMARY_VALUES {
                return None;
            }
            counts.push((value, 0));
        }
        counts[n].1 += weights.map_or(1, |w| u64::from(w[row]));
    }
    Some(counts)
}

fn summarize_numbers(values: &[u64], weights: Option<&[u32]>, distinct: &mut Distinct, out: &mut Vec<u8>) {
    let Some(mut counts) = count(values.iter().copied(), weights, distinct) else {
        return out.push(KIND_TOO_MANY);
    };
    counts.sort_unstable();
    out.push(KIND_U64);
    put(out, counts.len() as u64);
    let mut previous = 0;
    for (value, count) in counts {
        put(out, value - previous);
        put(out, count);
        previous = value;
    }
}

fn summarize_strings(
    builder: &ChunkBuilder,
    values: &[u32],
    weights: Option<&[u32]>,
    distinct: &mut Distinct,
    out: &mut Vec<u8>,
) {
    let Some(counts) = count(values.iter().map(|&v| u64::from(v)), weights, distinct) else {
        return out.push(KIND_TOO_MANY);
    };
    let mut counts: Vec<(&[u8], u64)> =
        counts.into_iter().map(|(id, n)| (builder.strings.str(StrId(id as u32)), n)).collect();
    if counts.iter().map(|(s, _)| s.len()).sum::<usize>() > MAX_SUMMARY_BYTES {
        return out.push(KIND_TOO_MANY);
    }
    counts.sort_unstable();
    out.push(KIND_BYTES);
    put(out, counts.len() as u64);
    for (value, count) in counts {
        put(out, value.len() as u64);
        out.extend_from_slice(value);
        put(out, count);
    }
}
