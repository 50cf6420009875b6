//! The task iterator: who was there before the capture, and which call each is in. Run once
//! when the hooks are attached, and once more when they are gone.

use core::ffi::c_void;

use agent_ebpf::records::{TaskState, task_flags};
use agent_ebpf::spec::spec_flags;
use aya_ebpf::helpers::generated::bpf_seq_write;

use crate::details;
use crate::maps::{self, ITER_SCRATCH, IterScratch, config};
use crate::storage;
use crate::syscall::{args_of, copy_args, key_of};
use crate::task::{Task, is_left_out, load};

/// `struct bpf_iter__task`: both members are pointers in 8-byte slots.
#[repr(C)]
pub struct TaskContext {
    /// What is the same for all tasks; its first member is the seq_file.
    pub meta: *mut *mut c_void,
    /// The task; null after the last one.
    pub task: *mut u8,
}

/// Writes a `TaskInfo` and the executable's path for each thread.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn task_iter(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<TaskContext>();
    // SAFETY: the context of an `iter/task` program.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return 0;
    }
    let task = Task(task);
    let Some(scratch) = ITER_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value; the agent reads one iterator at a time, see ITER_SCRATCH.
    let scratch = unsafe { &mut *scratch };
    crate::sched::note_found(task);
    fill(task, scratch);
    // SAFETY: the first member of `struct bpf_iter_meta` is the seq_file.
    let seq = unsafe { *meta };
    // The mask is for the verifier: no path is longer than PATH_MAX with its NUL.
    let len = scratch.info.exe_len & (scratch.exe.len() as u32 - 1);
    // SAFETY: whole map values, lengths checked against the array.
    unsafe {
        bpf_seq_write(seq.cast(), (&raw const scratch.info).cast(), size_of_val(&scratch.info) as u32);
        if len > 0 {
            bpf_seq_write(seq.cast(), (&raw const scratch.exe).cast(), len);
        }
    }
    0
}

#[inline(always)]
fn fill(task: Task, scratch: &mut IterScratch) {
    let info = &mut scratch.info;
    info.cgroup = task.cgroup();
    info.start = task.start();
    info.leader_start = task.leader().start();
    info.pid = task.pid();
    info.tid = task.tid();
    info.ppid = task.parent().pid();
    info.uid = task.uid();
    info.kthread = u32::from(task.is_kthread());
    task.comm(&raw mut info.comm);
    task.leader().comm(&raw mut info.leader_comm);
    info.call = u32::MAX;
    info.call_start = 0;
    info.flags = 0;
    info.exe_len = 0;
    info.files = [0; 2];
    // SAFETY: it has room.
    unsafe { details::write(task, &raw mut info.details) };
    if info.kthread != 0 || info.pid == config!(own_pid) {
        return;
    }
    if info.tid == info.pid {
        info.exe_len = executable(task, &mut scratch.exe);
    }
    if config!(tree_pid) != 0 {
        // Nothing that exists before the command belongs to it. What does was made by its forks.
        // SAFETY: a task that the verifier trusts.
        let state = unsafe { storage::state(task.0, false) };
        if !state.is_null() {
            // SAFETY: not null.
            report(info, unsafe { &*state });
        }
        return;
    }
    // A task on a CPU may be in user space with the registers of an older call on its stack:
    // its next entry or return shows.
    if is_left_out(info.pid) {
        return;
    }
    // SAFETY: a task that the verifier trusts.
    let state = unsafe { storage::state(task.0, !task.on_cpu()) };
    if state.is_null() {
        return;
    }
    // SAFETY: not null. Its task may enter a call at this moment; see note_call.
    let state = unsafe { &mut *state };
    // A task that was seen to enter or return is in no call of unknown start.
    if state.start == 0 {
        note_call(task, state);
    }
    report(info, state);
}

/// The path of what it executes, and its length.
#[cfg(not(feature = "legacy"))]
#[inline(always)]
fn executable(task: Task, to: &mut [u8; 4096]) -> u32 {
    // `bpf_d_path` takes only what the verifier trusts.
    let mm: *mut u8 = load(task.0, config!(offsets.task_mm));
    if mm.is_null() || !crate::task::has(config!(offsets.mm_exe_file)) {
        return 0;
    }
    let file: *mut u8 = load(mm, config!(offsets.mm_exe_file));
    if file.is_null() {
        return 0;
    }
    // SAFETY: the path is a member of a file that the verifier knows; the array has the length given.
    let len = unsafe {
        let path = file.add(config!(offsets.file_path) as usize);
        aya_ebpf::helpers::generated::bpf_d_path(path.cast(), to.as_mut_ptr().cast(), to.len() as u32)
    };
    if len > 0 { len as u32 - 1 } else { 0 }
}

/// Iterators cannot resolve paths before 5.12: the agent reads them from `/proc`.
#[cfg(feature = "legacy")]
#[inline(always)]
fn executable(_: Task, _: &mut [u8; 4096]) -> u32 {
    0
}

#[inline(always)]
fn report(info: &mut agent_ebpf::records::TaskInfo, state: &TaskState) {
    info.flags = state.flags;
    if state.flags & (task_flags::LIVE | task_flags::START_UNKNOWN) != 0 {
        info.call = state.key;
        copy_args::<6>(info.args.as_mut_ptr(), state);
        info.files = state.files;
        if state.flags & task_flags::LIVE != 0 {
            info.call_start = state.start;
        }
    }
}

/// Notes the call that a sleeping task is in, unless its entry was seen. What its registers say
/// holds as long as it does not run; should it run meanwhile, its next entry overwrites this.
#[inline(always)]
pub fn note_call(task: Task, state: &mut TaskState) {
    if state.flags & (task_flags::LIVE | task_flags::EXCLUDED) != 0 || task.on_cpu() {
        return;
    }
    let regs = task.registers();
    if regs.is_null() {
        return;
    }
    let nr: u64 = load(regs, config!(regs_nr));
    if (nr as i64) < 0 {
        state.flags &= !task_flags::START_UNKNOWN;
        return;
    }
    let key = key_of(task, nr as u32);
    let bits = match maps::spec(key) {
        Some(spec) => spec.flags,
        None if config!(narrow) != 0 => spec_flags::SKIP,
        None => 0,
    };
    // A new task has the registers of its parent's call until it runs.
    if bits & spec_flags::SKIP != 0 || (state.flags & task_flags::CHILD != 0 && bits & spec_flags::FORK != 0)
    {
        return;
    }
    state.key = key;
    state.args = args_of(regs, key);
    state.files = [0; 2];
    state.open = [0; 2];
    state.flags = (state.flags | task_flags::START_UNKNOWN) & !task_flags::CHILD;
}
