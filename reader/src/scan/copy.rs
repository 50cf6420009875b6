//! A filtered copy: `replay -w`. Each segment keeps its header, and so its identity; chunks keep the
//! names they need and no other.

use std::io::Write;
use std::sync::Arc;

use capture_format::{
    Chunk, ChunkBuilder, CopyCache, EncodeOptions, Encoder, FormatError, MetadataKey, MetadataRecord,
    SegmentWriter, SummaryValue, SummaryValues, TableId, copy_rows,
};

use crate::filter::prune;
use crate::model::Binding;
use crate::model::Context;
use crate::model::metadata::FULL_ID;

use super::containers::Known;
use super::input::Capture;
use super::merge::Outcome;
use super::open::OpenChunk;
use super::query::{ChunkRelevance, Query};

/// One segment of a copy.
struct Copy<'w, W: Write> {
    writer: SegmentWriter<&'w mut W>,
    encoder: &'w mut Encoder,
    binding: &'w Binding,
    builder: ChunkBuilder,
    cache: CopyCache,
    offset: i64,
    /// Whose names will be needed; `None` once there were too many to tell.
    containers: Option<Known>,
}

/// Writes the matching events of all captures to `out`, segment by segment in the order of the files; a
/// segment without one is left out, unless it is the only one.
///
/// # Errors
/// If writing fails. Damage in a capture is part of the outcome.
pub fn copy_matching<W: Write>(
    captures: &[Capture],
    question: &Query,
    context: &Context<'_>,
    out: &mut W,
) -> Result<Outcome, FormatError> {
    let mut outcome = Outcome::default();
    let mut encoder = Encoder::new(EncodeOptions::default())?;
    let mut wrote = false;
    for capture in captures {
        for (segment, binding) in capture.file.segments().iter().zip(&capture.bindings) {
            let mut parts = Some((&mut *out, &mut encoder));
            let mut copy: Option<Copy<'_, W>> = None;
            for entry in &segment.chunks {
                let verdict = question.verdict(binding, &entry.summary);
                if verdict == ChunkRelevance::Skip {
                    continue;
                }
                let opened = capture.file.read_chunk(entry).and_then(|chunk| {
                    let asked = (question, verdict);
                    let binding = Arc::clone(binding);
                    OpenChunk::new(Box::new(chunk), binding, 0, asked, context, &mut outcome.lost)
                });
                match opened {
                    Ok(mut open) => {
                        outcome.chunks_read += 1;
                        outcome.matching += open.matching;
                        if open.head().is_none() {
                            continue;
                        }
                        if let Some((out, encoder)) = parts.take() {
                            copy = Some(Copy::new(out, encoder, binding)?);
                        }
                        if let Some(copy) = &mut copy {
                            copy.add(&mut open)?;
                        }
                    }
                    Err(cause) => outcome.damaged.chunk(&capture.path, entry.len, &cause),
                }
            }
            if let Some(copy) = copy {
                copy.finish(capture)?;
                wrote = true;
            }
        }
    }
    if !wrote && let Some(binding) = captures.iter().find_map(|c| c.bindings.first()) {
        SegmentWriter::new(out, &binding.header)?.finish()?;
    }
    Ok(outcome)
}

/// Hands over the picked rows of each table; a table's rows stay in the order they had.
pub(super) fn copy_picks(
    open: &mut OpenChunk,
    mut copy: impl FnMut(&Chunk, TableId, &[u32]) -> Result<(), FormatError>,
) -> Result<(), FormatError> {
    let mut picks = Vec::new();
    while let Some(pick) = open.pop() {
        picks.push((pick.place, pick.row));
    }
    picks.sort_unstable();
    let view = open.view();
    for same in picks.chunk_by(|a, b| a.0 == b.0) {
        let Some(rows) = view.table(usize::from(same[0].0)) else { continue };
        let numbers: Vec<u32> = same.iter().map(|(_, row)| *row).collect();
        copy(view.chunk, rows.event.id, &numbers)?;
    }
    Ok(())
}

impl<'w, W: Write> Copy<'w, W> {
    fn new(out: &'w mut W, encoder: &'w mut Encoder, binding: &'w Binding) -> Result<Self, FormatError> {
        Ok(Self {
            writer: SegmentWriter::new(out, &binding.header)?,
            encoder,
            binding,
            builder: ChunkBuilder::new(Arc::clone(&binding.header.schema)),
            cache: CopyCache::new(),
            offset: 0,
            containers: Some(Known::default()),
        })
    }

    fn add(&mut self, open: &mut OpenChunk) -> Result<(), FormatError> {
        let offset = open.view().chunk.summary().wall_offset;
        if offset != self.offset {
            self.write()?;
            self.offset = offset;
            self.builder.set_wall_offset(offset);
        }
        copy_picks(open, |chunk, table, rows| {
            for part in rows.chunks(4096) {
                if self.builder.is_full() {
                    self.write()?;
                    self.builder.set_wall_offset(offset);
                }
                copy_rows(chunk, &mut self.builder, table, part, &mut self.cache)?;
            }
            Ok(())
        })
    }

    fn write(&mut self) -> Result<(), FormatError> {
        if !self.builder.is_empty() {
            let mut block = self.encoder.encode(&self.builder)?;
            match prune::chains(self.binding, &block.summary) {
                SummaryValues::Kept(values) => values.for_each(|(value, _)| {
                    if let (Some(known), SummaryValue::Bytes(chain)) = (&mut self.containers, value) {
                        known.add_chain(chain);
                    }
                }),
                _ => self.containers = None,
            }
            self.writer.write_block(&mut block)?;
        }
        self.builder.clear();
        self.cache.clear();
        Ok(())
    }

    /// Writes what is left, and what is known of the containers that occur.
    fn finish(mut self, capture: &Capture) -> Result<(), FormatError> {
        self.write()?;
        let metadata = capture.file.metadata();
        let needed = |key: &MetadataKey| match (&self.containers, metadata.get(key, FULL_ID)) {
            (Some(known), Some(id)) => known.ids().any(|k| k == id.as_bytes()),
            _ => true,
        };
        let mut records: Vec<MetadataRecord> = metadata
            .keys()
            .filter(|key| key.boot_id == self.binding.header.boot_id && needed(key))
            .map(|key| MetadataRecord {
                key: *key,
                values: metadata.values(key).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            })
            .collect();
        records.sort_by_key(|r| r.key);
        self.writer.write_metadata(&records)?;
        self.writer.finish().map(|_| ())
    }
}
