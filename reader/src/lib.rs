//! Reads ktape captures: what an event means, which fields it has, and which events a query selects.

pub mod containers;
pub mod fields;
pub mod filter;
pub mod model;
pub mod names;
pub mod scan;
pub mod syscalls;
pub mod text;
pub mod view;
