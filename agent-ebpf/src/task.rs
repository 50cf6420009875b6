//! Reading `task_struct` and what hangs off it. Loads are direct: the verifier knows the types and turns a load through
//! a bad pointer into a zero. Before 5.11 it does not know the type of the current task, so the legacy programs load
//! through a helper, which does the same.

use agent_ebpf::config::{ABSENT, reader};
use agent_ebpf::records::{COMM_LEN, Header};
use aya_ebpf::helpers::generated::{bpf_get_smp_processor_id, bpf_ktime_get_boot_ns, bpf_probe_read_kernel};

use crate::cast::untrusted;
#[cfg(not(feature = "legacy"))]
use crate::maps::member;
use crate::maps::{self, config};

/// All threads of the process are about to die (`SIGNAL_GROUP_EXIT`).
const SIGNAL_GROUP_EXIT: u32 = 4;
/// SIGKILL in the first word of a signal set.
const SIGKILL_BIT: u64 = 1 << (9 - 1);
/// A kernel thread (`PF_KTHREAD`).
const PF_KTHREAD: u32 = 0x0020_0000;

/// A `task_struct`.
#[derive(Clone, Copy)]
pub struct Task(pub *mut u8);

/// Loads a value at a byte offset of a kernel object.
#[inline(always)]
pub fn load<T: Copy>(base: *mut u8, offset: u32) -> T {
    if cfg!(feature = "legacy") {
        return probe(base, offset);
    }
    // SAFETY: the verifier checks type and bounds of every direct load.
    unsafe { base.add(offset as usize).cast::<T>().read_volatile() }
}

/// Now, ns of CLOCK_BOOTTIME.
#[inline(always)]
pub fn now() -> u64 {
    // SAFETY: no arguments.
    unsafe { bpf_ktime_get_boot_ns() }
}

impl Task {
    /// The current task.
    #[inline(always)]
    pub fn current() -> Self {
        #[cfg(not(feature = "legacy"))]
        // SAFETY: no arguments.
        return Self(unsafe { aya_ebpf::helpers::generated::bpf_get_current_task_btf() }.cast());
        #[cfg(feature = "legacy")]
        // SAFETY: no arguments.
        return Self(unsafe { aya_ebpf::helpers::generated::bpf_get_current_task() } as *mut u8);
    }

    /// What one of its members points to.
    #[inline(always)]
    pub fn pointer(self, offset: u32) -> *mut u8 {
        load(untrusted!(self.0, TASK), offset)
    }

    /// The registers with which it entered the kernel, valid while it is in a call. Null if it has none.
    #[inline(always)]
    pub fn registers(self) -> *mut u8 {
        #[cfg(not(feature = "legacy"))]
        // SAFETY: a task that the verifier trusts.
        return unsafe { aya_ebpf::helpers::generated::bpf_task_pt_regs(self.0.cast()) as *mut u8 };
        // At the upper end of its stack.
        #[cfg(feature = "legacy")]
        return match load::<*mut u8>(self.0, config!(offsets.task_stack)) {
            stack if stack.is_null() || config!(stack_registers) == 0 => core::ptr::null_mut(),
            stack => stack.wrapping_add(config!(stack_registers) as usize),
        };
    }

    /// Bits of the call that it is in (`TS_*`).
    #[inline(always)]
    pub fn status(self) -> u32 {
        #[cfg(not(feature = "legacy"))]
        let status = member!(self.0 as u64, task_status, "u32") as u32;
        #[cfg(feature = "legacy")]
        let status = load(self.0, config!(offsets.task_status));
        status
    }

    /// Thread id in the initial namespace.
    #[inline(always)]
    pub fn tid(self) -> u32 {
        load(self.0, config!(offsets.task_pid))
    }

    /// Process id in the initial namespace.
    #[inline(always)]
    pub fn pid(self) -> u32 {
        load(self.0, config!(offsets.task_tgid))
    }

    /// Effective user id in the initial namespace.
    #[inline(always)]
    pub fn uid(self) -> u32 {
        let cred: *mut u8 = self.pointer(config!(offsets.task_cred));
        load(cred, config!(offsets.cred_euid))
    }

    /// Start time, ns of CLOCK_BOOTTIME.
    #[inline(always)]
    pub fn start(self) -> u64 {
        load(self.0, config!(offsets.task_start))
    }

    /// The leader of its process.
    #[inline(always)]
    pub fn leader(self) -> Self {
        Self(self.pointer(config!(offsets.task_leader)))
    }

    /// The parent that `getppid` names.
    #[inline(always)]
    pub fn parent(self) -> Self {
        Self(self.pointer(config!(offsets.task_parent)))
    }

    /// Whether other threads may write to its memory.
    #[inline(always)]
    pub fn shares_memory(self) -> bool {
        let mm: *mut u8 = self.pointer(config!(offsets.task_mm));
        load::<u32>(mm, config!(offsets.mm_users)) > 1
    }

    /// Whether it is a kernel thread.
    #[inline(always)]
    pub fn is_kthread(self) -> bool {
        load::<u32>(self.0, config!(offsets.task_flags)) & PF_KTHREAD != 0
    }

    /// Whether it will die before it runs in user space again: it is being killed alone (by
    /// an exec of another thread), or with its process.
    #[inline(always)]
    pub fn is_dying(self) -> bool {
        if load::<u64>(self.0, config!(offsets.task_pending)) & SIGKILL_BIT != 0 {
            return true;
        }
        let signal: *mut u8 = self.pointer(config!(offsets.task_signal));
        load::<u32>(signal, config!(offsets.signal_flags)) & SIGNAL_GROUP_EXIT != 0
    }

