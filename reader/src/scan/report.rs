//! The result of a scan besides the events.

use super::damaged::Damaged;
use super::query::LossTally;

/// The result of a scan besides the events themselves.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// Number of matching events.
    pub matching: u64,
    /// Lost events that might have matched.
    pub lost: LossTally,
    /// Unreadable parts.
    pub damaged: Damaged,
    /// More chunks overlapped in time than are kept in memory, so the order of events may be wrong.
    pub disordered: bool,
    /// Number of chunks read.
    pub chunks_read: u64,
    /// Requested containers that do not occur.
    pub unknown_containers: Vec<String>,
}
