//! Strings of a call whose memory other threads may write to: read once more, when the kernel has taken its copy, so that the
//! agent can compare them with those of the entry.

use agent_ebpf::records::TaskState;
use agent_ebpf::records::cpu::{shape, sort, word};
use agent_ebpf::spec::read;

use super::arguments::{argument, copy_args};
use super::draft::{self, padded, read_first, read_second, read_string_of};
use crate::cpu_ring::ThisCpu;
use crate::maps;
use crate::user::Got;

/// Appends the string of a call that returns to its record. 0 if it is there: two strings would have no room.
#[inline(never)]
pub fn append(cpu: ThisCpu) -> i32 {
    let Some(spec) = maps::spec(cpu.key()) else { return 1 };
    if spec.read1 != read::NONE {
        return 1;
    }
    let Some(draft) = cpu.draft() else { return 1 };
    // SAFETY: an index of every record with strings.
    let lengths = unsafe { draft.get(word::LENGTHS) };
    let first = lengths as u32 & 0xffff;
    let mut after = u64::from(padded(first));
    // SAFETY: as in `read_second`.
    let again = unsafe {
        core::arch::asm!("{after} &= 8184", after = inout(reg) after);
        let to = draft.at(word::STRINGS).add(after as usize);
        read_string_of(to, spec, |index| draft::argument(draft, index))
    };
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
    let Some(spec) = maps::spec(call.key) else { return 0 };
    let Some(draft) = cpu.room() else { return 1 };
    copy_args::<6>(draft.at(word::ARGS).cast(), call);
    let args = |index| argument(call, index);
    let first = read_first(draft, spec, args);
    let mut second = Got::NOTHING;
    if spec.read1 != read::NONE {
        second = read_second(draft, padded(first.len), spec, args, None);
    }
    let words = word::STRINGS as u32 + (padded(first.len) + padded(second.len)) / 8;
    let bits = u64::from(first.bits | second.bits << 2);
    // SAFETY: indices of a record of this type.
    unsafe {
        draft.set(word::TIME, cpu.now());
        draft.set(word::SHAPE, u64::from(shape::of(sort::AGAIN, call.key, words)) << 32);
        draft.set_pair(word::FILES, [0; 2]);
        draft.set(word::LENGTHS, u64::from(first.len) | u64::from(second.len) << 16 | bits << 32);
    }
    cpu.publish(words);
    0
}
