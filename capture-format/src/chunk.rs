//! A chunk as readers see it: tables of columns, decoded on first access.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;

use crate::{
    builder::{ChunkBuilder, ColumnBuilder, wrong_builder},
    column_type::{ColumnType, TableId},
    decode::{self, Body, ColumnData, ColumnPlace, StoredColumn, StoredTable},
    error::FormatError,
    group::{Distinct, Groups},
    intern::{StrId, Strings},
    schema::{Schema, TableRole, TableSchema},
    summarize,
    summary::ChunkSummary,
};

/// A chunk: up to about a second of events with all dictionaries that they refer to. Columns are decompressed and decoded on
/// first access; several threads may do this at once.
#[derive(Debug)]
pub struct Chunk {
    schema: Arc<Schema>,
    summary: ChunkSummary,
    body: Body,
    strings: OnceLock<Strings>,
    /// The first column that could not be decoded.
    failed: OnceLock<(TableId, u16)>,
    /// By dense index; `None` for tables without rows.
    tables: Vec<Option<StoredTable>>,
    id: u64,
}

/// Numbers chunks within the process, so that caches notice when they get another chunk.
fn next_id() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl Chunk {
    /// The chunk in `body`, whose block is at `offset` in its file. Reads only the directory.
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
        let (strings, failed) = (OnceLock::new(), OnceLock::new());
        Ok(Self { schema, summary, body, strings, failed, tables, id: next_id() })
    }

    /// A chunk to read from, directly from a builder, without encoding it.
    ///
    /// # Errors
    /// As [`Encoder::encode`](crate::Encoder::encode): [`FormatError::Column`] if a column does not have one value for each
    /// row, or a reference or string number is out of range; [`FormatError::Limit`] if there are too many rows or strings.
    pub fn from_builder(builder: ChunkBuilder) -> Result<Self, FormatError> {
        summarize::check(&builder)?;
        let summary = summarize::summarize(&builder);
        let schema = builder.schema.clone();
        let tables = builder.tables.into_iter().zip(schema.tables()).map(|(table, schema)| {
            (table.rows() > 0).then(|| StoredTable {
                rows: table.rows(),
                groups: OnceLock::new(),
                columns: table
                    .columns
                    .into_iter()
                    .zip(&schema.columns)
                    .map(|(data, column)| StoredColumn {
                        place: ColumnPlace::default(),
                        data: OnceLock::from(own(data, column.ty)),
                    })
                    .collect(),
            })
        });
        let tables = tables.collect();
        let strings = OnceLock::from(builder.strings.into_strings());
        let (body, failed) = (Body::default(), OnceLock::new());
        Ok(Self { schema, summary, body, strings, failed, tables, id: next_id() })
    }

    /// The schema of the chunk's segment.
    pub fn schema(&self) -> &Arc<Schema> {
        &self.schema
    }

    /// What is in the chunk, without decoding columns.
    pub fn summary(&self) -> &ChunkSummary {
        &self.summary
    }

    /// A number that is unique among the chunks of this process; for caches.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// A table by its number; `None` if it has no rows in this chunk or is not in the schema.
    pub fn table(&self, id: TableId) -> Option<TableView<'_>> {
        self.table_at(self.schema.index(id)?)
    }

    /// A table by its dense index in the schema; `None` if it has no rows in this chunk.
    pub fn table_at(&self, index: usize) -> Option<TableView<'_>> {
        let table = self.tables.get(index)?.as_ref()?;
        Some(TableView { chunk: self, schema: &self.schema.tables()[index], table })
    }

    /// All tables with rows, in the order of the schema.
    pub fn tables(&self) -> impl Iterator<Item = TableView<'_>> {
        (0..self.tables.len()).filter_map(|i| self.table_at(i))
    }

    /// The string with this number, as found in a Bytes or BytesList column. Empty if there is none, or if no such column
    /// of this chunk was read yet.
    #[inline]
    pub fn str(&self, id: StrId) -> &[u8] {
        self.strings.get().map_or(b"", |s| s.get(id))
    }

    /// Strings in the chunk's dictionary, the empty one included: all [`StrId`]s are below.
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

    /// Where the chunk's block begins in its file or stream, and the bytes of its body; 0 for a chunk that was never encoded.
    pub fn place(&self) -> (u64, u64) {
        (self.body.offset(), self.body.len())
    }

    /// Decodes all columns.
    ///
    /// # Errors
    /// As [`TableView::u64`], for the first column that cannot be decoded.
    pub fn verify(&self) -> Result<(), FormatError> {
        self.strings()?;
        for table in self.tables() {
            for column in 0..table.schema.columns.len() {
                table.data(column)?;
            }
        }
        Ok(())
    }

    /// Why a column that was used could not be decoded; `None` if none was damaged so far. Who treats such a column as empty
    /// finds out here.
    pub fn failure(&self) -> Option<FormatError> {
        let (table, column) = *self.failed.get()?;
        self.table(table)?.column(column).err()
    }

    fn strings(&self) -> Result<&Strings, FormatError> {
        if let Some(strings) = self.strings.get() {
            return Ok(strings);
        }
        let strings = self.body.strings()?;
        Ok(self.strings.get_or_init(|| strings))
    }
}

