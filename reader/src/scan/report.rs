//! What a scan found besides the events.

use super::damaged::Damaged;
use super::query::LossTally;

/// What a scan found besides the events that it handed over.
#[derive(Debug, Default)]
pub struct ScanReport {
    /// Events that matched.
    pub matching: u64,
    /// Lost events that might have matched.
    pub lost: LossTally,
    /// What could not be read.
    pub damaged: Damaged,
    /// More chunks than can be kept in memory overlapped in time, so the order of events may be wrong.
    pub disordered: bool,
    /// Chunks that were read.
    pub chunks_read: u64,
    /// Containers that were asked for and did not occur.
    pub unknown_containers: Vec<String>,
}
