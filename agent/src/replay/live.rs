//! Chunks that were never in a file: shown or filtered as they come from the recorder, by the same
//! questions and views as those of a capture.

use std::io;
use std::sync::Arc;

use agent_ebpf::kinds::{KINDS, Kind};
use capture_format::{
    Chunk, ChunkBuilder, CopyCache, FormatError, Header, MetadataIndex, MetadataRecord, copy_rows,
};
use jiff::tz::TimeZone;

use crate::containers::OTHER;
use crate::filter::Context;
use crate::model::dictionaries::{CGROUP, PROCESS, TASK, dict_column};
use crate::model::{Binding, ChunkView, Names, event_table};
use crate::text::time::{Span, TimeError};

use super::containers::Containers;
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
    /// The containers that are wanted, as far as that is known.
    accepted: Containers,
    /// Those that are not.
    rejected: Containers,
    /// Events left out because nobody said which of both their containers are.
    unnamed: u64,
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
        Ok(Self {
            binding,
            question,
            names: Names::default(),
            accepted: Containers::default(),
            rejected: Containers::default(),
            unnamed: 0,
            start,
            number: 0,
        })
    }

    /// From here on containers have these names.
    pub fn learn(&mut self, records: &[MetadataRecord]) {
        if !records.is_empty() {
            let mut index = MetadataIndex::default();
            records.iter().for_each(|record| index.add(record));
            self.names.merge(&index);
        }
    }

    /// These containers are wanted, by id.
    pub fn accept(&mut self, ids: &[String]) {
        ids.iter().for_each(|id| self.accepted.add(id.as_bytes()));
    }

    /// These containers are not, by id.
    pub fn reject(&mut self, ids: &[String]) {
        ids.iter().for_each(|id| self.rejected.add(id.as_bytes()));
    }

    /// How many events were left out since the last call because nobody said whether their containers are wanted.
    pub fn take_unnamed(&mut self) -> u64 {
        std::mem::take(&mut self.unnamed)
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

    /// A chunk of the events that match, and of what the recorder tells of itself. With `by_container`, only of
    /// containers that are [accepted](Self::accept).
    ///
    /// # Errors
    /// If the chunk was not filled by the schema.
    pub fn filter(&mut self, builder: ChunkBuilder, by_container: bool) -> Result<ChunkBuilder, FormatError> {
        if self.question.filter.is_none() && !by_container {
            return Ok(builder);
        }
        self.question.containers = by_container.then(|| self.accepted.clone());
        let mut open = self.open(builder)?;
        let mut out = ChunkBuilder::new(Arc::clone(&self.binding.header.schema));
        out.set_wall_offset(open.view().chunk.summary().wall_offset);
        let mut cache = CopyCache::new();
        if let Some(inside) = self.question.in_containers(open.view()) {
            self.unnamed += unnamed(open.view(), &inside, &self.rejected);
            hide_others(open.view(), &inside, &mut cache);
        }
        copy_picks(&mut open, |chunk, table, rows| {
            let own = KINDS.iter().any(|k| event_table(*k) == table && k.is_about_recording());
            if own { Ok(()) } else { copy_rows(chunk, &mut out, table, rows, &mut cache) }
        })?;
        for kind in KINDS.iter().filter(|kind| kind.is_about_recording()) {
            let table = event_table(*kind);
            let chunk = open.view().chunk;
            let mut rows: Vec<u32> = chunk.table(table).map_or(0..0, |t| 0..t.rows() as u32).collect();
            if let Some(inside) = self.question.in_containers(open.view()) {
                rows.retain(|row| self.question.is_about(open.view(), table, *row, &inside));
            }
            copy_rows(chunk, &mut out, table, &rows, &mut cache)?;
        }
        Ok(out)
    }
}

/// Events of containers of which nobody said whether they are wanted.
fn unnamed(view: &ChunkView<'_>, inside: &[bool], rejected: &Containers) -> u64 {
    let is_unnamed: Vec<bool> = (0..view.cgroup_rows() as u32)
        .map(|row| {
            let chain = view.cgroup(row).chain;
            !chain.is_empty() && inside.get(row as usize) != Some(&true) && !rejected.match_chain(chain)
        })
        .collect();
    let of = |cgroup: Option<u32>| cgroup.is_some_and(|row| is_unnamed.get(row as usize) == Some(&true));
    let events = view.tables().filter(|rows| !rows.event.kind.is_some_and(Kind::is_about_recording));
    events.map(|rows| (0..rows.len()).filter(|row| of(view.subject_cgroup(rows, *row))).count() as u64).sum()
}

/// Leaves out what would tell of containers that are not among the wanted ones, which events of those may mention.
fn hide_others(view: &ChunkView<'_>, inside: &[bool], cache: &mut CopyCache) {
    const NOTHING: &[u8] = b"";
    let is_other =
        |cgroup: u32| !view.cgroup(cgroup).chain.is_empty() && inside.get(cgroup as usize) != Some(&true);
    for row in (0..view.cgroup_rows() as u32).filter(|row| is_other(*row)) {
        let column = |name| dict_column(CGROUP, name);
        let strings = [
            (column("path"), NOTHING),
            (column("container"), OTHER.as_bytes()),
            (column("runtime"), NOTHING),
            (column("chain"), OTHER.as_bytes()),
            (column("pod_uid"), NOTHING),
        ];
        cache.replace(CGROUP, row, &strings);
    }
    // A process that was moved into a container is one of the host, and then one of the container.
    let mut shown = vec![false; view.process_rows()];
    let mut others = Vec::new();
    for task in 0..view.task_rows() as u32 {
        let process = view.process_of(task);
        if view.cgroup_of(task).is_some_and(is_other) {
            cache.replace(
                TASK,
                task,
                &[(dict_column(TASK, "name"), NOTHING), (dict_column(TASK, "user"), NOTHING)],
            );
            others.extend(process);
        } else if let Some(shown) = process.and_then(|process| shown.get_mut(process as usize)) {
            *shown = true;
        }
    }
    for process in others.into_iter().filter(|process| shown.get(*process as usize) == Some(&false)) {
        let names = ["pname", "name", "exe", "args"];
        cache.replace(PROCESS, process, &names.map(|name| (dict_column(PROCESS, name), NOTHING)));
    }
}
