//! Everything that touches the running kernel: its types, our programs in it, their rings and maps.

pub mod btf;
mod config;
mod load;
mod loss;
mod ring;
mod tasks;

pub use config::{Selection, offsets};
pub use load::{Capture, LoadError, ProgramReport, Rings, Settings, online_cpus};
pub use loss::{LossCounters, Lost};
pub use ring::Ring;
pub use tasks::ScannedTask;
