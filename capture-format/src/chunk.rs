//! A chunk as its readers see it: tables of columns, decoded when first touched.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use crate::{
    builder::{ChunkBuilder, ColumnBuilder},
    decode::{self, Body, Slot},
    error::FormatError,
    intern::{StrId, Strings},
    schema::{ColumnType, Schema, TableId, TableRole, TableSchema},
    summarize,
    summary::ChunkSummary,
};

/// The decoded values of a column.
#[derive(Debug)]
pub(crate) enum ColumnData {
    U64(Vec<u64>),
    I64(Vec<i64>),
    Refs(Vec<u32>),
    Strings(Vec<StrId>),
    ListU64 { ends: Vec<u32>, values: Vec<u64> },
    ListStrings { ends: Vec<u32>, values: Vec<StrId> },
}

#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) rows: u32,
    pub(crate) columns: Vec<Column>,
}

#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) slot: Slot,
    pub(crate) data: OnceLock<ColumnData>,
}

/// A chunk. Columns and frames are decompressed when they are first asked for; this can be done
/// from several threads.
#[derive(Debug)]
pub struct Chunk {
    schema: Arc<Schema>,
    summary: ChunkSummary,
    body: Body,
    strings: OnceLock<Strings>,
    /// By dense index; None for tables without rows.
    tables: Vec<Option<Table>>,
    id: u64,
}

/// Numbers chunks within the process, so that caches know when they have another one before them.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Chunk {
    /// The chunk in `body`, whose block is at `offset` of its file. Reads the directory only.
    pub(crate) fn parse(
        schema: Arc<Schema>,
        summary: ChunkSummary,
        body: Bytes,
        offset: u64,
    ) -> Result<Self, FormatError> {
        let (body, tables) = decode::directory(&schema, body, offset)?;
        for (i, table) in tables.iter().enumerate() {
            let rows = table.as_ref().map_or(0, |t| t.rows);
            let summarized = summary.rows(schema.tables()[i].id);
            if rows != summarized {
                let what = "rows of a table in the summary";
                return Err(FormatError::invalid(offset, what, rows, summarized.into()));
            }
        }
        Ok(Self { schema, summary, body, strings: OnceLock::new(), tables, id: next_id() })
    }

    /// The same view of a chunk that was never encoded.
    ///
    /// # Errors
    /// [`FormatError::Invalid`] or [`FormatError::Limit`] for what would make encoding fail: a column without its value,
    /// a reference or string out of range, too many rows.
    pub fn from_builder(builder: ChunkBuilder) -> Result<Self, FormatError> {
        summarize::check(&builder)?;
        let summary = summarize::summarize(&builder);
        let schema = builder.schema.clone();
        let tables = builder.tables.into_iter().zip(schema.tables()).map(|(table, schema)| {
            (table.rows() > 0).then(|| Table {
                rows: table.rows(),
                columns: table
                    .columns
                    .into_iter()
                    .zip(&schema.columns)
                    .map(|(data, column)| Column {
                        slot: Slot::default(),
                        data: OnceLock::from(own(data, column.ty)),
                    })
                    .collect(),
            })
        });
        let tables = tables.collect();
        let strings = OnceLock::from(builder.strings.into_strings());
        Ok(Self { schema, summary, body: Body::default(), strings, tables, id: next_id() })
    }

    /// The schema of its segment.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// Its summary.
    pub fn summary(&self) -> &ChunkSummary {
        &self.summary
    }

    /// A number that no other chunk of this process has.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A table, None if it has no rows here or is not in the schema.
    pub fn table(&self, id: TableId) -> Option<TableView<'_>> {
        self.table_at(self.schema.index(id)?)
    }

    /// A table by its dense index in the schema, None if it has no rows here.
    pub fn table_at(&self, index: usize) -> Option<TableView<'_>> {
        let table = self.tables.get(index)?.as_ref()?;
        Some(TableView { chunk: self, schema: &self.schema.tables()[index], table })
    }

    /// All tables with rows, in the order of the schema.
    pub fn tables(&self) -> impl Iterator<Item = TableView<'_>> {
        (0..self.tables.len()).filter_map(|i| self.table_at(i))
    }

    /// The string with this number; empty if there is none, or if no column with strings was
    /// touched yet (numbers come from such a column).
    #[inline]
    pub fn str(&self, id: StrId) -> &[u8] {
        self.strings.get().map_or(b"", |s| s.get(id))
    }

    /// How many strings the chunk's dictionary has: all [`StrId`]s are below.
    ///
    /// # Errors
    /// As [`TableView::u64`].
    pub fn string_count(&self) -> Result<usize, FormatError> {
        Ok(self.strings()?.len())
    }

    /// Rows of all event tables.
    pub fn event_rows(&self) -> u64 {
        let events = self.tables().filter(|t| t.schema.role == TableRole::Event);
        events.map(|t| t.rows() as u64).sum()
    }

    /// Where its block begins in its file and how many bytes the body has.
    pub fn place(&self) -> (u64, u64) {
        (self.body.offset(), self.body.len())
    }

    /// Decodes all columns.
    ///
    /// # Errors
    /// As [`TableView::u64`], for the first column that is wrong.
    pub fn verify(&self) -> Result<(), FormatError> {
        self.strings()?;
        for table in self.tables() {
            for column in 0..table.schema.columns.len() {
                table.data(column)?;
            }
        }
        Ok(())
    }

    fn strings(&self) -> Result<&Strings, FormatError> {
        if let Some(strings) = self.strings.get() {
            return Ok(strings);
        }
        let strings = self.body.strings()?;
        Ok(self.strings.get_or_init(|| strings))
    }
}

