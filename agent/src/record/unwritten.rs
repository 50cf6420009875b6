//! Loss rows for what the writer could not write.

use std::sync::Arc;

use capture_format::{ChunkBuilder, Schema};
use events::Kind;

use super::cgroups::Cgroups;
use super::processes::Processes;
use super::rows::{LossSpan, RowWriter, Scope};
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::kernel::EventLoss;

/// A chunk that reports events that could not be written, by kind, between two times of the boot clock, ns.
pub fn unwritten_rows(
    schema: &Arc<Schema>,
    hierarchy: Hierarchy,
    counts: &[(Option<Kind>, u64)],
    (from, to): (u64, u64),
) -> ChunkBuilder {
    let cgroups = Cgroups::none(hierarchy, ContainerFilter::default());
    let mut rows = RowWriter::new(schema, Processes::new(false), cgroups, Scope::new(&[], None));
    let mut builder = ChunkBuilder::new(schema.clone());
    for &(kind, count) in counts {
        let lost = EventLoss { cpu: None, kind, cgroup: None, stage: "writer", count };
        rows.loss(&mut builder, &lost, LossSpan { from, to, count });
    }
    builder
}
