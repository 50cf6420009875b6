//! Conversion of values to text and back: escaping, numbers, times, durations, sizes.

pub mod escape;
pub mod glob;
pub mod number;
pub mod time;
pub mod units;
