//! Questions about events that are computed from others: one thread reads the chunks in the order of time and computes, the others
//! select and add up what results.

use std::num::NonZeroUsize;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use capture_format::{Chunk, FormatError, Header};
use events::Kind;

use crate::derive::{Derivation, MARGIN, Range, Wanted};
use crate::model::{Binding, ChunkView, Context};

use super::captures::Search;
use super::columns::ChunkMatches;
use super::open::{ChunkQuery, ChunkSource, MatchedChunk};
use super::plan::{self, ChunkPlan};
use super::query::{ChunkRelevance, LossTally, Query};
use super::report::ScanReport;

/// Chunks that wait for a thread that adds them up.
const WAITING: usize = 4;

/// What one chunk of a file gives.
struct Batch {
    /// The chunk itself, with its own events that match.
    own: Option<MatchedChunk>,
    /// What follows from it.
    derived: Vec<Chunk>,
    binding: Arc<Binding>,
}

/// Computes the events of captures.
#[derive(Debug)]
pub(super) struct Deriver {
    wanted: Wanted,
    captures: Vec<Derivation>,
    /// Headers that were seen, and which of these they belong to.
    headers: Vec<(Arc<Header>, usize)>,
}

/// Chunks of derived events, with the schema that they have.
pub(super) type Derived = (Vec<Chunk>, Arc<Binding>);

impl Deriver {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, captures: Vec::new(), headers: Vec::new() }
    }

    /// What follows from the next chunk.
    ///
    /// # Errors
    /// If a column that is needed is damaged.
    pub(super) fn chunk(&mut self, view: &ChunkView<'_>, query: &Query) -> Result<Derived, FormatError> {
        let at = self.capture(&view.binding.header, query)?;
        let derived = self.captures[at].chunk(view)?;
        Ok((derived, Arc::clone(self.captures[at].binding())))
    }

    /// What follows from the ends of all captures.
    pub(super) fn finish(&mut self) -> Vec<Derived> {
        // What is damaged was reported with its chunk.
        let ends = self.captures.iter_mut();
        ends.filter_map(|capture| Some((capture.finish().ok()?, Arc::clone(capture.binding())))).collect()
    }

    /// Which of the captures a chunk belongs to.
    fn capture(&mut self, header: &Arc<Header>, query: &Query) -> Result<usize, FormatError> {
        if let Some((_, at)) = self.headers.iter().find(|(known, _)| Arc::ptr_eq(known, header)) {
            return Ok(*at);
        }
        let at = match self.captures.iter().position(|capture| capture.is_of(header)) {
            Some(at) => at,
            None => {
                let boot = |wall: i64| wall.saturating_sub(header.wall_offset).max(0) as u64;
                let range = Range { from: query.from.map_or(0, boot), to: query.to.map_or(u64::MAX, boot) };
                self.captures.push(Derivation::new(header, self.wanted, range)?);
                self.captures.len() - 1
            }
        };
        self.headers.push((Arc::clone(header), at));
        Ok(at)
    }
}

/// A chunk of derived events, if some of them may match.
pub(super) fn matched(
    chunk: Chunk,
    binding: &Arc<Binding>,
    (query, context): (&Query, &Context<'_>),
) -> Option<MatchedChunk> {
    let relevance = query.relevance(binding, chunk.summary());
    if relevance != ChunkRelevance::Read {
        return None;
    }
    let Context { names, start } = *context;
    let source = ChunkSource { chunk: Box::new(chunk), binding: Arc::clone(binding), first_number: 0 };
    let chunk_query = ChunkQuery { query, relevance, context: &Context { names, start }, decode: false };
    // A chunk that was just made has no damage.
    MatchedChunk::new(source, chunk_query, &mut LossTally::default()).ok()
}

/// Reads the chunks of captures.
struct Reader<'a> {
    search: &'a Search<'a>,
    /// The query without its expression: any lost event may be one that others follow from.
    any: Query,
    deriver: Deriver,
    report: ScanReport,
}

