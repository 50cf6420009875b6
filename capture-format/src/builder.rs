//! A chunk that is being filled. All of it is on the recorder's hot path.

use std::sync::Arc;

use crate::{
    column_type::{ColumnType, TableId},
    intern::{Interner, StrId},
    limits::{CHUNK_BYTES, CHUNK_EVENT_ROWS},
    schema::{Schema, TableRole, TableSchema},
};

/// The values of a column that is being filled.
#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    /// U64, and I64 in two's complement.
    U64(Vec<u64>),
    /// References and string numbers.
    U32(Vec<u32>),
    /// Where each row's list ends, and the values of all.
    ListU64 { ends: Vec<u32>, values: Vec<u64> },
    /// The same for strings.
    ListU32 { ends: Vec<u32>, values: Vec<u32> },
}

impl ColumnBuilder {
    fn new(ty: ColumnType) -> Self {
        match ty {
            ColumnType::U64 | ColumnType::I64 => Self::U64(Vec::new()),
            ColumnType::Bytes | ColumnType::Ref(_) => Self::U32(Vec::new()),
            ColumnType::U64List { .. } => Self::ListU64 { ends: Vec::new(), values: Vec::new() },
            ColumnType::BytesList { .. } => Self::ListU32 { ends: Vec::new(), values: Vec::new() },
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::U64(v) => v.len(),
            Self::U32(v) => v.len(),
            Self::ListU64 { ends, .. } | Self::ListU32 { ends, .. } => ends.len(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::U64(v) => v.len() * 8,
            Self::U32(v) => v.len() * 4,
            Self::ListU64 { ends, values } => ends.len() * 4 + values.len() * 8,
            Self::ListU32 { ends, values } => ends.len() * 4 + values.len() * 4,
        }
    }

    fn clear(&mut self) {
        match self {
            Self::U64(v) => v.clear(),
            Self::U32(v) => v.clear(),
            Self::ListU64 { ends, values } => {
                ends.clear();
                values.clear();
            }
            Self::ListU32 { ends, values } => {
                ends.clear();
                values.clear();
            }
        }
    }
}

/// A table of a chunk that is being filled, row by row: push one value to each column, in any
/// order, then [`Self::end_row`].
#[derive(Debug)]
pub struct TableBuilder {
    pub(crate) columns: Vec<ColumnBuilder>,
    rows: u32,
}

/// A builder makes its columns from the schema, so that the two cannot disagree about a type.
#[cold]
#[inline(never)]
pub(crate) fn wrong_builder(ty: ColumnType) -> ! {
    unreachable!("the builder of a {ty:?} column is of another type")
}

#[cold]
#[inline(never)]
fn wrong_type(column: usize) -> ! {
    panic!("column {column} has another type or does not exist")
}

/// The methods that take a column panic if it does not exist or has another type: then the caller and the schema disagree,
/// and all that follows would be wrong. So does [`Self::set_bits`] without such a row.
impl TableBuilder {
    fn new(schema: &TableSchema) -> Self {
        Self { columns: schema.columns.iter().map(|c| ColumnBuilder::new(c.ty)).collect(), rows: 0 }
    }

    /// Pushes to a U64 column.
    #[inline]
    pub fn push_u64(&mut self, column: usize, value: u64) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::U64(v)) => v.push(value),
            _ => wrong_type(column),
        }
    }

    /// Pushes to an I64 column.
    #[inline]
    pub fn push_i64(&mut self, column: usize, value: i64) {
        self.push_u64(column, value as u64);
    }

    /// Pushes a string, interned in this chunk, to a Bytes column.
    #[inline]
    pub fn push_bytes(&mut self, column: usize, value: StrId) {
        self.push_ref(column, value.0);
    }

    /// Pushes the number of a dictionary row of this chunk to a Ref column.
    #[inline]
    pub fn push_ref(&mut self, column: usize, row: u32) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::U32(v)) => v.push(row),
            _ => wrong_type(column),
        }
    }

    /// Pushes a list (of at most [`crate::limits::MAX_LIST`] values) to a U64List column.
    #[inline]
    pub fn push_list_u64(&mut self, column: usize, list: &[u64]) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::ListU64 { ends, values }) => {
                values.extend_from_slice(list);
                ends.push(values.len() as u32);
            }
            _ => wrong_type(column),
        }
    }

    /// The same for values that are made one by one: cheaper for a few.
    #[inline]
    pub fn push_list_of(&mut self, column: usize, list: impl ExactSizeIterator<Item = u64>) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::ListU64 { ends, values }) => {
                values.reserve(list.len());
                for value in list {
                    values.push(value);
                }
                ends.push(values.len() as u32);
            }
            _ => wrong_type(column),
        }
    }

    /// Pushes a list (of at most [`crate::limits::MAX_LIST`] strings) to a BytesList column.
    #[inline]
    pub fn push_list_bytes(&mut self, column: usize, list: &[StrId]) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::ListU32 { ends, values }) => {
                values.extend(list.iter().map(|s| s.0));
                ends.push(values.len() as u32);
            }
            _ => wrong_type(column),
        }
    }

    /// Sets bits of a value of a U64 column, in a row that has ended.
    pub fn set_bits(&mut self, column: usize, row: u32, bits: u64) {
        match self.columns.get_mut(column) {
            Some(ColumnBuilder::U64(v)) => v[row as usize] |= bits,
            _ => wrong_type(column),
        }
    }

    /// Ends the row and returns its number. Every column must have exactly one new value. Debug builds check this here;
    /// without the check, encoding the chunk fails.
    #[inline]
    pub fn end_row(&mut self) -> u32 {
        let row = self.rows;
        self.rows += 1;
        debug_assert!(
            self.columns.iter().all(|c| c.len() == self.rows as usize),
            "row {row}: a column got no value, or two"
        );
        row
    }

    #[inline]
    pub(crate) fn rows(&self) -> u32 {
        self.rows
    }
}

