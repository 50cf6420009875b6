//! Reading the memory of the current task's process.

use core::mem::MaybeUninit;

use agent_ebpf::spec::read;
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
    const UNREAD: Self = Self { len: 0, bits: flags::STR0_UNREAD };
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
    // Of an empty string kernels before 6.14 say 0, not the 1 that its NUL is.
    if len == 0 {
        return Got { len: 0, bits: 0 };
    }
    let bits = if len as u32 == size { Got::CUT } else { 0 };
    Got { len: len as u32 - 1, bits }
}

/// Reads a string or a socket address from the caller's memory. `next` is the argument that
/// follows it.
///
/// # Safety
///
/// `to` has room for `size` bytes, and `size` is a constant of at least [`SOCKADDR_MAX`].
#[inline(always)]
pub unsafe fn read_string(to: *mut u8, size: u32, how: u8, from: u64, next: u64) -> Got {
    if how == read::STRING {
        // SAFETY: by contract.
        return unsafe { read_path(to, size, from) };
    }
    if from == 0 {
        return Got { len: 0, bits: 0 };
    }
    // 64 bits wide: the verifier loses a bound that was checked on a 32-bit copy.
    let (mut address, mut len) = (from, next & 0xffff_ffff);
    if how == read::SOCKADDR_OUT {
        let mut stated = MaybeUninit::<u32>::uninit();
        // SAFETY: reads 4 bytes into a u32, which is initialised if that succeeds.
        len = unsafe {
            if bpf_probe_read_user(stated.as_mut_ptr().cast(), 4, next as *const _) != 0 {
                return Got::UNREAD;
            }
            u64::from(stated.assume_init())
        };
    } else if how == read::MSGHDR {
        // struct msghdr starts with the address of the name and its length.
        let mut name = MaybeUninit::<[u64; 2]>::uninit();
        // SAFETY: reads 16 bytes into 16, which are initialised if that succeeds.
        let name = unsafe {
            if bpf_probe_read_user(name.as_mut_ptr().cast(), 16, from as *const _) != 0 {
                return Got::UNREAD;
            }
            name.assume_init()
        };
        address = name[0];
        len = name[1] & 0xffff_ffff;
    } else if how == read::MSGHDR32 {
        let mut name = MaybeUninit::<u64>::uninit();
        // SAFETY: reads 8 bytes into 8, which are initialised if that succeeds.
        let name = unsafe {
            if bpf_probe_read_user(name.as_mut_ptr().cast(), 8, from as *const _) != 0 {
                return Got::UNREAD;
            }
            name.assume_init()
        };
        address = name & 0xffff_ffff;
        len = name >> 32;
    }
    if address == 0 || len == 0 {
        return Got { len: 0, bits: 0 };
    }
    // SAFETY: by contract; SOCKADDR_MAX bytes fit.
    if unsafe { read_user_at_most::<SOCKADDR_MAX>(to, len, address) } != 0 {
        return Got::UNREAD;
    }
    Got { len: len.min(SOCKADDR_MAX) as u32, bits: 0 }
}