    /// Whether it is in the middle of an exec.
    #[inline(always)]
    pub fn in_execve(self) -> bool {
        let offset = config!(in_execve);
        has(offset) && u32::from(load::<u8>(self.0, offset)) & config!(in_execve_mask) != 0
    }

    /// Whether it runs on a CPU right now.
    #[inline(always)]
    pub fn on_cpu(self) -> bool {
        // One byte since 7.2, and the lowest of four before.
        load::<u8>(self.0, config!(offsets.task_on_cpu)) != 0
    }

    /// Copies its name.
    #[inline(always)]
    pub fn comm(self, to: *mut [u8; COMM_LEN]) {
        let from = self.0.wrapping_add(config!(offsets.task_comm) as usize);
        // SAFETY: `to` has COMM_LEN bytes; a bad source is an error of the helper.
        unsafe { bpf_probe_read_kernel(to.cast(), COMM_LEN as u32, from.cast()) };
    }

    /// The id of its cgroup in the chosen hierarchy.
    #[inline(always)]
    pub fn cgroup(self) -> u64 {
        let set: *mut u8 = self.pointer(config!(offsets.task_cgroups));
        let subsys = config!(cgroup_subsys);
        if subsys == 0 {
            return cgroup_id(load(set, config!(offsets.css_set_dfl)));
        }
        let slot = config!(offsets.css_set_subsys) as usize + (subsys as usize - 1) * size_of::<usize>();
        let slot = set.wrapping_add(slot);
        if config!(casts) != 0 && !cfg!(feature = "legacy") {
            // Verifiers do not follow arrays of pointers. To them, this is an untrusted pointer to a state, which begins
            // with a pointer; what that points to is cast to what it is.
            let css: *mut u8 = load(untrusted!(slot, CSS), 0);
            return cgroup_id(load(untrusted!(css, CSS), config!(offsets.css_cgroup)));
        }
        let mut css: *mut u8 = core::ptr::null_mut();
        let mut cgroup: *mut u8 = core::ptr::null_mut();
        // SAFETY: both targets are pointers; the helper checks the sources.
        unsafe {
            bpf_probe_read_kernel((&raw mut css).cast(), size_of::<usize>() as u32, slot.cast());
            let from = css.wrapping_add(config!(offsets.css_cgroup) as usize);
            bpf_probe_read_kernel((&raw mut cgroup).cast(), size_of::<usize>() as u32, from.cast());
        }
        probe_cgroup_id(cgroup)
    }

    /// The start of a record about this task.
    #[inline(always)]
    pub fn header(self, kind: u8, class: u8, flags: u32, time: u64, cgroup: u64) -> Header {
        // SAFETY: no arguments.
        let cpu = unsafe { bpf_get_smp_processor_id() } as u16;
        Header { time, cgroup, pid: self.pid(), tid: self.tid(), flags, cpu, kind, class }
    }
}

/// Whether a process is the recorder, or behind its pipe. Slots that are not used cost nothing:
/// the verifier knows that they are 0.
#[inline(always)]
pub fn is_left_out(pid: u32) -> bool {
    pid == config!(own_pid) || maps::reader(pid) & reader::EXCLUDED != 0
}

/// The id of a `struct cgroup` that the verifier knows.
#[inline(always)]
pub fn cgroup_id(cgroup: *mut u8) -> u64 {
    let kn: *mut u8 = load(cgroup, config!(offsets.cgroup_kn));
    load(kn, config!(offsets.kn_id))
}

/// The id of a `struct cgroup` at an address that the verifier does not know.
#[inline(always)]
pub fn probe_cgroup_id(cgroup: *mut u8) -> u64 {
    let mut kn: *mut u8 = core::ptr::null_mut();
    let mut id = 0u64;
    // SAFETY: both targets are 8 bytes; the helper checks the sources.
    unsafe {
        let from = cgroup.wrapping_add(config!(offsets.cgroup_kn) as usize);
        bpf_probe_read_kernel((&raw mut kn).cast(), size_of::<usize>() as u32, from.cast());
        bpf_probe_read_kernel(
            (&raw mut id).cast(),
            8,
            kn.wrapping_add(config!(offsets.kn_id) as usize).cast(),
        );
    }
    id
}

/// The number of the hierarchy that a `struct cgroup` belongs to.
#[inline(always)]
pub fn hierarchy(cgroup: *mut u8) -> u32 {
    let root: *mut u8 = load(cgroup, config!(offsets.cgroup_root));
    load(root, config!(offsets.root_hierarchy))
}

/// Reads a value at an address that the verifier does not know; zeroes if there is none.
#[inline(always)]
pub fn probe<T: Copy>(base: *mut u8, offset: u32) -> T {
    let mut value = core::mem::MaybeUninit::<T>::zeroed();
    // SAFETY: reads the size of the value; the helper checks the source, and zeroes what it cannot read.
    // T is made of integers or a pointer, for which zeroes are a value.
    unsafe {
        let from = base.wrapping_add(offset as usize);
        bpf_probe_read_kernel(value.as_mut_ptr().cast(), size_of::<T>() as u32, from.cast());
        value.assume_init()
    }
}

/// Whether the running kernel has this member.
#[inline(always)]
pub fn has(offset: u32) -> bool {
    offset != ABSENT
}
