//! Switches.

use agent_ebpf::records::sched::Switch;
use capture_format::ChunkBuilder;
use events::Kind;

use super::{Rows, col};
use crate::record::decode;

impl Rows {
    #[inline]
    pub(super) fn switch(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record = decode::switch(bytes)?;
        let head = record.head;
        let next = (record.next_pid, record.next_tid);
        if !self.wants_either(Kind::Switch, (head.pid, head.cgroup), (next.0, record.next_cgroup)) {
            return Some(());
        }
        // An idle CPU is nobody's.
        self.count(if head.pid == 0 { record.next_cgroup } else { head.cgroup });
        let index = self.common(builder, Kind::Switch, &head, None);
        let next = self.task(builder, next, record.next_cgroup, None);
        let table = builder.table_at(index);
        table.push_u64(col!(Switch, "state"), u64::from(head.class & !Switch::PREEMPTED));
        table.push_u64(col!(Switch, "preempted"), u64::from(head.class & Switch::PREEMPTED != 0));
        table.push_u64(col!(Switch, "ran"), record.ran);
        table.push_ref(col!(Switch, "next"), next);
        table.push_u64(col!(Switch, "off_cpu"), record.off_cpu);
        table.push_u64(col!(Switch, "runnable"), record.runnable);
        table.end_row();
        Some(())
    }
}
