//! Everything that touches the running kernel: its types, our programs in it, their rings and maps.

mod block;
pub mod btf;
mod config;
mod error;
pub mod hooks;
mod load;
mod loss;
pub mod preemption;
mod programs;
mod ring;
mod rings;
mod specs;
pub mod stalls;
pub mod symbols;
mod tasks;
mod verify;

pub use block::RequestNames;
pub use config::{Selection, offsets};
pub use error::LoadError;
pub use load::{Settings, sort};
pub use loss::{LossCounters, Lost};
pub use programs::{LoadedPrograms, ProgramReport};
pub use ring::Ring;
pub use rings::{Rings, online_cpus, page_size};
pub use tasks::ScannedTask;
