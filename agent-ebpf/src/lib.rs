//! The ABI between ktape's eBPF programs and its agent: every struct that crosses a ring or a
//! map, and the one table that declares every kind of event.
//!
//! This library has no dependency and needs no `std`, so both sides compile the same source.
//! The ring layout may change with any commit (the object and the agent always come from the
//! same tree); what lasts is the file, whose schema the agent derives from [`kinds`].

#![no_std]

pub mod config;
pub mod kfunc;
pub mod records;
pub mod spec;
