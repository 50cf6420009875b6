//! Strings of a call whose memory other threads may write to: read once more, when the kernel has taken its copy, so that the
//! agent can compare them with those of the entry.

use agent_ebpf::records::TaskState;
use agent_ebpf::records::cpu::{shape, sort, word};
use agent_ebpf::spec::read;

use super::arguments::{argument, copy_args};
use super::draft::{padded, read_first, read_second};
use crate::cpu_ring::ThisCpu;
use crate::maps;
use crate::user::Got;

/// Writes a record of the strings as they are now. 0 if there is one. In a function of its own, since few calls need it.
#[inline(never)]
pub fn read(cpu: ThisCpu, call: &TaskState) -> i32 {
    let Some(spec) = maps::spec(call.key) else { return 0 };
    let Some(draft) = cpu.room() else { return 1 };
    copy_args::<6>(draft.at(word::ARGS).cast(), call);
    let first = read_first(draft, spec, argument(call, spec.arg0));
    let mut second = Got { len: 0, bits: 0 };
    if spec.read1 != read::NONE {
        second = read_second(draft, padded(first.len), argument(call, spec.arg1));
    }
    let words = word::STRINGS as u32 + (padded(first.len) + padded(second.len)) / 8;
    let bits = u64::from(first.bits | second.bits << 2);
    // SAFETY: indices of a record of this type.
    unsafe {
        draft.set(word::TIME, cpu.now());
        draft.set(word::SHAPE, u64::from(shape::of(sort::AGAIN, call.key, words)) << 32);
        draft.set(word::LENGTHS, u64::from(first.len) | u64::from(second.len) << 16 | bits << 32);
    }
    cpu.publish(words);
    0
}
