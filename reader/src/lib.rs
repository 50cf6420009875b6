//! Reads ktape captures: events in the order of time, or columns of values on all cores.
//!
//! A capture is a `.ktape` file that `ktape capture` has written. This library needs neither root nor the kernel that
//! was recorded, and none of the recorder.
//!
//! # Events, one after the other
//!
//! [`Captures::open`](scan::Captures::open) opens files and directories, [`query`](scan::Captures::query) asks for the
//! events that pass an expression (the language of `ktape replay`), and [`events`](scan::Search::events) hands them over
//! in the order in which they ended, across all files.
//!
//! ```
//! use ktape_reader::fields::{lookup, values};
//! use ktape_reader::scan::{Captures, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captures = Captures::open(&["../tests/golden/calls-0.1.ktape"])?;
//! let search = captures.query(Query::parse("evt.type = openat and fd.name startswith /none")?)?;
//!
//! let (path, _) = lookup("fd.name")?;
//! let mut scratch = Vec::new();
//! let mut paths = Vec::new();
//! let mut events = search.events();
//! while let Some(event) = events.next() {
//!     paths.push(values::value(event, &path, &mut scratch).to_string());
//! }
//! assert_eq!(paths, ["/none"]);
//!
//! // What was lost could have been one of them; a reader says so.
//! let report = events.report();
//! assert_eq!((report.matching, report.lost.total), (1, 0));
//! # Ok(())
//! # }
//! ```
//!
//! An [`Event`](model::Event) borrows from a chunk of the file that is open; copy out of it what you keep. The common
//! columns are methods (start, end, CPU, flags), everything else is a [field](fields::registry): the names that `ktape
//! fields` prints.
//!
//! # Counts and sums, on all cores
//!
//! A capture consists of chunks of up to 65,536 events that stand alone. [`scan`](scan::Search::scan) reads them in any
//! order, in parallel, and decodes only the columns that are looked at:
//!
//! ```
//! use std::collections::BTreeMap;
//!
//! use ktape_reader::fields::lookup;
//! use ktape_reader::scan::{Captures, Query};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let captures = Captures::open(&["../tests/golden/calls-0.1.ktape"])?;
//! let (call, _) = lookup("syscall.type")?;
//! let (counts, _report) = captures.query(Query::parse("evt.category = syscall")?)?.scan(
//!     BTreeMap::<String, u64>::new,
//!     |counts, chunk| {
//!         let mut scratch = Vec::new();
//!         for table in chunk.tables() {
//!             let column = table.column(&call);
//!             for row in table.rows() {
//!                 *counts.entry(column.value(*row, &mut scratch).to_string()).or_default() += 1;
//!             }
//!         }
//!     },
//!     |all, part| part.into_iter().for_each(|(name, count)| *all.entry(name).or_default() += count),
//! );
//! assert_eq!(counts["getppid"], 21);
//! # Ok(())
//! # }
//! ```
//!
//! Rows of a chunk share most of their values. [`FieldColumn::id`](scan::FieldColumn::id) gives a small number for the
//! value of a row, so that each value is looked at once in a chunk; `examples/count_by.rs` is a whole program.
//!
//! # Modules
//!
//! | module | contents |
//! |---|---|
//! | [`scan`] | open captures, query them, events and columns, filtered copies |
//! | [`stats`] | group, count, sum, percentiles: questions about many events |
//! | [`fields`] | every field by name, and its value in an event |
//! | [`filter`] | the expression language: parse, evaluate, decide from a chunk's summary |
//! | [`model`] | what is in a chunk: events, threads, processes, cgroups, names of containers |
//! | [`view`] | events as text, JSON and CSV |
//! | [`syscalls`] | names, arguments and types of system calls |
//! | [`containers`] | containers in the path of a cgroup |
//! | [`names`], [`text`] | names of errors and signals; escaping, numbers, times, units |

pub mod containers;
mod derive;
pub mod fields;
pub mod filter;
pub mod model;
pub mod names;
pub mod scan;
pub mod stats;
pub mod syscalls;
pub mod text;
pub mod view;
