//! The events of a chunk by time.

use events::Kind;

use crate::model::{ChunkView, Rows};

/// The rows of a table, by time.
#[derive(Debug)]
struct Stream<'c> {
    kind: Kind,
    times: &'c [u64],
    /// If the rows are not in the order of time: their order.
    order: Option<Vec<u32>>,
    next: usize,
}

impl Stream<'_> {
    fn row(&self) -> usize {
        self.order
            .as_ref()
            .map_or(self.next, |order| order.get(self.next).map_or(usize::MAX, |row| *row as usize))
    }

    fn head(&self) -> u64 {
        self.times.get(self.row()).copied().unwrap_or(u64::MAX)
    }
}

/// Events of some kinds in the order of their ends.
#[derive(Debug)]
pub(super) struct Merged<'c> {
    streams: Vec<Stream<'c>>,
    /// The stream that has the next event, and up to which time it has all of them.
    current: usize,
    until: u64,
}

impl<'c> Merged<'c> {
    /// Those of a chunk. Of events at the same time, those of a kind that is named first come first.
    pub(super) fn new(view: &ChunkView<'c>, kinds: &[Kind]) -> Self {
        let streams = kinds.iter().filter_map(|kind| {
            let table: &Rows<'c> = view.tables().find(|rows| rows.event.kind == Some(*kind))?;
            let times = table.times();
            let order = (!times.is_sorted()).then(|| {
                let mut order: Vec<u32> = (0..times.len() as u32).collect();
                order.sort_by_key(|row| times[*row as usize]);
                order
            });
            Some(Stream { kind: *kind, times, order, next: 0 })
        });
        let streams = streams.collect();
        let mut merged = Self { streams, current: 0, until: 0 };
        merged.turn();
        merged
    }

    /// Finds the stream with the next event.
    fn turn(&mut self) {
        let heads = || self.streams.iter().map(Stream::head).enumerate();
        let Some((current, _)) = heads().min_by_key(|(at, head)| (*head, *at)) else { return };
        // A stream that is named earlier has its turn before one at the same time.
        let others = heads().filter(|(at, _)| *at != current);
        let until = others.map(|(at, head)| if at < current { head.saturating_sub(1) } else { head }).min();
        (self.current, self.until) = (current, until.unwrap_or(u64::MAX));
    }
}

impl Iterator for Merged<'_> {
    type Item = (Kind, usize);

    fn next(&mut self) -> Option<Self::Item> {
        if self.streams.get(self.current)?.head() > self.until {
            self.turn();
        }
        let stream = self.streams.get_mut(self.current)?;
        let row = stream.row();
        if row >= stream.times.len() {
            self.turn();
            let stream = self.streams.get_mut(self.current)?;
            let row = stream.row();
            stream.next += 1;
            return (row < stream.times.len()).then_some((stream.kind, row));
        }
        stream.next += 1;
        Some((stream.kind, row))
    }
}
