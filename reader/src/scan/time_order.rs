//! Events of several captures, merged by end time across chunks, segments and files.

use std::io;

use crate::model::Event;

use super::captures::Search;
use super::open::{Match, OrderedChunk};
use super::plan::{self, ChunkPlan};
use super::report::ScanReport;
use super::sink::EventSink;

/// Most chunks in memory at once. If more than this overlap in time, the order is no longer exact; the capture of
/// one recorder needs two or three.
const MAX_OPEN: usize = 64;

/// The events that match a query, by end time. See [`Search::events`].
#[derive(Debug)]
pub struct Events<'s> {
    search: &'s Search<'s>,
    waiting: std::iter::Peekable<std::vec::IntoIter<ChunkPlan<'s>>>,
    open: Vec<OrderedChunk>,
    turn: Option<Turn>,
    report: ScanReport,
}

/// The chunk that has the next event.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// Index of the chunk among the open ones.
    chunk: usize,
    /// Events of this chunk that end no later than this precede those of all other chunks, wall-clock ns.
    until: i64,
    /// No event was taken yet: the first one is the earliest in any case.
    first: bool,
}

impl<'s> Events<'s> {
    pub(super) fn new(search: &'s Search<'s>) -> Self {
        let plans = plan::by_time(search.captures().files(), search.query());
        Self {
            search,
            waiting: plans.into_iter().peekable(),
            open: Vec::new(),
            turn: None,
            report: ScanReport::default(),
        }
    }

    /// The next event; `None` at the end. Unreadable chunks are skipped and listed in [`Self::report`].
    #[allow(clippy::should_implement_trait, reason = "an event borrows from the chunk that is open here")]
    pub fn next(&mut self) -> Option<Event<'_>> {
        let (chunk, found) = self.advance()?;
        self.open[chunk].event(self.search.context(), found)
    }

    /// Counts, losses and damage up to the last event taken.
    pub fn report(self) -> ScanReport {
        self.search.finished(self.report)
    }

    fn advance(&mut self) -> Option<(usize, Match)> {
        loop {
            if let Some(turn) = &mut self.turn {
                let chunk = &mut self.open[turn.chunk];
                if chunk.head().is_some_and(|time| turn.first || time <= turn.until) {
                    turn.first = false;
                    return Some((turn.chunk, chunk.pop()?));
                }
            }
            self.open.retain(|chunk| chunk.head().is_some());
            self.turn = Some(self.next_turn()?);
        }
    }

    fn next_turn(&mut self) -> Option<Turn> {
        self.open_earliest();
        let chunk = (0..self.open.len()).min_by_key(|i| self.open[*i].head())?;
        let others = self.open.iter().enumerate().filter(|(i, _)| *i != chunk).filter_map(|(_, c)| c.head());
        let until = others.chain(self.waiting.peek().map(|plan| plan.from)).min().unwrap_or(i64::MAX);
        Some(Turn { chunk, until, first: true })
    }

    /// Opens every chunk that can have an event before the next one of the open chunks.
    fn open_earliest(&mut self) {
        let mut head = self.open.iter().filter_map(OrderedChunk::head).min();
        while self.waiting.peek().is_some_and(|plan| head.is_none_or(|head| plan.from <= head)) {
            if self.open.len() >= MAX_OPEN {
                self.report.disordered = true;
                break;
            }
            let Some(plan) = self.waiting.next() else { break };
            match plan.open(self.search.query(), self.search.context(), true, &mut self.report.lost) {
                Ok(chunk) => {
                    self.report.chunks_read += 1;
                    self.report.matching += chunk.matching;
                    let chunk = chunk.in_order();
                    if let Some(time) = chunk.head() {
                        head = Some(head.map_or(time, |h| h.min(time)));
                        self.open.push(chunk);
                    }
                }
                Err(cause) => self.report.damaged.chunk(&plan.capture.path, plan.entry.len, &cause),
            }
        }
    }
}

impl Search<'_> {
    /// The matching events, by end time.
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }

    /// Passes the matching events to a sink, by end time, until it wants no more.
    ///
    /// # Errors
    /// If the sink fails. Damage in a capture is not an error but part of the report.
    pub fn send(&self, sink: &mut dyn EventSink) -> io::Result<ScanReport> {
        {
            let mut events = self.events();
            while let Some(event) = events.next() {
                if sink.event(event)?.is_break() {
                    break;
                }
            }
            sink.flush()?;
            Ok(events.report())
        }
    }
}
