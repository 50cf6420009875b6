//! Requests of io_uring.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::sync::LazyLock;

use agent_ebpf::records::Header;
use agent_ebpf::records::uring::{Request, Uring, bits};
use capture_format::ChunkBuilder;
use events::{Kind, NO_CALL, flags};
use rustc_hash::FxHashMap;

use super::stored_call::StoredCall;
use super::{RowWriter, col};
use crate::kernel::uring::{Field, OPERATIONS, Operation, Trait, WITHOUT_OFFSET, native};
use crate::record::decode;
use crate::record::processes::STRING_BITS;

/// Requests in flight of which strings are kept, at most ...
const KEPT_MAX: usize = 65_536;
/// ... and bytes of these.
const KEPT_BYTES: usize = 4 << 20;
/// Requests that have completed among those in [`Submissions::order`], approximately.
const COMPLETED_MAX: usize = 1024;
/// Flags of requests (`IOSQE_*`), by their bits.
const SQE_FLAGS: [&str; 7] = ["fixed_file", "drain", "link", "hardlink", "async", "buffer", "skip_success"];
/// The last one of these: no completion if it succeeds.
const SKIP_SUCCESS: u64 = 1 << 6;
/// A file goes to, or is taken from, a place among the ring's own files (`file_index`).
const DIRECT: &str = "direct";
/// In place of the name of an operation that is not known.
const UNKNOWN_OPERATION: &str = "unknown";

/// An operation, and what of it goes into the file.
struct StoredOperation {
    operation: &'static Operation,
    /// The call that does the same.
    call: u32,
    /// The same without an offset.
    without_offset: u32,
    /// Whether `file_index` is a place among the ring's own files.
    is_direct: bool,
}

static STORED: LazyLock<Vec<StoredOperation>> = LazyLock::new(|| {
    let key = |name: &str| native(name).map_or(NO_CALL, |call| call.key());
    let stored = |operation: &'static Operation| {
        let call = key(operation.call);
        let other = WITHOUT_OFFSET.iter().find(|(with, _)| *with == operation.call);
        StoredOperation {
            operation,
            call,
            without_offset: other.map_or(call, |(_, without)| key(without)),
            is_direct: operation.traits.contains(&Trait::ReturnsFile) || operation.call == "close",
        }
    };
    OPERATIONS.iter().map(stored).collect()
});

impl StoredOperation {
    /// The call that does the same as a request.
    fn call_of(&self, request: &Request) -> u32 {
        if Field::Off.of(&request.sqe) == u64::MAX { self.without_offset } else { self.call }
    }

    /// That call's arguments.
    fn args(&self, request: &Request) -> [u64; 6] {
        let mut args = [0; 6];
        for (arg, field) in args.iter_mut().zip(self.operation.fields) {
            *arg = field.of(&request.sqe);
        }
        args
    }
}

/// A request's strings, as far as they were sent.
type Strings = [Option<Box<[u8]>>; 2];

/// Strings of requests that have not completed, by request.
#[derive(Debug, Default)]
pub(super) struct Submissions {
    strings: FxHashMap<u64, Strings>,
    /// In the order of their submission; some have completed.
    order: VecDeque<u64>,
    /// Bytes of all strings.
    bytes: usize,
}

fn bytes_of(strings: &Strings) -> usize {
    strings.iter().flatten().map(|text| text.len()).sum()
}

impl Submissions {
    /// Keeps a string until its request completes, if there is room. `None` if the record is damaged.
    pub fn keep(&mut self, bytes: &[u8]) -> Option<()> {
        let (id, slot, text) = decode::uring_text(bytes)?;
        if slot >= 2 {
            return None;
        }
        if !self.strings.contains_key(&id) {
            self.order.push_back(id);
        }
        let replaced = self.strings.entry(id).or_default()[slot].replace(text.into());
        self.bytes += text.len();
        self.bytes -= replaced.map_or(0, |text| text.len());
        while self.strings.len() > KEPT_MAX || self.bytes > KEPT_BYTES {
            let Some(oldest) = self.order.pop_front() else { break };
            self.remove(oldest);
        }
        if self.order.len() > 2 * self.strings.len() + COMPLETED_MAX {
            let strings = &self.strings;
            self.order.retain(|id| strings.contains_key(id));
        }
        Some(())
    }

    fn remove(&mut self, id: u64) -> Option<Strings> {
        let strings = self.strings.remove(&id)?;
        self.bytes -= bytes_of(&strings);
        Some(strings)
    }

    /// The strings of a request; they are kept if `more` completions follow.
    fn of(&mut self, id: u64, more: bool) -> Strings {
        let found = if more { self.strings.get(&id).cloned() } else { self.remove(id) };
        found.unwrap_or_default()
    }
}

/// The words for the flags of a request, joined by `|`.
fn flag_words(request: &Request, is_direct: bool) -> String {
    let set = request.sqe[0] >> 8 & 0xff;
    let words = SQE_FLAGS.iter().enumerate().filter(|(bit, _)| set >> bit & 1 != 0).map(|(_, word)| *word);
    let direct = (is_direct && Field::Index.of(&request.sqe) != 0).then_some(DIRECT);
    words.chain(direct).collect::<Vec<_>>().join("|")
}

