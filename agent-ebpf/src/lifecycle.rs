//! Processes and cgroups coming, changing and going. Rare, and sent whatever the filter: they
//! name what other events point to.

use agent_ebpf::config::{NO_HIERARCHY, reader};
use agent_ebpf::records::{
    self, CGROUP_PATH, COMM_LEN, Cgroup, EXEC_ARGS_SIZES, EXEC_PATH, Exec, ExecArgs, Exit, Fork, Rename,
    cgroup_class, fallback as of, stage, task_flags,
};
use aya_ebpf::helpers::generated::bpf_probe_read_kernel_str;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::{debug, warn};
use events::Kind;
use events::flags;

use crate::cast::untrusted;
use crate::cpu_ring::ThisCpu;
use crate::details;
use crate::fallback;
use crate::files;
use crate::maps::{self, LIFECYCLE, config};
use crate::preempt_guard::without_preemption;
use crate::sched;
use crate::storage;
use crate::syscall;
use crate::task::{self, Task, load, now};
use crate::user::read_user_at_most;

/// Whether this is a thread of the recorder.
#[inline(always)]
fn is_own(task: Task) -> bool {
    task.pid() == config!(own_pid)
}

/// `sched:sched_process_fork` (parent, child).
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork(ctx: BtfTracePointContext) -> i32 {
    without_preemption!({
        fallback::seen(of::FORK);
        forked(&ctx)
    })
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sched_process_fork")]
pub fn sched_process_fork_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(if fallback::is_needed(of::FORK) { forked(&ctx) } else { 0 })
}

#[inline(always)]
fn forked(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let parent = Task(ctx.arg::<*mut u8>(0));
    let child = Task(ctx.arg::<*mut u8>(1));
    if is_own(child) {
        return 0;
    }
    let cgroup = parent.cgroup();
    let mut inherited = 0;
    if !is_own(parent) {
        // SAFETY: an argument of the hook.
        let state = unsafe { storage::state(parent.0, false) };
        if !state.is_null() {
            // SAFETY: not null; the parent is the current task.
            inherited = unsafe { (*state).flags } & (task_flags::EXCLUDED | task_flags::TREE);
        }
        if maps::reader(parent.pid()) & reader::CHILDREN != 0 {
            inherited |= task_flags::EXCLUDED;
        }
    }
    sched::note_fork(child, inherited, time);
    let ppid = child.parent().pid();
    let tree = config!(tree_pid);
    if tree == 0 || inherited & task_flags::TREE != 0 {
        // SAFETY: an argument of the hook.
        let state = unsafe { storage::state(child.0, true) };
        if state.is_null() {
            maps::count_loss(Kind::Syscall as u8, stage::STORAGE, cgroup);
        } else {
            // SAFETY: not null; the child does not run yet.
            let state = unsafe { &mut *state };
            state.flags = inherited | task_flags::CHILD | ppid << task_flags::PARENT_SHIFT;
            details::note_reported(child, state);
        }
    }
    let Some(slot) = maps::reserve::<Fork>(&LIFECYCLE, Kind::Fork as u8, cgroup) else {
        return 0;
    };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type, every byte is written.
    unsafe {
        (&raw mut (*record).head).write(parent.header(Kind::Fork as u8, 0, 0, time, cgroup));
        (&raw mut (*record).child_cgroup).write(child.cgroup());
        (&raw mut (*record).child_start).write(child.start());
        (&raw mut (*record).child_pid).write(child.pid());
        (&raw mut (*record).child_tid).write(child.tid());
        (&raw mut (*record).uid).write(parent.uid());
        (&raw mut (*record).child_ppid).write(ppid);
        (&raw mut (*record).ppid).write(parent.parent().pid());
        (&raw mut (*record).tree).write(u32::from(inherited & task_flags::TREE != 0));
        child.comm(&raw mut (*record).comm);
        details::write(child, &raw mut (*record).child);
    }
    slot.submit();
    0
}

/// `sched:sched_process_exec` (task, old tid, linux_binprm).
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec(ctx: BtfTracePointContext) -> i32 {
    without_preemption!({
        fallback::seen(of::EXEC);
        executed(&ctx)
    })
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sched_process_exec")]
pub fn sched_process_exec_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(if fallback::is_needed(of::EXEC) { executed(&ctx) } else { 0 })
}

