//! Chunks in any order, on all cores.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use capture_format::FormatError;

use crate::derive::Wanted;
use crate::filter::Filter;

use super::captures::Search;
use super::columns::ChunkMatches;
use super::plan::{self, ChunkPlan};
use super::report::ScanReport;

/// The result of one thread.
struct ThreadResult<T> {
    value: T,
    report: ScanReport,
    /// Unreadable chunks, by index among all.
    damaged: Vec<(usize, FormatError)>,
}

/// The work that the threads share.
struct Job<'a, I, F> {
    search: &'a Search<'a>,
    plans: &'a [ChunkPlan<'a>],
    next: AtomicUsize,
    new: I,
    fold: F,
}

impl<T, I: Fn() -> T, F: Fn(&mut T, &ChunkMatches<'_>)> Job<'_, I, F> {
    /// Processes chunks until none is left.
    fn work(&self) -> ThreadResult<T> {
        let mut part =
            ThreadResult { value: (self.new)(), report: ScanReport::default(), damaged: Vec::new() };
        let (query, context) = (self.search.query(), self.search.context());
        loop {
            let at = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(plan) = self.plans.get(at) else { return part };
            match plan.open(query, context, false, &mut part.report.lost) {
                Ok(chunk) => {
                    part.report.chunks_read += 1;
                    part.report.matching += chunk.matching;
                    (self.fold)(&mut part.value, &chunk.matches(context));
                    // Columns are decoded when they are used; those that cannot be count as empty.
                    part.damaged.extend(chunk.view().chunk.failure().map(|cause| (at, cause)));
                }
                Err(cause) => part.damaged.push((at, cause)),
            }
            if let Some(progress) = self.search.progress() {
                progress.add(plan.events());
            }
        }
    }
}

/// See [`Search::scan`].
pub(super) fn scan<T: Send>(
    search: &Search<'_>,
    new: impl Fn() -> T + Sync,
    fold: impl Fn(&mut T, &ChunkMatches<'_>) + Sync,
    mut merge: impl FnMut(&mut T, T),
) -> (T, ScanReport) {
    let plans = plan::by_time(search.captures().files(), search.query());
    if let Some(progress) = search.progress() {
        progress.begin(plans.iter().map(ChunkPlan::events).sum());
    }
    let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = cores.min(plans.len()).max(1);
    let job = Job { search, plans: &plans, next: AtomicUsize::new(0), new, fold };
    let mut parts: Vec<ThreadResult<T>> = thread::scope(|scope| {
        // If a thread cannot be created, the others do its work.
        let others: Vec<_> = (1..threads)
            .map_while(|_| {
                thread::Builder::new().name("ktape-scan".to_owned()).spawn_scoped(scope, || job.work()).ok()
            })
            .collect();
        let own = job.work();
        let others = others
            .into_iter()
            .map(|other| other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        std::iter::once(own).chain(others).collect()
    });
    let mut damaged: Vec<_> = parts.iter_mut().flat_map(|part| std::mem::take(&mut part.damaged)).collect();
    damaged.sort_by_key(|(at, _)| *at);
    let mut parts = parts.into_iter();
    let Some(ThreadResult { mut value, mut report, .. }) = parts.next() else {
        return ((job.new)(), ScanReport::default());
    };
    for part in parts {
        merge(&mut value, part.value);
        report.matching += part.report.matching;
        report.chunks_read += part.report.chunks_read;
        report.lost.add(&part.report.lost);
    }
    for (at, cause) in damaged {
        let plan = &plans[at];
        report.damaged.chunk(&plan.capture.path, plan.entry.len, &cause);
    }
    (value, report)
}

impl Search<'_> {
    /// The number of matching events.
    pub fn count(&self) -> ScanReport {
        self.scan(|| (), |(), _| {}, |(), ()| {}).1
    }

    /// Processes all chunks that may have matches, in any order and on all cores. Each thread starts with `new()` and adds
    /// chunks to it with `fold`; `merge` combines the results of the threads. Only the columns that are used are decoded.
    ///
    /// If the query names a kind that is computed from others ([`events::Kind::is_derived`]), its events are among them.
    pub fn scan<T: Send>(
        &self,
        new: impl Fn() -> T + Sync,
        fold: impl Fn(&mut T, &ChunkMatches<'_>) + Sync,
        merge: impl FnMut(&mut T, T),
    ) -> (T, ScanReport) {
        // What is done with the events is not known.
        self.scan_with(Wanted { files: true, ..Wanted::default() }, new, fold, merge)
    }

    /// The same with events of more kinds that are computed from others.
    pub(crate) fn scan_with<T: Send>(
        &self,
        wanted: Wanted,
        new: impl Fn() -> T + Sync,
        fold: impl Fn(&mut T, &ChunkMatches<'_>) + Sync,
        merge: impl FnMut(&mut T, T),
    ) -> (T, ScanReport) {
        let filter = self.query().filter.as_ref();
        let wanted = wanted.and(filter.map_or(Wanted::default(), Filter::wanted));
        let (value, report) = if wanted.kinds.is_empty() {
            scan(self, new, fold, merge)
        } else {
            super::derived::scan(self, wanted, new, fold, merge)
        };
        (value, self.finished(report))
    }
}
