//! Copies rows into another chunk with exactly the strings and dictionary rows that they refer to.

use std::collections::HashMap;
use std::sync::Arc;

use crate::{
    builder::ChunkBuilder,
    chunk::{Chunk, ColumnView, TableView},
    column_type::{ColumnType, TableId},
    error::FormatError,
    hidden::Hidden,
    intern::StrId,
};

/// Stands for a row's own number among its values: a reference to itself, which is one to no other row.
const OWN_ROW: u64 = u64::MAX;

/// Remembers what was copied to a destination chunk, so that equal strings and dictionary rows are stored once. Use one for each
/// destination; call [`Self::clear`] after [`ChunkBuilder::clear`].
#[derive(Debug, Default)]
pub struct CopyCache {
    /// The chunk that `strings` and `rows` refer to.
    source: u64,
    /// Number in the destination plus one, by number in the source.
    strings: Vec<u32>,
    /// Row in the destination plus one, by dense table index and row in the source.
    rows: Vec<Vec<u32>>,
    /// Dictionary rows of the destination by content, so that equal rows of several source chunks become one.
    content: HashMap<(usize, Vec<u64>), u32>,
    key: Vec<u64>,
    /// What to hide in copies of the chunk `hidden_in`.
    hidden: Arc<Hidden>,
    hidden_in: u64,
}

impl CopyCache {
    /// A cache for an empty destination.
    pub fn new() -> Self {
        Self::default()
    }

    /// Prepares for a destination that was cleared.
    pub fn clear(&mut self) {
        self.source = 0;
        self.content.clear();
    }

    /// Hides this in all copies of `source`, also after [`Self::clear`]. Call it before any row of the chunk is copied.
    pub fn hide(&mut self, source: &Chunk, hidden: Hidden) {
        self.hidden = Arc::new(hidden);
        self.hidden_in = source.id();
    }

    fn begin(&mut self, source: &Chunk) -> Result<(), FormatError> {
        if self.source == source.id() {
            return Ok(());
        }
        if self.hidden_in != source.id() {
            self.hidden = Arc::default();
            self.hidden_in = source.id();
        }
        self.strings.clear();
        self.strings.resize(source.string_count()?, 0);
        let tables = source.schema().tables().len();
        self.rows.resize_with(tables, Vec::new);
        for (i, rows) in self.rows.iter_mut().enumerate() {
            rows.clear();
            rows.resize(source.table_at(i).map_or(0, |t| t.rows()), 0);
        }
        self.source = source.id();
        Ok(())
    }

    /// The same for a target whose schema begins with the tables of the source.
    fn begin_extended(&mut self, source: &Chunk, target: &ChunkBuilder) -> Result<(), FormatError> {
        if self.source != source.id() && !target.schema().tables().starts_with(source.schema().tables()) {
            return Err(FormatError::SchemaMismatch);
        }
        self.begin(source)
    }

    fn string(&mut self, source: &Chunk, target: &mut ChunkBuilder, id: StrId) -> StrId {
        let known = &mut self.strings[id.0 as usize];
        if *known == 0 {
            *known = target.intern(source.str(id)).0 + 1;
        }
        StrId(*known - 1)
    }
}

/// Appends rows of a table of `source` to the same table of `target`.
///
/// # Errors
/// [`FormatError::SchemaMismatch`] if the schemas differ; [`FormatError::Column`] if a column of the source cannot be decoded;
/// [`FormatError::Invalid`] if a row does not exist. The target then lacks some of the rows but is consistent.
pub fn copy_rows(
    source: &Chunk,
    target: &mut ChunkBuilder,
    table: TableId,
    rows: &[u32],
    cache: &mut CopyCache,
) -> Result<(), FormatError> {
    if !Arc::ptr_eq(source.schema(), target.schema()) && source.schema() != target.schema() {
        return Err(FormatError::SchemaMismatch);
    }
    cache.begin(source)?;
    let index = source.schema().index(table);
    let Some((index, from)) = index.and_then(|i| Some((i, source.table_at(i)?))) else {
        return if rows.is_empty() { Ok(()) } else { Err(no_row(rows[0], 0)) };
    };
    if let Some(&row) = rows.iter().find(|&&row| row as usize >= from.rows()) {
        return Err(no_row(row, from.rows()));
    }
    let columns = open(&from)?;
    for &row in rows {
        let values = values(source, target, &columns, (table, row), cache)?;
        push(target, index, &values);
        cache.key = values;
    }
    Ok(())
}

