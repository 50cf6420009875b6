//! Events about the recording itself: losses and clocks.

use agent_ebpf::records::Header;
use capture_format::ChunkBuilder;
use events::Kind;

use super::{RowWriter, col};
use crate::kernel::EventLoss;

/// How many events were lost, and when: ns of the boot clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LossSpan {
    /// The last time at which nothing of it was lost.
    pub from: u64,
    /// The first time at which all of it was lost.
    pub to: u64,
    /// Events.
    pub count: u64,
}

impl RowWriter {
    /// Whether a loss concerns what is recorded.
    pub fn concerns(&mut self, lost: &EventLoss) -> bool {
        lost.cgroup.is_none_or(|id| self.cgroups.wants(id))
    }

    /// Writes how many events were lost in a span of time.
    pub fn loss(&mut self, builder: &mut ChunkBuilder, lost: &EventLoss, span: LossSpan) {
        let head = Header {
            time: span.to,
            cgroup: lost.cgroup.unwrap_or(0),
            cpu: lost.cpu.unwrap_or(u16::MAX),
            kind: Kind::Loss as u8,
            ..Header::default()
        };
        let index = self.common(builder, Kind::Loss, &head, 0);
        let cgroup = self.cgroup_row(builder, lost.cgroup.unwrap_or(0));
        let stage = builder.intern(lost.stage.as_bytes());
        let table = builder.table_at(index);
        table.push_u64(col!(Loss, "from"), span.from);
        table.push_u64(col!(Loss, "kind"), lost.kind.map_or(0, |kind| kind as u64));
        table.push_bytes(col!(Loss, "stage"), stage);
        table.push_ref(col!(Loss, "cgroup"), cgroup);
        table.push_u64(col!(Loss, "count"), span.count);
        self.chunk.lost += span.count;
        table.end_row();
    }

    /// Writes the offset of the wall clock to the boot clock, and by how much it has stepped, ns.
    pub fn clock(&mut self, builder: &mut ChunkBuilder, time: u64, wall_offset: i64, step: i64) {
        let head = Header { time, kind: Kind::Clock as u8, ..Header::default() };
        let index = self.common(builder, Kind::Clock, &head, 0);
        let table = builder.table_at(index);
        table.push_i64(col!(Clock, "wall_offset"), wall_offset);
        table.push_i64(col!(Clock, "step"), step);
        table.end_row();
    }
}