/// The name of an operation.
fn name_of(request: &Request) -> Cow<'static, str> {
    if request.bits & bits::AMBIGUOUS != 0 {
        return Cow::Borrowed(UNKNOWN_OPERATION);
    }
    match STORED.get(request.opcode as usize) {
        Some(stored) => Cow::Borrowed(stored.operation.name),
        None => Cow::Owned(format!("OP_{}", request.opcode)),
    }
}

impl RowWriter {
    pub(super) fn uring(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record: Uring = decode::record(bytes)?;
        self.uring_row(builder, &record);
        Some(())
    }

    /// Writes a request that has not completed.
    pub fn uring_unfinished(&mut self, builder: &mut ChunkBuilder, request: &Request, now: u64) {
        let silent = request.bits & bits::AMBIGUOUS == 0 && request.sqe[0] >> 8 & SKIP_SUCCESS != 0;
        // One that is to succeed without a completion may have done so.
        let ended = if silent { flags::NO_RESULT } else { flags::UNFINISHED | flags::AT_END };
        let head = Header {
            time: now,
            cgroup: request.cgroup,
            pid: request.pid,
            tid: request.tid,
            flags: ended | request.marks,
            cpu: u16::MAX,
            kind: Kind::Uring as u8,
            class: 0,
        };
        for _ in 0..=request.others {
            self.uring_row(builder, &Uring { head, request: *request, ..Uring::default() });
        }
    }

    fn uring_row(&mut self, builder: &mut ChunkBuilder, record: &Uring) {
        let request = &record.request;
        let strings = self.uring.of(request.id, record.more != 0);
        // The kernel side selects by process, but for readers that it does not know of yet.
        if self.scope.is_excluded(record.head.pid) || !self.wants_cgroup(Kind::Uring, record.head.cgroup) {
            return;
        }
        self.count(record.head.cgroup);
        let mut head = record.head;
        let dur = head.time.checked_sub(request.start);
        if dur.is_none() {
            head.flags |= flags::CLAMPED;
        }
        let is_ambiguous = request.bits & bits::AMBIGUOUS != 0;
        if is_ambiguous {
            head.flags = head.flags & !STRING_BITS | flags::START_UNKNOWN;
        }
        let known = STORED.get(request.opcode as usize).filter(|_| !is_ambiguous);
        let entry = known.filter(|_| request.bits & bits::NO_ENTRY == 0);
        let call = entry.map_or(NO_CALL, |known| known.call_of(request));
        let stored = (call != NO_CALL).then(|| self.calls.get(call));
        let args = entry.map_or([0; 6], |known| known.args(request));
        let args = stored.map_or(args, |stored| stored.apply(stored.with_room(args, flags::START_UNKNOWN)));
        let files = if is_ambiguous { [0; 2] } else { files_of(record) };
        for (slot, sent) in [bits::TEXT0, bits::TEXT1].into_iter().enumerate() {
            if !is_ambiguous && request.bits & sent != 0 && strings[slot].is_none() {
                head.flags |= flags::STR0_UNREAD << (2 * slot);
            }
        }
        if stored.is_some_and(StoredCall::is_filled_in) {
            head.flags |= flags::STR0_UNREAD;
        }
        let texts = [0, 1].map(|slot| strings[slot].as_deref().unwrap_or_default());
        let is_success = record.result >= 0 && head.flags & flags::UNFINISHED == 0;
        if is_success && stored.is_some_and(StoredCall::renames) {
            self.follow_rename(request.files, texts);
        }
        let uid = (head.pid != 0).then_some(request.uid);
        let index = self.common(builder, Kind::Uring, &head, uid);
        let files = self.file_rows(builder, files);
        let (ids, strings) = stored.map_or_else(Default::default, |stored| stored.interned(builder, &texts));
        let opcode = builder.intern(name_of(request).as_bytes());
        let words = entry.map_or_else(String::new, |known| flag_words(request, known.is_direct));
        let sqe_flags = builder.intern(words.as_bytes());
        let table = builder.table_at(index);
        table.push_u64(col!(Uring, "dur"), dur.unwrap_or(0));
        table.push_bytes(col!(Uring, "opcode"), opcode);
        table.push_u64(col!(Uring, "call"), u64::from(call));
        table.push_i64(col!(Uring, "result"), i64::from(record.result));
        table.push_list_u64(col!(Uring, "args"), stored.map_or(&[], |stored| stored.list(&args)));
        table.push_list_bytes(col!(Uring, "strs"), &ids[..strings]);
        table.push_ref(col!(Uring, "file"), files[0]);
        table.push_ref(col!(Uring, "file2"), files[1]);
        table.push_bytes(col!(Uring, "sqe_flags"), sqe_flags);
        table.push_u64(col!(Uring, "user_data"), request.user_data);
        table.push_u64(col!(Uring, "more"), u64::from(record.more != 0));
        table.end_row();
    }
}

/// What the descriptors of a request stand for: in place of a second one, its result.
fn files_of(record: &Uring) -> [u64; 2] {
    let [first, second] = record.request.files;
    [first, if record.made == 0 { second } else { record.made }]
}

#[cfg(test)]
mod tests;
