//! A filtered copy (`replay -w`). Each segment keeps its header and so its identity; chunks keep only the dictionary
//! rows and strings that they need.

use std::io::Write;
use std::sync::Arc;

use capture_format::{
    ChunkBuilder, CopyCache, EncodeOptions, Encoder, FormatError, MetadataKey, MetadataRecord, SegmentWriter,
    SummaryValue, SummaryValues, copy_rows,
};

use crate::filter::prune;
use crate::model::Binding;
use crate::model::metadata::FULL_ID;

use super::captures::Search;
use super::container_match::KnownContainers;
use super::input::Capture;
use super::open::MatchedChunk;
use super::plan::{self, ChunkPlan};
use super::report::ScanReport;

/// A segment of a copy.
struct Copy<'w, W: Write> {
    writer: SegmentWriter<&'w mut W>,
    encoder: &'w mut Encoder,
    binding: &'w Binding,
    builder: ChunkBuilder,
    cache: CopyCache,
    offset: i64,
    /// Containers whose metadata is needed; `None` once there are too many to track.
    containers: Option<KnownContainers>,
}

/// See [`Search::copy`].
fn copy<W: Write>(search: &Search<'_>, out: &mut W) -> Result<ScanReport, FormatError> {
    let mut report = ScanReport::default();
    let mut encoder = Encoder::new(EncodeOptions::default())?;
    let mut wrote = false;
    let captures = search.captures().files();
    for capture in captures {
        let plans: Vec<ChunkPlan<'_>> = plan::by_place(capture, search.query()).collect();
        for of_segment in plans.chunk_by(|a, b| a.entry.segment == b.entry.segment) {
            let Some(first) = of_segment.first() else { continue };
            let mut parts = Some((&mut *out, &mut encoder));
            let mut copy: Option<Copy<'_, W>> = None;
            for plan in of_segment {
                match plan.open(search.query(), search.context(), true, &mut report.lost) {
                    Ok(open) => {
                        report.chunks_read += 1;
                        report.matching += open.matching;
                        if open.is_empty() {
                            continue;
                        }
                        if let Some((out, encoder)) = parts.take() {
                            copy = Some(Copy::new(out, encoder, &capture.bindings[first.entry.segment])?);
                        }
                        if let Some(copy) = &mut copy {
                            copy.add(&open)?;
                        }
                    }
                    Err(cause) => report.damaged.chunk(&capture.path, plan.entry.len, &cause),
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
    Ok(report)
}

impl Search<'_> {
    /// Writes the matching events to a new capture, segment by segment in file order. Segments without matches are
    /// dropped, unless there would be none left.
    ///
    /// # Errors
    /// If writing fails. Damage in a capture is not an error but part of the report.
    pub fn copy<W: Write>(&self, out: &mut W) -> Result<ScanReport, FormatError> {
        copy(self, out).map(|report| self.finished(report))
    }
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
            containers: Some(KnownContainers::default()),
        })
    }

    fn add(&mut self, open: &MatchedChunk) -> Result<(), FormatError> {
        let offset = open.view().chunk.summary().wall_offset;
        if offset != self.offset {
            self.write()?;
            self.offset = offset;
            self.builder.set_wall_offset(offset);
        }
        let chunk = open.view().chunk;
        for (table, rows) in open.selected() {
            for part in rows.chunks(4096) {
                if self.builder.is_full() {
                    self.write()?;
                    self.builder.set_wall_offset(offset);
                }
                copy_rows(chunk, &mut self.builder, table.event.id, part, &mut self.cache)?;
            }
        }
        Ok(())
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

    /// Writes the last chunk and the metadata of the containers that occur.
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
