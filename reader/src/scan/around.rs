//! The time around events: a query can be limited to what happened shortly before and after others.

use std::sync::Arc;

use crate::filter::Filter;

/// Most windows that overlap no other: each takes up 16 bytes.
pub(super) const MAX_WINDOWS: usize = 1 << 20;
/// New windows after which they are merged.
const BATCH: usize = 1 << 16;

/// A range of time, wall-clock ns, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Window {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// The time around all events that pass an expression.
#[derive(Clone, Debug)]
pub struct Around {
    /// In order; none overlaps another.
    windows: Arc<[Window]>,
    /// The expression.
    filter: Option<Filter>,
}

/// Windows that are being collected.
#[derive(Debug, Default)]
pub(super) struct Collected {
    windows: Vec<Window>,
    /// How many of them are merged.
    merged: usize,
}

impl Collected {
    pub(super) fn add(&mut self, window: Window) {
        if self.windows.len() - self.merged >= BATCH {
            self.merge();
        }
        // Beyond the limit, the result is an error anyway.
        if self.merged <= MAX_WINDOWS {
            self.windows.push(window);
        }
    }

    /// Adds those of another part of the captures.
    pub(super) fn add_all(&mut self, other: Self) {
        self.windows.extend(other.windows);
        self.merge();
    }

    /// The time in all of them, around events that pass `filter`; `None` if there are too many.
    pub(super) fn finish(mut self, filter: Option<Filter>) -> Option<Around> {
        self.merge();
        (self.windows.len() <= MAX_WINDOWS).then(|| Around { windows: self.windows.into(), filter })
    }

    /// Puts them in order, and joins those that overlap.
    fn merge(&mut self) {
        self.windows.sort_unstable();
        self.windows.dedup_by(|next, last| {
            let overlaps = next.from <= last.to;
            if overlaps {
                last.to = last.to.max(next.to);
            }
            overlaps
        });
        self.merged = self.windows.len();
    }
}

impl Around {
    /// Whether no event passes the expression.
    pub fn is_empty(&self) -> bool {
        self.windows.is_empty()
    }

    /// Whether a range of time overlaps that around some event.
    pub fn overlaps(&self, from: i64, to: i64) -> bool {
        let first = self.windows.partition_point(|window| window.to < from);
        self.windows.get(first).is_some_and(|window| window.from <= to)
    }

    /// Whether a range of time is within that around some event, or that of several which overlap.
    pub(super) fn contains(&self, from: i64, to: i64) -> bool {
        let first = self.windows.partition_point(|window| window.to < from);
        self.windows.get(first).is_some_and(|window| window.from <= from && to <= window.to)
    }

    /// The expression.
    pub(super) fn filter(&self) -> Option<&Filter> {
        self.filter.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_that_overlap_are_one() {
        let window = |from, to| Window { from, to };
        let mut collected = Collected::default();
        for (from, to) in [(10, 20), (15, 30), (50, 60), (0, 5), (52, 53), (60, 61)] {
            collected.add(window(from, to));
        }
        let around = collected.finish(None).unwrap();
        assert_eq!(around.windows[..], [window(0, 5), window(10, 30), window(50, 61)]);
        for (from, to, overlaps, contains) in [
            (6, 9, false, false),
            (5, 5, true, true),
            (5, 10, true, false),
            (31, 49, false, false),
            (20, 40, true, false),
            (12, 28, true, true),
            (62, 70, false, false),
            (-5, 100, true, false),
        ] {
            assert_eq!(
                (around.overlaps(from, to), around.contains(from, to)),
                (overlaps, contains),
                "{from} {to}"
            );
        }
    }
}
