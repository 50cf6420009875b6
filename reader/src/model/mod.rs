//! The event model of a file: the table of event kinds and the dictionaries turned into a schema,
//! and the way back from the schema of any file to kinds, columns and names.

pub mod attribute_names;
pub mod binding;
pub mod calls;
mod dict_rows;
pub mod dictionaries;
pub mod event;
mod lineage;
pub mod metadata;
pub mod rows;
mod schema;
mod select;
mod task_rows;

#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use binding::{Binding, BoundColumn, EventTable};
pub use calls::{Call, Calls};
pub use dict_rows::{CgroupRow, FileRow, ProcessRow, TaskRow};
pub use event::{CallEvent, Context, Event, FileRef, FilesKey};
pub use metadata::ContainerNames;
pub use rows::{CallColumns, CallString, ChunkView, Rows, short_id};
pub use schema::{CALLS, column, event_table, schema, with_derived};
pub use select::ContainerSelector;
