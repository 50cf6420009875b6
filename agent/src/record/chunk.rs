//! What flows from the drain to the encoder or the viewer: a filled chunk, and what was learned about containers
//! while it was filled.

use capture_format::{ChunkBuilder, MetadataKey, MetadataRecord};

/// A chunk on its way from the drain.
#[derive(Debug)]
pub struct FilledChunk {
    /// Its rows.
    pub builder: ChunkBuilder,
    /// How many lost events its loss rows report.
    pub lost: u64,
    /// What was learned about containers since the chunk before.
    pub updates: ContainerUpdates,
}

/// What was learned about containers while a chunk was filled.
#[derive(Debug, Default)]
pub struct ContainerUpdates {
    /// Names, images and labels.
    pub names: Vec<MetadataRecord>,
    /// Cgroups that will have no more events: their metadata need not be repeated in later files.
    pub forgotten: Vec<MetadataKey>,
    /// With a filter that needs names: ids of cgroups that turned out to be wanted.
    pub accepted: Vec<u64>,
    /// With such a filter: ids of cgroups that a runtime named and that are not wanted.
    pub rejected: Vec<u64>,
    /// The number of the chunk, counted from 1.
    pub chunk: u64,
    /// Whether it has events of containers that were pending at some time while it was filled.
    pub has_pending: bool,
    /// The first chunk with events of containers that are still pending; `None` if there is none.
    pub pending_since: Option<u64>,
}

impl ContainerUpdates {
    /// Adds later updates, and keeps the number of the chunk.
    pub fn append(&mut self, newer: Self) {
        self.names.extend(newer.names);
        self.accepted.extend(newer.accepted);
        self.rejected.extend(newer.rejected);
        self.forgotten.extend(newer.forgotten);
    }
}
