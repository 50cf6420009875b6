//! How values become text and back: one escape rule, numbers, times, durations, sizes.

pub mod escape;
pub mod glob;
pub mod number;
pub mod time;
pub mod units;
