//! Strings of a call whose memory other threads may write to: read once more, when the kernel has taken its copy, so that the
//! agent can compare them with those of the entry.

use agent_ebpf::records::TaskState;
use agent_ebpf::records::cpu::{shape, sort, word};
use agent_ebpf::spec::read;

use super::arguments::copy_args;
use super::draft::{self, padded, read_string_of, second_place};
use super::head::{self, Lengths};
use crate::cpu_ring::ThisCpu;
use crate::maps;

/// Appends the string of a call that returns to its record. 0 if it is there: two strings would have no room, and
/// addresses of several messages have one place.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn append() -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 1 };
    let Some(spec) = maps::spec(cpu.key()) else { return 1 };
    if spec.read1 != read::NONE || read::is_messages(spec.read0) {
        return 1;
    }
    let Some(draft) = cpu.draft() else { return 1 };
    // SAFETY: an index of every record with strings.
    let lengths = unsafe { draft.get(word::LENGTHS) };
    let first = lengths as u32 & 0xffff;
    let to = second_place(draft, padded(first));
    // SAFETY: a draft has room for two strings.
    let again = unsafe { read_string_of(to, spec, |index| draft::argument(draft, index)) };
    let bits = (lengths >> 32) | u64::from(again.bits << 2 | word::AGAIN);
    // SAFETY: as above.
    unsafe { draft.set(word::LENGTHS, u64::from(first) | u64::from(again.len) << 16 | bits << 32) };
    let words = word::STRINGS as u32 + (padded(first) + padded(again.len)) / 8;
    cpu.set_shape(shape::of(sort::STRINGS, cpu.key(), words));
    0
}

/// Writes a record of the strings as they are now. 0 if there is one. In a function of its own, since few calls need it.
#[inline(never)]
pub fn read(cpu: ThisCpu, call: &TaskState) -> i32 {
    let Some(draft) = cpu.room() else { return 1 };
    copy_args::<6>(draft.at(word::ARGS).cast(), call);
    cpu.set_key(call.key);
    head::read_given();
    let [first, second] = Lengths::of(draft).len;
    let words = word::STRINGS as u32 + (padded(first) + padded(second)) / 8;
    // SAFETY: indices of a record of this type.
    unsafe {
        draft.set(word::TIME, cpu.now());
        draft.set(word::SHAPE, u64::from(shape::of(sort::AGAIN, call.key, words)) << 32);
        draft.set_pair(word::FILES, [0; 2]);
    }
    cpu.publish(words);
    0
}