#[inline(always)]
fn executed(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let task = Task(ctx.arg::<*mut u8>(0));
    let old_tid: u32 = ctx.arg(1);
    let bprm: *mut u8 = ctx.arg(2);
    if is_own(task) {
        return 0;
    }
    debug!(ctx, "exec by task {}, before {}", task.tid(), old_tid);
    let cgroup = task.cgroup();
    if let Some(cpu) = ThisCpu::get() {
        // Its user may be another one, and a thread that was not the leader has another id.
        syscall::leave(cpu, task, syscall::Why::Other);
    }
    let tree = config!(tree_pid);
    if tree != 0 && task.pid() == tree {
        sched::note_tree(task);
        // Created here if its execve was not wanted, and so not noted.
        // SAFETY: an argument of the hook.
        let state = unsafe { storage::state(task.0, true) };
        if state.is_null() {
            maps::count_loss(Kind::Syscall as u8, stage::STORAGE, cgroup);
        } else {
            // SAFETY: not null; the task is the current one.
            unsafe { (*state).flags |= task_flags::TREE };
        }
    }
    // SAFETY: an argument of the hook.
    let state = unsafe { storage::state(task.0, false) };
    if !state.is_null() {
        // SAFETY: not null; the task is the current one.
        details::note_reported(task, unsafe { &mut *state });
    }
    let mm: *mut u8 = task.pointer(config!(offsets.task_mm));
    let start: u64 = load(mm, config!(offsets.mm_arg_start));
    let end: u64 = load(mm, config!(offsets.mm_arg_end));
    let exe = files::file_of_program(time);
    let image =
        Image { task, old_tid, bprm, time, cgroup, exe, args: start, args_len: end.wrapping_sub(start) };
    if image.args_len > EXEC_ARGS_SIZES[0] as u64
        && let Some(slot) = maps::try_reserve::<ExecArgs<{ EXEC_ARGS_SIZES[1] }>>(&LIFECYCLE)
    {
        // SAFETY: reserved for this type.
        unsafe { image.write::<{ EXEC_ARGS_SIZES[1] }, { EXEC_ARGS_SIZES[1] as u64 }>(slot.as_ptr()) };
        slot.submit();
    } else if let Some(slot) =
        maps::reserve::<ExecArgs<{ EXEC_ARGS_SIZES[0] }>>(&LIFECYCLE, Kind::Exec as u8, cgroup)
    {
        // Also if the ring buffer has no room for the larger one: a record with fewer arguments is better than none.
        // SAFETY: reserved for this type.
        unsafe { image.write::<{ EXEC_ARGS_SIZES[0] }, { EXEC_ARGS_SIZES[0] as u64 }>(slot.as_ptr()) };
        slot.submit();
    }
    0
}

/// A program that a process has just started to execute.
struct Image {
    task: Task,
    old_tid: u32,
    bprm: *mut u8,
    time: u64,
    cgroup: u64,
    /// The id of its file.
    exe: u64,
    /// Address of its arguments in its memory.
    args: u64,
    args_len: u64,
}

impl Image {
    /// Writes the record.
    ///
    /// # Safety
    ///
    /// `record` is reserved, and `MAX` is `N`.
    #[inline(always)]
    unsafe fn write<const N: usize, const MAX: u64>(&self, record: *mut ExecArgs<N>) {
        let mut bits = 0;
        if self.args_len > MAX {
            bits |= flags::STR1_CUT;
        }
        let mut args_len = self.args_len.min(MAX);
        // SAFETY: reserved for this type, with room for MAX bytes.
        unsafe {
            if read_user_at_most::<MAX>((&raw mut (*record).args).cast(), args_len, self.args) != 0 {
                bits |= flags::STR1_UNREAD;
                args_len = 0;
            }
            write_exec(self, &raw mut (*record).exec, args_len as u32, bits);
        }
    }
}

/// Writes everything but the arguments. A function of its own, so that both sizes of record share it.
///
/// # Safety
///
/// `exec` is reserved.
#[inline(never)]
unsafe fn write_exec(image: &Image, exec: *mut Exec, args_len: u32, mut bits: u32) -> i32 {
    let Image { task, old_tid, bprm, time, cgroup, exe, .. } = *image;
    // SAFETY: reserved for this type, sizes as declared; the helpers check the sources.
    unsafe {
        let path: *mut u8 = load(bprm, config!(offsets.bprm_filename));
        let len = bpf_probe_read_kernel_str((&raw mut (*exec).path).cast(), EXEC_PATH as u32, path.cast());
        let mut path_len = 0;
        if len <= 0 {
            bits |= flags::STR0_UNREAD;
        } else {
            path_len = len as u32 - 1;
            if len as usize == EXEC_PATH {
                bits |= flags::STR0_CUT;
            }
        }
        (&raw mut (*exec).path_len).write(path_len);
        (&raw mut (*exec).args_len).write(args_len);
        (&raw mut (*exec).old_tid).write(old_tid);
        (&raw mut (*exec).uid).write(task.uid());
        (&raw mut (*exec).ppid).write(task.parent().pid());
        (&raw mut (*exec).reserved).write(0);
        (&raw mut (*exec).exe).write(exe);
        task.comm(&raw mut (*exec).comm);
        details::write(task, &raw mut (*exec).details);
        (&raw mut (*exec).head).write(task.header(Kind::Exec as u8, 0, bits, time, cgroup));
    }
    0
}

