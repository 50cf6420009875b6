//! Calls that are kept in the storage of their task: from the moment that its thread leaves the CPU, or from the entry on if
//! the short way is not open. Their return takes the long way.

use agent_ebpf::records::cpu::{live, shape, sort, verdict, word};
use agent_ebpf::records::{TaskState, stage, task_flags};
use agent_ebpf::spec::{Spec, spec_flags};
use aya_ebpf::programs::BtfTracePointContext;
use events::{Kind, flags};

use super::arguments::argument;
use super::draft::CHECKED;
use super::record::{Return, emit};
use super::{
    ENOSYS, ERESTART_FIRST, ERESTART_LAST, again, args_of, ctx_regs, exec, identity, is_skipped, key_of,
    mark_return, spec_bits,
};
use crate::cpu_ring::ThisCpu;
use crate::files;
use crate::maps::{self, config};
use crate::storage;
use crate::task::{Task, has, load};
use crate::user::read_room;

/// The marks of fallback programs.
const MARKS: u32 = task_flags::ENTRY_SEEN | task_flags::RETURN_SEEN;

/// The entry of a call on the long way.
#[inline(always)]
pub fn enter(cpu: ThisCpu, regs: *mut u8, key: u32, spec: Option<&Spec>) -> i32 {
    let task = Task::current();
    let pid = task.pid();
    let tree = config!(tree_pid);
    // SAFETY: the current task.
    let state = unsafe { storage::state(task.0, tree == 0 || pid == tree) };
    if state.is_null() {
        return 0;
    }
    // SAFETY: not null, and only the task itself, here, and the fork of it write to it.
    let state = unsafe { &mut *state };
    let kept = state.flags & task_flags::KEPT;
    let bits = spec_bits(spec);
    if tree != 0 && kept & task_flags::TREE == 0 && (pid != tree || bits & spec_flags::EXEC == 0) {
        return 0;
    }
    state.args = args_of(regs, key);
    if let Some(spec) = spec
        && spec.room != 0
    {
        note_room(state, spec);
    }
    state.key = key;
    state.files = [0; 2];
    state.open = [0; 2];
    if let Some(spec) = spec
        && spec.file_words != 0
    {
        // Whether a path is relative is not known yet: where it would start from does no harm.
        let call: &TaskState = state;
        let found = files::of_call(cpu, spec, [0; 2], |index| argument(call, index));
        state.files = found.ids;
        state.open = found.open;
    }
    state.start = cpu.now();
    let mut entered = task_flags::LIVE;
    if bits & spec_flags::EXEC != 0
        && let Some(spec) = spec
        && exec::write_given(task, state, spec, cpu.cgroup()) == 0
    {
        entered |= task_flags::SENT;
        if task.shares_memory() {
            entered |= task_flags::SHARED;
        }
    }
    state.flags = kept | entered;
    0
}

/// Keeps how much room the caller has for a socket address: at the return the length of the address is in its place. The
/// slot is that of the buffer of `recvfrom` or, of calls with fewer arguments, the last one.
#[inline(always)]
fn note_room(state: &mut TaskState, spec: &Spec) {
    let at = argument(state, spec.arg0);
    let room = read_room(spec.read0, at, argument(state, spec.arg0 + 1)).bytes;
    if spec.room == 1 {
        state.args[1] = room;
    } else {
        state.args[5] = room;
    }
}

/// The current thread leaves the CPU, or its program.
#[inline(always)]
pub fn leave(cpu: ThisCpu, task: Task, why: Why) {
    if cpu.verdict() == verdict::UNKNOWN {
        return;
    }
    cpu.set_verdict(verdict::UNKNOWN);
    settle(cpu, task, why);
}

/// Why a call is put into the storage of its task.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It waits: the kernel has its copy of the strings.
    Waits,
    /// It is interrupted, or over.
    Other,
}

/// Puts what is known of the current thread's call into its storage.
#[inline(always)]
pub fn settle(cpu: ThisCpu, task: Task, why: Why) {
    let call = cpu.live();
    let marks = if config!(fallbacks) != 0 { cpu.marks() as u32 } else { 0 };
    if call == live::NONE && marks == 0 {
        return;
    }
    cpu.set_live(live::NONE);
    // SAFETY: the current task, or the previous one of a switch.
    let state = unsafe { storage::state(task.0, false) };
    if state.is_null() {
        return;
    }
    // SAFETY: not null, and only the task itself writes to it, here.
    let state = unsafe { &mut *state };
    if config!(fallbacks) != 0 {
        cpu.set_marks(0);
        state.flags = state.flags & !MARKS | marks;
    }
    if matches!(call, live::READY | live::SHARED | live::FILLS | live::PARTIAL) {
        park(cpu, task, state, call);
        if why == Why::Waits && state.flags & task_flags::SHARED != 0 && again::read(cpu, state) == 0 {
            state.flags &= !task_flags::SHARED;
        }
    }
}

