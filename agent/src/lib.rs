//! ktape: a tape recorder for the Linux kernel. See `ARCHITECTURE.md`.

pub mod commands;
pub mod containers;
pub mod filter;
pub mod kernel;
pub mod model;
pub mod names;
pub mod record;
pub mod replay;
pub mod runtimes;
pub mod sample;
pub mod session;
pub mod store;
pub mod syscalls;
pub mod text;
pub mod view;
