//! The entry of a call on the short way: everything that is known before its return goes to the head of the ring.

use agent_ebpf::records::class;
use agent_ebpf::records::cpu::{STRING_ROOM, live, shape, sort, word};
use agent_ebpf::spec::{Spec, count, read, result, spec_flags};
use events::flags;

use super::arguments::{first_args_of, last_args_of};
use super::messages::read_addresses;
use crate::cpu_ring::{Draft, ThisCpu};
use crate::files;
use crate::maps::{self, config};
use crate::task::Task;
use crate::user::{Got, Source, bytes_of, read_bytes, read_path, read_room, read_string};

/// Writes arguments and strings of a call that is entered.
#[inline(always)]
pub fn write(cpu: ThisCpu, task: Task, draft: Draft, regs: *mut u8, key: u32, spec: &Spec) {
    let mut state = live::READY;
    let files = u32::from(spec.file_words);
    let mut first = [0; 2];
    let mut shape = shape::of(sort::CALL, key, word::ARGS as u32 + files);
    if spec.class != class::ARGS0 {
        let args = first_args_of(regs, key);
        // SAFETY: indices of arguments.
        unsafe {
            draft.set(word::ARGS, args[0]);
            draft.set(word::ARGS + 1, args[1]);
            draft.set(word::ARGS + 2, args[2]);
        }
        shape = shape::of(sort::CALL, key, word::ARGS as u32 + 3 + files);
        if spec.class != class::ARGS3 {
            let args = last_args_of(regs, key);
            // SAFETY: as above.
            unsafe {
                draft.set(word::ARGS + 3, args[0]);
                draft.set(word::ARGS + 4, args[1]);
                draft.set(word::ARGS + 5, args[2]);
            }
            shape = shape::of(sort::CALL, key, word::ARGS as u32 + 6 + files);
            if spec.class >= class::STRINGS {
                let (words, complete) = strings(draft, spec, &mut first);
                shape = shape::of(sort::STRINGS, key, words);
                if !complete {
                    state = live::PARTIAL;
                } else if spec.flags & spec_flags::FILLS != 0 {
                    state = live::FILLS;
                } else if spec.room == 0 && task.shares_memory() {
                    state = live::SHARED;
                }
            }
        }
    }
    if config!(net) != 0 && spec.flags & spec_flags::ACCEPT != 0 {
        state = live::PARTIAL;
    }
    let mut result = 0;
    if files != 0 {
        let mut found = files::of_call(cpu, spec, first, |index| argument(draft, index));
        if config!(returns_only) != 0 && spec.result == result::CWD {
            // A relative path started from the directory before this one.
            found.ids[0] = 0;
        }
        cpu.set_files(found.ids);
        set_files(draft, spec, found.ids);
        result = files::result_of(spec, [argument(draft, 0), argument(draft, 1)]);
        if result != 0 {
            result |= u64::from(place_of_files(spec) + 1) << PLACE_SHIFT;
            if spec.class >= class::STRINGS && files::opens(spec) {
                result |= OPENS;
            }
        }
        if found.open[0] | found.open[1] != 0 {
            cpu.set_open(found.open);
            result |= CHECKED;
        }
    }
    cpu.set_result(result);
    cpu.set_key(key);
    cpu.set_shape(shape);
    cpu.set_live(state);
    cpu.set_start(cpu.now());
}

/// The index of what the first descriptor of a call stands for, behind its arguments.
#[inline(always)]
fn place_of_files(spec: &Spec) -> u32 {
    match spec.class {
        class::ARGS0 => word::ARGS as u32,
        class::ARGS3 => word::ARGS as u32 + 3,
        class::ARGS6 => word::ARGS as u32 + 6,
        _ => word::FILES as u32,
    }
}

/// Writes what the descriptors of a call stand for behind its arguments.
#[inline(always)]
fn set_files(draft: Draft, spec: &Spec, files: [u64; 2]) {
    // SAFETY: indices of files, the place of which depends on how many arguments there are.
    unsafe {
        match spec.class {
            class::ARGS0 => draft.set_pair(word::ARGS, files),
            class::ARGS3 => draft.set_pair(word::ARGS + 3, files),
            class::ARGS6 => draft.set_pair(word::ARGS + 6, files),
            _ => draft.set_pair(word::FILES, files),
        }
    }
}

