//! Conversion of values to text and back: escaping, numbers, times, durations, sizes, addresses; colours.

pub mod address;
pub mod escape;
pub mod glob;
pub mod number;
pub mod paint;
pub mod suggest;
pub mod time;
pub mod units;
