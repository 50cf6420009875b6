//! Processes that the kernel kills because memory ran out.

use agent_ebpf::records::oom::{Oom, scope};
use capture_format::ChunkBuilder;
use events::{Kind, UNKNOWN, UNKNOWN_SIGNED};

use super::{Party, RowWriter, col};
use crate::kernel::page_size;
use crate::record::decode;
use crate::record::processes::Subject;

/// A limit of this many pages or more means no limit (`PAGE_COUNTER_MAX`, for any page size).
const NO_LIMIT: u64 = (i64::MAX as u64) >> 16;

impl RowWriter {
    pub(super) fn oom(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record: Oom = decode::record(bytes)?;
        let victim = Party { pid: record.head.pid, cgroup: record.head.cgroup };
        let trigger = Party { pid: record.trigger_pid, cgroup: record.trigger_cgroup };
        let is_limit_wanted =
            record.limited != 0 && !self.scope.is_tree() && self.wants_cgroup(Kind::Oom, record.limited);
        if !self.wants_either(Kind::Oom, victim, trigger) && !is_limit_wanted {
            return Some(());
        }
        self.count(record.head.cgroup);
        let uid = (record.uid != u32::MAX).then_some(record.uid);
        let index = self.common(builder, Kind::Oom, &record.head, uid);
        let trigger = Subject {
            pid: record.trigger_pid,
            tid: record.trigger_tid,
            cgroup: record.trigger_cgroup,
            uid: Some(record.trigger_uid),
        };
        let trigger = self.task(builder, trigger);
        let limited = self.cgroup_row(builder, record.limited);
        let scope = match record.scope {
            scope::CGROUP => "cgroup",
            scope::HOST => "host",
            _ => "unknown",
        };
        let scope = builder.intern(scope.as_bytes());
        let page = u64::from(page_size());
        let known = |is_known: bool, bytes: u64| if is_known { bytes } else { UNKNOWN };
        let has_limit = record.limited_known != 0;
        // The kernel's counters are sums of parts, and may be below 0 for a moment.
        let pages = |index: usize| known(record.counted != 0, record.pages[index].max(0) as u64 * page);
        let table = builder.table_at(index);
        table.push_ref(col!(Oom, "trigger"), trigger);
        table.push_bytes(col!(Oom, "scope"), scope);
        table.push_ref(col!(Oom, "limited"), limited);
        table.push_u64(col!(Oom, "memory"), known(has_limit, record.memory.saturating_mul(page)));
        let limit = known(has_limit && record.limit < NO_LIMIT, record.limit.saturating_mul(page));
        table.push_u64(col!(Oom, "limit"), limit);
        table.push_u64(col!(Oom, "anon"), pages(1));
        table.push_u64(col!(Oom, "file"), pages(0));
        table.push_u64(col!(Oom, "shmem"), pages(3));
        table.push_u64(col!(Oom, "swap"), pages(2));
        table.push_u64(col!(Oom, "page_tables"), known(record.counted != 0, record.page_tables));
        let adj = if record.uid == u32::MAX { UNKNOWN_SIGNED } else { i64::from(record.score_adj) };
        table.push_i64(col!(Oom, "score_adj"), adj);
        table.end_row();
        Some(())
    }
}