/// In [`ThisCpu::result`]: what the call makes, one of [`result`].
pub const MADE: u64 = 0xff;
/// The files of the call have to be looked at again.
pub const CHECKED: u64 = 1 << 8;
/// The call opens a path, and may create it.
const OPENS: u64 = 1 << 9;
/// The word of the record for what the call makes is from this bit on.
const PLACE_SHIFT: u32 = 16;

/// Looks again at what the descriptors of a call that returns stand for, in the record at the head. A function that calls no
/// other: the kernel limits what all functions on the way have on the stack.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn check_files() -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let Some(spec) = maps::spec(cpu.key()) else { return 0 };
    let Some(draft) = cpu.draft() else { return 0 };
    let found = files::unchanged(cpu, spec, cpu.files(), cpu.open(), |index| argument(draft, index));
    cpu.set_files(found);
    set_files(draft, spec, found);
    0
}

/// Writes what a call that returns has made, in the record at the head.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn set_result(result: u64, ret: i64, time: u64) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let Some(draft) = cpu.draft() else { return 0 };
    let made = files::made(cpu, result & MADE, ret, time);
    let place = (result >> PLACE_SHIFT) as usize & 15;
    // SAFETY: 16 words are inside any record, and what has strings has their lengths.
    unsafe {
        draft.at(0).cast::<u64>().add(place).write_volatile(made.id);
        if result & OPENS != 0 && files::was_created(made.open) {
            draft.set(word::LENGTHS, draft.get(word::LENGTHS) | u64::from(flags::CREATED) << 32);
        }
    }
    0
}

/// Writes the strings of a call; its arguments are written. Returns the number of words of the record, and whether nothing is
/// to be read at the return. `starts` gets the first byte of each string.
#[inline(always)]
fn strings(draft: Draft, spec: &Spec, starts: &mut [u8; 2]) -> (u32, bool) {
    // SAFETY: indices of files.
    unsafe { draft.set_pair(word::FILES, [0; 2]) };
    let at = argument(draft, spec.arg0);
    if spec.room != 0 {
        // The kernel fills the address in: until then, how much room there is for it.
        let room = read_room(spec.read0, at, argument(draft, spec.arg0 + 1));
        // SAFETY: indices of arguments, and of the lengths.
        unsafe {
            if spec.room == 1 {
                draft.set(word::ARGS + 1, room.bytes);
            } else {
                draft.set(word::ARGS + 5, room.bytes);
            }
            draft.set(word::LENGTHS, 0);
        }
        return (word::STRINGS as u32, !room.exists);
    }
    let args = |index| argument(draft, index);
    let first = read_first(draft, spec, args);
    starts[0] = start(draft.at(word::STRINGS), first.len);
    let mut second = Got::NOTHING;
    let mut complete = at == 0 || first.bits & flags::STR0_UNREAD == 0;
    let mut len = padded(first.len);
    if spec.read1 >= read::TWO_STRINGS || spec.read1 == read::STRING {
        second = read_second(draft, len, spec, args, Some(&mut starts[1]));
        complete &= argument(draft, spec.arg1) == 0 || second.bits & flags::STR0_UNREAD == 0;
        len += padded(second.len);
    } else if spec.read1 != read::NONE {
        // The arguments of a program are not read here.
        second.bits = flags::STR0_UNREAD;
    }
    let bits = u64::from(first.bits | second.bits << 2);
    // SAFETY: the index of the lengths.
    unsafe {
        draft.set(word::LENGTHS, u64::from(first.len) | u64::from(second.len) << 16 | bits << 32);
    }
    (word::STRINGS as u32 + len / 8, complete)
}

/// Reads the first string of a call, which has these arguments, to where it belongs: what the call is given.
#[inline(always)]
pub fn read_first(draft: Draft, spec: &Spec, args: impl Fn(u8) -> u64) -> Got {
    // SAFETY: a draft has room for two strings of this size.
    unsafe { read_string_of(draft.at(word::STRINGS), spec, args) }
}

