//! Strings of calls that have not returned, as they were given.

use std::collections::VecDeque;
use std::sync::Arc;

use agent_ebpf::records::uring::Text;
use capture_format::ChunkBuilder;
use events::{Kind, NO_CALL, flags};
use rustc_hash::{FxHashMap, FxHashSet};

use super::stored_call::StoredCall;
use super::{RowWriter, col};
use crate::record::cpu_stream::{CallRecord, CpuStream, StreamThread};
use crate::record::decode;
use crate::record::files;
use crate::record::processes::STRING_BITS;

/// Buffers whose changes are remembered.
const UNSTEADY_MAX: usize = 4096;
/// Calls that are marked later if their buffer turns out to change.
const RECENT_MAX: usize = 64;

/// Where a string of a call was in memory: the process id, and the address. Both are 0 if none was compared.
pub(super) type Buffer = (u32, u64);

/// The strings of a call that has not returned.
#[derive(Clone, Debug)]
pub(super) struct EnteredCall {
    key: u32,
    /// `STR0_*`, `STR1_*` and `STRINGS_*`.
    pub bits: u32,
    /// Both strings, and where the second one starts.
    bytes: Box<[u8]>,
    second: usize,
    /// The buffers whose strings were read again.
    pub compared: [Buffer; 2],
}

impl EnteredCall {
    fn new(key: u32, bits: u32, strings: [&[u8]; 2]) -> Self {
        Self {
            key,
            bits: bits & STRING_BITS,
            bytes: strings.concat().into(),
            second: strings[0].len(),
            compared: [Buffer::default(); 2],
        }
    }

    /// Both strings.
    pub fn strings(&self) -> [&[u8]; 2] {
        let (first, second) = self.bytes.split_at(self.second);
        [first, second]
    }

    /// Whether it is a call with this key. Of an exec, the number of the call is not known.
    fn is(&self, key: u32, exec: bool) -> bool {
        self.key == key || self.key == NO_CALL && exec
    }
}

/// Whose strings are compared.
struct StringsOf<'a> {
    pid: u32,
    args: &'a [u64; 6],
    stored: &'a StoredCall,
}

/// What a comparison has found.
#[derive(Debug, Default)]
pub(super) struct Compared {
    /// What was compared.
    pub buffers: [Buffer; 2],
    /// Some of it changes.
    changes: bool,
    /// What was not known to change before.
    new: Option<Buffer>,
}

impl Compared {
    pub fn bits(&self) -> u32 {
        if self.changes { flags::STRINGS_UNCERTAIN } else { 0 }
    }
}

/// The calls that threads are in, as far as their entries were sent.
#[derive(Debug, Default)]
pub(super) struct EnteredCalls {
    by_thread: FxHashMap<u32, Arc<EnteredCall>>,
    /// Buffers that were changed during a call.
    unsteady: FxHashSet<Buffer>,
    /// The last calls whose strings were read again and were the same: chunk and row.
    recent: VecDeque<([Buffer; 2], u64, u32)>,
}

impl EnteredCalls {
    /// A thread's call was entered.
    pub fn enter(&mut self, tid: u32, call: &CallRecord<'_>) {
        self.by_thread.insert(tid, Arc::new(EnteredCall::new(call.key, call.flags, call.strings)));
    }

    /// Compares the strings of a call with what was at the same place later than the kernel has copied them. If they differ,
    /// another thread has changed them: before the kernel copied them, or after. A change back and forth is not seen, so
    /// what was once seen to change is not trusted any more.
    fn compare(&mut self, of: &StringsOf<'_>, was: [&[u8]; 2], is: [&[u8]; 2]) -> Compared {
        let mut compared = Compared::default();
        for (i, (was, is)) in of.stored.strings(&was).iter().zip(is).enumerate() {
            let Some(address) = of.stored.address(of.args, i) else { continue };
            let buffer = (of.pid, address);
            compared.buffers[i] = buffer;
            if *was != is && self.unsteady.len() < UNSTEADY_MAX && self.unsteady.insert(buffer) {
                compared.new = compared.new.or(Some(buffer));
            }
            compared.changes |= *was != is || self.unsteady.contains(&buffer);
        }
        compared
    }

