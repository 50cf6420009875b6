//! The strings of a call in the record at the head of the CPU's ring, which has its arguments already, by functions of their own:
//! they have numbers as arguments, so that the verifier looks at each once. The call is that of [`ThisCpu::key`].

use agent_ebpf::records::cpu::{STRING_ROOM, live, shape, sort, word};
use agent_ebpf::spec::{Spec, read, result, spec_flags};
use events::flags;

use super::draft::{argument, padded, read_first, read_second, second_place};
use super::identity;
use super::messages::read_addresses;
use crate::cpu_ring::{Draft, ThisCpu};
use crate::files;
use crate::maps::{self, config};
use crate::user::{Got, NOT_FILLED_IN, ROOM_UNKNOWN, Source, bytes_of, read_bytes, read_path, read_string};

/// Lengths of the strings, and the bits of [`flags`] about them.
pub struct Lengths {
    /// Of the first and the second one.
    pub len: [u32; 2],
    /// `STR0_*` and `STR1_*`.
    pub bits: u32,
}

impl Lengths {
    /// Those of a record.
    #[inline(always)]
    pub fn of(draft: Draft) -> Self {
        // SAFETY: an index of every record with strings.
        let word = unsafe { draft.get(word::LENGTHS) };
        Self { len: [word as u32 & 0xffff, (word >> 16) as u32 & 0xffff], bits: (word >> 32) as u32 }
    }

    /// Writes them.
    #[inline(always)]
    fn write(&self, draft: Draft) {
        let [first, second] = self.len;
        // SAFETY: as above.
        unsafe {
            draft.set(word::LENGTHS, u64::from(first) | u64::from(second) << 16 | u64::from(self.bits) << 32);
        }
    }

    /// What could not be read stays as it was at the entry.
    #[inline(always)]
    fn take(&mut self, index: usize, got: &Got) {
        if got.bits & flags::STR0_UNREAD != 0 && self.len[index] != 0 {
            return;
        }
        self.len[index] = got.len;
        self.bits |= got.bits << (2 * index);
    }
}

/// What the functions work on.
#[inline(always)]
fn head() -> Option<(ThisCpu, Draft, &'static Spec)> {
    let cpu = ThisCpu::get()?;
    Some((cpu, cpu.draft()?, maps::spec(cpu.key())?))
}

/// Reads what the call was given.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_given() -> i32 {
    let Some((_, draft, spec)) = head() else { return 0 };
    let args = |index| argument(draft, index);
    let first = read_first(draft, spec, args);
    let mut second = Got::NOTHING;
    if spec.flags & spec_flags::EXEC != 0 {
        // The arguments of a program are not read here.
        second = Got::UNREAD;
    } else if spec.read1 != read::NONE {
        second = read_second(draft, padded(first.len), spec, args, None);
    }
    Lengths { len: [first.len, second.len], bits: first.bits | second.bits << 2 }.write(draft);
    0
}

/// Reads the address, or those, that the call has filled in, each up to `room` bytes.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_address(room: u64, ret: i64) -> i32 {
    let Some((_, draft, spec)) = head() else { return 0 };
    let at = argument(draft, spec.arg0);
    let got = if !read::is_messages(spec.read0) {
        let source = Source { how: spec.read0, at, next: argument(draft, spec.arg0 + 1), room };
        // SAFETY: a draft has room for a string of this size.
        unsafe { read_string(draft.at(word::STRINGS), STRING_ROOM, &source) }
    } else if room == NOT_FILLED_IN {
        Got::NOTHING
    } else if room == ROOM_UNKNOWN {
        Got::UNREAD
    } else {
        read_addresses(spec.read0, at, ret as u64, room)
    };
    Lengths { len: [got.len, 0], bits: got.bits }.write(draft);
    0
}

/// Reads what the call has filled in to its place among the other strings. A path is read once more where other threads use the
/// same memory: behind both strings, or, if they are in a record of the entry, as the first one.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn fill(ret: i64) -> i32 {
    let Some((cpu, draft, spec)) = head() else { return 0 };
    let mut lengths = Lengths::of(draft);
    let args = |index| argument(draft, index);
    let is_short = cpu.live() == live::FILLS;
    let mut is_again = false;
    if spec.read0 == read::STRING && config!(returns_only) == 0 {
        is_again = identity::task(cpu).shares_memory();
        if is_again && !is_short {
            let got = read_first(draft, spec, args);
            lengths.len[0] = got.len;
            lengths.bits |= got.bits;
        }
    }
    if ret >= i64::from(spec.least) {
        if spec.read0 >= read::BYTES_BOTH {
            let len = bytes_of(spec, 0, args, ret);
            // SAFETY: a draft has room for two strings.
            let got = unsafe { read_bytes(draft.at(word::STRINGS), len, args(spec.arg0)) };
            lengths.take(0, &got);
        }
        if spec.read1 >= read::BYTES_BOTH {
            let to = second_place(draft, padded(lengths.len[0]));
            // SAFETY: as above.
            let got = unsafe { read_bytes(to, bytes_of(spec, 1, args, ret), args(spec.arg1)) };
            lengths.take(1, &got);
        }
    }
    let mut len = padded(lengths.len[0]) + padded(lengths.len[1]);
    if is_again && is_short {
        // SAFETY: a draft has room for two strings and a structure.
        let got = unsafe { read_path(second_place(draft, len), STRING_ROOM, args(spec.arg0)) };
        lengths.bits |= word::AGAIN;
        if got.bits & flags::STR0_UNREAD == 0 {
            // With its NUL.
            len += padded(got.len + 1);
        }
    }
    lengths.write(draft);
    cpu.set_shape(shape::of(sort::STRINGS, cpu.key(), word::STRINGS as u32 + len / 8));
    0
}

/// What two descriptors that a call has made stand for, which are the first string.
#[inline(always)]
pub fn files_of_pair(draft: Draft, ret: i64, time: u64) -> [u64; 2] {
    if ret != 0 {
        return [0; 2];
    }
    // SAFETY: the index of the first string.
    let both = unsafe { draft.get(word::STRINGS) };
    let of =
        |descriptor: i32| files::file_of_result(u64::from(result::DESCRIPTOR), i64::from(descriptor), time);
    [of(both as i32), of((both >> 32) as i32)]
}
