//! Maps, globals and what is done with them: rings, loss counters, allow-set, task storage.

use core::ffi::c_void;
use core::ptr;

use agent_ebpf::records::net::{Net, SockInfo};
use agent_ebpf::records::sched::SchedState;
use agent_ebpf::records::stall::{StallBody, StallHead, Wake};
use agent_ebpf::records::{LossKey, TaskInfo};
use agent_ebpf::spec::{ABIS, NUMBERS, Spec};
use aya_ebpf::bindings::{BPF_ANY, BPF_NOEXIST, BPF_RB_NO_WAKEUP};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, PerCpuArray, PerCpuHashMap, RingBuf};
use aya_ebpf::helpers::generated::{
    bpf_get_smp_processor_id, bpf_ringbuf_discard, bpf_ringbuf_output, bpf_ringbuf_reserve,
    bpf_ringbuf_submit,
};
use aya_ebpf::macros::btf_map;

/// Most CPUs that get a ring of their own.
const MAX_RINGS: usize = 1024;

type Ring = RingBuf<u8, 4096>;
/// An array of rings; the agent creates the real ones and puts them in.
pub type Rings = ArrayOfMaps<Ring, MAX_RINGS>;

/// The event ring buffers, one for each CPU: what a busy machine may fill.
#[btf_map]
pub static EVENTS: Rings = Rings::new();

/// The lifecycle ring buffers, one for each CPU: rare events that must not be lost when the event ring buffers are full.
#[btf_map]
pub static LIFECYCLE: Rings = Rings::new();

/// What to read of each syscall, at `abi * NUMBERS + number`.
#[btf_map]
static SPECS: Array<Spec, { (ABIS * NUMBERS) as usize }> = Array::new();

/// Cgroups to record, if there is such a filter. A new cgroup is added here at once; the agent removes it again when its
/// path does not match.
#[btf_map]
static ALLOWED: HashMap<u64, u8, 65536> = HashMap::new();

/// The same for cgroups of the hierarchy in which block I/O is charged, where that is not the one that identifies cgroups:
/// ids of different hierarchies can be equal.
#[btf_map]
static ALLOWED_IO: HashMap<u64, u8, 65536> = HashMap::new();

/// Bits of [`agent_ebpf::config::reader`] by process: those that read the recorder's output, directly or through further
/// pipes. The agent keeps them up to date.
#[btf_map]
static READERS: HashMap<u32, u32, 1024> = HashMap::new();

/// Lost events by cgroup, kind and stage. Counters never decrease.
#[btf_map]
static LOSSES: PerCpuHashMap<LossKey, u64, 4096> = PerCpuHashMap::new();

/// Owners and ages of TCP sockets, by address. Preallocated, as old kernels demand; the least recently used ones are
/// evicted, and are then sockets of unknown owner.
#[btf_map]
pub static SOCKETS: LruHashMap<u64, SockInfo, 32768> = LruHashMap::new();

/// Room for what a task iterator writes, too large for the stack.
#[repr(C)]
pub struct IterScratch {
    /// The fixed part.
    pub info: TaskInfo,
    /// The executable's path.
    pub exe: [u8; 4096],
}

/// Only the task iterator uses it, and only the agent reads that, one at a time.
#[btf_map]
pub static ITER_SCRATCH: PerCpuArray<IterScratch, 1> = PerCpuArray::new();

/// Room for what the socket iterator writes. One for each CPU is enough: one thread of the agent at a time reads it.
#[btf_map]
pub static NET_SCRATCH: PerCpuArray<Net, 1> = PerCpuArray::new();

/// What the scheduler's hooks know of the CPUs' idle tasks, which no iterator shows.
#[btf_map]
static IDLE: PerCpuArray<SchedState, 1> = PerCpuArray::new();

/// Who woke a thread whose stall was reported, by the thread's id. The agent removes the entries.
#[btf_map]
static WAKES: HashMap<u32, Wake, 4096> = HashMap::new();

/// Room for what the iterator of stalled threads writes.
#[repr(C)]
pub struct StallScratch {
    /// The fixed part.
    pub head: StallHead,
    /// Where it sleeps.
    pub body: StallBody,
}

/// Only that iterator uses it, and only one thread of the agent reads that.
#[btf_map]
pub static STALL_SCRATCH: PerCpuArray<StallScratch, 1> = PerCpuArray::new();

/// Whether a stall that was reported may last: set by that iterator, cleared by the agent.
#[btf_map]
static STALL_REPORTED: Array<u32, 1> = Array::new();

