//! Context switches.

use agent_ebpf::records::Header;
use agent_ebpf::records::cpu::SwitchWords;
use agent_ebpf::records::sched::PREEMPTED;
use capture_format::ChunkBuilder;
use events::Kind;

use super::{Party, RowWriter, col};
use crate::record::processes::Subject;

impl RowWriter {
    #[inline]
    pub(super) fn switch(&mut self, builder: &mut ChunkBuilder, cpu: u16, time: u64, record: &SwitchWords) {
        let [pid, tid] = record.ids;
        let [next_pid, next_tid] = record.next_ids;
        let head =
            Header { time, cgroup: record.cgroup, pid, tid, cpu, flags: record.flags, ..Header::default() };
        let previous = Party { pid, cgroup: head.cgroup };
        let next = Party { pid: next_pid, cgroup: record.next_cgroup };
        if !self.wants_either(Kind::Switch, previous, next) {
            return;
        }
        // The idle task belongs to no container.
        self.count(if head.pid == 0 { record.next_cgroup } else { head.cgroup });
        let index = if self.scope.is_excluded(head.pid) {
            // Of interest is what the next thread waited for, not that the recorder ran before it.
            let previous = Subject { pid: head.pid, tid: head.tid, cgroup: head.cgroup, uid: None };
            let mut chunk = self.chunk.dictionaries(builder);
            let task = self.processes.nameless_row(&mut chunk, &mut self.cgroups, previous);
            self.common_of(builder, Kind::Switch, &head, task)
        } else {
            self.common(builder, Kind::Switch, &head, None)
        };
        let next = Subject { pid: next.pid, tid: next_tid, cgroup: next.cgroup, uid: None };
        let next = self.task(builder, next);
        let table = builder.table_at(index);
        table.push_u64(col!(Switch, "state"), u64::from(record.class & !PREEMPTED));
        table.push_u64(col!(Switch, "preempted"), u64::from(record.class & PREEMPTED != 0));
        table.push_u64(col!(Switch, "ran"), record.ran);
        table.push_ref(col!(Switch, "next"), next);
        table.push_u64(col!(Switch, "off_cpu"), record.off_cpu);
        table.push_u64(col!(Switch, "runnable"), record.runnable);
        table.end_row();
    }
}
