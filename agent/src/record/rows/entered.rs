//! Strings of calls that have not returned, as they were given.

use std::collections::VecDeque;
use std::sync::Arc;

use capture_format::ChunkBuilder;
use events::{Kind, NO_CALL, flags};
use rustc_hash::{FxHashMap, FxHashSet};

use super::syscall::StoredCall;
use super::{RowWriter, col};
use crate::record::cpu_stream::{CallRecord, StreamThread};
use crate::record::decode;
use crate::record::processes::STRING_BITS;

/// Buffers whose changes are remembered.
const UNSTEADY_MAX: usize = 4096;
/// Calls that are marked later if their buffer turns out to change.
const RECENT_MAX: usize = 64;

/// Where a string of a call was in memory: the process, and the address. 0 stands for no string of interest.
type Buffer = (u32, u64);

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
    compared: [Buffer; 2],
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

    /// The strings of a thread's call were read again, later than the kernel has copied them. If they differ, another
    /// thread has changed them: before the kernel copied them, or after. A change back and forth is not seen, so what was
    /// once seen to change is not trusted any more. Returns the first buffer of which that is new.
    fn compare(
        &mut self,
        thread: StreamThread,
        again: &CallRecord<'_>,
        stored: &StoredCall,
    ) -> Option<Buffer> {
        let entered = self.by_thread.get_mut(&thread.tid).filter(|entered| entered.key == again.key)?;
        let EnteredCall { bits, bytes, second, compared, .. } = Arc::make_mut(entered);
        let (first, second) = bytes.split_at(*second);
        let mut new = None;
        for (i, (was, is)) in stored.strings(&[first, second]).iter().zip(again.strings).enumerate() {
            let Some(address) = stored.address(&again.args, i) else { continue };
            let buffer = (thread.pid, address);
            compared[i] = buffer;
            if *was != is && self.unsteady.len() < UNSTEADY_MAX && self.unsteady.insert(buffer) {
                new = new.or(Some(buffer));
            }
            if *was != is || self.unsteady.contains(&buffer) {
                *bits |= flags::STRINGS_UNCERTAIN;
            }
        }
        new
    }

    /// A call was written to this row.
    pub fn wrote(&mut self, entered: &EnteredCall, chunk: u64, row: u32) {
        if entered.compared == [Buffer::default(); 2] || entered.bits & flags::STRINGS_UNCERTAIN != 0 {
            return;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((entered.compared, chunk, row));
    }

    /// Removes the call that a thread is in, if it is this one.
    pub fn remove(&mut self, tid: u32, key: u32, exec: bool) -> Option<Arc<EnteredCall>> {
        self.by_thread.remove(&tid).filter(|entered| entered.is(key, exec))
    }

    /// The thread has ended, or executes another program.
    pub fn forget(&mut self, tid: u32) {
        self.by_thread.remove(&tid);
    }

    /// Nothing is known of any call.
    pub fn clear(&mut self) {
        self.by_thread.clear();
    }
}

impl RowWriter {
    /// The strings of a thread's call were read again. If they have changed for the first time, its last calls are marked
    /// too.
    pub(super) fn read_again(
        &mut self,
        builder: &mut ChunkBuilder,
        thread: StreamThread,
        again: &CallRecord<'_>,
    ) {
        let stored = self.calls.get(again.key);
        let Some(changes) = self.entered.compare(thread, again, &stored) else { return };
        let table = builder.table_at(self.chunk.index.event(Kind::Syscall));
        for (buffers, chunk, row) in &self.entered.recent {
            if *chunk == self.chunk.number && buffers.contains(&changes) {
                table.set_bits(col!(Syscall, "flags"), *row, u64::from(flags::STRINGS_UNCERTAIN));
            }
        }
    }

    /// Keeps what a call of `execve` was given.
    pub(super) fn exec_given(&mut self, bytes: &[u8]) -> Option<()> {
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