#[inline(always)]
fn park(cpu: ThisCpu, task: Task, state: &mut TaskState, call: u32) {
    let key = cpu.key();
    let call_shape = cpu.shape();
    state.key = key;
    (state.files, state.open) = match maps::spec(key) {
        Some(spec) if spec.file_words != 0 => {
            (cpu.files(), if cpu.result() & CHECKED == 0 { [0; 2] } else { cpu.open() })
        }
        _ => ([0; 2], [0; 2]),
    };
    state.start = cpu.start();
    state.flags = state.flags & (task_flags::KEPT | MARKS) | task_flags::LIVE;
    if shape::sort(call_shape) != sort::STRINGS {
        // They hold until the return, while not all of them are in the draft.
        let regs = task.registers();
        if !regs.is_null() {
            state.args = args_of(regs, key);
        }
        return;
    }
    let Some(draft) = cpu.draft() else { return };
    for (i, arg) in state.args.iter_mut().enumerate() {
        // SAFETY: indices of arguments.
        *arg = unsafe { draft.get(word::ARGS + i) };
    }
    let words = shape::words(call_shape);
    // What is only filled in has not been read.
    if call != live::PARTIAL && (call != live::FILLS || words > word::STRINGS as u32) {
        let entered = shape::of(sort::ENTERED, key, words);
        // SAFETY: indices of every record.
        unsafe {
            draft.set(word::TIME, cpu.start());
            draft.set(word::SHAPE, u64::from(entered) << 32);
        }
        cpu.publish(words);
        state.flags |= task_flags::SENT;
        if call == live::SHARED {
            state.flags |= task_flags::SHARED;
        }
    }
}

/// The return of a call on the long way.
#[inline(always)]
pub fn leave_call<const FALLBACK: bool>(ctx: &BtfTracePointContext, cpu: ThisCpu, ret: i64) -> i32 {
    let time = cpu.now();
    let task = Task::current();
    if cpu.live() != live::NONE {
        settle(cpu, task, Why::Other);
    }
    if identity::is_due(cpu) {
        identity::find(ctx, cpu, task, false);
    }
    if cpu.verdict() == verdict::UNWANTED {
        return 0;
    }
    let cgroup = cpu.cgroup();
    let regs: *mut u8 = ctx_regs(ctx);
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
            (*state).files = [0; 2];
            (*state).open = [0; 2];
            (*state).flags = task_flags::START_UNKNOWN;
        }
    }
    // SAFETY: not null; see sys_enter.
    let state = unsafe { &mut *state };
    let mut known = state.flags;
    if tree != 0 && known & (task_flags::TREE | task_flags::LIVE) == 0 {
        return 0;
    }
    mark_return::<FALLBACK>(cpu);
    state.flags = known & (task_flags::TREE | task_flags::PARENT);
    let mut bits = 0;
    if known & task_flags::START_UNKNOWN != 0 {
        bits = flags::START_UNKNOWN;
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
        state.files = [0; 2];
        state.open = [0; 2];
        state.start = time;
        known &= !(task_flags::SENT | task_flags::SHARED);
        // Seen before, in no call, and yet it returns: seccomp answered in its place, or it was killed while a tracer
        // looked at its entry, so that the kernel skipped the call.
        bits = match () {
            () if moved => flags::START_UNKNOWN,
            () if ret == -ENOSYS && task.is_dying() => flags::UNFINISHED | flags::KILLED,
            () if may_have_been_skipped(task) => flags::START_UNKNOWN,
            () => flags::SECCOMP,
        };
    }
    if (-ERESTART_LAST..=-ERESTART_FIRST).contains(&ret) && task.is_dying() {
        // It was woken to die: the result reaches no program.
        bits |= flags::UNFINISHED | flags::KILLED;
    }
    if config!(net) != 0 && ret >= 0 && spec_bits(maps::spec(state.key)) & spec_flags::ACCEPT != 0 {
        crate::net::accepted(task, ret, cgroup);
    }
    let sent = known & task_flags::SENT != 0;
    let shared = known & task_flags::SHARED != 0;
    let is_known = known & task_flags::LIVE != 0;
    emit::<true>(cpu, task, state, &Return { ret, time, bits, sent, shared, is_known });
    0
}

/// The call that a task ends in: `exit` itself, or one that it was killed in.
#[inline(always)]
pub fn end_call(cpu: ThisCpu, task: Task, state: &mut TaskState, time: u64, cgroup: u64) {
    let known = state.flags;
    if known & task_flags::EXCLUDED != 0 || known & (task_flags::LIVE | task_flags::START_UNKNOWN) == 0 {
        return;
    }
    let mut bits = 0;
    if known & task_flags::START_UNKNOWN != 0 {
        state.start = time;
        bits = flags::START_UNKNOWN;
    }
    let returns = match maps::spec(state.key) {
        Some(spec) => spec.flags & spec_flags::NO_RESULT == 0,
        None => true,
    };
    if returns {
        bits |= flags::UNFINISHED | flags::KILLED;
    }
    state.flags = 0;
    cpu.set_cgroup(cgroup);
    let end =
        Return { ret: 0, time, bits, sent: known & task_flags::SENT != 0, shared: false, is_known: true };
    emit::<false>(cpu, task, state, &end);
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
