//! An answer that grows with the chunks that arrive: from a pipe, a growing file or the recorder itself.

use std::collections::VecDeque;

use events::KindSet;

use crate::scan::{ArrivedChunk, Coverage, Query};

use super::BUDGET;
use super::answer::Answer;
use super::keys::Key;
use super::partial::Partial;
use super::plan::Plan;

/// Parts that the time of [`Running::of_last`] is divided into. Each has its own share of the memory.
const PARTS: u32 = 16;

/// A time step is complete when events have arrived that ended this long after it, ns: calls that take longer than that come
/// as rows of their own.
const STEP_DELAY: i64 = 1_000_000_000;

/// A question about the events that arrive, with the answer so far.
#[derive(Debug)]
pub struct Running<'p> {
    plan: &'p Plan,
    sum: Sum<'p>,
    /// The time that the query is about, wall-clock ns.
    range: (i64, i64),
    /// When the last event ended, wall-clock ns.
    end: i64,
    coverage: Coverage,
    kinds: KindSet,
    lost: u64,
}

/// What is added up.
#[derive(Debug)]
enum Sum<'p> {
    All(Box<Partial<'p>>),
    Last(Window<'p>),
}

/// The events that ended in the last time.
#[derive(Debug)]
struct Window<'p> {
    /// Its length, ns.
    width: i64,
    parts: VecDeque<Part<'p>>,
}

/// The events of some chunks.
#[derive(Debug)]
struct Part<'p> {
    /// When the last event before them ended, and the last of them, wall-clock ns.
    span: (i64, i64),
    partial: Partial<'p>,
}

impl<'p> Running<'p> {
    /// Nothing yet of a capture that starts at `start`, wall-clock ns.
    pub fn new(plan: &'p Plan, query: &Query, start: i64) -> Self {
        let from = query.from.map_or(start, |from| from.max(start));
        let to = query.to.unwrap_or(i64::MAX);
        Self {
            plan,
            sum: Sum::All(Box::new(Partial::new(plan, BUDGET))),
            range: (from, to),
            end: start,
            coverage: Coverage::new(from, to),
            kinds: KindSet::EMPTY,
            lost: 0,
        }
    }

    /// The same about the events that ended in the last `width` ns before the last one that has arrived. What is older leaves
    /// in parts of the time, each of one chunk or more.
    #[must_use]
    pub fn of_last(self, width: u64) -> Self {
        let width = i64::try_from(width).unwrap_or(i64::MAX);
        Self { sum: Sum::Last(Window { width, parts: VecDeque::new() }), ..self }
    }

    /// Adds a chunk.
    pub fn take(&mut self, chunk: &ArrivedChunk<'_>) {
        let (began, end) = (self.end, self.end.max(chunk.ends.1));
        match &mut self.sum {
            Sum::All(sum) => chunk.matches.iter().for_each(|matches| sum.fold(matches)),
            Sum::Last(window) => window.take(self.plan, chunk, (began, end)),
        }
        self.end = end;
        self.coverage.add(chunk.ends.0, chunk.ends.1);
        self.kinds = chunk.kinds.iter().fold(self.kinds, KindSet::with);
        self.lost = chunk.lost;
    }

    /// The answer to the question about all events so far.
    pub fn answer(&mut self) -> Answer {
        let range = self.range();
        match &mut self.sum {
            Sum::All(sum) => Answer::new(self.plan, sum, Some(range)),
            Sum::Last(window) => Answer::new(self.plan, &mut window.sum(self.plan), Some(range)),
        }
    }

    /// Removes the time steps that are complete, in order, and returns their rows; `None` if there are none. Events that end
    /// later come in further rows of their steps, so that counts and sums of all rows together are right.
    pub fn take_complete_steps(&mut self) -> Option<Answer> {
        let width = self.plan.keys().first().and_then(Key::step_width)?;
        self.take_steps_before(self.end.saturating_sub(STEP_DELAY).saturating_sub(width).saturating_add(1))
    }

    /// Removes all time steps that are left, and returns their rows.
    pub fn take_all_steps(&mut self) -> Option<Answer> {
        self.take_steps_before(i64::MAX)
    }

    fn take_steps_before(&mut self, step: i64) -> Option<Answer> {
        let range = self.range();
        let Sum::All(sum) = &mut self.sum else { return None };
        let mut taken = sum.take_before(step);
        if step == i64::MAX {
            (taken.other, taken.is_bounded, taken.undercount) =
                (sum.other.take(), sum.is_bounded, sum.undercount);
        }
        (taken.groups.len() > 0 || taken.other.is_some())
            .then(|| Answer::new(self.plan, &mut taken, Some(range)))
    }

