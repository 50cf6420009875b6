//! Everything that touches the running kernel: its types, our programs in it, their rings and maps.

mod block;
pub mod btf;
mod config;
mod error;
pub mod hooks;
mod load;
mod loss;
mod maps;
pub mod preemption;
mod programs;
mod ring;
mod rings;
mod settings;
mod specs;
pub mod stalls;
pub mod symbols;
mod tasks;
mod verify;

pub use block::RequestNames;
pub use config::offsets;
pub use error::LoadError;
pub use load::sort;
pub use loss::{LossCounters, Lost};
pub use programs::{LoadedPrograms, ProgramReport};
pub use ring::{Ring, page_size};
pub use rings::{Rings, online_cpus};
pub use settings::{Selection, Settings};
pub use tasks::ScannedTask;
