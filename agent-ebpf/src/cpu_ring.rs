//! This CPU's own ring buffer: no helper is called and nothing is locked to write to it.
//!
//! Its only writers are programs that run in the context of a thread with preemption disabled: those of system calls,
//! of context switches, and of a thread's exec and end. The agent reads up to the head, which moves when a record is
//! complete. Until then, what is at the head is a draft that the agent does not read.

use core::sync::atomic::{Ordering, compiler_fence};

use agent_ebpf::records::cpu::{
    Cpu, IDENTITY_WORDS, RECORD_MAX, SEGMENT_DATA, SEGMENT_SHIFT, Segment, next, shape, sort, word,
};
use agent_ebpf::spec::ABIS;
use aya_ebpf::bindings::BPF_F_MMAPABLE;
use aya_ebpf::btf_maps::Array;
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;

use crate::maps::config;

/// The state of each possible CPU.
#[btf_map]
static CPUS: Array<Cpu, 1024, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The segments of all rings, one ring after the other.
#[btf_map]
static SEGMENTS: Array<Segment, 2, { BPF_F_MMAPABLE as usize }> = Array::new();

/// How many rings are in use.
#[cfg(not(feature = "legacy"))]
#[btf_map]
static RINGS_USED: Array<u64, 1> = Array::new();

/// The number of a ring that no CPU has taken before.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
fn next_ring() -> Option<u64> {
    let used = RINGS_USED.get_ptr_mut(0)?;
    let mut index = 1u64;
    // SAFETY: one atomic instruction on a live, aligned map value: it adds one and returns what was there before.
    unsafe {
        core::arch::asm!(
            "{index} = atomic_fetch_add((u64 *)({used} + 0), {index})",
            used = in(reg) used,
            index = inout(reg) index,
            options(nostack),
        );
    }
    Some(index)
}

/// The number of the CPU: before 5.12, no instruction returns what it adds to.
#[cfg(feature = "legacy")]
#[inline(always)]
fn next_ring() -> Option<u64> {
    // SAFETY: no arguments.
    Some(u64::from(unsafe { bpf_get_smp_processor_id() }))
}

/// Moves a head: all stores before it are seen first. The compiler keeps that order, and so does x86.
#[inline(always)]
fn store_head(to: *mut u64, head: u64) {
    compiler_fence(Ordering::Release);
    #[cfg(not(feature = "legacy"))]
    if config!(weak_order) != 0 {
        // Other processors keep it with an atomic instruction, which takes a few ns.
        // SAFETY: a live, aligned value of a map.
        unsafe {
            core::arch::asm!(
                "{head} = xchg_64({to} + 0, {head})",
                to = in(reg) to,
                head = inout(reg) head => _,
                options(nostack),
            );
        }
        return;
    }
    // SAFETY: as above.
    unsafe { to.write_volatile(head) };
}

/// This CPU, for programs that are the only ones on it.
#[derive(Clone, Copy)]
pub struct ThisCpu(*mut Cpu);

/// A record at the head of a ring, or any that has its size.
#[derive(Clone, Copy)]
pub struct Draft(*mut u64);

impl Draft {
    /// Writes a word.
    ///
    /// # Safety
    ///
    /// The index is below the number of words of the longest record, as far as that is known when this is compiled.
    #[inline(always)]
    pub unsafe fn set(self, index: usize, value: u64) {
        // SAFETY: by contract; a draft has room for the longest record. Volatile: no order or size of stores is left to
        // the compiler, which makes loops of them.
        unsafe { self.0.add(index).write_volatile(value) };
    }

    /// Writes two words.
    ///
    /// # Safety
    ///
    /// As for [`Self::set`], of both.
    #[inline(always)]
    pub unsafe fn set_pair(self, index: usize, values: [u64; 2]) {
        // SAFETY: by contract.
        unsafe {
            self.set(index, values[0]);
            self.set(index + 1, values[1]);
        }
    }

    /// A word that was written before.
    ///
    /// # Safety
    ///
    /// As for [`Self::set`].
    #[inline(always)]
    pub unsafe fn get(self, index: usize) -> u64 {
        // SAFETY: by contract.
        unsafe { self.0.add(index).read_volatile() }
    }

    /// Where a word is.
    #[inline(always)]
    pub fn at(self, index: usize) -> *mut u8 {
        self.0.wrapping_add(index).cast()
    }
}

macro_rules! fields {
    ($($get:ident $set:ident: $ty:ty, $doc:literal;)*) => {
        $(
            #[doc = $doc]
            #[inline(always)]
            pub fn $get(self) -> $ty {
                // SAFETY: a live value of the map.
                unsafe { (&raw const (*self.0).$get).read_volatile() }
            }

            #[doc = $doc]
            #[inline(always)]
            pub fn $set(self, value: $ty) {
                // SAFETY: a live value of the map; nothing else writes to it, but for `recheck`, where no write is lost
                // that matters.
                unsafe { (&raw mut (*self.0).$get).write_volatile(value) };
            }
        )*
    };
}

impl ThisCpu {
    /// `None` only for a CPU that was not possible when the capture started.
    #[inline(always)]
    pub fn get() -> Option<Self> {
        // SAFETY: no arguments.
        CPUS.get_ptr_mut(unsafe { bpf_get_smp_processor_id() }).map(Self)
    }