/// Reads the first string of a call, which has these arguments.
///
/// # Safety
///
/// `to` has room for [`STRING_ROOM`] bytes.
#[inline(always)]
pub unsafe fn read_string_of(to: *mut u8, spec: &Spec, args: impl Fn(u8) -> u64) -> Got {
    let at = args(spec.arg0);
    if spec.read0 >= read::BYTES {
        if spec.read0 == read::BYTES_OUT {
            return Got::NOTHING;
        }
        // SAFETY: by contract.
        return unsafe { read_bytes(to, bytes_of(spec, 0, args, 0), at) };
    }
    if read::is_messages(spec.read0) {
        // The place is that of the first string, see `again::append`.
        return read_addresses(spec.read0, at, args(spec.arg0 + 1), u64::MAX);
    }
    let source = Source { how: spec.read0, at, next: args(spec.arg0 + 1), room: 0 };
    // SAFETY: by contract.
    unsafe { read_string(to, STRING_ROOM, &source) }
}

/// Bytes of room for the second one of two strings in one.
const SHORT_ROOM: u32 = 64;

/// Reads the second string of a call, which has these arguments, to its place, `after` bytes behind the start of the first
/// one.
#[inline(always)]
pub fn read_second(
    draft: Draft,
    after: u32,
    spec: &Spec,
    args: impl Fn(u8) -> u64,
    starts: Option<&mut u8>,
) -> Got {
    if spec.read1 == read::BYTES_OUT {
        return Got::NOTHING;
    }
    let to = second_place(draft, after);
    let at = args(spec.arg1);
    if spec.read1 >= read::BYTES {
        // SAFETY: a draft has room for this and a string.
        return unsafe { read_bytes(to, bytes_of(spec, 1, args, 0), at) };
    }
    // SAFETY: as above.
    let mut got = unsafe { read_path(to, STRING_ROOM, at) };
    if let Some(byte) = starts {
        *byte = start(to, got.len);
    }
    if spec.read1 == read::TWO_STRINGS && got.bits & (flags::STR0_UNREAD | flags::STR0_CUT) == 0 {
        let at = args(spec.count[1] & count::ARGUMENT);
        let mut next = u64::from(got.len);
        // SAFETY: the mask changes nothing, as no path that is whole is longer (`PATH_MAX`), and is for the verifier; there is
        // room for two strings and a short one.
        unsafe {
            core::arch::asm!("{next} &= 4095", next = inout(reg) next);
            let to = to.add(next as usize);
            to.write_volatile(0);
            let third = read_path(to.add(1), SHORT_ROOM, at);
            got.len += 1 + third.len;
            if at != 0 {
                got.bits |= third.bits;
            }
        }
    }
    got
}

/// The place of a second string, `after` bytes behind the start of the first one.
#[inline(always)]
pub fn second_place(draft: Draft, after: u32) -> *mut u8 {
    let mut after = u64::from(after);
    // SAFETY: the mask changes nothing: no first string is longer. It is for the verifier, as are its bounds: a draft has
    // room for what it leaves and a string.
    unsafe {
        core::arch::asm!("{after} &= 8184", after = inout(reg) after);
        draft.at(word::STRINGS).add(after as usize)
    }
}

/// The first byte of a string that was read, 0 if there is none.
#[inline(always)]
fn start(text: *mut u8, len: u32) -> u8 {
    // SAFETY: in the draft.
    if len == 0 { 0 } else { unsafe { text.read_volatile() } }
}

/// A length, rounded up to whole words.
#[inline(always)]
pub fn padded(len: u32) -> u32 {
    (len + 7) & !7
}

/// An argument by an index that the verifier cannot know.
#[inline(always)]
pub fn argument(draft: Draft, index: u8) -> u64 {
    let index = usize::from(index) & 7;
    // SAFETY: eight words from the first argument on are inside any record.
    unsafe { draft.at(word::ARGS).cast::<u64>().add(index).read_volatile() }
}
