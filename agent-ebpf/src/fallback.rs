//! Fallback programs: second programs on the hooks that run in the context of the process that an event is about.
//!
//! Some kernels preempt a thread in the middle of a program, and skip that program for all other threads of the CPU until
//! the first one is back. A fallback program is attached after the first program and does the same work if the first one
//! did not run for this event.
//!
//! That the first program is active on this CPU would not prove that: a thread can be preempted between its two programs
//! while another one enters its first. So each first program leaves a mark with the current task, which causes the event,
//! and the fallback program removes the mark.

use agent_ebpf::records::fallback::COUNT;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

/// How often each fallback program did the work. Never decreases. A program never runs twice at once on a CPU, so no two
/// runs write to the same counter.
#[btf_map]
static FALLBACK_RUNS: PerCpuArray<[u64; COUNT], 1> = PerCpuArray::new();

/// Counts a run in which the fallback program with this number does the work.
#[inline(always)]
pub fn count(which: usize) {
    if let Some(counts) = FALLBACK_RUNS.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU, and an index that the compiler has checked.
        unsafe { (*counts)[which] += 1 };
    }
}

/// Marks that a first program handles an event of the current task. Without memory for the mark the event is recorded
/// twice rather than not at all.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
pub fn seen(which: usize) {
    use crate::maps::config;

    if config!(fallbacks) == 0 {
        return;
    }
    // SAFETY: the current task.
    let marks = unsafe { crate::storage::marks(crate::task::Task::current().0, true) };
    if !marks.is_null() {
        // SAFETY: not null, and only the task itself writes to it.
        unsafe { *marks |= 1 << which };
    }
}

/// No kernel with the legacy programs skips runs in this way.
#[cfg(feature = "legacy")]
#[inline(always)]
pub fn seen(_: usize) {}

/// Whether the first program did not handle the current task's event, so that its fallback program has to.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
pub fn is_needed(which: usize) -> bool {
    // SAFETY: the current task.
    let marks = unsafe { crate::storage::marks(crate::task::Task::current().0, false) };
    if !marks.is_null() {
        // SAFETY: not null, and only the task itself writes to it.
        let marks = unsafe { &mut *marks };
        if *marks & 1 << which != 0 {
            *marks &= !(1 << which);
            return false;
        }
    }
    count(which);
    true
}
