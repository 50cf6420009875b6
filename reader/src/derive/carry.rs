//! Rows of dictionaries that are needed after their chunk.

use std::mem;
use std::sync::Arc;

use capture_format::{Chunk, ChunkBuilder, CopyCache, FormatError, Schema, TableId, copy_row};

use crate::model::ChunkView;

/// Rows of one dictionary, with all that they refer to. Each user holds the number of its row, and gives it back when
/// [`Self::compact`] asks for it.
#[derive(Debug)]
pub(super) struct Carry {
    table: TableId,
    builder: ChunkBuilder,
    cache: CopyCache,
    /// Rows at the last compaction.
    compacted: u32,
}

/// Below this number of rows, memory is of no concern.
const FEW: u32 = 4096;

impl Carry {
    pub(super) fn new(schema: Arc<Schema>, table: TableId) -> Self {
        Self { table, builder: ChunkBuilder::new(schema), cache: CopyCache::new(), compacted: 0 }
    }

    /// Keeps a row of a chunk; returns its number here.
    pub(super) fn keep(&mut self, view: &ChunkView<'_>, row: u32) -> Result<u32, FormatError> {
        copy_row(view.chunk, &mut self.builder, self.table, row, &mut self.cache)
    }

    fn rows(&self) -> u32 {
        self.builder.schema().index(self.table).map_or(0, |index| self.builder.rows_at(index))
    }

    /// Whether most of the rows may be of no use any more: time for [`Self::compact`].
    pub(super) fn is_large(&self) -> bool {
        self.rows() > FEW.max(self.compacted.saturating_mul(2))
    }

    /// Forgets all rows but those that are still in use, which get new numbers.
    pub(super) fn compact<'a>(
        &mut self,
        in_use: impl Iterator<Item = &'a mut u32>,
    ) -> Result<(), FormatError> {
        let old = self.take()?;
        for row in in_use {
            *row = copy_row(&old, &mut self.builder, self.table, *row, &mut self.cache)?;
        }
        self.compacted = self.rows();
        Ok(())
    }

    /// All rows as a chunk; none are left.
    pub(super) fn take(&mut self) -> Result<Chunk, FormatError> {
        let empty = ChunkBuilder::new(Arc::clone(self.builder.schema()));
        self.cache = CopyCache::new();
        self.compacted = 0;
        Chunk::from_builder(mem::replace(&mut self.builder, empty))
    }
}
