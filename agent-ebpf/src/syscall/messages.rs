//! The addresses of several messages in one call.

use agent_ebpf::records::cpu::word;
use agent_ebpf::spec::read;
use events::flags;

use crate::cpu_ring::ThisCpu;
use crate::user::{Got, read_user, read_user_at_most};

/// Most messages that are looked at.
const MESSAGES_MAX: u64 = 64;
/// Most bytes of an address (`sizeof(struct sockaddr_storage)`).
const ADDRESS_MAX: u64 = 128;
/// Bytes of addresses after which no other one is read.
const BYTES_MAX: u64 = 3900;

/// Reads the addresses of `count` messages to the place of the first string of the record at the head, each up to `room` bytes.
#[inline(always)]
pub fn read_addresses(how: u8, from: u64, count: u64, room: u64) -> Got {
    if from == 0 {
        return Got::NOTHING;
    }
    // `struct mmsghdr` has 64 bytes, or 32 with 32-bit pointers.
    let width = 64 >> ((how - read::MMSGHDR) & 1);
    let got = read_messages(from, count & 0xffff_ffff, width, room);
    Got { len: got as u32, bits: (got >> 32) as u32 }
}

/// See [`read_addresses`]. Returns the number of bytes, and in the upper half bits of [`flags`]. A function of its own, with
/// numbers as arguments, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_messages(from: u64, count: u64, width: u64, room: u64) -> u64 {
    // No branches but to the end: each would double the work of the verifier.
    let (mut at, mut i, mut last, mut is_cut) = (0u64, 0, 0, 0);
    while i < MESSAGES_MAX {
        if i >= count {
            break;
        }
        let read = read_message(from.wrapping_add(i * width), width, room, at);
        is_cut |= read & CUT;
        last = read & !CUT;
        if last > ADDRESS_MAX {
            break;
        }
        at += 1 + last;
        i += 1;
    }
    let mut bits = 0;
    if last > ADDRESS_MAX && at == 0 {
        bits = flags::STR0_UNREAD;
    } else if last > ADDRESS_MAX || count > MESSAGES_MAX || is_cut != 0 {
        bits = flags::STR0_CUT;
    }
    at | u64::from(bits) << 32
}

/// What [`read_message`] returns if there is no address to read, or no room for it.
const STOP: u64 = 0xffff;
/// A bit of what it returns: the address is longer than what was read.
const CUT: u64 = 1 << 16;

/// Reads the address of a message to the place `at` of the first string, behind its length. Returns the length, and [`CUT`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_message(message: u64, width: u64, room: u64, at: u64) -> u64 {
    if at > BYTES_MAX {
        return STOP;
    }
    let Some(cpu) = ThisCpu::get() else { return STOP };
    let Some(draft) = cpu.draft() else { return STOP };
    // struct msghdr starts with the address of the name and its length.
    let (name, mut len) = if width == 64 {
        let Some([name, len]) = read_user::<[u64; 2]>(message) else { return STOP };
        (name, len & 0xffff_ffff)
    } else {
        let Some(both) = read_user::<u64>(message) else { return STOP };
        (both & 0xffff_ffff, both >> 32)
    };
    let is_cut = name != 0 && len > room;
    len = len.min(room).min(ADDRESS_MAX);
    let mut at = at;
    // SAFETY: the mask changes nothing and is for the verifier. There is room for what it leaves and an address.
    unsafe {
        core::arch::asm!("{at} &= 4095", at = inout(reg) at);
        let entry = draft.at(word::STRINGS).add(at as usize);
        if name == 0 || len == 0 || read_user_at_most::<ADDRESS_MAX>(entry.add(1), len, name) != 0 {
            len = 0;
        }
        entry.write_volatile(len as u8);
    }
    if is_cut { len | CUT } else { len }
}
