//! Rows of the chunk's dictionaries: which one an object has, and how much of it is written.

/// What is written of a process that an event only refers to, with `--container`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    /// Its ids: it runs in a container that is not recorded.
    Ids,
    /// Its name too: it runs on the host.
    Name,
    /// Everything.
    All,
}

/// A row of the chunk with this number.
#[derive(Clone, Copy, Debug, Default)]
pub struct CachedRow {
    /// The chunk; 0 is none.
    pub chunk: u64,
    /// The row.
    pub row: u32,
}