impl Reader<'_> {
    fn read(&mut self, plan: &ChunkPlan<'_>) -> Result<Batch, FormatError> {
        let (query, context) = (self.search.query(), self.search.context());
        let relevance = plan.relevance_to(query);
        let chunk = plan.open_as(query, relevance, context, false, &mut LossTally::default())?;
        self.report.chunks_read += 1;
        let view = chunk.view();
        for rows in view.tables().filter(|rows| rows.event.kind == Some(Kind::Loss)) {
            let Context { names, start } = *context;
            let _ = self.any.losses(&Context { names, start }, view, rows, &mut self.report.lost);
        }
        let (derived, binding) = self.deriver.chunk(view, query)?;
        view.chunk.failure().map_or(Ok(()), Err)?;
        let own = (relevance == ChunkRelevance::Read).then_some(chunk);
        self.report.matching += own.as_ref().map_or(0, |chunk| chunk.matching);
        Ok(Batch { own, derived, binding })
    }

    /// What follows from the ends of all captures.
    fn finish(&mut self) -> Vec<Batch> {
        let ends = self.deriver.finish().into_iter();
        ends.map(|(derived, binding)| Batch { own: None, derived, binding }).collect()
    }
}

/// Selects and adds up the events of a batch; returns how many of the derived ones match.
fn fold_batch<T>(
    batch: Batch,
    search: &Search<'_>,
    value: &mut T,
    fold: &impl Fn(&mut T, &ChunkMatches<'_>),
) -> u64 {
    let (query, context) = (search.query(), search.context());
    if let Some(own) = &batch.own {
        fold(value, &own.matches(context));
    }
    let mut matching = 0;
    for chunk in batch.derived {
        if let Some(chunk) = matched(chunk, &batch.binding, (query, context)) {
            matching += chunk.matching;
            fold(value, &chunk.matches(context));
        }
    }
    matching
}

/// See [`Search::scan`].
pub(super) fn scan<T: Send>(
    search: &Search<'_>,
    wanted: Wanted,
    new: impl Fn() -> T + Sync,
    fold: impl Fn(&mut T, &ChunkMatches<'_>) + Sync,
    mut merge: impl FnMut(&mut T, T),
) -> (T, ScanReport) {
    let query = search.query();
    let wide = Query {
        from: query.from.map(|from| from.saturating_sub(MARGIN)),
        to: query.to.map(|to| to.saturating_add(MARGIN)),
        ..Query::default()
    };
    let plans = plan::by_time(search.captures().files(), &wide);
    if let Some(progress) = search.progress() {
        progress.begin(plans.iter().map(ChunkPlan::events).sum());
    }
    let any = Query { filter: None, around: None, ..query.clone() };
    let report = ScanReport::default();
    let mut reader = Reader { search, any, deriver: Deriver::new(wanted), report };
    let mut damaged = Vec::new();
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let (sender, receiver) = mpsc::sync_channel::<Batch>(WAITING);
    let receiver = Mutex::new(receiver);
    let next = |receiver: &Mutex<Receiver<Batch>>| {
        receiver.lock().unwrap_or_else(PoisonError::into_inner).recv().ok()
    };
    let work = || {
        let (mut value, mut matching) = (new(), 0);
        while let Some(batch) = next(&receiver) {
            matching += fold_batch(batch, search, &mut value, &fold);
        }
        (value, matching)
    };
    let mut own = new();
    let mut parts: Vec<(T, u64)> = Vec::new();
    thread::scope(|scope| {
        // If no thread can be created, this one does their work.
        let others: Vec<_> = (1..cores)
            .map_while(|_| {
                thread::Builder::new().name("ktape-scan".to_owned()).spawn_scoped(scope, work).ok()
            })
            .collect();
        let mut matching = 0;
        let mut pass = |batch: Batch| {
            if others.is_empty() {
                matching += fold_batch(batch, search, &mut own, &fold);
            } else if let Err(unsent) = sender.send(batch) {
                matching += fold_batch(unsent.0, search, &mut own, &fold);
            }
        };
        for plan in &plans {
            match reader.read(plan) {
                Ok(batch) => pass(batch),
                Err(cause) => damaged.push((plan, cause)),
            }
            if let Some(progress) = search.progress() {
                progress.add(plan.events());
            }
        }
        reader.finish().into_iter().for_each(&mut pass);
        drop(sender);
        parts.extend(
            others
                .into_iter()
                .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))),
        );
        reader.report.matching += matching;
    });
    let mut report = reader.report;
    for (value, matching) in parts {
        merge(&mut own, value);
        report.matching += matching;
    }
    for (plan, cause) in damaged {
        report.damaged.chunk(&plan.capture.path, plan.entry.len, &cause);
    }
    (own, report)
}