/// `sched:sched_process_exit` (task[, group_dead]).
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit(ctx: BtfTracePointContext) -> i32 {
    without_preemption!({
        fallback::seen(of::EXIT);
        exited(&ctx)
    })
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sched_process_exit")]
pub fn sched_process_exit_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(if fallback::is_needed(of::EXIT) { exited(&ctx) } else { 0 })
}

#[inline(always)]
fn exited(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let task = Task(ctx.arg::<*mut u8>(0));
    if is_own(task) {
        return 0;
    }
    let cgroup = task.cgroup();
    if let Some(cpu) = ThisCpu::get() {
        syscall::settle(cpu, task, syscall::Why::Other);
        if config!(filter_cgroups) == 0 || maps::allowed(cgroup) {
            // SAFETY: an argument of the hook.
            let state = unsafe { storage::state(task.0, false) };
            if !state.is_null() {
                // SAFETY: not null; the task is the current one.
                syscall::end_call(cpu, task, unsafe { &mut *state }, time, cgroup);
            }
        }
    }
    let signal: *mut u8 = task.pointer(config!(offsets.task_signal));
    let process = if config!(exit_has_group_dead) != 0 {
        ctx.arg::<u64>(1) & 0xff != 0
    } else {
        load::<u32>(signal, config!(offsets.signal_live)) == 0
    };
    let mut code: u32 = load(task.0, config!(offsets.task_exit_code));
    if process {
        let group: u32 = load(signal, config!(offsets.signal_group_exit_code));
        if group != 0 {
            code = group;
        }
    }
    let Some(slot) = maps::reserve::<Exit>(&LIFECYCLE, Kind::Exit as u8, cgroup) else {
        return 0;
    };
    // SAFETY: reserved for this type.
    unsafe {
        slot.as_ptr().write(Exit {
            head: task.header(Kind::Exit as u8, 0, 0, time, cgroup),
            code,
            process: u32::from(process),
            uid: task.uid(),
            ppid: task.parent().pid(),
        });
    }
    slot.submit();
    0
}

/// `sched:sched_process_free` (task): its address may be another's from here on.
#[cfg(feature = "legacy")]
#[btf_tracepoint(function = "sched_process_free")]
pub fn sched_process_free(ctx: BtfTracePointContext) -> i32 {
    storage::forget(ctx.arg::<*mut u8>(0));
    0
}

/// `task:task_rename` (task, comm).
#[btf_tracepoint(function = "task_rename")]
pub fn task_rename(ctx: BtfTracePointContext) -> i32 {
    without_preemption!({
        fallback::seen(of::RENAME);
        renamed(&ctx)
    })
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "task_rename")]
pub fn task_rename_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(if fallback::is_needed(of::RENAME) { renamed(&ctx) } else { 0 })
}

#[inline(always)]
fn renamed(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let task = Task(ctx.arg::<*mut u8>(0));
    let comm: *const u8 = ctx.arg(1);
    if is_own(task) {
        return 0;
    }
    // An exec renames too, and has its own event.
    if task.in_execve() {
        return 0;
    }
    let cgroup = task.cgroup();
    let Some(slot) = maps::reserve::<Rename>(&LIFECYCLE, Kind::Rename as u8, cgroup) else {
        return 0;
    };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type; the helper writes at most COMM_LEN bytes and checks the source.
    unsafe {
        (&raw mut (*record).head).write(task.header(Kind::Rename as u8, 0, 0, time, cgroup));
        (&raw mut (*record).uid).write(task.uid());
        (&raw mut (*record).ppid).write(task.parent().pid());
        (&raw mut (*record).comm).cast::<[u64; COMM_LEN / 8]>().write([0; COMM_LEN / 8]);
        bpf_probe_read_kernel_str((&raw mut (*record).comm).cast(), COMM_LEN as u32, comm.cast());
    }
    slot.submit();
    0
}

/// `cgroup:cgroup_mkdir` (cgroup, path).
#[btf_tracepoint(function = "cgroup_mkdir")]
pub fn cgroup_mkdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = untrusted!(ctx.arg(0), CGROUP);
    let Some(class) = class_of(cgroup) else {
        return 0;
    };
    let id = task::cgroup_id(cgroup);
    if config!(filter_cgroups) != 0 {
        let (allowed, kind) = match class {
            cgroup_class::IO => (maps::allow_io(id), Kind::Block),
            _ => (maps::allow(id), Kind::Syscall),
        };
        if !allowed {
            maps::count_loss(kind as u8, stage::MAP, id);
            warn!(&ctx, "the allow-set has no room for cgroup {}", id);
        }
    }
    debug!(&ctx, "cgroup {} created", id);
    cgroup_event(Kind::CgroupMkdir, class, id, ctx.arg(1), None)
}

