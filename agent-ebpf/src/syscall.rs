//! The two hooks that every syscall of the machine goes through. What happens here is paid by
//! everyone, so the order of the checks is by cost.

mod record;

use agent_ebpf::records::{Parent, TaskState, fallback as of, stage, task_flags};
use agent_ebpf::spec::{Spec, spec_flags};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::warn;
use events::flags;
use events::{Abi, Kind, syscall_key};

use crate::fallback;
use crate::maps::{self, LIFECYCLE, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, has, is_left_out, load, now};
use crate::user::read_room;
use record::{argument, emit};
pub use record::{copy_args, emit_plain};

/// Bit 30 of a number: the x32 ABI (`__X32_SYSCALL_BIT`).
const X32_BIT: u32 = 0x4000_0000;
/// Results that the kernel keeps for itself: `ERESTARTSYS` to `ERESTART_RESTARTBLOCK`.
const ERESTART_FIRST: i64 = 512;
const ERESTART_LAST: i64 = 516;
/// The result register of a call that was not made.
const ENOSYS: i64 = 38;

/// ABI and number of a call, from the number as the kernel passes it.
#[inline(always)]
pub fn key_of(task: Task, nr: u32) -> u32 {
    let bits = config!(compat_bits);
    if bits != 0 && load::<u32>(task.0, config!(offsets.task_status)) & bits != 0 {
        return syscall_key(Abi::Compat, 0) | (nr & 0xffff);
    }
    if nr & X32_BIT != 0 {
        return syscall_key(Abi::X32, 0) | (nr & 0xffff);
    }
    nr & 0xffff
}

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

/// Whether a user's thread is in a call whose [`Spec`] has this bit. In user space it has the registers of its last call,
/// or none.
#[inline(always)]
pub fn is_in(task: Task, bit: u8) -> bool {
    let regs = task.registers();
    if regs.is_null() {
        return false;
    }
    let nr: u64 = load(regs, config!(regs_nr));
    if (nr as i64) < 0 {
        return false;
    }
    match maps::spec(key_of(task, nr as u32)) {
        Some(spec) => spec.flags & bit != 0,
        None => false,
    }
}

#[inline(always)]
fn spec_bits(spec: Option<&Spec>) -> u8 {
    match spec {
        Some(spec) => spec.flags,
        None => 0,
    }
}

#[inline(always)]
fn is_skipped(spec: Option<&Spec>) -> bool {
    match spec {
        Some(spec) => spec.flags & spec_flags::SKIP != 0,
        None => config!(narrow) != 0,
    }
}

/// `raw_syscalls:sys_enter` (regs, id).
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| entered::<false>(&ctx))
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sys_enter")]
pub fn sys_enter_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| entered::<true>(&ctx))
}

/// Where the first program ends early for a reason that lasts, its fallback program ends early too, whether the first one
/// was skipped or not.
/// From there on there is a mark, in a word that is written anyway.
#[inline(always)]
fn entered<const FALLBACK: bool>(ctx: &BtfTracePointContext) -> i32 {
    let task = Task::current();
    let pid = task.pid();
    if is_left_out(pid) {
        return 0;
    }
    if config!(filter_cgroups) != 0 && !maps::allowed(task.cgroup()) {
        return 0;
    }
    let nr: i64 = ctx.arg(1);
    let key = key_of(task, nr as u32);
    let spec = maps::spec(key);
    if config!(narrow) != 0 && is_skipped(spec) {
        return 0;
    }
    let tree = config!(tree_pid);
    // SAFETY: the current task.
    let state = unsafe { storage::state(task.0, tree == 0 || pid == tree) };
    if state.is_null() {
        // No loss yet: the kernel refuses while it frees the storage of another task on this CPU. The return tries again, and
        // records the call without its start, or counts it as lost.
        if tree == 0 {
            warn!(ctx, "no storage for task {}", task.tid());
        }
        return 0;
    }
    // SAFETY: not null, and only the task itself, here, and the fork of it write to it.
    let state = unsafe { &mut *state };
    let kept = state.flags & (task_flags::EXCLUDED | task_flags::TREE | task_flags::PARENT);
    if kept & task_flags::EXCLUDED != 0 {
        return 0;
    }
    if tree != 0 && kept & task_flags::TREE == 0 {
        // The recorded command belongs to its tree from its exec on.
        if pid != tree || spec_bits(spec) & spec_flags::EXEC == 0 {
            return 0;
        }
    }
    let mut mark = task_flags::ENTRY_SEEN;
    if FALLBACK {
        if state.flags & task_flags::ENTRY_SEEN != 0 {
            state.flags &= !task_flags::ENTRY_SEEN;
            return 0;
        }
        fallback::count(of::SYS_ENTER);
        mark = 0;
    }
    let regs: *mut u8 = ctx_regs(ctx);
    state.args = args_of(regs, key);
    if let Some(spec) = spec
        && spec.room != 0
    {
        note_room(state, spec);
    }
    state.key = key;
    state.flags = kept | task_flags::LIVE | mark;
    state.start = now();
    0
}

