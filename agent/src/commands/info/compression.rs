//! The chunks that a recorder compressed less, because it was short of time.

use capture_format::{ChunkEntry, Pressure};
use jiff::tz::TimeZone;
use serde_json::json;

use ktape_reader::text::time;
use ktape_reader::text::units::{count_text, duration_text, size_text};

/// Spans of time that the text lists, at most.
const LISTED_MAX: usize = 10;

/// Chunks that follow each other in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    /// The place of its last chunk.
    last: u64,
    /// Of the earliest end of an event, wall ns.
    start: i64,
    /// Of the latest one.
    end: i64,
    chunks: u64,
    bytes: u64,
    pressure: Pressure,
}

/// All chunks of some captures that were compressed less.
#[derive(Debug, Default)]
pub(super) struct CompressedLess {
    spans: Vec<Span>,
}

impl CompressedLess {
    /// Takes a chunk, if it was compressed less. Chunks that follow each other in a segment have places that do.
    pub fn add(&mut self, place: u64, entry: &ChunkEntry) {
        let summary = &entry.summary;
        if summary.pressure.is_none() {
            return;
        }
        let wall = |boot: u64| summary.wall_offset.wrapping_add(boot as i64);
        let chunk = Span {
            last: place,
            start: wall(summary.end_min),
            end: wall(summary.end_max),
            chunks: 1,
            bytes: entry.len,
            pressure: summary.pressure,
        };
        match self.spans.last_mut().filter(|span| span.last + 1 == place) {
            Some(span) => {
                *span = Span {
                    last: place,
                    start: span.start.min(chunk.start),
                    end: span.end.max(chunk.end),
                    chunks: span.chunks + 1,
                    bytes: span.bytes.saturating_add(chunk.bytes),
                    pressure: span.pressure.and(chunk.pressure),
                }
            }
            None => self.spans.push(chunk),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn chunks(&self) -> u64 {
        self.spans.iter().map(|span| span.chunks).sum()
    }

    fn bytes(&self) -> u64 {
        self.spans.iter().fold(0, |sum, span| sum.saturating_add(span.bytes))
    }

    /// One line for all, then one for each span of time.
    pub fn to_text(&self, zone: &TimeZone) -> Vec<String> {
        let mut lines = vec![format!("{} compressed less", size(self.chunks(), self.bytes()))];
        for span in self.spans.iter().take(LISTED_MAX) {
            lines.push(format!(
                "{} for {}: {}; {}",
                time::date_time(span.start, zone),
                duration_text(span.end.saturating_sub(span.start).max(0) as u64),
                size(span.chunks, span.bytes),
                reasons(span.pressure).map(|(_, text)| text).collect::<Vec<_>>().join("; "),
            ));
        }
        if self.spans.len() > LISTED_MAX {
            lines.push(format!("and {} more times (--json lists all)", self.spans.len() - LISTED_MAX));
        }
        lines
    }

    /// The same for programs.
    pub fn to_json(&self) -> serde_json::Value {
        let spans = self.spans.iter().map(|span| {
            json!({
                "start": time::rfc3339(span.start),
                "end": time::rfc3339(span.end),
                "chunks": span.chunks,
                "bytes": span.bytes,
                "reasons": reasons(span.pressure).map(|(name, _)| name).collect::<Vec<_>>(),
            })
        });
        json!({"chunks": self.chunks(), "bytes": self.bytes(), "spans": spans.collect::<Vec<_>>()})
    }
}

fn size(chunks: u64, bytes: u64) -> String {
    let noun = if chunks == 1 { "chunk" } else { "chunks" };
    format!("{} {noun}, {}", count_text(chunks), size_text(bytes))
}

/// The known reasons, for programs and for people.
fn reasons(pressure: Pressure) -> impl Iterator<Item = (&'static str, &'static str)> {
    const REASONS: [(Pressure, &str, &str); 2] = [
        (Pressure::QUEUE, "queue", "chunks waited to be compressed"),
        (Pressure::BUFFERS, "ring", "ring buffers were nearly full"),
    ];
    REASONS.into_iter().filter(move |(reason, ..)| pressure.has(*reason)).map(|(_, name, text)| (name, text))
}