/// The row of `target` that is equal to a dictionary row of `source`; copies the row unless it was copied before. The schema of
/// `target` may have more tables than that of `source`, behind those.
///
/// # Errors
/// As [`copy_rows`].
pub fn copy_row(
    source: &Chunk,
    target: &mut ChunkBuilder,
    table: TableId,
    row: u32,
    cache: &mut CopyCache,
) -> Result<u32, FormatError> {
    cache.begin_extended(source, target)?;
    dictionary_row(source, target, table, row, cache)
}

/// The number in `target` of a string of `source`, as [`copy_row`].
///
/// # Errors
/// As [`copy_rows`].
pub fn copy_string(
    source: &Chunk,
    target: &mut ChunkBuilder,
    string: StrId,
    cache: &mut CopyCache,
) -> Result<StrId, FormatError> {
    cache.begin_extended(source, target)?;
    Ok(cache.string(source, target, string))
}

fn no_row(row: u32, rows: usize) -> FormatError {
    FormatError::invalid(None, "row", format_args!("below {rows}"), row.into())
}

fn open<'a>(table: &TableView<'a>) -> Result<Vec<ColumnView<'a>>, FormatError> {
    (0..table.schema().columns.len() as u16).map(|c| table.column(c)).collect()
}

/// A row as numbers of the target: values, row numbers, string numbers, lists preceded by their length.
fn values(
    source: &Chunk,
    target: &mut ChunkBuilder,
    columns: &[ColumnView<'_>],
    (table, row): (TableId, u32),
    cache: &mut CopyCache,
) -> Result<Vec<u64>, FormatError> {
    let hidden = Arc::clone(&cache.hidden);
    let blank = hidden.columns(table, row);
    let row = row as usize;
    let mut key = std::mem::take(&mut cache.key);
    key.clear();
    for (c, column) in columns.iter().enumerate() {
        if !blank.is_empty() && blank.iter().any(|b| usize::from(*b) == c) {
            key.push(blank_value(target, (table, c), cache));
            continue;
        }
        match column {
            ColumnView::U64(v) => key.push(v[row]),
            ColumnView::I64(v) => key.push(v[row] as u64),
            ColumnView::Bytes(v) => key.push(cache.string(source, target, v[row]).0.into()),
            ColumnView::Ref(to, v) if *to == table && v[row] as usize == row => key.push(OWN_ROW),
            ColumnView::Ref(to, v) => key.push(dictionary_row(source, target, *to, v[row], cache)?.into()),
            ColumnView::U64List(v) => {
                key.push(v.get(row).len() as u64);
                key.extend_from_slice(v.get(row));
            }
            ColumnView::BytesList(v) => {
                key.push(v.get(row).len() as u64);
                key.extend(v.get(row).iter().map(|&id| u64::from(cache.string(source, target, id).0)));
            }
        }
    }
    Ok(key)
}

/// The number that stands for a hidden value. Of a list, it is its length.
fn blank_value(target: &mut ChunkBuilder, (table, column): (TableId, usize), cache: &mut CopyCache) -> u64 {
    match target.schema().get(table).and_then(|t| t.columns.get(column)).map(|c| c.ty) {
        Some(ColumnType::Bytes) => target.intern(cache.hidden.text(table, column)).0.into(),
        Some(ColumnType::Ref(to)) if to == table => OWN_ROW,
        Some(ColumnType::Ref(to)) => blank_row(target, to, cache).into(),
        Some(
            ColumnType::U64 | ColumnType::I64 | ColumnType::U64List { .. } | ColumnType::BytesList { .. },
        )
        | None => 0,
    }
}

/// The row of a dictionary in which every value is blank, stored unless it is there already.
fn blank_row(target: &mut ChunkBuilder, table: TableId, cache: &mut CopyCache) -> u32 {
    let schema = Arc::clone(target.schema());
    let (Some(index), Some(declared)) = (schema.index(table), schema.get(table)) else { return 0 };
    let values = (0..declared.columns.len()).map(|c| blank_value(target, (table, c), cache)).collect();
    stored(target, index, values, cache)
}

/// Copies a dictionary row unless it was copied before; returns its number in the target. Rows of the same dictionary that it
/// leads to are copied first, so recursion ends: references to other dictionaries form no cycles.
fn dictionary_row(
    source: &Chunk,
    target: &mut ChunkBuilder,
    table: TableId,
    row: u32,
    cache: &mut CopyCache,
) -> Result<u32, FormatError> {
    let index = source.schema().index(table).ok_or_else(|| no_row(row, 0))?;
    let known = cache.rows[index].get(row as usize).copied().ok_or_else(|| no_row(row, 0))?;
    if known != 0 {
        return Ok(known - 1);
    }
    let from = source.table_at(index).ok_or_else(|| no_row(row, 0))?;
    let columns = open(&from)?;
    // The rows to copy, each before the one that leads to it.
    let mut pending = vec![row];
    let mut copied = 0;
    while let Some(&row) = pending.last() {
        if cache.hidden.has_row(table, row) {
            copied = blank_row(target, table, cache);
        } else if let Some(earlier) = uncopied(&columns, (table, row), index, cache) {
            pending.push(earlier);
            continue;
        } else {
            let outer = std::mem::take(&mut cache.key);
            let values = values(source, target, &columns, (table, row), cache)?;
            cache.key = outer;
            copied = stored(target, index, values, cache);
        }
        cache.rows[index][row as usize] = copied + 1;
        pending.pop();
    }
    Ok(copied)
}

/// An earlier row of the same dictionary that a row refers to and that has not been copied.
fn uncopied(
    columns: &[ColumnView<'_>],
    (table, row): (TableId, u32),
    index: usize,
    cache: &CopyCache,
) -> Option<u32> {
    let blank = cache.hidden.columns(table, row);
    let shown = columns.iter().enumerate().filter(|(c, _)| !blank.iter().any(|b| usize::from(*b) == *c));
    let mut earlier = shown.filter_map(|(_, column)| match column {
        ColumnView::Ref(to, rows) if *to == table => rows.get(row as usize).copied(),
        _ => None,
    });
    earlier.find(|to| *to < row && cache.rows[index].get(*to as usize) == Some(&0))
}

/// Stores a dictionary row unless an equal one is stored; returns its number.
fn stored(target: &mut ChunkBuilder, index: usize, values: Vec<u64>, cache: &mut CopyCache) -> u32 {
    let key = (index, values);
    if let Some(&known) = cache.content.get(&key) {
        return known;
    }
    let row = push(target, index, &key.1);
    cache.content.insert(key, row);
    row
}

fn push(target: &mut ChunkBuilder, index: usize, values: &[u64]) -> u32 {
    let schema = Arc::clone(target.schema());
    let table = target.table_at(index);
    let own = table.rows();
    let mut values = values.iter().copied();
    let mut next = || values.next().unwrap_or(0);
    for (c, column) in schema.tables()[index].columns.iter().enumerate() {
        match column.ty {
            ColumnType::U64 | ColumnType::I64 => table.push_u64(c, next()),
            ColumnType::Bytes => table.push_ref(c, next() as u32),
            ColumnType::Ref(_) => match next() {
                OWN_ROW => table.push_ref(c, own),
                row => table.push_ref(c, row as u32),
            },
            ColumnType::U64List { .. } => {
                let list: Vec<u64> = (0..next()).map(|_| next()).collect();
                table.push_list_u64(c, &list);
            }
            ColumnType::BytesList { .. } => {
                let list: Vec<StrId> = (0..next()).map(|_| StrId(next() as u32)).collect();
                table.push_list_bytes(c, &list);
            }
        }
    }
    table.end_row()
}
