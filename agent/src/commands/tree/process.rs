//! A process of a capture.

/// A process by the boot of its host, its id and its start (boot clock in ns; 0 if unknown).
pub type Key = ([u8; 16], u64, u64);

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// Wall clock, ns.
    pub at: i64,
    /// Exit status.
    pub status: i64,
    /// The signal that killed it; 0 if none did.
    pub signal: u32,
    pub dumped_core: bool,
}

/// A process.
#[derive(Clone, Debug, Default)]
pub struct Process {
    pub key: Key,
    pub host: String,
    /// The first parent that is known.
    pub parent: Option<Key>,
    /// Wall clock, ns.
    pub start: Option<i64>,
    pub name: Vec<u8>,
    pub exe: Vec<u8>,
    /// Each followed by a NUL, except for the last one if they are cut.
    pub args: Vec<u8>,
    /// The user's name on its host, or the id.
    pub user: String,
    /// The name of the container, or its id; empty on the host.
    pub container: String,
    pub container_id: Vec<u8>,
    pub end: Option<End>,
    /// Threads of which there is an event, or that one refers to.
    pub threads: u64,
    /// Events, or with an expression those that match.
    pub events: u64,
    /// Whether it is printed, for its own sake or as an ancestor.
    pub is_shown: bool,
    /// Until when what is known of it is from, wall clock in ns.
    pub as_of: i64,
}

impl Process {
    pub fn pid(&self) -> u64 {
        self.key.1
    }

    /// How long it ran, in ns; `None` if it had not ended, or its start is unknown.
    pub fn duration(&self) -> Option<u64> {
        let (start, end) = (self.start?, self.end?);
        u64::try_from(end.at.saturating_sub(start)).ok()
    }
}
