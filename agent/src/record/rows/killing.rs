//! Signals, and who is killed for memory.

use agent_ebpf::records::oom::scope;
use agent_ebpf::records::signals::cause;
use capture_format::ChunkBuilder;
use events::{Kind, UNKNOWN, UNKNOWN_SIGNED};

use super::{Rows, col};
use crate::kernel::page_size;
use crate::record::decode;

/// What became of a signal, by the kernel's `TRACE_SIGNAL_*`.
const RESULTS: [&str; 5] = ["delivered", "ignored", "pending", "overflow", "lost"];
/// A limit of this many pages or more is none (`PAGE_COUNTER_MAX`, whatever the size of a page).
const NO_LIMIT: u64 = (i64::MAX as u64) >> 16;

impl Rows {
    pub(super) fn signal(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record = decode::signal(bytes)?;
        let sender = (record.head.pid, record.head.cgroup);
        let target = (record.target_pid, record.target_cgroup);
        if !self.wants_either(Kind::Signal, sender, target) {
            return Some(());
        }
        self.count(record.target_cgroup);
        // Whoever is unknown is nobody's user either.
        let uid = if record.head.pid == 0 { u32::MAX } else { record.uid };
        let index = self.common(builder, Kind::Signal, &record.head, uid);
        let who = (record.target_pid, record.target_tid);
        let target = self.task(builder, who, record.target_cgroup, Some(record.target_uid));
        let cause = cause::NAMES.get(record.cause as usize).copied().unwrap_or("other");
        let cause = builder.intern(cause.as_bytes());
        let result = RESULTS.get(record.result as usize).copied().unwrap_or("unknown");
        let result = builder.intern(result.as_bytes());
        let table = builder.table_at(index);
        table.push_u64(col!(Signal, "signal"), u64::from(record.signal));
        table.push_ref(col!(Signal, "target"), target);
        table.push_u64(col!(Signal, "target_pid"), u64::from(record.target_pid));
        table.push_u64(col!(Signal, "target_tid"), u64::from(record.target_tid));
        table.push_u64(col!(Signal, "group"), u64::from(record.group));
        table.push_bytes(col!(Signal, "cause"), cause);
        table.push_bytes(col!(Signal, "result"), result);
        table.end_row();
        Some(())
    }

    pub(super) fn oom(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record = decode::oom(bytes)?;
        let victim = (record.head.pid, record.head.cgroup);
        let trigger = (record.trigger_pid, record.trigger_cgroup);
        let limited_wanted = record.limited != 0 && self.tree.is_none() && self.cgroups.wants(record.limited);
        if !(self.wants_either(Kind::Oom, victim, trigger)
            || self.wanted.contains(Kind::Oom) && limited_wanted)
        {
            return Some(());
        }
        self.count(record.head.cgroup);
        let uid = (record.uid != u32::MAX).then_some(record.uid);
        let index = self.common(builder, Kind::Oom, &record.head, uid);
        let who = (record.trigger_pid, record.trigger_tid);
        let trigger = self.task(builder, who, record.trigger_cgroup, Some(record.trigger_uid));
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