/// Takes a builder's column as it is.
fn own(data: ColumnBuilder, ty: ColumnType) -> ColumnData {
    let strings = |v: Vec<u32>| v.into_iter().map(StrId).collect();
    match (data, ty) {
        (ColumnBuilder::U64(v), ColumnType::I64) => {
            ColumnData::I64(v.into_iter().map(|v| v as i64).collect())
        }
        (ColumnBuilder::U64(v), _) => ColumnData::U64(v),
        (ColumnBuilder::U32(v), ColumnType::Bytes) => ColumnData::Strings(strings(v)),
        (ColumnBuilder::U32(v), _) => ColumnData::Refs(v),
        (ColumnBuilder::ListU64 { ends, values }, _) => ColumnData::ListU64 { ends, values },
        (ColumnBuilder::ListU32 { ends, values }, _) => {
            ColumnData::ListStrings { ends, values: strings(values) }
        }
    }
}

/// The lists of a column, one for each row.
#[derive(Debug)]
pub struct ListView<'a, T> {
    ends: &'a [u32],
    values: &'a [T],
}

impl<T> Clone for ListView<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ListView<'_, T> {}

impl<'a, T> ListView<'a, T> {
    /// The list of a row, empty if there is no such row.
    #[inline]
    pub fn get(&self, row: usize) -> &'a [T] {
        let Some(&end) = self.ends.get(row) else { return &[] };
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        self.values.get(start as usize..end as usize).unwrap_or(&[])
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }

    /// The values of all rows, one list after the other.
    pub fn values(&self) -> &'a [T] {
        self.values
    }
}

