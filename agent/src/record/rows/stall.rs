//! Long uninterruptible sleeps (D state).

use std::sync::Arc;

use agent_ebpf::records::Header;
use capture_format::ChunkBuilder;
use events::{NO_CALL, flags};

use super::entered::EnteredCall;
use super::{RowWriter, col};
use crate::agent_events::{Phase, Stall, Waker};
use crate::record::processes::Subject;

impl RowWriter {
    /// Writes a hang, or a report of one that lasts.
    pub(super) fn stall(&mut self, builder: &mut ChunkBuilder, stall: &Stall) {
        let kind = stall.phase.kind();
        let at_end = stall.phase == Phase::Unfinished;
        let place = &stall.place;
        let given = self.given_to(stall);
        let unread = if place.call == NO_CALL { 0 } else { self.calls.get(place.call).unread() };
        let bits = given.as_ref().map_or(unread, |given| given.bits);
        let head = Header {
            time: stall.time,
            cgroup: stall.cgroup,
            pid: stall.pid,
            tid: stall.tid,
            cpu: u16::MAX,
            kind: kind as u8,
            flags: bits | if at_end { flags::UNFINISHED | flags::AT_END } else { 0 },
            ..Header::default()
        };
        if !self.wants(kind, &head) {
            return;
        }
        self.processes.adopt_orphans(head.time);
        self.count(head.cgroup);
        let index = self.common(builder, kind, &head, stall.uid);
        let Waker { pid, tid, cgroup } = stall.waker.unwrap_or_default();
        let waker = self.task(builder, Subject { pid, tid, cgroup, uid: None });
        let files = self.linked_rows(builder, place.files, &place.links);
        let stored = self.calls.get(place.call);
        let mut strings = given.as_ref().map_or([&b""[..]; 2], |given| given.strings());
        let masked = self.processes.masked(strings[1]);
        if stored.exec {
            strings[1] = &masked;
        }
        let (ids, count) = stored.interned(builder, &strings);
        let strings = if place.call == NO_CALL { &[] } else { &ids[..count] };
        let args = stored.apply(place.args);
        let args = if place.call == NO_CALL { &[] } else { stored.list(&args) };
        let [wait, stack, dev, workqueue] =
            [&place.wait, &place.stack, &place.dev, &place.workqueue].map(|text| builder.intern(text));
        let phase = builder.intern(stall.phase.name().as_bytes());
        let dev_from = builder.intern(place.dev_from.as_bytes());
        // Both kinds have the same columns.
        let table = builder.table_at(index);
        table.push_u64(col!(Stall, "dur"), stall.dur);
        table.push_bytes(col!(Stall, "phase"), phase);
        table.push_u64(col!(Stall, "nr"), u64::from(place.call));
        table.push_list_u64(col!(Stall, "args"), args);
        table.push_list_bytes(col!(Stall, "strs"), strings);
        table.push_bytes(col!(Stall, "wait"), wait);
        table.push_bytes(col!(Stall, "stack"), stack);
        table.push_bytes(col!(Stall, "dev"), dev);
        table.push_bytes(col!(Stall, "dev_from"), dev_from);
        table.push_bytes(col!(Stall, "workqueue"), workqueue);
        table.push_ref(col!(Stall, "waker"), waker);
        table.push_ref(col!(Stall, "file"), files[0]);
        table.push_ref(col!(Stall, "file2"), files[1]);
        table.end_row();
    }

    /// The strings of the call that a thread hangs in. They are kept from the first report of the hang until its end, when
    /// the call may have returned.
    fn given_to(&mut self, stall: &Stall) -> Option<Arc<EnteredCall>> {
        let key = stall.place.call;
        if stall.phase == Phase::Asleep {
            // Of another hang, whose end was not reported.
            self.hanging.remove(&stall.tid);
        }
        let given = match self.hanging.remove(&stall.tid) {
            Some(given) => Some(given),
            None => self.given_strings(stall.tid, key),
        };
        if let Some(given) = &given
            && matches!(stall.phase, Phase::Asleep | Phase::Still)
        {
            self.hanging.insert(stall.tid, given.clone());
        }
        given
    }
}
