//! ktape: a tape recorder for the Linux kernel. See `ARCHITECTURE.md`.

pub mod agent_events;
pub mod background;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod containers;
pub mod host_root;
pub mod kernel;
pub mod readers;
pub mod record;
pub mod runtimes;
pub mod sample;
pub mod secrets;
pub mod session;
pub mod store;
pub mod usage;
