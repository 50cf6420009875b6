//! A chunk while it is being filled. Everything here is on the recorder's hot path.

use std::sync::Arc;

use crate::{
    intern::{Interner, StrId},
    limits::{CHUNK_BYTES, CHUNK_EVENT_ROWS},
    schema::{ColumnType, Schema, TableId, TableRole, TableSchema},
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

#[cold]
#[inline(never)]
fn wrong_type(column: usize) -> ! {
    panic!("column {column} has another type or does not exist")
}

/// The pushes panic if the column does not exist or has another type: the caller's table and
/// the schema disagree, and whatever was written would be wrong.
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

    /// Pushes to a Bytes column a string that this chunk interned.
    #[inline]
    pub fn push_bytes(&mut self, column: usize, value: StrId) {
        self.push_ref(column, value.0);
    }

    /// Pushes to a Ref column the row number of a dictionary row of this chunk.
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

    /// Ends the row and returns its number. Every column must have got exactly one value (checked in
    /// debug builds; otherwise encoding the chunk fails).
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

    /// How many rows there are.
    #[inline]
    pub fn rows(&self) -> u32 {
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

    /// The schema it was made with.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// The number of a string in this chunk.
    #[inline]
    pub fn intern(&mut self, s: &[u8]) -> StrId {
        self.strings.intern(s)
    }

    /// The string with this number, empty if there is none.
    pub fn str(&self, id: StrId) -> &[u8] {
        self.strings.str(id)
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

    /// How many rows a table has, by its dense index.
    pub fn rows_at(&self, index: usize) -> u32 {
        self.tables[index].rows
    }

    /// How many rows all event tables have.
    pub fn event_rows(&self) -> usize {
        self.events.iter().map(|&i| self.tables[i as usize].rows as usize).sum()
    }

    /// The memory that values and strings take, in bytes (unused capacity not counted).
    pub fn approx_bytes(&self) -> usize {
        let columns = self.tables.iter().filter(|t| t.rows > 0).flat_map(|t| &t.columns);
        columns.map(ColumnBuilder::bytes).sum::<usize>() + self.strings.approx_bytes()
    }

    /// Whether the chunk should be closed now for its size: no writer may go far beyond. Looks at every column, so ask
    /// every few hundred rows, not after each.
    pub fn is_full(&self) -> bool {
        self.event_rows() >= CHUNK_EVENT_ROWS || self.approx_bytes() >= CHUNK_BYTES
    }

    /// Whether it has no event.
    pub fn is_empty(&self) -> bool {
        self.event_rows() == 0
    }

    /// Sets wall clock minus boot clock, in ns, for the times of this chunk.
    pub fn set_wall_offset(&mut self, ns: i64) {
        self.wall_offset = ns;
    }

    /// Forgets rows and strings but keeps the memory, for the next chunk. Numbers of strings and
    /// rows from before mean nothing after.
    pub fn clear(&mut self) {
        for table in &mut self.tables {
            table.rows = 0;
            table.columns.iter_mut().for_each(ColumnBuilder::clear);
        }
        self.strings.clear();
        self.wall_offset = 0;
    }
}
