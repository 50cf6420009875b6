//! What a call fills in, read at its return.

use agent_ebpf::records::TaskState;
use agent_ebpf::records::cpu::{shape, sort, word};
use agent_ebpf::spec::{Spec, read, result};
use events::flags;

use super::arguments;
use super::draft::{argument, padded, second_place};
use crate::cpu_ring::{Draft, ThisCpu};
use crate::files;
use crate::maps;
use crate::user::{Got, bytes_of, read_bytes};

/// Lengths of the strings, and the bits of [`flags`] about them.
pub struct Lengths {
    /// Of the first and the second one.
    pub len: [u32; 2],
    /// `STR0_*` and `STR1_*`.
    pub bits: u32,
}

/// Reads what a call with these arguments and this result has filled in to its place in a record, which has the other strings.
#[inline(always)]
pub fn read_filled(draft: Draft, spec: &Spec, ret: i64, args: impl Fn(u8) -> u64, lengths: &mut Lengths) {
    if ret < i64::from(spec.least) {
        return;
    }
    if spec.read0 >= read::BYTES_BOTH {
        let from = args(spec.arg0);
        // SAFETY: a draft has room for two strings.
        let got = unsafe { read_bytes(draft.at(word::STRINGS), bytes_of(spec, 0, &args, ret), from) };
        take(lengths, 0, &got);
    }
    if spec.read1 >= read::BYTES_BOTH {
        let to = second_place(draft, padded(lengths.len[0]));
        // SAFETY: as above.
        let got = unsafe { read_bytes(to, bytes_of(spec, 1, &args, ret), args(spec.arg1)) };
        take(lengths, 1, &got);
    }
}

/// What could not be read stays as it was at the entry.
#[inline(always)]
fn take(lengths: &mut Lengths, index: usize, got: &Got) {
    if got.bits & flags::STR0_UNREAD != 0 && lengths.len[index] != 0 {
        return;
    }
    lengths.len[index] = got.len;
    lengths.bits |= got.bits << (2 * index);
}

/// Adds what the call that returns has filled in to its record at the head. A function of its own, with numbers as arguments,
/// so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fill(ret: i64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let Some(spec) = maps::spec(cpu.key()) else { return 0 };
    let Some(draft) = cpu.draft() else { return 0 };
    // SAFETY: an index of every record with strings.
    let known = unsafe { draft.get(word::LENGTHS) };
    let mut lengths =
        Lengths { len: [known as u32 & 0xffff, (known >> 16) as u32 & 0xffff], bits: (known >> 32) as u32 };
    read_filled(draft, spec, ret, |index| argument(draft, index), &mut lengths);
    let [first, second] = lengths.len;
    // SAFETY: as above.
    unsafe {
        draft.set(word::LENGTHS, u64::from(first) | u64::from(second) << 16 | u64::from(lengths.bits) << 32);
    }
    let words = word::STRINGS as u32 + (padded(first) + padded(second)) / 8;
    cpu.set_shape(shape::of(sort::STRINGS, cpu.key(), words));
    0
}

/// Reads what a call on the long way that returns has filled in, to its place in a record that has no other strings. Returns
/// the lengths, as in a record.
#[inline(always)]
pub fn read_alone(draft: Draft, call: &TaskState, spec: &Spec, ret: i64) -> Lengths {
    let mut lengths = Lengths { len: [0; 2], bits: 0 };
    read_filled(draft, spec, ret, |index| arguments::argument(call, index), &mut lengths);
    lengths
}

/// Two descriptors that a call has made, from its record at the head.
#[inline(always)]
pub fn pair(draft: Draft) -> [i64; 2] {
    // SAFETY: the index of the first string.
    let both = unsafe { draft.get(word::STRINGS) };
    [i64::from(both as i32), i64::from((both >> 32) as i32)]
}

/// Writes what two descriptors that a call has made stand for.
#[inline(always)]
pub fn files_of_pair(draft: Draft, ret: i64, time: u64) -> [u64; 2] {
    if ret != 0 {
        return [0; 2];
    }
    let [first, second] = pair(draft);
    let of = |descriptor| files::file_of_result(u64::from(result::DESCRIPTOR), descriptor, time);
    [of(first), of(second)]
}