/// A chunk that is being filled.
#[derive(Debug)]
pub struct ChunkBuilder {
    pub(crate) schema: Arc<Schema>,
    pub(crate) tables: Vec<TableBuilder>,
    pub(crate) strings: Interner,
    pub(crate) wall_offset: i64,
    events: Vec<u16>,
}

impl ChunkBuilder {
    /// An empty chunk.
    pub fn new(schema: Arc<Schema>) -> Self {
        let tables = schema.tables().iter().map(TableBuilder::new).collect();
        let events = (0..schema.tables().len() as u16)
            .filter(|&i| schema.tables()[i as usize].role == TableRole::Event)
            .collect();
        Self { schema, tables, strings: Interner::new(), wall_offset: 0, events }
    }

    /// The schema that the chunk was created with.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The number of a string in this chunk; equal strings have equal numbers.
    #[inline]
    pub fn intern(&mut self, s: &[u8]) -> StrId {
        self.strings.intern(s)
    }

    /// A table by its number.
    ///
    /// # Panics
    /// If the schema has no such table.
    #[inline]
    pub fn table(&mut self, id: TableId) -> &mut TableBuilder {
        let index = self.schema.index(id).expect("a table of the schema");
        &mut self.tables[index]
    }

    /// A table by its dense index in the schema ([`Schema::index`]).
    ///
    /// # Panics
    /// If the schema has no such table.
    #[inline]
    pub fn table_at(&mut self, index: usize) -> &mut TableBuilder {
        &mut self.tables[index]
    }

    /// Rows of a table, by its dense index.
    pub fn rows_at(&self, index: usize) -> u32 {
        self.tables[index].rows
    }

    /// Rows of all event tables.
    pub fn event_rows(&self) -> usize {
        self.events.iter().map(|&i| self.tables[i as usize].rows as usize).sum()
    }

    /// Bytes of memory that values and strings take, without unused capacity.
    pub fn approx_bytes(&self) -> usize {
        let columns = self.tables.iter().filter(|t| t.rows > 0).flat_map(|t| &t.columns);
        columns.map(ColumnBuilder::bytes).sum::<usize>() + self.strings.approx_bytes()
    }

    /// Whether the chunk has reached [`CHUNK_EVENT_ROWS`] or [`CHUNK_BYTES`] and should be closed; a writer must not go far
    /// beyond. Visits every column, so call it every few hundred rows, not after each.
    pub fn is_full(&self) -> bool {
        self.event_rows() >= CHUNK_EVENT_ROWS || self.approx_bytes() >= CHUNK_BYTES
    }

    /// Whether the chunk has no events. It may still have dictionary rows.
    pub fn is_empty(&self) -> bool {
        self.event_rows() == 0
    }

    /// Sets wall clock minus boot clock, in ns, which converts the times of this chunk.
    pub fn set_wall_offset(&mut self, ns: i64) {
        self.wall_offset = ns;
    }

    /// Wall clock minus boot clock, in ns.
    pub fn wall_offset(&self) -> i64 {
        self.wall_offset
    }

    /// Removes all rows and strings but keeps the memory, for the next chunk. Earlier numbers of strings and rows become
    /// invalid.
    pub fn clear(&mut self) {
        for table in &mut self.tables {
            table.rows = 0;
            table.columns.iter_mut().for_each(ColumnBuilder::clear);
        }
        self.strings.clear();
        self.wall_offset = 0;
    }
}