/// `cgroup:cgroup_rmdir` (cgroup, path).
#[btf_tracepoint(function = "cgroup_rmdir")]
pub fn cgroup_rmdir(ctx: BtfTracePointContext) -> i32 {
    let cgroup = untrusted!(ctx.arg(0), CGROUP);
    let Some(class) = class_of(cgroup) else {
        return 0;
    };
    cgroup_event(Kind::CgroupRmdir, class, task::cgroup_id(cgroup), ctx.arg(1), None)
}

/// The class of a cgroup's records; `None` if its hierarchy is of no interest.
#[inline(always)]
fn class_of(cgroup: *mut u8) -> Option<u8> {
    let hierarchy = task::hierarchy(cgroup);
    if hierarchy == config!(hierarchy) {
        Some(cgroup_class::IDENTIFYING)
    } else if config!(io_hierarchy) != NO_HIERARCHY && hierarchy == config!(io_hierarchy) {
        Some(cgroup_class::IO)
    } else {
        None
    }
}

/// `cgroup:cgroup_attach_task` (destination, path, task, threadgroup).
#[btf_tracepoint(function = "cgroup_attach_task")]
pub fn cgroup_attach_task(ctx: BtfTracePointContext) -> i32 {
    let cgroup = untrusted!(ctx.arg(0), CGROUP);
    if task::hierarchy(cgroup) != config!(hierarchy) {
        return 0;
    }
    let moved = Task(ctx.arg::<*mut u8>(2));
    debug!(&ctx, "task {} moved to cgroup {}", moved.tid(), task::cgroup_id(cgroup));
    if config!(filter_cgroups) != 0 {
        sched::note_moved(moved);
        // The return of its present call may be seen from another side of the filter than its
        // entry was.
        // SAFETY: an argument of the hook.
        let state = unsafe { storage::state(moved.0, true) };
        if !state.is_null() {
            // SAFETY: not null. A concurrent entry of that task only makes the call live again.
            unsafe { mark_moved(moved, &mut *state) };
        }
    }
    cgroup_event(
        Kind::CgroupAttach,
        cgroup_class::IDENTIFYING,
        task::cgroup_id(cgroup),
        ctx.arg(1),
        Some((moved, ctx.arg::<u64>(3) & 0xff != 0)),
    )
}

/// A task that was in an unrecorded call is from now on in a call of unknown start.
#[inline(always)]
fn mark_moved(task: Task, state: &mut records::TaskState) {
    if state.flags & (task_flags::LIVE | task_flags::EXCLUDED) != 0 {
        return;
    }
    state.flags |= task_flags::MOVED;
    crate::iter::note_call(task, state);
}

#[inline(always)]
fn cgroup_event(kind: Kind, class: u8, id: u64, path: *const u8, moved: Option<(Task, bool)>) -> i32 {
    let time = now();
    let task = Task::current();
    let Some(slot) = maps::reserve::<Cgroup>(&LIFECYCLE, kind as u8, id) else {
        return 0;
    };
    let record = slot.as_ptr();
    let mut bits = 0;
    // SAFETY: reserved for this type, size as declared; the helper checks the source.
    unsafe {
        let len =
            bpf_probe_read_kernel_str((&raw mut (*record).path).cast(), CGROUP_PATH as u32, path.cast());
        let mut path_len = 0;
        if len <= 0 {
            bits |= flags::STR0_UNREAD;
        } else {
            path_len = len as u32 - 1;
            if len as usize == CGROUP_PATH {
                bits |= flags::STR0_CUT;
            }
        }
        let (pid, tid, whole) = match moved {
            Some((moved, whole)) => (moved.pid(), moved.tid(), whole),
            None => (0, 0, false),
        };
        (&raw mut (*record).id).write(id);
        (&raw mut (*record).moved_pid).write(pid);
        (&raw mut (*record).moved_tid).write(tid);
        (&raw mut (*record).threadgroup).write(u32::from(whole));
        (&raw mut (*record).uid).write(task.uid());
        (&raw mut (*record).ppid).write(task.parent().pid());
        (&raw mut (*record).path_len).write(path_len);
        (&raw mut (*record).head).write(task.header(kind as u8, class, bits, time, task.cgroup()));
    }
    slot.submit();
    0
}
