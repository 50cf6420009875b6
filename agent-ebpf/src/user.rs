//! Reading the memory of the current task's process.

use core::mem::MaybeUninit;

use agent_ebpf::spec::{Spec, count, read};
use aya_ebpf::helpers::generated::{bpf_probe_read_user, bpf_probe_read_user_str};
use events::flags;

/// Most bytes of a socket address (`sizeof(struct sockaddr_storage)`).
const SOCKADDR_MAX: u64 = 128;

/// What was read.
pub struct Got {
    /// Bytes, without a NUL at the end.
    pub len: u32,
    /// `STR0_*` of [`flags`].
    pub bits: u32,
}

impl Got {
    /// There was more than there is room for.
    pub const CUT: u32 = flags::STR0_CUT;
    /// It could not be read.
    pub const UNREAD: Self = Self { len: 0, bits: flags::STR0_UNREAD };
    /// There is nothing to read.
    pub const NOTHING: Self = Self { len: 0, bits: 0 };
}

const _: () =
    assert!(flags::STR0_UNREAD << 2 == flags::STR1_UNREAD && flags::STR0_CUT << 2 == flags::STR1_CUT);

/// Reads `len` bytes from the caller's memory, but not more than `MAX`. Returns 0, or an error as the helper does.
///
/// In assembly, so that the length is compared in the register that the helper gets it in. What the compiler makes of it
/// may keep another copy, of which verifiers before 6.8 do not know the bound; and before 5.11 they forget the bounds of
/// what is kept on the stack.
///
/// # Safety
///
/// `to` has room for `MAX` bytes.
#[inline(always)]
pub unsafe fn read_user_at_most<const MAX: u64>(to: *mut u8, len: u64, from: u64) -> i64 {
    let result;
    // SAFETY: by contract. Helper 112 is `bpf_probe_read_user`; a call changes no other registers than these.
    unsafe {
        core::arch::asm!(
            "if r2 < {max} goto +1",
            "r2 = {max}",
            "call 112",
            max = const MAX,
            inout("r1") to => _,
            inout("r2") len => _,
            inout("r3") from => _,
            out("r0") result,
            out("r4") _,
            out("r5") _,
        );
    }
    result
}

/// The same for a length below a power of two, of which `MASK` is one less.
///
/// # Safety
///
/// `to` has room for `MASK` bytes.
#[inline(always)]
unsafe fn read_masked<const MASK: u64>(to: *mut u8, len: u64, from: u64) -> i64 {
    let result;
    // SAFETY: as above.
    unsafe {
        core::arch::asm!(
            "r2 &= {mask}",
            "call 112",
            mask = const MASK,
            inout("r1") to => _,
            inout("r2") len => _,
            inout("r3") from => _,
            out("r0") result,
            out("r4") _,
            out("r5") _,
        );
    }
    result
}

/// Reads a NUL-terminated string from the caller's memory.
///
/// # Safety
///
/// `to` has room for `size` bytes, and `size` is a constant.
#[inline(always)]
pub unsafe fn read_path(to: *mut u8, size: u32, from: u64) -> Got {
    if from == 0 {
        return Got::UNREAD;
    }
    // SAFETY: by contract.
    let len = unsafe { bpf_probe_read_user_str(to.cast(), size, from as *const _) };
    if len < 0 {
        return Got::UNREAD;
    }
    // For an empty string, kernels before 6.14 return 0, not 1 for its NUL.
    if len == 0 {
        return Got { len: 0, bits: 0 };
    }
    let bits = if len as u32 == size { Got::CUT } else { 0 };
    Got { len: len as u32 - 1, bits }
}

/// A string or a socket address in the caller's memory.
#[derive(Clone, Copy)]
pub struct Source {
    /// How it is read, one of [`read`].
    pub how: u8,
    /// The argument that points to it.
    pub at: u64,
    /// The argument that follows.
    pub next: u64,
    /// If it is an address that the kernel fills in: the room that the caller gave, [`ROOM_UNKNOWN`] or [`NOT_FILLED_IN`].
    pub room: u64,
}

/// How much room there was at the entry was not seen.
pub const ROOM_UNKNOWN: u64 = u64::MAX;
/// The call has not filled anything in.
pub const NOT_FILLED_IN: u64 = u64::MAX - 1;

/// Reads an integer from the caller's memory.
#[inline(always)]
pub fn read_user<T: Copy>(from: u64) -> Option<T> {
    let mut value = MaybeUninit::<T>::uninit();
    // SAFETY: reads the size of the value, which is initialised if that succeeds; T is an integer or an array of them.
    unsafe {
        if bpf_probe_read_user(value.as_mut_ptr().cast(), size_of::<T>() as u32, from as *const _) != 0 {
            return None;
        }
        Some(value.assume_init())
    }
}

