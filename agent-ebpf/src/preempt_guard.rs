//! Running a program with preemption disabled.
//!
//! Some kernels preempt a thread in the middle of a tracepoint's program, and skip that program for all other threads of
//! the CPU until the thread is back. So programs disable preemption while they work. What remains exposed are the few
//! instructions before the first call here and after the last one; fallback programs cover those.

#[cfg(not(feature = "legacy"))]
use core::mem::MaybeUninit;

#[cfg(not(feature = "legacy"))]
use agent_ebpf::kfunc;

/// Does the work of a program with preemption disabled, on kernels that would preempt it.
///
/// On other kernels the agent removes the calls before the load, and this costs nothing.
///
/// A macro, as the compiler makes closures that are long functions of their own.
macro_rules! without_preemption {
    ($work:expr) => {{
        $crate::preempt_guard::disable();
        let result = $work;
        $crate::preempt_guard::enable();
        result
    }};
}
pub(crate) use without_preemption;

#[cfg(not(feature = "legacy"))]
#[inline(always)]
pub fn disable() {
    // SAFETY: one call of a function of the kernel without arguments, or nothing. What it clobbers is named.
    unsafe {
        core::arch::asm!(
            ".quad {disable}",
            disable = const kfunc::call(kfunc::PREEMPT_DISABLE),
            out("r0") _, out("r1") _, out("r2") _, out("r3") _, out("r4") _, out("r5") _,
        );
    }
}

/// Enables preemption with interrupts off: otherwise a pending reschedule would take place at once, before the program has
/// ended, and nothing would be gained. With interrupts off it is deferred until after the program.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
pub fn enable() {
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

/// No kernel with the legacy programs preempts them.
#[cfg(feature = "legacy")]
#[inline(always)]
pub fn disable() {}

#[cfg(feature = "legacy")]
#[inline(always)]
pub fn enable() {}