/// Keeps how much room the caller has for a socket address: at the return the length of the address is in its place. The
/// slot is that of the buffer of `recvfrom` or, of calls with fewer arguments, the last one.
#[inline(always)]
fn note_room(state: &mut TaskState, spec: &Spec) {
    let room = read_room(spec.read0, argument(state, spec.arg0), argument(state, spec.arg0 + 1));
    if spec.room == 1 {
        state.args[1] = room;
    } else {
        state.args[5] = room;
    }
}

/// `raw_syscalls:sys_exit` (regs, ret).
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| returned::<false>(&ctx))
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sys_exit")]
pub fn sys_exit_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption(|| returned::<true>(&ctx))
}

/// See [`entered`].
#[inline(always)]
fn returned<const FALLBACK: bool>(ctx: &BtfTracePointContext) -> i32 {
    let time = now();
    let task = Task::current();
    if is_left_out(task.pid()) {
        return 0;
    }
    let cgroup = task.cgroup();
    if config!(filter_cgroups) != 0 && !maps::allowed(cgroup) {
        return 0;
    }
    let regs: *mut u8 = ctx_regs(ctx);
    let ret: i64 = ctx.arg(1);
    let tree = config!(tree_pid);
    if config!(narrow) != 0 {
        let nr: u64 = load(regs, config!(regs_nr));
        // execve and sigreturn have changed the registers by now.
        if nr as i64 >= 0 {
            let spec = maps::spec(key_of(task, nr as u32));
            let bits = spec_bits(spec);
            if bits & spec_flags::EXEC == 0 && is_skipped(spec) {
                return if bits & spec_flags::FORK != 0 { clear_child(task) } else { 0 };
            }
        }
    }
    // SAFETY: the current task.
    let mut state = unsafe { storage::state(task.0, false) };
    if state.is_null() {
        if tree != 0 {
            return 0;
        }
        // Nothing is known of this task yet: it entered before the capture began and returns
        // before the scan has reached it, or ran while the scan went by.
        let nr: u64 = load(regs, config!(regs_nr));
        let key = key_of(task, nr as u32);
        if (nr as i64) < 0 || (config!(narrow) != 0 && is_skipped(maps::spec(key))) {
            return 0;
        }
        // SAFETY: the current task.
        state = unsafe { storage::state(task.0, true) };
        if state.is_null() {
            maps::count_loss(Kind::Syscall as u8, stage::STORAGE, cgroup);
            return 0;
        }
        // SAFETY: not null; see sys_enter.
        unsafe {
            (*state).key = key;
            (*state).args = args_of(regs, key);
            (*state).flags = task_flags::START_UNKNOWN;
        }
    }
    // SAFETY: not null; see sys_enter.
    let state = unsafe { &mut *state };
    let known = state.flags;
    if known & task_flags::EXCLUDED != 0 {
        return 0;
    }
    if tree != 0 && known & task_flags::TREE == 0 && known & task_flags::LIVE == 0 {
        return 0;
    }
    let mut mark = task_flags::RETURN_SEEN;
    if FALLBACK {
        if known & task_flags::RETURN_SEEN != 0 {
            state.flags = known & !task_flags::RETURN_SEEN;
            return 0;
        }
        fallback::count(of::SYS_EXIT);
        mark = 0;
    }
    state.flags = known & (task_flags::TREE | task_flags::PARENT) | mark;
    let mut record_flags = 0;
    if known & task_flags::START_UNKNOWN != 0 {
        record_flags = flags::START_UNKNOWN;
        state.start = time;
    } else if known & task_flags::LIVE == 0 {
        let nr: u64 = load(regs, config!(regs_nr));
        let key = key_of(task, nr as u32);
        let spec = maps::spec(key);
        let moved = known & task_flags::MOVED != 0;
        if known & task_flags::CHILD != 0 && (!moved || spec_bits(spec) & spec_flags::FORK != 0) {
            return 0;
        }
        if config!(narrow) != 0 && is_skipped(spec) {
            return 0;
        }
        state.key = key;
        state.args = args_of(regs, key);
        state.start = time;
        // Seen before, in no call, and yet it returns: seccomp answered in its place, or it was killed while a tracer
        // looked at its entry, so that the kernel skipped the call.
        record_flags = match () {
            () if moved => flags::START_UNKNOWN,
            () if ret == -ENOSYS && task.is_dying() => flags::UNFINISHED | flags::KILLED,
            () if may_have_been_skipped(task) => flags::START_UNKNOWN,
            () => flags::SECCOMP,
        };
    }
    if (-ERESTART_LAST..=-ERESTART_FIRST).contains(&ret) && task.is_dying() {
        // It was woken to die: the result reaches no program.
        record_flags |= flags::UNFINISHED | flags::KILLED;
    }
    if config!(net) != 0 && ret >= 0 && spec_bits(maps::spec(state.key)) & spec_flags::ACCEPT != 0 {
        crate::net::accepted(task, ret, cgroup);
    }
    let parent = task.parent().pid();
    if known >> task_flags::PARENT_SHIFT != parent {
        report_parent(task, state, parent, time, cgroup);
    }
    emit(task, state, ret, time, record_flags, cgroup);
    0
}