/// Whether a stall that was reported may last.
#[inline(always)]
pub fn any_stall_reported() -> bool {
    match STALL_REPORTED.get(0) {
        Some(any) => *any != 0,
        None => true,
    }
}

/// A stall was reported.
#[inline(always)]
pub fn note_stall_reported() {
    if let Some(any) = STALL_REPORTED.get_ptr_mut(0) {
        // SAFETY: a map value, which only the iterator writes while it runs.
        unsafe { any.write(1) };
    }
}

/// What the agent puts in place of a number ([`agent_ebpf::config::placeholder`]) before the load. The verifier sees a constant,
/// so that a switched-off feature costs nothing and an offset no access to memory.
#[inline(always)]
pub fn constant<const NUMBER: u32>() -> u32 {
    let value: u64;
    // Not `pure`: what the compiler keeps for the next use takes room on the stack, which is scarce.
    // SAFETY: one instruction that sets a register, to a number of 32 bits.
    unsafe {
        core::arch::asm!(
            "{value} = {number} ll",
            value = out(reg) value,
            number = const NUMBER,
            options(nomem, nostack),
        );
        core::hint::assert_unchecked(value <= u32::MAX as u64);
    }
    value as u32
}

/// A field of [`agent_ebpf::config::Config`].
macro_rules! config {
    ($array:ident[$index:literal]) => {
        $crate::maps::config!(@ core::mem::offset_of!(agent_ebpf::config::Config, $array) + 4 * $index)
    };
    (@ $offset:expr) => { $crate::maps::constant::<{ agent_ebpf::config::placeholder($offset) }>() };
    ($($field:tt)+) => {
        $crate::maps::config!(@ core::mem::offset_of!(agent_ebpf::config::Config, $($field)+))
    };
}
pub(crate) use config;

/// Loads a member of a struct that the verifier knows by its type: one instruction, the offset in which the agent fills in.
/// `$size`: as the instruction names it. The result is a pointer to the verifier if the member is one to a struct.
#[cfg(not(feature = "legacy"))]
macro_rules! member {
    (@ $base:expr, $offset:expr, $size:literal) => {{
        let base: u64 = $base;
        let value: u64;
        // SAFETY: the verifier checks the load.
        unsafe {
            core::arch::asm!(
                concat!("{value} = *(", $size, " *)({base} - {place})"),
                base = in(reg) base,
                value = lateout(reg) value,
                place = const -agent_ebpf::config::offset_placeholder($offset),
                options(readonly, nostack),
            );
        }
        value
    }};
    ($base:expr, $array:ident[$index:literal], $size:literal) => {
        $crate::maps::member!(
            @ $base,
            core::mem::offset_of!(agent_ebpf::config::Config, $array) + 4 * $index,
            $size
        )
    };
    ($base:expr, $name:ident, $size:literal) => {
        $crate::maps::member!(
            @ $base,
            core::mem::offset_of!(agent_ebpf::config::Config, offsets.$name),
            $size
        )
    };
}
#[cfg(not(feature = "legacy"))]
pub(crate) use member;

/// A reserved record: to be filled and submitted, or discarded.
pub struct Slot<T>(*mut T);

impl<T> Slot<T> {
    /// The record's memory, not initialised.
    #[inline(always)]
    pub fn as_ptr(&self) -> *mut T {
        self.0
    }

