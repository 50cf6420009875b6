//! Second programs on hooks that a process makes itself, for kernels that take the CPU away in the middle of a program and
//! skip that program for all others meanwhile. They are attached after the first ones and do the same work, if the first
//! one did not see to this very event.
//!
//! Whether a first program is at work on this CPU would not say that: a thread may lose the CPU between its two programs, and
//! another one come into its first. So each first program leaves a mark with the current task, which is the one that makes
//! the event, and its stand-in takes the mark away.

use agent_ebpf::records::stand_in::COUNT;
use aya_ebpf::btf_maps::PerCpuArray;
use aya_ebpf::macros::btf_map;

/// How often each stand-in did the work, counted up. A program does not run twice at once on a CPU, so that nobody
/// else counts in the same place.
#[btf_map]
static STOOD_IN: PerCpuArray<[u64; COUNT], 1> = PerCpuArray::new();

/// The stand-in with this number does the work.
#[inline(always)]
pub fn count(which: usize) {
    if let Some(counts) = STOOD_IN.get_ptr_mut(0) {
        // SAFETY: a live map value of this CPU, and an index that the compiler has checked.
        unsafe { (*counts)[which] += 1 };
    }
}

/// A first program sees to an event of the current task. Should there be no memory for the mark, the event is told
/// twice rather than not at all.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
pub fn seen(which: usize) {
    use crate::maps::config;

    if config!(stand_ins) == 0 {
        return;
    }
    // SAFETY: the current task.
    let marks = unsafe { crate::storage::marks(crate::task::Task::current().0, true) };
    if !marks.is_null() {
        // SAFETY: not null, and only the task itself writes to it.
        unsafe { *marks |= 1 << which };
    }
}

/// No kernel that these programs are for skips a run in this way.
#[cfg(feature = "legacy")]
#[inline(always)]
pub fn seen(_: usize) {}

/// Whether the first program did not see to the current task's event, so that its stand-in has to.
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
