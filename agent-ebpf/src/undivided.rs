//! Keeping the CPU while a program runs.
//!
//! Some kernels let a thread lose its CPU in the middle of a tracepoint's program, and skip the runs that all other threads
//! would make of that program there until it is back. So a program asks to keep its CPU while it works. What remains are
//! the few instructions before the first call here and after the last one; for those there are stand-ins.

#[cfg(not(feature = "legacy"))]
use core::mem::MaybeUninit;

#[cfg(not(feature = "legacy"))]
use agent_ebpf::kfunc;

/// Does the work of a program without losing the CPU in the middle, where a kernel would take it.
///
/// Elsewhere the agent has taken the calls out before the load, and this costs nothing.
#[inline(always)]
pub fn undivided(work: impl FnOnce() -> i32) -> i32 {
    keep();
    let result = work();
    give_back();
    result
}

#[cfg(not(feature = "legacy"))]
#[inline(always)]
fn keep() {
    // SAFETY: one call of a function of the kernel without arguments, or nothing. What it clobbers is named.
    unsafe {
        core::arch::asm!(
            ".quad {disable}",
            disable = const kfunc::call(kfunc::PREEMPT_DISABLE),
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _,
        );
    }
}

/// Should another thread want the CPU by now, it would get it at once, before the program has ended, and nothing would be
/// gained. Not with interrupts off: then the wish stays a wish until the next occasion, which comes after the program.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
fn give_back() {
    let mut flags = MaybeUninit::<u64>::uninit();
    // SAFETY: calls of functions of the kernel, or nothing. What they clobber is named; the first writes to `flags` and
    // the last one reads it.
    unsafe {
        core::arch::asm!(
            "r1 = {flags}",
            ".quad {save}",
            ".quad {enable}",
            "r1 = {flags}",
            ".quad {restore}",
            flags = in(reg) flags.as_mut_ptr(),
            save = const kfunc::call(kfunc::IRQ_SAVE),
            enable = const kfunc::call(kfunc::PREEMPT_ENABLE),
            restore = const kfunc::call(kfunc::IRQ_RESTORE),
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _,
        );
    }
}

/// No kernel that these programs are for takes a CPU away from them.
#[cfg(feature = "legacy")]
#[inline(always)]
fn keep() {}

#[cfg(feature = "legacy")]
#[inline(always)]
fn give_back() {}
