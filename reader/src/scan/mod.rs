//! Reading captures: which chunks can matter, which of their events do, and in which order they come.

pub mod capture_set;
pub mod containers;
pub mod copy;
pub mod damaged;
pub mod follow;
pub mod input;
pub mod live;
pub mod merge;
pub mod open;
pub mod query;
pub mod sink;
pub mod stream;

#[cfg(test)]
mod tests;

pub use containers::{Containers, Known};
pub use copy::copy_matching;
pub use damaged::Damaged;
pub use input::{Capture, Input, InputError};
pub use live::Live;
pub use merge::{Outcome, replay_files};
pub use query::{LossTally, Query};
pub use sink::{Flow, Pace, PrintSink, Sink};
pub use stream::replay_stream;
