//! The record of a call that took the long way, or that has ended with its thread.

use agent_ebpf::records::cpu::{shape, sort, verdict, word};
use agent_ebpf::records::{TaskState, class, stage};
use agent_ebpf::spec::{Spec, read, result, spec_flags};
use events::{Kind, flags};

use super::arguments::argument;
use super::draft::padded;
use super::head::{self, Lengths};
use crate::cpu_ring::{Draft, ThisCpu};
use crate::files;
use crate::maps;
use crate::task::Task;
use crate::user::{NOT_FILLED_IN, ROOM_UNKNOWN};

/// How a call ended.
pub struct Return {
    /// Its result.
    pub ret: i64,
    /// When.
    pub time: u64,
    /// Bits of [`flags`].
    pub bits: u32,
    /// Its strings are in a record of its entry.
    pub sent: bool,
    /// They are to be read again.
    pub shared: bool,
    /// What its descriptors stand for was looked up at its entry.
    pub is_known: bool,
}

/// Writes the record. `RETURNED`: the call has returned, so that strings can be read that were not read at the entry.
#[inline(always)]
pub fn emit<const RETURNED: bool>(cpu: ThisCpu, task: Task, call: &TaskState, end: &Return) {
    let ids = u64::from(task.pid()) | u64::from(task.tid()) << 32;
    let named = cpu.verdict() == verdict::WANTED
        || cpu.write_identity(cpu.cgroup(), ids, u64::from(task.uid()), || end.time);
    let draft = if named { cpu.room() } else { None };
    let Some(draft) = draft else {
        maps::count_loss(Kind::Syscall as u8, stage::RING, cpu.cgroup());
        return;
    };
    let mut bits = end.bits;
    let mut dur = end.time.wrapping_sub(call.start);
    if (dur as i64) < 0 {
        dur = 0;
        bits |= flags::CLAMPED;
    }
    for (i, arg) in call.args.iter().enumerate() {
        // SAFETY: indices of arguments.
        unsafe { draft.set(word::ARGS + i, *arg) };
    }
    let mut strings = Lengths { len: [0; 2], bits: 0 };
    let mut record_sort = sort::LONG;
    let mut files = call.files;
    if let Some(spec) = maps::spec(call.key) {
        if RETURNED && spec.file_words != 0 {
            if end.is_known {
                let gone = replaced(cpu, call);
                files[0] = if gone & 1 != 0 { 0 } else { files[0] };
                files[1] = if gone & 2 != 0 { 0 } else { files[1] };
            } else {
                files = files::of_returned(cpu, spec, |index| argument(call, index));
            }
            let made = files::result_of(spec, [call.args[0], call.args[1]]);
            if made == u64::from(result::MOUNTS) {
                files::note_mounts(end.ret);
            } else if made != 0 && made != u64::from(result::PAIR) {
                files[1] = files::file_of_result(made, end.ret, end.time);
                if has_created(cpu, call, end.ret) != 0 {
                    bits |= flags::CREATED;
                }
            }
        }
        if spec.flags & spec_flags::NO_RESULT != 0 {
            bits |= flags::NO_RESULT;
        }
        // Of a call that failed, a path alone is read: once more.
        let fills = RETURNED
            && spec.flags & spec_flags::FILLS != 0
            && (end.ret >= i64::from(spec.least) || spec.read0 == read::STRING);
        if end.sent && fills {
            cpu.set_key(call.key);
            // SAFETY: an index of every record with strings.
            unsafe { draft.set(word::LENGTHS, 0) };
            head::fill(end.ret);
            strings = Lengths::of(draft);
            bits |= word::AGAIN;
        } else if end.sent && !end.shared {
            record_sort = sort::LONG_ENTERED;
        } else if spec.class >= class::STRINGS {
            if RETURNED {
                cpu.set_key(call.key);
                strings = at_return(draft, call, end, spec);
            } else {
                strings = unread(spec);
            }
            if end.shared {
                bits |= word::AGAIN;
            }
        }
        if RETURNED && spec.result == result::PAIR && strings.len[0] == 8 {
            files = head::files_of_pair(draft, end.ret, end.time);
        }
    }
    let words = word::STRINGS as u32 + (padded(strings.len[0]) + padded(strings.len[1])) / 8;
    let lengths = u64::from(strings.len[0]) | u64::from(strings.len[1]) << 16;
    // SAFETY: indices of a record of this type.
    unsafe {
        draft.set(word::TIME, end.time);
        draft.set(word::SHAPE, u64::from(shape::of(record_sort, call.key, words)) << 32);
        draft.set(word::RESULT, end.ret as u64);
        draft.set(word::LENGTHS, lengths | u64::from(bits | strings.bits) << 32);
        draft.set(word::DURATION, dur);
        draft.set_pair(word::FILES, files);
    }
    cpu.publish(words);
}

/// Which files of a call that returns another thread may have replaced: bit 0 for the first one, bit 1 for the second one. A
/// function that calls no other, as the kernel limits what all functions on the way have on the stack.
#[inline(never)]
fn replaced(cpu: ThisCpu, call: &TaskState) -> u32 {
    let Some(spec) = maps::spec(call.key) else { return 0 };
    let left = files::unchanged(cpu, spec, call.files, call.open, |index| argument(call, index));
    u32::from(left[0] != call.files[0]) | u32::from(left[1] != call.files[1]) << 1
}

/// Whether a call has created the file that it opened. As above.
#[inline(never)]
fn has_created(cpu: ThisCpu, call: &TaskState, ret: i64) -> u32 {
    maps::spec(call.key).map_or(0, |spec| u32::from(files::has_created(cpu, spec, ret)))
}

/// Of a call that has not returned, strings are not read now. It has not filled anything in either.
#[inline(always)]
fn unread(spec: &Spec) -> Lengths {
    let mut bits = 0;
    if spec.read0 != read::NONE && spec.read0 != read::BYTES_OUT && spec.room == 0 {
        bits |= flags::STR0_UNREAD;
    }
    if spec.read1 != read::NONE && spec.read1 != read::BYTES_OUT {
        bits |= flags::STR1_UNREAD;
    }
    Lengths { len: [0; 2], bits }
}

/// Reads the strings of a call that has returned: what it has filled in, or what could not be read at its entry.
#[inline(always)]
fn at_return(draft: Draft, call: &TaskState, end: &Return, spec: &Spec) -> Lengths {
    if spec.flags & spec_flags::EXEC != 0 && end.ret == 0 {
        // After an exec the old memory is gone: the agent takes path and arguments from the exec event.
        return Lengths { len: [0; 2], bits: 0 };
    }
    if spec.room != 0 {
        head::read_address(room(call, end, spec), end.ret);
        return Lengths::of(draft);
    }
    head::read_given();
    let given = Lengths::of(draft);
    if spec.flags & spec_flags::FILLS != 0 {
        head::fill(end.ret);
    }
    let strings = Lengths::of(draft);
    Lengths { bits: strings.bits | uncertain(given.len[0] + given.len[1]), ..strings }
}

/// The mark of strings that were read at the return.
#[inline(always)]
fn uncertain(len: u32) -> u32 {
    if len == 0 { 0 } else { flags::STRINGS_UNCERTAIN }
}

/// How much room the caller had at the entry, and whether the call has filled it.
#[inline(always)]
fn room(call: &TaskState, end: &Return, spec: &Spec) -> u64 {
    if end.ret < i64::from(spec.least) {
        return NOT_FILLED_IN;
    }
    if end.bits & (flags::START_UNKNOWN | flags::SECCOMP) != 0 {
        return ROOM_UNKNOWN;
    }
    argument(call, spec.room)
}
