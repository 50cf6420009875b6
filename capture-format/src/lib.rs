//! The `.ktape` file: writing, reading, recovery. It stores tables of typed columns and knows nothing of kernels or events.
//!
//! # A capture file
//!
//! A file is a sequence of segments, one for each run of a recorder, so `cat a.ktape b.ktape` is a capture, too. A segment is
//! a [header](Header) with the [schema](Schema), then chunks, metadata and indexes, then a trailer. Each chunk holds up to
//! about a second of events, with all strings and dictionary rows that they refer to, and a [summary](ChunkSummary) of its
//! content. Hence readers can seek, read in parallel and skip chunks, and damage costs one chunk.
//!
//! `docs/format.md` specifies every byte.
//!
//! # Write
//!
//! Declare tables in a [`Schema`], fill a [`ChunkBuilder`] row by row, encode it with an [`Encoder`] (on another thread, if you
//! like) and pass the [`EncodedBlock`] to a [`SegmentWriter`]. This writes a capture of two chunks to memory, about processes that
//! open files:
//!
//! ```
#![doc = include_str!("doc/write.rs")]
//!
//! # fn main() -> Result<(), FormatError> {
//! assert!(write()?.len() < 2_000);
//! # Ok(())
//! # }
//! ```
//!
//! # Read
//!
//! [`CaptureFile`] opens a file, or anything else that can seek, and lists its chunks without reading them. Columns are
//! decompressed when they are first accessed. Rows of a `Ref` column are row numbers of its dictionary, and strings are numbers
//! that [`Chunk::str`] resolves.
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc/write.rs"));
//! # fn main() -> Result<(), FormatError> {
//! # let bytes = write()?;
//! use capture_format::CaptureFile;
//!
//! let file = CaptureFile::from_reader(std::io::Cursor::new(bytes))?;
//! assert_eq!(file.segments()[0].header.host, "web-1");
//! let mut lines = Vec::new();
//! for entry in file.chunks() {
//!     let chunk = file.read_chunk(entry)?;
//!     let (Some(open), Some(process)) = (chunk.table(OPEN), chunk.table(PROCESS)) else { continue };
//!     let (times, processes, paths) = (open.u64(0)?, open.refs(1)?, open.bytes(2)?);
//!     let names = process.bytes(1)?;
//!     for row in 0..open.rows() {
//!         let name = chunk.str(names[processes[row] as usize]);
//!         let path = chunk.str(paths[row]);
//!         lines.push(format!("{} {} {}", times[row], name.escape_ascii(), path.escape_ascii()));
//!     }
//! }
//! assert_eq!(lines, ["1000 cat /etc/passwd", "2000 cat /var/log/syslog"]);
//! # Ok(())
//! # }
//! ```
//!
//! # Skip chunks that cannot match
//!
//! The summary of a chunk has its time range, the rows of each table and the distinct values of the columns that the schema
//! lists for summaries. It is available without reading the chunk:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc/write.rs"));
//! # fn main() -> Result<(), FormatError> {
//! # let bytes = write()?;
//! # use capture_format::CaptureFile;
//! # let file = CaptureFile::from_reader(std::io::Cursor::new(bytes))?;
//! use capture_format::SummaryValue;
//!
//! let wanted = SummaryValue::Bytes(b"/var/log/syslog");
//! let mut chunks = file.chunks().filter(|entry| {
//!     entry.summary.end_max >= 1_500 && entry.summary.values(OPEN, 2).may_contain(|path| path == wanted)
//! });
//! let entry = chunks.next().expect("the second chunk");
//! assert_eq!((entry.summary.end_min, entry.summary.rows(OPEN)), (2_000, 1));
//! assert!(chunks.next().is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # Recover a damaged file
//!
//! Errors are typed and say where and what. A file without a trailer, with a cut end or with damage in the middle opens like any
//! other; [`CaptureFile::damage`] lists what is unreadable. Damage within a chunk appears when the chunk is read. Here the file
//! is cut in its second chunk:
//!
//! ```
//! # include!(concat!(env!("CARGO_MANIFEST_DIR"), "/src/doc/write.rs"));
//! # fn main() -> Result<(), FormatError> {
//! # let mut bytes = write()?;
//! # use capture_format::CaptureFile;
//! # let whole = CaptureFile::from_reader(std::io::Cursor::new(bytes.clone()))?;
//! # let second = whole.chunks().nth(1).expect("two chunks").offset;
//! bytes.truncate(second as usize + 100);
//! let file = CaptureFile::from_reader(std::io::Cursor::new(bytes))?;
//! assert_eq!(file.chunks().count(), 1);
//! assert!(!file.segments()[0].complete);
//! let [damage] = file.damage() else { panic!("one damaged place") };
//! assert_eq!((damage.offset, damage.len), (second, 100));
//! assert!(matches!(damage.cause, FormatError::Truncated { found: 100, .. }));
//! assert!(damage.is_cut_end(file.bytes()));
//! # Ok(())
//! # }
//! ```
//!
//! # More
//!
//! - [`StreamReader`] reads a capture from a pipe; damage is one of its [items](StreamItem).
//! - [`verify()`] checks every byte of a file; [`copy_rows`] copies rows with exactly what they refer to.
//! - Files may come from anybody. Readers check lengths against the [limits] before they allocate memory and never panic,
//!   whatever the bytes are; the tests mutate and fuzz them with checksums made right.

mod block;
mod builder;
mod chunk;
mod codec;
mod column_type;
mod compression;
mod copy;
mod decode;
mod derive;
mod encode;
mod error;
mod file;
mod group;
mod header;
mod hidden;
mod index;
mod intern;
pub mod limits;
mod metadata;
mod pipe;
mod pressure;
mod scan;
mod schema;
mod segment;
mod source;
mod stream;
mod summarize;
mod summary;
mod varint;
mod vector;
mod verify;
mod writer;

pub use builder::{ChunkBuilder, TableBuilder};
pub use chunk::{Chunk, ColumnView, ListView, TableView};
pub use column_type::{ColumnType, TableId};
pub use compression::Compression;
pub use copy::{CopyCache, copy_row, copy_rows, copy_string};
pub use encode::{ColumnLayout, ColumnSize, EncodeOptions, EncodedBlock, Encoder};
pub use error::{Damage, FormatError};
pub use file::CaptureFile;
pub use header::{Header, Vocabulary};
pub use hidden::Hidden;
pub use intern::StrId;
pub use metadata::{MetadataIndex, MetadataKey, MetadataRecord};
pub use pipe::{StreamItem, StreamReader};
pub use pressure::Pressure;
pub use schema::{ColumnSchema, Schema, TableRole, TableSchema};
pub use segment::{ChunkEntry, Segment};
pub use summary::{ChunkSummary, SummaryIter, SummaryValue, SummaryValues};
pub use verify::{Verified, verify};
pub use writer::SegmentWriter;