/// A column's values, whatever their type.
#[derive(Clone, Copy, Debug)]
pub enum ColumnView<'a> {
    /// Of a U64 column.
    U64(&'a [u64]),
    /// Of an I64 column.
    I64(&'a [i64]),
    /// Of a Ref column: rows of that dictionary.
    Ref(TableId, &'a [u32]),
    /// Of a Bytes column.
    Bytes(&'a [StrId]),
    /// Of a U64List column.
    U64List(ListView<'a, u64>),
    /// Of a BytesList column.
    BytesList(ListView<'a, StrId>),
}

/// A table of a chunk. It has at least one row.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    chunk: &'a Chunk,
    schema: &'a TableSchema,
    table: &'a Table,
}

impl<'a> TableView<'a> {
    /// Its declaration.
    pub fn schema(&self) -> &'a TableSchema {
        self.schema
    }

    /// Its number.
    pub fn id(&self) -> TableId {
        self.schema.id
    }

    /// The chunk it is of.
    pub fn chunk(&self) -> &'a Chunk {
        self.chunk
    }

    /// How many rows it has; every column has that many values.
    pub fn rows(&self) -> usize {
        self.table.rows as usize
    }

    /// The values of a U64 column.
    ///
    /// # Errors
    /// [`FormatError::ColumnType`] if the column has another type or does not exist; [`FormatError::Column`] if its
    /// bytes, or those of the strings, are not what the format allows. The same holds for the other accessors. All references
    /// and string numbers that they return are in range.
    pub fn u64(&self, column: u16) -> Result<&'a [u64], FormatError> {
        match self.get(column)? {
            Some(ColumnData::U64(v)) => Ok(v),
            _ => Err(self.wrong_type(column, "U64")),
        }
    }

    /// The values of an I64 column.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn i64(&self, column: u16) -> Result<&'a [i64], FormatError> {
        match self.get(column)? {
            Some(ColumnData::I64(v)) => Ok(v),
            _ => Err(self.wrong_type(column, "I64")),
        }
    }

    /// The values of a Ref column: row numbers, all below the rows of the table referred to.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn refs(&self, column: u16) -> Result<&'a [u32], FormatError> {
        match self.get(column)? {
            Some(ColumnData::Refs(v)) => Ok(v),
            _ => Err(self.wrong_type(column, "Ref")),
        }
    }

    /// The values of a Bytes column; [`Chunk::str`] gives the bytes.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn bytes(&self, column: u16) -> Result<&'a [StrId], FormatError> {
        match self.get(column)? {
            Some(ColumnData::Strings(v)) => Ok(v),
            _ => Err(self.wrong_type(column, "Bytes")),
        }
    }

    /// The values of a U64List column.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn list_u64(&self, column: u16) -> Result<ListView<'a, u64>, FormatError> {
        match self.get(column)? {
            Some(ColumnData::ListU64 { ends, values }) => Ok(ListView { ends, values }),
            _ => Err(self.wrong_type(column, "U64List")),
        }
    }

    /// The values of a BytesList column.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn list_bytes(&self, column: u16) -> Result<ListView<'a, StrId>, FormatError> {
        match self.get(column)? {
            Some(ColumnData::ListStrings { ends, values }) => Ok(ListView { ends, values }),
            _ => Err(self.wrong_type(column, "BytesList")),
        }
    }

    /// The values of any column.
    ///
    /// # Errors
    /// As [`Self::u64`].
    pub fn column(&self, column: u16) -> Result<ColumnView<'a>, FormatError> {
        let Some(data) = self.get(column)? else { return Err(self.wrong_type(column, "any column")) };
        Ok(match (data, self.schema.columns[column as usize].ty) {
            (ColumnData::U64(v), _) => ColumnView::U64(v),
            (ColumnData::I64(v), _) => ColumnView::I64(v),
            (ColumnData::Refs(v), ColumnType::Ref(to)) => ColumnView::Ref(to, v),
            (ColumnData::Refs(_), _) => return Err(self.wrong_type(column, "Ref")),
            (ColumnData::Strings(v), _) => ColumnView::Bytes(v),
            (ColumnData::ListU64 { ends, values }, _) => ColumnView::U64List(ListView { ends, values }),
            (ColumnData::ListStrings { ends, values }, _) => ColumnView::BytesList(ListView { ends, values }),
        })
    }

    fn wrong_type(&self, column: u16, requested: &'static str) -> FormatError {
        let found = self.schema.columns.get(column as usize).map(|c| c.ty);
        FormatError::ColumnType { table: self.schema.id, column, requested, found }
    }

    #[inline]
    fn get(&self, column: u16) -> Result<Option<&'a ColumnData>, FormatError> {
        if (column as usize) < self.table.columns.len() {
            self.data(column as usize).map(Some)
        } else {
            Ok(None)
        }
    }

    fn data(&self, column: usize) -> Result<&'a ColumnData, FormatError> {
        let cell = &self.table.columns[column];
        match cell.data.get() {
            Some(data) => Ok(data),
            None => {
                let data = self.decode(column).map_err(|e| e.in_column(self.schema.id, column))?;
                Ok(cell.data.get_or_init(|| data))
            }
        }
    }

    fn decode(&self, column: usize) -> Result<ColumnData, FormatError> {
        let ty = self.schema.columns[column].ty;
        let rows = self.rows();
        let chunk = self.chunk;
        let bytes = chunk.body.slot(&self.table.columns[column].slot)?;
        let offset = chunk.body.offset();
        let numbers = |bytes: &[u8]| match self.schema.key() {
            Some(key) if key as usize != column => decode::numbers(bytes, offset, self.u64(key)?),
            _ => decode::u64s(bytes, offset, rows),
        };
        match ty {
            ColumnType::U64 => numbers(&bytes).map(ColumnData::U64),
            ColumnType::I64 => {
                numbers(&bytes).map(|v| ColumnData::I64(v.into_iter().map(|v| v as i64).collect()))
            }
            ColumnType::Ref(to) => {
                let bound = chunk.table(to).map_or(0, |t| t.rows());
                decode::u32s(&bytes, offset, rows, "reference", bound).map(ColumnData::Refs)
            }
            ColumnType::Bytes => {
                let bound = chunk.strings()?.len();
                let ids = decode::u32s(&bytes, offset, rows, "string number", bound)?;
                Ok(ColumnData::Strings(ids.into_iter().map(StrId).collect()))
            }
            ColumnType::U64List { key } => {
                let (ends, values) = decode::list(&bytes, offset, self.u64(key)?, &chunk.body.list_values)?;
                Ok(ColumnData::ListU64 { ends, values })
            }
            ColumnType::BytesList { key } => {
                let bound = chunk.strings()?.len();
                let (ends, values) = decode::list(&bytes, offset, self.u64(key)?, &chunk.body.list_values)?;
                let values = decode::narrow(&values, offset, "string number", bound)?;
                Ok(ColumnData::ListStrings { ends, values: values.into_iter().map(StrId).collect() })
            }
        }
    }
}
