//! Chunks that were never in a file: shown or filtered as they come from the recorder, by the same
//! questions and views as those of a capture.

use std::io;
use std::sync::Arc;

use agent_ebpf::kinds::KINDS;
use capture_format::{Chunk, ChunkBuilder, CopyCache, FormatError, Header, copy_rows};
use jiff::tz::TimeZone;

use crate::filter::Context;
use crate::model::{Binding, Names, event_table};
use crate::text::time::{Span, TimeError};

use super::copy::copy_picks;
use super::merge::hand_over;
use super::open::OpenChunk;
use super::question::{LossTally, Question, Verdict};
use super::sink::{Flow, Sink};

/// A question to chunks of a capture that runs.
#[derive(Debug)]
pub struct Live {
    binding: Arc<Binding>,
    question: Question,
    names: Names,
    start: i64,
    number: u64,
}

impl Live {
    /// Chunks of a capture with this header. Times of day in the question are of `zone`.
    ///
    /// # Errors
    /// If a time counts from the end of the capture, which nobody knows yet.
    pub fn new(header: Header, mut question: Question, zone: TimeZone) -> Result<Self, TimeError> {
        let start = header.created;
        if let Some(filter) = &mut question.filter {
            filter.resolve(&Span { start, end: None, zone })?;
        }
        let binding = Arc::new(Binding::new(Arc::new(header)));
        Ok(Self { binding, question, names: Names::default(), start, number: 0 })
    }

    fn open(&mut self, builder: ChunkBuilder) -> Result<OpenChunk, FormatError> {
        let chunk = Box::new(Chunk::from_builder(builder)?);
        let first = self.number;
        self.number += chunk.event_rows();
        let context = Context { names: &self.names, start: self.start };
        let asked = (&self.question, Verdict::Read);
        OpenChunk::new(chunk, Arc::clone(&self.binding), first, asked, &context, &mut LossTally::default())
    }

    /// Hands the events that match to `sink`.
    ///
    /// # Errors
    /// If the sink fails, or the chunk was not filled by the schema.
    pub fn show(&mut self, builder: ChunkBuilder, sink: &mut dyn Sink) -> io::Result<Flow> {
        let mut open = self.open(builder).map_err(io::Error::other)?;
        let context = Context { names: &self.names, start: self.start };
        let flow = if open.head().is_some() {
            hand_over(&mut open, i64::MAX, &context, sink)?
        } else {
            Flow::Continue
        };
        sink.flush()?;
        Ok(flow)
    }

    /// A chunk of the events that match, and of what the recorder tells of itself.
    ///
    /// # Errors
    /// If the chunk was not filled by the schema.
    pub fn filter(&mut self, builder: ChunkBuilder) -> Result<ChunkBuilder, FormatError> {
        let mut open = self.open(builder)?;
        let mut out = ChunkBuilder::new(Arc::clone(&self.binding.header.schema));
        out.set_wall_offset(open.view().chunk.summary().wall_offset);
        let mut cache = CopyCache::new();
        copy_picks(&mut open, |chunk, table, rows| {
            let own = KINDS.iter().any(|k| event_table(*k) == table && k.is_about_recording());
            if own { Ok(()) } else { copy_rows(chunk, &mut out, table, rows, &mut cache) }
        })?;
        for kind in KINDS.iter().filter(|kind| kind.is_about_recording()) {
            let table = event_table(*kind);
            let chunk = open.view().chunk;
            let rows: Vec<u32> = chunk.table(table).map_or(0..0, |t| 0..t.rows() as u32).collect();
            copy_rows(chunk, &mut out, table, &rows, &mut cache)?;
        }
        Ok(out)
    }
}
