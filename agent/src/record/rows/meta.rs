//! What the recorder says of the recording: losses and clocks.

use agent_ebpf::records::Header;
use capture_format::ChunkBuilder;
use events::Kind;

use super::{Rows, col};
use crate::kernel::Lost;
use crate::record::columns::Dictionaries;

impl Rows {
    /// Whether a loss concerns what is recorded.
    pub fn concerns(&mut self, lost: &Lost) -> bool {
        lost.cgroup.is_none_or(|id| self.cgroups.wants(id))
    }

    /// Writes a loss.
    pub fn loss(&mut self, builder: &mut ChunkBuilder, from: u64, to: u64, lost: &Lost) {
        let head = Header {
            time: to,
            cgroup: lost.cgroup.unwrap_or(0),
            cpu: lost.cpu.unwrap_or(u16::MAX),
            kind: Kind::Loss as u8,
            ..Header::default()
        };
        let index = self.common(builder, Kind::Loss, &head, 0);
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        let cgroup = self.cgroups.row(&mut chunk, lost.cgroup.unwrap_or(0));
        let stage = builder.intern(lost.stage.as_bytes());
        let table = builder.table_at(index);
        table.push_u64(col!(Loss, "from"), from);
        table.push_u64(col!(Loss, "kind"), lost.kind.map_or(0, |kind| kind as u64));
        table.push_bytes(col!(Loss, "stage"), stage);
        table.push_ref(col!(Loss, "cgroup"), cgroup);
        table.push_u64(col!(Loss, "count"), lost.count);
        self.lost_told += lost.count;
        table.end_row();
    }

    /// Writes how boot clock and wall clock lie to each other.
    pub fn clock(&mut self, builder: &mut ChunkBuilder, time: u64, wall_offset: i64, step: i64) {
        let head = Header { time, kind: Kind::Clock as u8, ..Header::default() };
        let index = self.common(builder, Kind::Clock, &head, 0);
        let table = builder.table_at(index);
        table.push_i64(col!(Clock, "wall_offset"), wall_offset);
        table.push_i64(col!(Clock, "step"), step);
        table.end_row();
    }
}