    /// The time that the answer is about, wall-clock ns.
    pub fn range(&self) -> (i64, i64) {
        let to = self.end.min(self.range.1);
        let from = match &self.sum {
            Sum::All(_) => self.range.0,
            Sum::Last(window) => {
                window.parts.front().map_or(self.range.0, |part| part.span.0.max(self.range.0))
            }
        };
        (from, to)
    }

    /// Events that were lost so far and might have matched.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// The kinds of all events so far.
    pub fn kinds(&self) -> KindSet {
        self.kinds
    }

    /// How much of the time has been recorded, and the whole time, ns; `None` if that is all or almost all of it.
    pub fn gaps(&self) -> Option<(u64, u64)> {
        match self.sum {
            Sum::All(_) => self.coverage.gaps(self.range().1),
            Sum::Last(_) => None,
        }
    }
}

impl<'p> Window<'p> {
    fn take(&mut self, plan: &'p Plan, chunk: &ArrivedChunk<'_>, (began, end): (i64, i64)) {
        let part = self.width / i64::from(PARTS);
        match self.parts.back_mut() {
            Some(last) if end - last.span.0 <= part => last.span.1 = end,
            _ => {
                let partial = Partial::new(plan, BUDGET / PARTS as usize);
                self.parts.push_back(Part { span: (began, end), partial });
            }
        }
        if let Some(last) = self.parts.back_mut() {
            chunk.matches.iter().for_each(|matches| last.partial.fold(matches));
        }
        // A part leaves when the others cover the time.
        while self.parts.get(1).is_some_and(|next| end - next.span.0 >= self.width) {
            self.parts.pop_front();
        }
    }

    fn sum(&self, plan: &'p Plan) -> Partial<'p> {
        let mut sum = Partial::new(plan, BUDGET);
        self.parts.iter().for_each(|part| sum.merge(&part.partial));
        sum
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::ops::ControlFlow;

    use capture_format::StreamReader;

    use super::*;
    use crate::scan::stream::first_header;
    use crate::scan::{Captures, ScanReport, scan_stream};
    use crate::stats::{Cell, Question};

    const CALLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/golden/calls-0.1.ktape");

    fn plan(by: &str, per: Option<u64>) -> Plan {
        let columns = ["count", "sum(evt.latency)", "p90(evt.latency)", "rate"].map(str::to_owned).to_vec();
        Plan::new(&Question { by: vec![by.to_owned()], per, columns, ..Question::default() }).unwrap()
    }

    /// The golden capture, as it comes through a pipe.
    fn streamed<'p>(plan: &'p Plan, query: &Query, last: Option<u64>) -> Running<'p> {
        let mut reader = StreamReader::new(File::open(CALLS).unwrap());
        let mut report = ScanReport::default();
        let header = first_header(&mut reader, &mut report).unwrap();
        let mut running = Running::new(plan, query, header.created);
        if let Some(last) = last {
            running = running.of_last(last);
        }
        let take = |chunk: &ArrivedChunk<'_>| {
            running.take(chunk);
            ControlFlow::Continue(())
        };
        scan_stream(&mut reader, header, (query.clone(), plan.wanted()), &mut report, take).unwrap();
        running
    }

    #[test]
    fn a_stream_has_the_answer_of_the_file() {
        let captures = Captures::open(&[CALLS]).unwrap();
        for filter in ["evt.num >= 0", "proc.name = sh", "proc.name = missing"] {
            let query = Query::parse(filter).unwrap();
            let plan = plan("proc.name", None);
            let (whole, _) = captures.query(query.clone()).unwrap().answer(&plan);
            let found = streamed(&plan, &query, None).answer();
            assert_eq!(
                (found.rows, found.total.clone(), found.range),
                (whole.rows, whole.total, whole.range),
                "{filter}"
            );
            // All of it is newer than a minute.
            let recent = streamed(&plan, &query, Some(60_000_000_000)).answer();
            assert_eq!((recent.total[0].clone(), recent.range), (found.total[0].clone(), found.range));
        }
    }

    #[test]
    fn steps_leave_once_and_are_all_of_the_answer() {
        let plan = plan("proc.name", Some(1_000_000));
        let mut running = streamed(&plan, &Query::default(), None);
        let whole = running.answer();
        assert!(running.take_complete_steps().is_none(), "the last second is not complete");
        let (from, to) = running.range();
        let middle = i64::midpoint(from, to);
        let first = running.take_steps_before(middle).unwrap();
        let second = running.take_all_steps().unwrap();
        assert!(running.take_all_steps().is_none());
        assert_eq!(running.answer().total[0], Cell::Number(0));
        let rows: Vec<_> = first.rows.into_iter().chain(second.rows).collect();
        assert_eq!(rows, whole.rows);
    }
}