/// The decoded form of a builder's column.
fn own(data: ColumnBuilder, ty: ColumnType) -> ColumnData {
    let strings = |v: Vec<u32>| v.into_iter().map(StrId).collect();
    match (data, ty) {
        (ColumnBuilder::U64(v), ColumnType::I64) => {
            ColumnData::I64(v.into_iter().map(|v| v as i64).collect())
        }
        (ColumnBuilder::U64(v), ColumnType::U64) => ColumnData::U64(v),
        (ColumnBuilder::U32(v), ColumnType::Bytes) => ColumnData::Strings(strings(v)),
        (ColumnBuilder::U32(v), ColumnType::Ref(_)) => ColumnData::Refs(v),
        (ColumnBuilder::ListU64 { ends, values }, ColumnType::U64List { .. }) => {
            ColumnData::ListU64 { ends, values }
        }
        (ColumnBuilder::ListU32 { ends, values }, ColumnType::BytesList { .. }) => {
            ColumnData::ListStrings { ends, values: strings(values) }
        }
        (_, ty) => wrong_builder(ty),
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

    /// Number of lists.
    pub fn rows(&self) -> usize {
        self.ends.len()
    }
}

/// The values of a column of any type, one for each row.
#[derive(Clone, Copy, Debug)]
pub enum ColumnView<'a> {
    /// A U64 column.
    U64(&'a [u64]),
    /// An I64 column.
    I64(&'a [i64]),
    /// A Ref column: the dictionary and its row numbers.
    Ref(TableId, &'a [u32]),
    /// A Bytes column: numbers for [`Chunk::str`].
    Bytes(&'a [StrId]),
    /// A U64List column.
    U64List(ListView<'a, u64>),
    /// A BytesList column: numbers for [`Chunk::str`].
    BytesList(ListView<'a, StrId>),
}

/// A table of a chunk, with at least one row.
#[derive(Clone, Copy, Debug)]
pub struct TableView<'a> {
    chunk: &'a Chunk,
    schema: &'a TableSchema,
    table: &'a StoredTable,
}

impl<'a> TableView<'a> {
    /// The declaration of the table.
    pub fn schema(&self) -> &'a TableSchema {
        self.schema
    }

    /// The number of the table.
    pub fn id(&self) -> TableId {
        self.schema.id
    }

    /// The chunk that the table belongs to.
    pub fn chunk(&self) -> &'a Chunk {
        self.chunk
    }

    /// Number of rows, at least 1; every column has as many values.
    pub fn rows(&self) -> usize {
        self.table.rows as usize
    }

    /// The values of a U64 column.
    ///
    /// # Errors
    /// [`FormatError::ColumnType`] if the column has another type or does not exist; [`FormatError::Column`] if its bytes, or
    /// those of the strings, do not follow the format. This applies to all accessors. References and string numbers that
    /// they return are always in range.
    #[inline]
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
    #[inline]
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
    #[inline]
    pub fn refs(&self, column: u16) -> Result<&'a [u32], FormatError> {
        match self.get(column)? {
            Some(ColumnData::Refs(v)) => Ok(v),
            _ => Err(self.wrong_type(column, "Ref")),
        }
    }

    /// The values of a Bytes column; [`Chunk::str`] returns the bytes.
    ///
    /// # Errors
    /// As [`Self::u64`].
    #[inline]
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
    #[inline]
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
    #[inline]
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

    #[inline]
    fn data(&self, column: usize) -> Result<&'a ColumnData, FormatError> {
        match self.table.columns[column].data.get() {
            Some(data) => Ok(data),
            None => self.decode_now(column),
        }
    }

    #[cold]
    fn decode_now(&self, column: usize) -> Result<&'a ColumnData, FormatError> {
        let decoded = self.decode(column).map_err(|e| e.in_column(self.schema.id, column));
        let data = decoded.inspect_err(|_| {
            let _ = self.chunk.failed.set((self.schema.id, column as u16));
        })?;
        Ok(self.table.columns[column].data.get_or_init(|| data))
    }

    /// The rows grouped by a key column; kept for the other columns with the table's key.
    fn groups(&self, key: u16) -> Result<Arc<Groups>, FormatError> {
        let new = || Ok(Arc::new(Groups::new(self.u64(key)?, &mut Distinct::default())));
        if self.schema.key() != Some(key) {
            return new();
        }
        if let Some(groups) = self.table.groups.get() {
            return Ok(Arc::clone(groups));
        }
        let groups = new()?;
        Ok(Arc::clone(self.table.groups.get_or_init(|| groups)))
    }

    fn decode(&self, column: usize) -> Result<ColumnData, FormatError> {
        let ty = self.schema.columns[column].ty;
        let rows = self.rows();
        let chunk = self.chunk;
        let bytes = chunk.body.encoded(&self.table.columns[column].place)?;
        let offset = chunk.body.offset();
        let numbers = |bytes: &[u8]| match self.schema.key() {
            Some(key) if key as usize != column => decode::numbers(bytes, offset, rows, || self.groups(key)),
            _ => decode::u64s(bytes, offset, rows),
        };
        match ty {
            ColumnType::U64 => numbers(&bytes).map(ColumnData::U64),
            ColumnType::I64 => {
                numbers(&bytes).map(|v| ColumnData::I64(v.into_iter().map(|v| v as i64).collect()))
            }
            ColumnType::Ref(to) => {
                let bound = chunk.table(to).map_or(0, |t| t.rows());
                let refs = decode::narrow(&numbers(&bytes)?, offset, "reference", bound)?;
                if to == self.schema.id {
                    summarize::not_later(&refs, Some(offset))?;
                }
                Ok(ColumnData::Refs(refs))
            }
            ColumnType::Bytes => {
                let bound = chunk.strings()?.len();
                let ids = decode::u32s(&bytes, offset, rows, "string number", bound)?;
                Ok(ColumnData::Strings(ids.into_iter().map(StrId).collect()))
            }
            ColumnType::U64List { key } => {
                let (ends, values) =
                    decode::list(&bytes, offset, rows, || self.groups(key), &chunk.body.list_values)?;
                Ok(ColumnData::ListU64 { ends, values })
            }
            ColumnType::BytesList { key } => {
                let bound = chunk.strings()?.len();
                let (ends, values) =
                    decode::list(&bytes, offset, rows, || self.groups(key), &chunk.body.list_values)?;
                let values = decode::narrow(&values, offset, "string number", bound)?;
                Ok(ColumnData::ListStrings { ends, values: values.into_iter().map(StrId).collect() })
            }
        }
    }
}
