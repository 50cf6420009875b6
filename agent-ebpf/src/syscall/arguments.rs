//! Arguments of calls: in registers, and in the storage of a task.

use agent_ebpf::records::TaskState;
use events::Abi;

#[cfg(feature = "legacy")]
use crate::maps::config;
#[cfg(not(feature = "legacy"))]
use crate::maps::member;
#[cfg(feature = "legacy")]
use crate::task::load;

/// A member of `struct pt_regs` whose offset is in an array of [`agent_ebpf::config::Config`].
macro_rules! register {
    ($regs:ident, $ty:ty, $size:literal, $array:ident[$index:literal]) => {{
        #[cfg(feature = "legacy")]
        let value = u64::from(load::<$ty>($regs, config!($array[$index])));
        #[cfg(not(feature = "legacy"))]
        let value = member!($regs as u64, $array[$index], $size);
        value
    }};
}

/// The first three arguments of the call that `regs` entered with.
#[inline(always)]
pub fn first_args_of(regs: *mut u8, key: u32) -> [u64; 3] {
    if key >> 16 == Abi::Compat as u32 {
        // Only the lower halves are arguments.
        [
            register!(regs, u32, "u32", regs_compat_args[0]),
            register!(regs, u32, "u32", regs_compat_args[1]),
            register!(regs, u32, "u32", regs_compat_args[2]),
        ]
    } else {
        [
            register!(regs, u64, "u64", regs_args[0]),
            register!(regs, u64, "u64", regs_args[1]),
            register!(regs, u64, "u64", regs_args[2]),
        ]
    }
}

/// The other three arguments.
#[inline(always)]
pub fn last_args_of(regs: *mut u8, key: u32) -> [u64; 3] {
    if key >> 16 == Abi::Compat as u32 {
        [
            register!(regs, u32, "u32", regs_compat_args[3]),
            register!(regs, u32, "u32", regs_compat_args[4]),
            register!(regs, u32, "u32", regs_compat_args[5]),
        ]
    } else {
        [
            register!(regs, u64, "u64", regs_args[3]),
            register!(regs, u64, "u64", regs_args[4]),
            register!(regs, u64, "u64", regs_args[5]),
        ]
    }
}

/// Reads the arguments of the call that `regs` entered with.
#[inline(always)]
pub fn args_of(regs: *mut u8, key: u32) -> [u64; 6] {
    let ([a, b, c], [d, e, f]) = (first_args_of(regs, key), last_args_of(regs, key));
    [a, b, c, d, e, f]
}

/// Word by word: a plain copy would become a loop over bytes.
#[inline(always)]
pub fn copy_args<const N: usize>(to: *mut u64, call: &TaskState) {
    for (i, arg) in call.args.iter().take(N).enumerate() {
        // SAFETY: by the callers, which have room for N words.
        unsafe { to.add(i).write_volatile(*arg) };
    }
}

/// An argument by an index that the verifier cannot know.
#[inline(always)]
pub fn argument(call: &TaskState, index: u8) -> u64 {
    // As a word of the whole state, of which the arguments are 1 to 6: so the mask alone shows
    // that it stays inside, whatever the compiler makes of it.
    let word = (usize::from(index) + 1) & 7;
    // SAFETY: the state has at least eight words, see below.
    unsafe { core::ptr::from_ref(call).cast::<u64>().add(word).read_volatile() }
}

const _: () = assert!(size_of::<TaskState>() >= 8 * 8 && core::mem::offset_of!(TaskState, args) == 8);
