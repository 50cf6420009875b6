//! Strings of requests: paths and socket addresses.

use core::mem::offset_of;

use agent_ebpf::records::Header;
use agent_ebpf::records::uring::{SQE_WORDS, TEXT, Text, TextHead};
use agent_ebpf::spec::read;
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use events::{Kind, flags};

use super::state::scratch;
use crate::files::word;
use crate::maps::{self, EVENTS, config};
use crate::task::{Task, has, load};
use crate::user::{Got, Source, read_path, read_string};

/// In what [`send`] returns: the string was sent.
pub const SENT: u32 = 1 << 31;

/// The word of which 16 bits are the length of an address (`addr_len`).
const LENGTH_WORD: u8 = 5;

/// Sends a string of the request in the scratch. Returns bits of [`events::flags`] about it, and [`SENT`]. Where the kernel has
/// made a copy, that is sent: it is what the request works on.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn send(req: u64, slot: u32, failed: u32) -> u32 {
    let Some((scratch, op)) = scratch() else { return 0 };
    let slot = slot as usize & 1;
    // SAFETY: a map value that this program has for itself.
    let (request, text) = unsafe { (&(*scratch).request, &mut (*scratch).text) };
    let unread = flags::STR0_UNREAD << (2 * slot);
    let at = request.sqe[usize::from(op.at[slot]) & (SQE_WORDS - 1)];
    if at == 0 {
        return 0;
    }
    let to = (&raw mut text.bytes).cast::<u8>();
    let mut got = Got { len: 0, bits: flags::STR0_UNREAD };
    let mut marks = 0;
    let mut is_path = false;
    if op.how[slot] == read::STRING {
        is_path = true;
        if failed == 0 {
            got = copied(req, op.names[slot], to);
        }
        if got.bits & flags::STR0_UNREAD != 0 {
            // SAFETY: the array has this many bytes.
            got = unsafe { read_path(to, TEXT as u32, at) };
            if Task::current().shares_memory() {
                marks = flags::STRINGS_UNCERTAIN;
            }
        }
    }
    if !is_path {
        let mut next = request.sqe[usize::from(op.len_at) & (SQE_WORDS - 1)];
        if op.len_at == LENGTH_WORD {
            next = next >> 32 & 0xffff;
        }
        let source = Source { how: how_of(op.how[slot]), at, next, room: 0 };
        // SAFETY: as above.
        got = unsafe { read_string(to, TEXT as u32, &source) };
    }
    if got.bits & flags::STR0_UNREAD != 0 {
        return unread;
    }
    let head =
        Header { time: request.start, kind: Kind::Syscall as u8, class: Text::CLASS, ..Header::default() };
    text.fixed = TextHead { head, id: request.id, slot: slot as u32, len: got.len };
    let mut len = u64::from(got.len);
    // SAFETY: a mask that the verifier sees where the length is made; no string is longer.
    unsafe { core::arch::asm!("{len} &= {mask}", len = inout(reg) len, mask = const TEXT - 1) };
    if !maps::output(&EVENTS, (&raw const *text).cast(), offset_of!(Text, bytes) as u64 + len) {
        return unread;
    }
    SENT | marks | got.bits << (2 * slot)
}

/// Reads the kernel's own copy of a path.
#[inline(always)]
fn copied(req: u64, offset: u16, to: *mut u8) -> Got {
    let nothing = Got { len: 0, bits: flags::STR0_UNREAD };
    if offset == 0 || !has(config!(offsets.filename_name)) {
        return nothing;
    }
    let name = word(word(req, u32::from(offset)), config!(offsets.filename_name));
    if name == 0 {
        return nothing;
    }
    // SAFETY: the array has this many bytes; the helper checks the source.
    let len = unsafe { bpf_probe_read_kernel_str(to.cast(), TEXT as u32, name as *const _) };
    if len <= 0 { nothing } else { Got { len: len as u32 - 1, bits: 0 } }
}

/// How a string is read of the current thread's program, which may have pointers of 32 bits.
#[inline(always)]
fn how_of(how: u8) -> u8 {
    let status = config!(offsets.task_status);
    if config!(compat_bits) != 0
        && has(status)
        && load::<u32>(Task::current().0, status) & config!(compat_bits) != 0
    {
        return read::with_32_bit_pointers(how);
    }
    how
}
