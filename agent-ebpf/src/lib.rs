//! The ABI between ktape's eBPF programs and its agent: every struct that crosses a ring or a
//! map.
//!
//! This library depends on `events` alone and needs no `std`, so both sides compile the same source.
//! The ring layout may change with any commit (the object and the agent always come from the
//! same tree); what lasts is the file, whose schema follows from the table in the crate `events`.

#![no_std]

pub mod config;
pub mod kfunc;
pub mod records;
pub mod spec;
