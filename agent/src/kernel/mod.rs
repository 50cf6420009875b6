//! Everything that touches the running kernel: its types, our programs in it, their rings and maps.

mod block;
pub mod btf;
mod config;
pub mod hooks;
mod load;
mod loss;
mod ring;
pub mod stalls;
pub mod symbols;
mod tasks;
mod verify;

pub use block::RequestNames;
pub use config::{Selection, offsets};
pub use load::{Capture, LoadError, ProgramReport, Rings, Settings, is_legacy, online_cpus};
pub use loss::{LossCounters, Lost};
pub use ring::Ring;
pub use tasks::ScannedTask;
