//! A filtered copy (`replay -w`). Each segment keeps its header and so its identity; chunks keep only the dictionary
//! rows, strings and ids that [`Privacy`] allows.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use capture_format::{
    ChunkBuilder, CopyCache, EncodeOptions, Encoder, FormatError, Header, MetadataKey, MetadataRecord,
    SegmentWriter, SummaryValue, SummaryValues, copy_rows,
};

use crate::filter::prune;
use crate::model::Binding;
use crate::model::metadata::FULL_ID;

use super::captures::Search;
use super::container_match::KnownContainers;
use super::input::Capture;
use super::open::MatchedChunk;
use super::plan::{self, ChunkPlan};
use super::privacy::Privacy;
use super::query::Query;
use super::report::ScanReport;

/// A segment of a copy.
struct Copy<'w, W: Write> {
    writer: SegmentWriter<&'w mut W>,
    encoder: &'w mut Encoder,
    query: &'w Query,
    /// What it may show; everything, if there is none.
    privacy: Option<&'w mut Privacy>,
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
    let query = search.query();
    let mut privacy = Privacy::of(query);
    let captures = search.captures().files();
    if let Some(progress) = search.progress() {
        let plans = captures.iter().flat_map(|capture| plan::by_place(capture, query));
        progress.begin(plans.map(|plan| plan.events()).sum());
    }
    for capture in captures {
        let plans: Vec<ChunkPlan<'_>> = plan::by_place(capture, query).collect();
        for of_segment in plans.chunk_by(|a, b| a.entry.segment == b.entry.segment) {
            let Some(first) = of_segment.first() else { continue };
            let binding = &capture.bindings[first.entry.segment];
            let privacy = privacy.as_mut();
            let mut shared = Some(SegmentContext { out: &mut *out, encoder: &mut encoder, privacy });
            let mut copy: Option<Copy<'_, W>> = None;
            for plan in of_segment {
                if let Some(progress) = search.progress() {
                    progress.add(plan.events());
                }
                match plan.open(query, search.context(), true, &mut report.lost) {
                    Ok(open) => {
                        report.chunks_read += 1;
                        report.matching += open.matching;
                        if open.is_empty() {
                            continue;
                        }
                        if let Some(shared) = shared.take() {
                            copy = Some(Copy::new(shared, query, binding)?);
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
        SegmentWriter::new(out, &header(binding, privacy.is_some()))?.finish()?;
    }
    Ok(report)
}

/// The header of a copy. The recorder's own arguments can contain names of any container or process.
fn header(binding: &Binding, is_private: bool) -> Header {
    let mut header = Header::clone(&binding.header);
    if is_private {
        header.command_line.clear();
        header.options.retain(|(name, _)| !matches!(name.as_str(), "container" | "filter"));
    }
    header
}

/// What the segments of a copy share.
struct SegmentContext<'w, W: Write> {
    out: &'w mut W,
    encoder: &'w mut Encoder,
    privacy: Option<&'w mut Privacy>,
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
    fn new(
        shared: SegmentContext<'w, W>,
        query: &'w Query,
        binding: &'w Binding,
    ) -> Result<Self, FormatError> {
        let SegmentContext { out, encoder, privacy } = shared;
        Ok(Self {
            writer: SegmentWriter::new(out, &header(binding, privacy.is_some()))?,
            encoder,
            query,
            privacy,
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
        if let Some(privacy) = &mut self.privacy {
            let inside = self.query.in_containers(open.view());
            let hidden = privacy.hidden(open.view(), &open.selections(), inside.as_deref());
            self.cache.hide(chunk, hidden);
        }
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
        let shown = self.privacy.as_ref().map(|privacy| shown_containers(privacy, self.query));
        let is_shown = |key: &MetadataKey| match (&shown, metadata.get(key, FULL_ID)) {
            (None, _) => true,
            (Some(shown), Some(id)) => shown.contains(id.as_bytes()) && !self.is_other(key),
            (Some(_), None) => false,
        };
        let mut records: Vec<MetadataRecord> = metadata
            .keys()
            .filter(|key| key.boot_id == self.binding.header.boot_id && needed(key) && is_shown(key))
            .map(|key| MetadataRecord {
                key: *key,
                values: metadata.values(key).map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            })
            .collect();
        records.sort_by_key(|r| r.key);
        self.writer.write_metadata(&records)?;
        self.writer.finish().map(|_| ())
    }

    /// Whether this is another container that once had the id of a selected one.
    fn is_other(&self, key: &MetadataKey) -> bool {
        self.query.containers.as_ref().is_some_and(|containers| containers.is_other(key))
    }
}

/// The containers whose metadata a copy may have: in each chain, the selected ones and those inside them.
fn shown_containers(privacy: &Privacy, query: &Query) -> BTreeSet<Vec<u8>> {
    let mut shown = BTreeSet::new();
    for chain in privacy.chains() {
        let mut end = 0;
        for id in chain.split(|b| *b == b'>') {
            end += id.len();
            if query.containers.as_ref().is_none_or(|containers| containers.match_chain(&chain[..end])) {
                shown.insert(id.to_vec());
            }
            end += 1;
        }
    }
    shown
}
