//! What needs neither root nor a kernel feature: the `ktape` binary, and the captures of `tests/golden`.
//!
//! These tests belong to package ktape, so that `cargo test` builds the binary that they run.

mod cases;
mod coverage;
mod documentation;
#[path = "../src/examples.rs"]
mod examples;
mod golden;
mod own_names;
mod sandbox;
mod tool;
