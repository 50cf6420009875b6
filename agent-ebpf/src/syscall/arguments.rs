//! Arguments of calls: in registers, and in the storage of a task.

use agent_ebpf::records::TaskState;
use events::Abi;

use crate::maps::config;
use crate::task::load;

/// Reads the arguments of the call that `regs` entered with.
#[inline(always)]
pub fn args_of(regs: *mut u8, key: u32) -> [u64; 6] {
    if key >> 16 == Abi::Compat as u32 {
        // Only the lower halves are arguments.
        [
            u64::from(load::<u32>(regs, config!(regs_compat_args[0]))),
            u64::from(load::<u32>(regs, config!(regs_compat_args[1]))),
            u64::from(load::<u32>(regs, config!(regs_compat_args[2]))),
            u64::from(load::<u32>(regs, config!(regs_compat_args[3]))),
            u64::from(load::<u32>(regs, config!(regs_compat_args[4]))),
            u64::from(load::<u32>(regs, config!(regs_compat_args[5]))),
        ]
    } else {
        [
            load(regs, config!(regs_args[0])),
            load(regs, config!(regs_args[1])),
            load(regs, config!(regs_args[2])),
            load(regs, config!(regs_args[3])),
            load(regs, config!(regs_args[4])),
            load(regs, config!(regs_args[5])),
        ]
    }
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
