//! What the threads of a recording report while they run, for the session and for each other.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Mutex, PoisonError};

/// Counters and requests shared by all threads of a recording.
#[derive(Debug, Default)]
pub struct Progress {
    /// Events in chunks that the drain has handed over, before any filter.
    pub events: AtomicU64,
    /// Events in chunks that are encoded.
    pub encoded: AtomicU64,
    /// Chunks that wait for the encoder or the viewer.
    pub waiting: AtomicUsize,
    /// How full the fullest ring buffer of frequent events was when the drain began to read, in thousandths.
    pub fill: AtomicU64,
    /// Chunks that were compressed less.
    pub less_chunks: AtomicU64,
    /// Their bytes.
    pub less_bytes: AtomicU64,
    /// Events lost, at any stage.
    pub lost: AtomicU64,
    /// Bytes written, in all files.
    pub bytes: AtomicU64,
    /// Files begun.
    pub files: AtomicU64,
    /// Rotated files that were deleted.
    pub deleted: AtomicU64,
    /// Bytes of the rotated files that are kept.
    pub kept: AtomicU64,
    /// Events that reached the writer and could not be written.
    pub unwritten: AtomicU64,
    /// Set to have the next rotated file begun.
    pub next_file: AtomicBool,
    /// Rounds of the drain: it is blocked if this does not change.
    pub beats: AtomicU64,
    /// Why the writer requests the end.
    end: Mutex<Option<End>>,
    /// Events dropped because no runtime named their containers in time.
    pub unidentified: AtomicU64,
    /// Events dropped because a live view was too slow.
    pub unshown: AtomicU64,
    /// Set when a stage cannot go on.
    pub failed: AtomicBool,
}

/// Why the writer requests the end of a capture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The capture has reached its largest size, bytes.
    MaxSize(u64),
    /// Free space is below the limit, as a message.
    NoRoom(String),
    /// The file system is full.
    Full,
}

impl Progress {
    /// Requests the end of the capture; the first reason is kept.
    pub fn end(&self, end: End) {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(end);
    }

    /// Why the writer requests the end, if it does.
    pub fn wants_to_end(&self) -> Option<End> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
