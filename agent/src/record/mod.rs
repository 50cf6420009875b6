//! Recording: from the ring buffers to full chunks. See `ARCHITECTURE.md` for the flow.
//!
//! [`prepare()`] loads the programs, [`Prepared::attach`] attaches them, and [`Attached::start`] starts the drain. Below the
//! drain are two traits (`source.rs`), so that everything above runs without a kernel: in unit tests, and in
//! `benches/record_path.rs` by [`testing`].

mod budget;
mod cgroups;
mod chunk;
mod cmdline;
mod columns;
mod connections;
mod cpu_stream;
mod decode;
mod dictionary_rows;
mod drain;
mod files;
mod memory;
mod merge;
mod pending;
mod prepare;
mod processes;
mod progress;
mod request;
mod rows;
mod sink;
mod source;
mod stall;
mod start;
#[cfg(test)]
mod test_records;
// Benchmarks are crates of their own: this is all that they see of the recorder.
#[doc(hidden)]
pub mod testing;
mod unwritten;
mod users;

pub use budget::{MemoryNeed, RING_LARGEST, RING_MIN};
pub use cgroups::Busy;
pub use chunk::{ContainerUpdates, FilledChunk};
pub use drain::{Outcome, Stop};
pub use prepare::{Prepared, prepare};
pub use progress::{End, Progress};
pub use request::{RecordError, Request};
pub use sink::{ChunkSender, Destination, Stages, Viewer, to_counter, to_destination, to_viewer};
pub use start::{Attached, Recording};
pub use unwritten::unwritten_rows;
