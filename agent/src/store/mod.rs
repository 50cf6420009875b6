//! Where a capture is written: standard output, one file, or rotated files that are kept within limits.
//!
//! Everything here runs on the writing thread, except fsync. A disk that does not answer blocks that thread and nothing
//! else: the queue in front of it fills up, and the kernel counts what is lost. Events that reached the writer and could
//! not be written are counted here and become loss records in the next chunk that can be written, at the latest in the
//! last one.

mod file;
mod file_system;
pub mod header;
pub mod limits;
mod metadata;
pub mod output;
mod rotated;
mod sync;
mod unwritten;
mod writer;

#[cfg(test)]
mod tests;

pub use limits::StoreLimits;
pub use rotated::RotatedFiles;
pub use writer::{Store, StoreOutput, StoreSettings};
