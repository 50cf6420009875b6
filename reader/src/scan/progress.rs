//! How far a scan is.

use std::sync::atomic::{AtomicU64, Ordering};

/// How many events a scan has to look at, and has looked at. One atomic addition per chunk.
#[derive(Debug, Default)]
pub struct ScanProgress {
    total: AtomicU64,
    done: AtomicU64,
}

impl ScanProgress {
    pub(super) fn begin(&self, events: u64) {
        self.done.store(0, Ordering::Relaxed);
        self.total.store(events, Ordering::Relaxed);
    }

    pub(super) fn add(&self, events: u64) {
        self.done.fetch_add(events, Ordering::Relaxed);
    }

    /// Events in the chunks that have been read.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// Events in all chunks that have to be read; 0 before the first one.
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }
}
