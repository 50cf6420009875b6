//! Signals.

use agent_ebpf::records::signals::{Signal, cause};
use capture_format::ChunkBuilder;
use events::Kind;

use super::{Party, RowWriter, col};
use crate::record::decode;
use crate::record::processes::Subject;

/// Results of a signal by the kernel's `TRACE_SIGNAL_*`.
const RESULTS: [&str; 5] = ["delivered", "ignored", "pending", "overflow", "lost"];

impl RowWriter {
    pub(super) fn signal(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record: Signal = decode::record(bytes)?;
        if record.head.pid != 0 {
            self.processes.set_parent(&record.head, record.ppid);
        }
        let sender = Party { pid: record.head.pid, cgroup: record.head.cgroup };
        let target = Party { pid: record.target_pid, cgroup: record.target_cgroup };
        if !self.wants_either(Kind::Signal, sender, target) {
            return Some(());
        }
        self.count(record.target_cgroup);
        // Of an unknown sender the user is unknown, too.
        let uid = if record.head.pid == 0 { u32::MAX } else { record.uid };
        let index = self.common(builder, Kind::Signal, &record.head, uid);
        let target = Subject {
            pid: record.target_pid,
            tid: record.target_tid,
            cgroup: record.target_cgroup,
            uid: Some(record.target_uid),
        };
        let target = self.task(builder, target);
        let cause = cause::NAMES.get(record.cause as usize).copied().unwrap_or("other");
        let cause = builder.intern(cause.as_bytes());
        let result = RESULTS.get(record.result as usize).copied().unwrap_or("unknown");
        let result = builder.intern(result.as_bytes());
        let ids = [record.target_pid, record.target_tid].map(|id| self.shown_id(record.target_cgroup, id));
        let table = builder.table_at(index);
        table.push_u64(col!(Signal, "signal"), u64::from(record.signal));
        table.push_ref(col!(Signal, "target"), target);
        table.push_u64(col!(Signal, "target_pid"), ids[0]);
        table.push_u64(col!(Signal, "target_tid"), ids[1]);
        table.push_u64(col!(Signal, "group"), u64::from(record.group));
        table.push_bytes(col!(Signal, "cause"), cause);
        table.push_bytes(col!(Signal, "result"), result);
        table.end_row();
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktape_reader::fields::words;

    #[test]
    fn filters_know_every_cause_and_result() {
        assert_eq!(cause::NAMES.as_slice(), words::SIGNAL_CAUSES.all);
        assert!(RESULTS.iter().all(|result| words::SIGNAL_RESULTS.find(result).is_some()));
    }
}
