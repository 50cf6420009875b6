//! Copies rows into another chunk with exactly the strings and dictionary rows that they refer to.

use std::collections::HashMap;

use crate::{
    builder::ChunkBuilder,
    chunk::{Chunk, ColumnView, TableView},
    column_type::TableId,
    error::FormatError,
    intern::StrId,
};

/// A column, and the string to store in place of the copied row's own.
type Replaced = (u16, &'static [u8]);

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
    /// Replaced strings by dictionary and row.
    replaced: HashMap<(TableId, u32), Vec<Replaced>>,
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
        self.replaced.clear();
    }

    /// Copies other strings in place of some strings (by column) of a dictionary's row. Call it before anything of the source
    /// chunk is copied. The dictionary must not have list columns.
    pub fn replace(&mut self, table: TableId, row: u32, strings: &[Replaced]) {
        self.replaced.insert((table, row), strings.to_vec());
    }

    fn begin(&mut self, source: &Chunk) -> Result<(), FormatError> {
        if self.source == source.id() {
            return Ok(());
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
    if !std::sync::Arc::ptr_eq(source.schema(), target.schema()) && source.schema() != target.schema() {
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
        let values = values(source, target, &columns, row as usize, cache, |_| None)?;
        push(target, index, &columns, &values);
        cache.key = values;
    }
    Ok(())
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
    row: usize,
    cache: &mut CopyCache,
    instead: impl Fn(usize) -> Option<&'static [u8]>,
) -> Result<Vec<u64>, FormatError> {
    let mut key = std::mem::take(&mut cache.key);
    key.clear();
    for (c, column) in columns.iter().enumerate() {
        match column {
            ColumnView::U64(v) => key.push(v[row]),
            ColumnView::I64(v) => key.push(v[row] as u64),
            ColumnView::Bytes(v) => {
                let text = match instead(c) {
                    Some(other) => target.intern(other),
                    None => cache.string(source, target, v[row]),
                };
                key.push(text.0.into());
            }
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

/// Copies a dictionary row unless it was copied before; returns its number in the target. Recursion ends since references
/// form no cycles.
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
    let outer = std::mem::take(&mut cache.key);
    let hidden = cache.replaced.get(&(table, row)).cloned().unwrap_or_default();
    let instead =
        |column: usize| hidden.iter().find(|(c, _)| usize::from(*c) == column).map(|(_, text)| *text);
    let values = values(source, target, &columns, row as usize, cache, instead)?;
    cache.key = outer;
    let key = (index, values);
    let copied = match cache.content.get(&key) {
        Some(&copied) => copied,
        None => {
            let copied = push(target, index, &columns, &key.1);
            cache.content.insert(key, copied);
            copied
        }
    };
    cache.rows[index][row as usize] = copied + 1;
    Ok(copied)
}

fn push(target: &mut ChunkBuilder, index: usize, columns: &[ColumnView<'_>], values: &[u64]) -> u32 {
    let table = target.table_at(index);
    let mut values = values.iter().copied();
    let mut next = || values.next().unwrap_or(0);
    for (c, column) in columns.iter().enumerate() {
        match column {
            ColumnView::U64(_) | ColumnView::I64(_) => table.push_u64(c, next()),
            ColumnView::Bytes(_) | ColumnView::Ref(..) => table.push_ref(c, next() as u32),
            ColumnView::U64List(_) => {
                let list: Vec<u64> = (0..next()).map(|_| next()).collect();
                table.push_list_u64(c, &list);
            }
            ColumnView::BytesList(_) => {
                let list: Vec<StrId> = (0..next()).map(|_| StrId(next() as u32)).collect();
                table.push_list_bytes(c, &list);
            }
        }
    }
    table.end_row()
}
