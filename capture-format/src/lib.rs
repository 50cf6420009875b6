//! The `.ktape` file: a writer, a reader, recovery.
//!
//! A file is a sequence of segments (`cat` makes one file of two), a segment a sequence of blocks: a header, chunks of events,
//! metadata, an index, a trailer. A chunk stands alone: it has its own dictionaries and says in
//! its summary what is in it. `docs/format.md` describes every byte.
//!
//! Writing: fill a [`ChunkBuilder`], encode it with an [`Encoder`] (on another thread if need be),
//! give the [`EncodedBlock`] to a [`SegmentWriter`]. Reading: [`CaptureFile`] for files, [`StreamReader`] for
//! pipes; both give [`Chunk`]s.

mod block;
mod builder;
mod chunk;
mod codec;
mod copy;
mod decode;
mod encode;
mod error;
mod file;
mod group;
mod header;
mod index;
mod intern;
pub mod limits;
mod metadata;
mod pipe;
mod scan;
mod schema;
mod stream;
mod summarize;
mod summary;
mod varint;
mod verify;
mod writer;

pub use block::FORMAT_VERSION;
pub use builder::{ChunkBuilder, TableBuilder};
pub use chunk::{Chunk, ColumnView, ListView, TableView};
pub use copy::{CopyCache, copy_rows};
pub use encode::{ColumnSize, EncodeOptions, EncodedBlock, Encoder, Layout};
pub use error::{Damage, FormatError};
pub use file::{CaptureFile, ChunkEntry, Segment};
pub use header::{Header, Vocabulary};
pub use intern::StrId;
pub use metadata::{MetadataIndex, MetadataKey, MetadataRecord};
pub use pipe::{StreamItem, StreamReader};
pub use schema::{ColumnSchema, ColumnType, Schema, TableId, TableRole, TableSchema};
pub use summary::{ChunkSummary, SummaryIter, SummaryValues, Value};
pub use verify::{Verified, verify};
pub use writer::SegmentWriter;