/// Room for a socket address that a call fills in, as its caller gives it.
pub struct Room {
    /// Bytes, or [`ROOM_UNKNOWN`].
    pub bytes: u64,
    /// Whether there is any, even of no byte.
    pub exists: bool,
}

/// At the entry of a call that fills in a socket address: the room that the caller has for it.
#[inline(always)]
pub fn read_room(how: u8, at: u64, next: u64) -> Room {
    const NONE: Room = Room { bytes: 0, exists: false };
    const UNKNOWN: Room = Room { bytes: ROOM_UNKNOWN, exists: true };
    if at == 0 {
        return NONE;
    }
    match how {
        read::SOCKADDR_OUT => match read_user::<u32>(next) {
            Some(len) => Room { bytes: u64::from(len), exists: true },
            None => UNKNOWN,
        },
        // struct msghdr starts with the address of the name and its length.
        read::MSGHDR_OUT | read::MMSGHDR_OUT => match read_user::<[u64; 2]>(at) {
            Some([0, _]) => NONE,
            Some([_, len]) => Room { bytes: len & 0xffff_ffff, exists: true },
            None => UNKNOWN,
        },
        _ => match read_user::<u64>(at) {
            Some(name) if name as u32 == 0 => NONE,
            Some(name) => Room { bytes: name >> 32, exists: true },
            None => UNKNOWN,
        },
    }
}

/// Reads a string or a socket address.
///
/// # Safety
///
/// `to` has room for `size` bytes, and `size` is a constant of at least [`SOCKADDR_MAX`].
#[inline(always)]
pub unsafe fn read_string(to: *mut u8, size: u32, source: &Source) -> Got {
    let Source { how, at, next, room } = *source;
    if how == read::STRING {
        // SAFETY: by contract.
        return unsafe { read_path(to, size, at) };
    }
    if at == 0 || room == NOT_FILLED_IN {
        return Got::NOTHING;
    }
    // 64 bits wide: the verifier loses a bound that was checked on a 32-bit copy.
    let (mut address, mut len) = (at, next & 0xffff_ffff);
    match how {
        read::SOCKADDR_OUT => {
            let Some(stated) = read_user::<u32>(next) else { return Got::UNREAD };
            len = u64::from(stated);
        }
        read::MSGHDR | read::MSGHDR_OUT => {
            // struct msghdr starts with the address of the name and its length.
            let Some(name) = read_user::<[u64; 2]>(at) else { return Got::UNREAD };
            address = name[0];
            len = name[1] & 0xffff_ffff;
        }
        read::MSGHDR32 | read::MSGHDR_OUT32 => {
            let Some(name) = read_user::<u64>(at) else { return Got::UNREAD };
            address = name & 0xffff_ffff;
            len = name >> 32;
        }
        _ => {}
    }
    if address == 0 || len == 0 {
        return Got::NOTHING;
    }
    let mut bits = 0;
    if matches!(how, read::SOCKADDR_OUT | read::MSGHDR_OUT | read::MSGHDR_OUT32) {
        // The kernel gives the length of the whole address, and writes as much of it as fits.
        if room == ROOM_UNKNOWN {
            return Got::UNREAD;
        }
        if room < len {
            len = room;
            bits = Got::CUT;
            if len == 0 {
                return Got { len: 0, bits };
            }
        }
    }
    if len > SOCKADDR_MAX {
        bits = Got::CUT;
    }
    // SAFETY: by contract; SOCKADDR_MAX bytes fit.
    if unsafe { read_user_at_most::<SOCKADDR_MAX>(to, len, address) } != 0 {
        return Got::UNREAD;
    }
    Got { len: len.min(SOCKADDR_MAX) as u32, bits }
}

/// Most bytes of a structure that are read.
const BYTES_MAX: u64 = 512;

/// How many bytes the structure of this index has, of a call with these arguments and this result.
#[inline(always)]
pub fn bytes_of(spec: &Spec, index: usize, args: impl Fn(u8) -> u64, ret: i64) -> u64 {
    let (unit, how) = (u64::from(spec.unit[index]), spec.count[index]);
    if how & count::ONE != 0 {
        let at = args(if index == 0 { spec.arg0 } else { spec.arg1 });
        return if how & count::IF_POINTER != 0 && at >> 16 == 0 { 0 } else { unit };
    }
    let mut number = if how & count::RESULT != 0 { ret as u64 } else { args(how & count::ARGUMENT) };
    if how & count::POINTED != 0 {
        number = read_user::<u32>(number).map_or(0, u64::from);
    }
    number &= 0xffff_ffff;
    if how & count::BITS != 0 { number.div_ceil(64) * 8 } else { unit * number }
}