    fields! {
        recheck set_recheck: u64, "See [`Cpu::recheck`].";
        verdict set_verdict: u32, "See [`Cpu::verdict`].";
        live set_live: u32, "See [`Cpu::live`].";
        task set_task: u64, "See [`Cpu::task`].";
        start set_start: u64, "See [`Cpu::start`].";
        key set_key: u32, "See [`Cpu::key`].";
        shape set_shape: u32, "See [`Cpu::shape`].";
        marks set_marks: u64, "See [`Cpu::marks`].";
        undefined set_undefined: u64, "See [`Cpu::undefined`].";
        result set_result: u64, "See [`Cpu::result`].";
        open set_open: [u64; 2], "See [`Cpu::open`].";
        files set_files: [u64; 2], "See [`Cpu::files`].";
        cgroup set_cgroup: u64, "See [`Cpu::cgroup`].";
        pointers set_pointers: [u64; 3], "See [`Cpu::pointers`].";
    }

    /// See [`Cpu::number`].
    #[inline(always)]
    pub fn number(self) -> u64 {
        // SAFETY: a live value of the map.
        unsafe { (&raw const (*self.0).number).read_volatile() }
    }

    /// See [`Cpu::renewed`].
    #[inline(always)]
    pub fn renewed(self) -> u64 {
        // SAFETY: a live value of the map.
        unsafe { (&raw const (*self.0).renewed).read_volatile() }
    }

    /// Now, ns of CLOCK_BOOTTIME. From the monotonic clock, which is cheaper to read.
    #[inline(always)]
    pub fn now(self) -> u64 {
        // SAFETY: no arguments, and a live value of the map.
        unsafe { bpf_ktime_get_ns().wrapping_add((&raw const (*self.0).offset).read_volatile()) }
    }

    /// The record at the head, if the ring has room for the longest one.
    #[inline(always)]
    pub fn room(self) -> Option<Draft> {
        let limit = (u64::from(config!(ring_segments)) << SEGMENT_SHIFT) - RECORD_MAX;
        // SAFETY: a live value of the map.
        unsafe {
            let cpu = self.0;
            if (*cpu).head.wrapping_sub((*cpu).seen) > limit {
                (*cpu).seen = (&raw const (*cpu).tail).read_volatile();
                if (*cpu).head.wrapping_sub((*cpu).seen) > limit {
                    return None;
                }
            }
        }
        self.draft()
    }

    /// The same for a CPU that may have no ring yet.
    #[inline(always)]
    pub fn first_room(self) -> Option<Draft> {
        // SAFETY: a live value of the map.
        if unsafe { (*self.0).has_ring } == 0 && !self.take_ring() {
            return None;
        }
        self.room()
    }

    /// Takes a ring that no CPU has. False if there is none left.
    #[inline(always)]
    fn take_ring(self) -> bool {
        let Some(index) = next_ring() else { return false };
        if index >= u64::from(config!(cpu_rings)) {
            return false;
        }
        // SAFETY: a live value of the map.
        unsafe {
            (&raw mut (*self.0).first).write_volatile(index as u32 * config!(ring_segments));
            compiler_fence(Ordering::Release);
            (&raw mut (*self.0).has_ring).write_volatile(1);
        }
        true
    }

    /// The record at the head, which has room: of a call that is [`agent_ebpf::records::cpu::live`].
    #[inline(always)]
    pub fn draft(self) -> Option<Draft> {
        // SAFETY: a live value of the map.
        let (head, first) = unsafe { ((*self.0).head, (*self.0).first) };
        let segment = first + ((head >> SEGMENT_SHIFT) as u32 & (config!(ring_segments) - 1));
        let segment = SEGMENTS.get_ptr_mut(segment)?;
        let mut offset = head;
        // SAFETY: a mask that the verifier sees where the pointer is made.
        unsafe {
            core::arch::asm!("{offset} &= {mask}", offset = inout(reg) offset, mask = const SEGMENT_DATA - 8);
            Some(Draft(segment.cast::<u8>().add(offset as usize).cast()))
        }
    }

    /// Makes the record at the head visible to the agent; it has its shape.
    #[inline(always)]
    pub fn publish(self, words: u32) {
        // SAFETY: a live, aligned value of the map.
        unsafe {
            let head = next((*self.0).head, u64::from(words) * 8);
            store_head(&raw mut (*self.0).head, head);
        }
    }

    /// Writes whose the calls after this are, unless the ring says so already. False without room.
    #[inline(always)]
    pub fn write_identity(self, cgroup: u64, ids: u64, uid: u64, time: impl FnOnce() -> u64) -> bool {
        // SAFETY: a live value of the map.
        let written = unsafe { &mut (*self.0).written };
        if written[0] == cgroup && written[1] == ids && written[2] == uid {
            // There is a ring.
            return true;
        }
        let Some(draft) = self.first_room() else { return false };
        // SAFETY: indices of an identity.
        unsafe {
            draft.set(word::TIME, time());
            draft.set(word::SHAPE, u64::from(shape::of(sort::IDENTITY, 0, IDENTITY_WORDS)) << 32 | uid);
            draft.set(2, cgroup);
            draft.set(3, ids);
        }
        self.publish(IDENTITY_WORDS);
        *written = [cgroup, ids, uid];
        true
    }
}

const _: () = assert!(ABIS << 16 <= 1 << shape::KEY_BITS);
