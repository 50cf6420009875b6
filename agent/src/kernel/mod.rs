//! Everything that touches the running kernel: its types, ktape's programs in it, their ring buffers and maps.

mod block;
pub mod btf;
mod casts;
mod config;
mod connections;
mod error;
pub mod hooks;
mod iterator;
mod load;
mod loss;
mod maps;
pub mod preemption;
mod programs;
mod reader_set;
mod ring_buffer;
mod ring_buffers;
mod settings;
mod specs;
pub mod stalls;
pub mod symbols;
mod tasks;
mod trial;
mod verify;

pub use block::RequestNames;
pub use config::offsets;
pub use connections::ConnectionScanner;
pub use error::LoadError;
pub use load::kernel_variant;
pub use loss::{EventLoss, LossCounters};
pub use programs::{LoadedPrograms, ProgramReport};
pub use reader_set::ReaderSet;
pub use ring_buffer::{RingBuffer, page_size};
pub use ring_buffers::{RingBuffers, online_cpus};
pub use settings::{Settings, SyscallSelection};
pub use specs::is_filled_in;
pub use tasks::ScannedTask;