/// Reports that a thread's process has another parent than was reported last. Without room in the ring buffer, its next call
/// tries again.
#[inline(never)]
fn report_parent(task: Task, state: &mut TaskState, parent: u32, time: u64, cgroup: u64) -> i32 {
    let Some(slot) = maps::try_reserve::<Parent>(&LIFECYCLE) else { return 0 };
    // Before the record of the call.
    let head = task.header(Kind::Fork as u8, Parent::CLASS, 0, time.wrapping_sub(1), cgroup);
    // SAFETY: reserved for this type.
    unsafe {
        let record = slot.as_ptr();
        (&raw mut (*record).head).write(head);
        (&raw mut (*record).ppid).write(parent);
        (&raw mut (*record).reserved).write(0);
        task.parent().leader().comm(&raw mut (*record).comm);
    }
    slot.submit();
    state.flags = state.flags & !task_flags::PARENT | parent << task_flags::PARENT_SHIFT;
    0
}

/// Whether there was an entry to see, so that the kernel has skipped both programs: where it does that, and seccomp does not
/// look at the task's calls.
#[inline(always)]
fn may_have_been_skipped(task: Task) -> bool {
    config!(fallbacks) != 0
        && (!has(config!(offsets.task_seccomp)) || load::<u32>(task.0, config!(offsets.task_seccomp)) == 0)
}

/// A child's first return is not the return of a call, whether its parent's call is wanted or not.
#[inline(always)]
fn clear_child(task: Task) -> i32 {
    // SAFETY: the current task.
    let state = unsafe { storage::state(task.0, false) };
    if !state.is_null() {
        // SAFETY: not null; see sys_enter.
        unsafe { (*state).flags &= !task_flags::CHILD };
    }
    0
}

#[inline(always)]
fn ctx_regs(ctx: &BtfTracePointContext) -> *mut u8 {
    // SAFETY: the first argument of both hooks is a `struct pt_regs *`.
    unsafe { *ctx.as_ptr().cast::<*mut u8>() }
}
