//! Reading captures: selects the chunks that can match, their matching events, and the order of events.

mod around;
pub mod capture_set;
mod captures;
mod columns;
pub mod container_match;
mod copy;
mod damaged;
mod derived;
mod file_order;
mod find_around;
pub mod follow;
mod incoming;
pub mod input;
mod live;
mod open;
mod parallel;
mod parties;
mod plan;
mod privacy;
mod progress;
mod query;
mod report;
mod sink;
pub mod stream;
mod time_order;

#[cfg(test)]
mod tests;

pub use crate::derive::Wanted;
pub use around::Around;
pub use capture_set::{CaptureSet, Input};
pub(crate) use captures::Coverage;
pub use captures::{Captures, QueryError, Search};
pub use columns::{ChunkMatches, FieldColumn, TableMatches};
pub use container_match::{Containers, KnownContainers};
pub use damaged::Damaged;
pub use find_around::{AroundError, Margins};
pub use incoming::ArrivedChunk;
pub use input::{Capture, InputError};
pub use live::Live;
pub use progress::ScanProgress;
pub use query::{ChunkRelevance, LossTally, Query};
pub use report::ScanReport;
pub use sink::{EventSink, Playback, PrintSink};
pub use stream::{replay_stream, scan_stream};
pub use time_order::Events;
