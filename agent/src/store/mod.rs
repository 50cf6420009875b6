//! Where a capture is kept: standard output, one file, or a series of files that is kept within limits.
//!
//! All of it runs on the thread that writes. A disk that does not answer stops that thread and nothing else: the queue before
//! it fills, and the kernel counts what is lost. What reached the writer and could not be written is counted here, and told by
//! the next chunk that can be written, at the latest by the last.

mod file;
pub mod header;
pub mod limits;
mod names;
pub mod output;
mod series;
mod space;
mod sync;
mod unwritten;
mod writer;

pub use limits::Limits;
pub use series::Series;
pub use writer::{Place, Store};
