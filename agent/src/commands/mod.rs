//! The commands, each with its options and what it does.

mod allocator;
mod around;
pub mod capture;
mod cell;
pub mod check;
pub mod completions;
pub mod conns;
pub mod containers;
pub mod doctor;
pub mod event_format;
mod expression;
pub mod fields;
pub mod info;
mod inputs;
pub mod replay;
mod report;
mod selection;
pub mod stats;
pub mod tree;
pub mod views;
pub mod watch;