    /// A call was written to this row.
    pub fn wrote(&mut self, buffers: [Buffer; 2], chunk: u64, row: u32) {
        if buffers == [Buffer::default(); 2] {
            return;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((buffers, chunk, row));
    }

    /// Removes the call that a thread is in, if it is this one.
    pub fn remove(&mut self, tid: u32, key: u32, exec: bool) -> Option<Arc<EnteredCall>> {
        self.by_thread.remove(&tid).filter(|entered| entered.is(key, exec))
    }

    /// The thread has ended, or executes another program. So its process has other buffers, if it is the leader.
    pub fn forget(&mut self, tid: u32) {
        self.by_thread.remove(&tid);
        if !self.unsteady.is_empty() {
            self.unsteady.retain(|(pid, _)| *pid != tid);
        }
    }

    /// A thread that is not the leader executes a program: it continues with the leader's id.
    pub fn continues(&mut self, old: u32, new: u32) {
        let call = self.by_thread.remove(&old);
        self.forget(old);
        if let Some(call) = call {
            self.by_thread.insert(new, call);
        }
    }

    /// Nothing is known of any call.
    pub fn clear(&mut self) {
        self.by_thread.clear();
    }
}

impl RowWriter {
    /// The strings of the call that a thread is in were read again.
    pub(super) fn read_again(
        &mut self,
        builder: &mut ChunkBuilder,
        thread: StreamThread,
        again: &CallRecord<'_>,
    ) {
        let stored = self.calls.get(again.key);
        let entered = self.entered.by_thread.get(&thread.tid);
        let Some(entered) = entered.filter(|entered| entered.is(again.key, stored.exec)) else { return };
        let mut entered = entered.clone();
        let of = StringsOf { pid: thread.pid, args: &again.args, stored };
        let [first, second] = entered.strings();
        // Of an exec, only the path is read again.
        let second = if stored.exec { again.strings[1] } else { second };
        let compared = self.entered.compare(&of, [first, second], again.strings);
        self.mark_recent(builder, &compared);
        let call = Arc::make_mut(&mut entered);
        call.compared = compared.buffers;
        call.bits |= compared.bits();
        self.entered.by_thread.insert(thread.tid, entered);
    }

    /// Compares the path of a call that fills something in, which has its path as it is now as its first string.
    pub(super) fn compare_path(
        &mut self,
        builder: &mut ChunkBuilder,
        pid: u32,
        call: &CallRecord<'_>,
        was: &[u8],
    ) -> Compared {
        let of = StringsOf { pid, args: &call.args, stored: self.calls.get(call.key) };
        let compared = self.entered.compare(&of, [was, b""], [call.strings[0], b""]);
        self.mark_recent(builder, &compared);
        compared
    }

    /// A call that has returned, with its string as it is now in place of a second one, or, if it has filled one in, behind that.
    pub(super) fn compared_call(
        &mut self,
        builder: &mut ChunkBuilder,
        stream: &mut CpuStream,
        call: CallRecord<'_>,
    ) {
        let [was, is] = call.strings;
        let stored = self.calls.get(call.key);
        let of = StringsOf { pid: stream.thread.pid, args: &call.args, stored };
        let (is, filled, mut bits) = if stored.fills() {
            (call.path_again.unwrap_or_default(), is, call.flags)
        } else {
            (is, &b""[..], call.flags & !(flags::STR1_UNREAD | flags::STR1_CUT))
        };
        // What a call has filled in is what it was: the second string is not compared.
        let compared = self.entered.compare(&of, [was, b""], [is, b""]);
        self.mark_recent(builder, &compared);
        bits |= compared.bits();
        let row = self.call(builder, stream, &CallRecord { strings: [was, filled], flags: bits, ..call });
        if let Some(row) = row {
            self.entered.wrote(compared.buffers, self.chunk.number, row);
        }
    }

    /// If a buffer has changed for the first time, the last calls with it are marked too.
    fn mark_recent(&self, builder: &mut ChunkBuilder, compared: &Compared) {
        let Some(changes) = compared.new else { return };
        let table = builder.table_at(self.chunk.index.event(Kind::Syscall));
        for (buffers, chunk, row) in &self.entered.recent {
            if *chunk == self.chunk.number && buffers.contains(&changes) {
                table.set_bits(col!(Syscall, "flags"), *row, u64::from(flags::STRINGS_UNCERTAIN));
            }
        }
    }

    /// Keeps what a record says about calls that follow.
    pub(super) fn about_calls(&mut self, bytes: &[u8]) -> Option<()> {
        let head = decode::record(bytes)?;
        if files::is_definition(&head) {
            self.files.define(bytes)
        } else if head.class == Text::CLASS {
            self.uring.keep(bytes)
        } else {
            self.exec_given(bytes)
        }
    }

    /// Keeps what a call of `execve` was given.
    fn exec_given(&mut self, bytes: &[u8]) -> Option<()> {
        let given = decode::given(bytes)?;
        let entered = EnteredCall::new(NO_CALL, given.head.flags, given.strings);
        self.entered.by_thread.insert(given.head.tid, Arc::new(entered));
        Some(())
    }

    /// What the call that a thread is in was given.
    pub(super) fn given_strings(&self, tid: u32, key: u32) -> Option<Arc<EnteredCall>> {
        let entered = self.entered.by_thread.get(&tid)?;
        entered.is(key, self.calls.get(key).exec).then(|| entered.clone())
    }
}