/// Reads bytes.
///
/// # Safety
///
/// `to` has room for [`BYTES_MAX`] bytes.
#[inline(always)]
pub unsafe fn read_bytes(to: *mut u8, len: u64, from: u64) -> Got {
    if from == 0 || len == 0 {
        return Got::NOTHING;
    }
    // SAFETY: by contract.
    if unsafe { read_user_at_most::<BYTES_MAX>(to, len, from) } != 0 {
        return Got::UNREAD;
    }
    let bits = if len > BYTES_MAX { Got::CUT } else { 0 };
    Got { len: len.min(BYTES_MAX) as u32, bits }
}

/// Reads the arguments of a program, up to `MAX` of them, each with its NUL. What does not fit, and what follows something that
/// cannot be read, is cut off.
///
/// # Safety
///
/// `to` has room for twice `HALF` bytes, a power of two.
#[inline(always)]
pub unsafe fn read_argv<const HALF: u64, const MAX: u64>(to: *mut u8, how: u8, from: u64) -> Got {
    let width = read::argv_width(how);
    let mut pointer_at = from;
    let mut len = 0u64;
    let mut last = 0i64;
    let mut i = 0;
    while i < MAX {
        let mut at = len;
        // SAFETY: the string starts in the first half, and is at most as long as the second one. The mask changes nothing
        // and is for the verifier, to which it leaves no lower bound.
        unsafe {
            core::arch::asm!("{at} &= {mask}", at = inout(reg) at, mask = const HALF - 1);
            let to = to.add(at as usize);
            // See above: an empty string may be 0 bytes long.
            to.write_volatile(0);
            let pointer = read_pointer(width, pointer_at);
            last = bpf_probe_read_user_str(to.cast(), HALF as u32, pointer as *const _);
        }
        let (mut next, mut advance, mut stop) = (at, width, last as u64);
        // SAFETY: arithmetic. Without a branch, since each doubles the work of verifiers. What was read is as long as
        // `last` says, 1 byte if it says 0, and none with an error, and then the pointer stays where it is. With an error,
        // or no room left, it is the last one.
        unsafe {
            core::arch::asm!(
                "{one} = {last}",
                "{one} += -1",
                "{one} >>= 63",
                "{stop} s>>= 63",
                "{good} = {stop}",
                "{good} ^= -1",
                "{one} += {last}",
                "{one} &= {good}",
                "{one} &= {mask}",
                "{next} += {one}",
                "{advance} &= {good}",
                "{one} = {next}",
                "{one} >>= {shift}",
                "{stop} |= {one}",
                one = out(reg) _,
                good = out(reg) _,
                last = in(reg) last,
                next = inout(reg) next,
                advance = inout(reg) advance,
                stop = inout(reg) stop,
                mask = const 2 * HALF - 1,
                shift = const HALF.trailing_zeros(),
            );
        }
        len = next;
        pointer_at += advance;
        if stop != 0 {
            break;
        }
        i += 1;
    }
    let mut end = u64::MAX;
    // SAFETY: as in `read_pointer`.
    let result = unsafe { read_user_at_most::<8>((&raw mut end).cast(), width, pointer_at) };
    // Of 4 bytes, the upper half is left as it was.
    let is_end = if width == 4 { end as u32 == 0 } else { end == 0 };
    if result == 0 && is_end && last != HALF as i64 {
        return Got { len: len as u32, bits: 0 };
    }
    if len == 0 { Got::UNREAD } else { Got { len: len as u32, bits: Got::CUT } }
}

/// Reads a pointer of 4 or 8 bytes; 0 if that fails.
#[inline(always)]
fn read_pointer(width: u64, from: u64) -> u64 {
    // Twice as long as a pointer: so the mask alone shows the verifier that what is read fits.
    let mut words = MaybeUninit::<[u64; 2]>::uninit();
    let first = words.as_mut_ptr().cast::<u64>();
    // SAFETY: at most 15 bytes are read into 16, which are initialized. Word by word: an array of zeroes would become a
    // loop over its bytes, which verifiers go through for each argument.
    unsafe {
        first.write_volatile(0);
        first.add(1).write_volatile(0);
        read_masked::<15>(first.cast(), width, from);
        first.read()
    }
}