    /// Hands the record to the agent, which looks by itself often enough.
    #[inline(always)]
    pub fn submit(self) {
        // SAFETY: the pointer came from reserve and is given back once.
        unsafe { bpf_ringbuf_submit(self.0.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
    }

    /// Gives the room up.
    #[inline(always)]
    pub fn discard(self) {
        // SAFETY: the pointer came from reserve and is given back once.
        unsafe { bpf_ringbuf_discard(self.0.cast(), u64::from(BPF_RB_NO_WAKEUP)) };
    }
}

/// Room for a record in this CPU's ring, or the loss is counted.
#[inline(always)]
pub fn reserve<T>(rings: &Rings, kind: u8, cgroup: u64) -> Option<Slot<T>> {
    let slot = try_reserve(rings);
    if slot.is_none() {
        count_loss(kind, agent_ebpf::records::stage::RING, cgroup);
    }
    slot
}

/// Room for a record in this CPU's ring, if there is any.
#[inline(always)]
pub fn try_reserve<T>(rings: &Rings) -> Option<Slot<T>> {
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let last = config!(rings) - 1;
    let index = if cpu < last { cpu } else { last };
    if let Some(ring) = rings.get(index) {
        let ring = ptr::from_ref(ring).cast_mut().cast::<c_void>();
        // SAFETY: `ring` is a ring buffer map that the verifier knows.
        let slot = unsafe { bpf_ringbuf_reserve(ring, size_of::<T>() as u64, 0) };
        if !slot.is_null() {
            return Some(Slot(slot.cast()));
        }
    }
    None
}

/// Copies a record of any length to this CPU's ring, if there is room.
#[inline(always)]
pub fn output(rings: &Rings, record: *const u8, len: u64) -> bool {
    // SAFETY: no arguments.
    let cpu = unsafe { bpf_get_smp_processor_id() };
    let last = config!(rings) - 1;
    let index = if cpu < last { cpu } else { last };
    let Some(ring) = rings.get(index) else { return false };
    let ring = ptr::from_ref(ring).cast_mut().cast::<c_void>();
    // SAFETY: `ring` is a ring buffer map that the verifier knows, and it checks what is copied.
    unsafe { bpf_ringbuf_output(ring, record.cast_mut().cast(), len, u64::from(BPF_RB_NO_WAKEUP)) == 0 }
}

/// Counts one lost event.
#[inline(never)]
pub fn count_loss(kind: u8, stage: u8, cgroup: u64) -> i32 {
    let mut key = LossKey { cgroup, kind, stage, reserved: [0; 3] };
    if let Some(count) = LOSSES.get_ptr_mut(key) {
        add(count);
        return 0;
    }
    if LOSSES.insert(key, 1, u64::from(BPF_NOEXIST)).is_ok() {
        return 0;
    }
    key.cgroup = u64::MAX;
    if let Some(count) = LOSSES.get_ptr_mut(key) {
        add(count);
    }
    0
}

/// Adds one to a counter of this CPU. Atomic: a second program on the same hook may interrupt the first one.
#[inline(always)]
fn add(count: *mut u64) {
    // SAFETY: one instruction that changes nothing but the counter, a live, aligned map value of this CPU.
    unsafe {
        core::arch::asm!(
            "lock *(u64 *)({count} + 0) += {one}",
            count = in(reg) count,
            one = in(reg) 1u64,
            options(nostack),
        );
    }
}

/// What to read of the call with this key.
#[inline(always)]
pub fn spec(key: u32) -> Option<&'static Spec> {
    let abi = key >> 16;
    let nr = key & 0xffff;
    if nr >= NUMBERS {
        return None;
    }
    SPECS.get(abi * NUMBERS + nr)
}

/// Whether this cgroup is recorded.
#[inline(always)]
pub fn allowed(cgroup: u64) -> bool {
    ALLOWED.get_ptr(cgroup).is_some()
}

/// Lets a cgroup in until the agent has decided.
#[inline(always)]
pub fn allow(cgroup: u64) -> bool {
    ALLOWED.insert(cgroup, 2, u64::from(BPF_ANY)).is_ok()
}

/// Whether block I/O that is charged to this cgroup of the I/O hierarchy is recorded.
#[inline(always)]
pub fn allowed_io(cgroup: u64) -> bool {
    ALLOWED_IO.get_ptr(cgroup).is_some()
}

/// Lets a cgroup of the I/O hierarchy in until the agent has decided.
#[inline(always)]
pub fn allow_io(cgroup: u64) -> bool {
    ALLOWED_IO.insert(cgroup, 2, u64::from(BPF_ANY)).is_ok()
}

/// Bits of [`agent_ebpf::config::reader`] for a process; 0 if it does not read the output.
#[inline(always)]
pub fn reader(pid: u32) -> u32 {
    if config!(readers) == 0 {
        return 0;
    }
    match READERS.get_ptr(pid) {
        // SAFETY: a live map value.
        Some(bits) => unsafe { *bits },
        None => 0,
    }
}

/// The state that the scheduler's hooks keep of this CPU's idle task.
#[inline(always)]
pub fn idle() -> *mut SchedState {
    match IDLE.get_ptr_mut(0) {
        Some(state) => state,
        None => ptr::null_mut(),
    }
}

/// Keeps who woke a thread. Without room for it that stays unknown.
#[inline(always)]
pub fn note_wake(tid: u32, wake: &Wake) {
    let _ = WAKES.insert(tid, wake, u64::from(BPF_ANY));
}
