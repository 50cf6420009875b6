//! Kinds of events that are in no file, but follow from the events that are: they are computed when a capture is read, chunk by
//! chunk in the order of time, and then filtered, grouped and shown like all others.

mod carry;
mod conn;
mod merged;
mod output;
mod thread_state;

use std::fmt;
use std::sync::Arc;

use capture_format::{Chunk, FormatError, Header};
use events::{Kind, KindSet};

use crate::model::{Binding, ChunkView, with_derived};

use conn::Conns;
use output::Output;
use thread_state::ThreadStates;

/// What has to be read before and after the range of a question, ns: what led to the first events in it, and the ends of calls in
/// which threads are at its end.
pub const MARGIN: i64 = 10_000_000_000;

/// What is wanted of derived events.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Which kinds.
    pub kinds: KindSet,
    /// Whether the files and arguments of calls.
    pub files: bool,
}

impl Wanted {
    /// What is needed for either of two purposes.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { kinds: self.kinds.union(other.kinds), files: self.files || other.files }
    }
}

/// A time range in boot-clock ns.
#[derive(Clone, Copy, Debug)]
pub struct Range {
    /// The first moment.
    pub from: u64,
    /// The last one.
    pub to: u64,
}

/// Makes the events of one kind from those of a capture.
trait Derive: Send + fmt::Debug {
    /// Adds what follows from a chunk. Chunks come in the order of time.
    fn chunk(&mut self, view: &ChunkView<'_>, out: &mut Output) -> Result<(), FormatError>;

    /// Adds what is known at the end.
    fn finish(&mut self, out: &mut Output) -> Result<(), FormatError>;
}

/// The derived events of one capture.
#[derive(Debug)]
pub struct Derivation {
    binding: Arc<Binding>,
    derived: Vec<Box<dyn Derive>>,
    out: Output,
}

impl Derivation {
    /// Events from the chunks of the capture with this header. `range` is what is asked for: parts of threads'
    /// time are cut at its ends.
    ///
    /// # Errors
    /// If the tables of the file collide with those of the kinds.
    pub fn new(header: &Header, wanted: Wanted, range: Range) -> Result<Self, FormatError> {
        let schema = Arc::new(with_derived(&header.schema)?);
        let own = Header { schema: Arc::clone(&schema), ..header.clone() };
        let make = |kind: Kind| -> Option<Box<dyn Derive>> {
            match kind {
                Kind::ThreadState => {
                    Some(Box::new(ThreadStates::new(Recorded::of(header), wanted.files, range)))
                }
                Kind::Conn => Some(Box::new(Conns::new(header, range))),
                _ => None,
            }
        };
        let derived = wanted.kinds.iter().filter_map(make).collect();
        Ok(Self { binding: Arc::new(Binding::new(Arc::new(own))), derived, out: Output::new(schema) })
    }

    /// Whether the chunks of a segment with this header belong to the same capture.
    pub fn is_of(&self, header: &Header) -> bool {
        let own = &self.binding.header;
        let tables = own.schema.tables();
        own.capture_uuid == header.capture_uuid
            && own.labels == header.labels
            && own.vocabularies == header.vocabularies
            && tables.starts_with(header.schema.tables())
    }

    /// The schema of the derived chunks.
    pub fn binding(&self) -> &Arc<Binding> {
        &self.binding
    }

    /// What follows from the next chunk.
    ///
    /// # Errors
    /// If a column that is needed is damaged.
    pub fn chunk(&mut self, view: &ChunkView<'_>) -> Result<Vec<Chunk>, FormatError> {
        self.out.set_wall_offset(view.chunk.summary().wall_offset);
        for derived in &mut self.derived {
            derived.chunk(view, &mut self.out)?;
        }
        self.out.take()
    }

    /// What follows from the end.
    ///
    /// # Errors
    /// None that the chunks before have not had.
    pub fn finish(&mut self) -> Result<Vec<Chunk>, FormatError> {
        for derived in &mut self.derived {
            derived.finish(&mut self.out)?;
        }
        self.out.take()
    }
}

/// What a capture has of threads.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    /// When it began, boot-clock ns.
    started: u64,
    /// Whether it has forks.
    has_forks: bool,
    /// Whether it is about some containers, or a command and its children, alone. Of other threads, it has the switches in which one
    /// of those takes part.
    is_scoped: bool,
}

impl Recorded {
    fn of(header: &Header) -> Self {
        let has_word =
            |list: &str| list.split(',').any(|word| ["fork", "thread_state"].contains(&word.trim()));
        let has_command = header.command_line.iter().any(|word| word == b"--");
        Self {
            started: header.created.saturating_sub(header.wall_offset).max(0) as u64,
            has_forks: header.option("events").is_none_or(has_word),
            is_scoped: has_command || header.option("container").is_some(),
        }
    }
}

#[cfg(test)]
mod tests;
