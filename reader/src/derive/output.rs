//! Chunks of derived events.

use std::mem;
use std::sync::Arc;

use capture_format::limits::CHUNK_EVENT_ROWS;
use capture_format::{
    Chunk, ChunkBuilder, ColumnType, CopyCache, FormatError, Schema, StrId, TableBuilder, TableId, copy_row,
    copy_string,
};
use events::{CPU_UNKNOWN, Kind};

use crate::model::{ChunkView, event_table};

/// Chunks that are being filled with derived events.
#[derive(Debug)]
pub(super) struct Output {
    builder: ChunkBuilder,
    cache: CopyCache,
    rows: usize,
    full: Vec<Chunk>,
    /// Rows that stand for something unknown, by table.
    unknown: Vec<(TableId, u32)>,
    /// Counts chunks.
    generation: u64,
}

impl Output {
    /// An empty one, of chunks with this schema.
    pub(super) fn new(schema: Arc<Schema>) -> Self {
        Self {
            builder: ChunkBuilder::new(schema),
            cache: CopyCache::new(),
            rows: 0,
            full: Vec::new(),
            unknown: Vec::new(),
            generation: 1,
        }
    }

    /// Numbers of rows and strings are valid as long as this does not change.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) fn schema(&self) -> &Arc<Schema> {
        self.builder.schema()
    }

    pub(super) fn set_wall_offset(&mut self, ns: i64) {
        self.builder.set_wall_offset(ns);
    }

    /// Adds an event. `fill` gets the table, to push the kind's own columns; rows and strings that they refer to are made before,
    /// by the other methods, and are valid until this returns.
    pub(super) fn event(
        &mut self,
        kind: Kind,
        common: Common,
        fill: impl FnOnce(&mut TableBuilder),
    ) -> Result<(), FormatError> {
        let table = self.builder.table(event_table(kind));
        table.push_u64(0, common.time);
        table.push_u64(1, CPU_UNKNOWN);
        table.push_ref(2, common.task);
        table.push_u64(3, common.flags.into());
        fill(table);
        table.end_row();
        self.rows += 1;
        if self.rows >= CHUNK_EVENT_ROWS || self.rows.is_multiple_of(1024) && self.builder.is_full() {
            self.close()?;
        }
        Ok(())
    }

    /// The row that is equal to one of a chunk.
    pub(super) fn row(&mut self, view: &ChunkView<'_>, table: TableId, row: u32) -> Result<u32, FormatError> {
        copy_row(view.chunk, &mut self.builder, table, row, &mut self.cache)
    }

    /// The number of a string of a chunk.
    pub(super) fn string(&mut self, view: &ChunkView<'_>, string: StrId) -> Result<StrId, FormatError> {
        copy_string(view.chunk, &mut self.builder, string, &mut self.cache)
    }

    /// The number of a string.
    pub(super) fn text(&mut self, text: &[u8]) -> StrId {
        self.builder.intern(text)
    }

    /// A row that stands for something unknown.
    pub(super) fn unknown(&mut self, table: TableId) -> u32 {
        if let Some((_, row)) = self.unknown.iter().find(|(known, _)| *known == table) {
            return *row;
        }
        let row = self.add_unknown(table);
        self.unknown.push((table, row));
        row
    }

    fn add_unknown(&mut self, table: TableId) -> u32 {
        let Some(schema) = self.builder.schema().get(table) else { return 0 };
        let columns: Vec<ColumnType> = schema.columns.iter().map(|column| column.ty).collect();
        let own = self.builder.schema().index(table).map_or(0, |index| self.builder.rows_at(index));
        for (at, column) in columns.into_iter().enumerate() {
            match column {
                ColumnType::U64 | ColumnType::I64 => self.builder.table(table).push_u64(at, 0),
                ColumnType::Bytes => {
                    let empty = self.builder.intern(b"");
                    self.builder.table(table).push_bytes(at, empty);
                }
                ColumnType::Ref(to) => {
                    let row = if to == table { own } else { self.unknown(to) };
                    self.builder.table(table).push_ref(at, row);
                }
                ColumnType::U64List { .. } => self.builder.table(table).push_list_u64(at, &[]),
                ColumnType::BytesList { .. } => self.builder.table(table).push_list_bytes(at, &[]),
            }
        }
        self.builder.table(table).end_row()
    }

    fn close(&mut self) -> Result<(), FormatError> {
        let mut next = ChunkBuilder::new(Arc::clone(self.builder.schema()));
        next.set_wall_offset(self.builder.wall_offset());
        self.cache.clear();
        self.unknown.clear();
        self.generation += 1;
        self.rows = 0;
        self.full.push(Chunk::from_builder(mem::replace(&mut self.builder, next))?);
        Ok(())
    }

    /// The chunks so far.
    pub(super) fn take(&mut self) -> Result<Vec<Chunk>, FormatError> {
        if self.rows > 0 {
            self.close()?;
        }
        Ok(mem::take(&mut self.full))
    }
}

/// What all events have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Common {
    /// When it ended, boot-clock ns.
    pub(super) time: u64,
    /// Its thread, as a row of the output.
    pub(super) task: u32,
    /// Bits of [`events::flags`].
    pub(super) flags: u32,
}
