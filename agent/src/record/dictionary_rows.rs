//! Rows of the chunk's dictionaries: which one an object has.

/// A row of the chunk with this number.
#[derive(Clone, Copy, Debug, Default)]
pub struct CachedRow {
    /// The chunk; 0 is none.
    pub chunk: u64,
    /// The row.
    pub row: u32,
}

impl CachedRow {
    /// The row, if it is of the chunk with this number.
    pub fn of(self, chunk: u64) -> Option<u32> {
        (self.chunk == chunk).then_some(self.row)
    }
}
