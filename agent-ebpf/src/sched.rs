//! The scheduler: who leaves a CPU and why, who gets it, and how long each had waited.
//!
//! "Runnable" begins when the kernel puts a thread onto a run queue (`sched_wakeup`, `sched_wakeup_new`) or takes
//! the CPU from it, as in the second number of `/proc/PID/schedstat`. What an interrupt takes to reach the CPU that a
//! thread is woken on belongs to its sleep. All these hooks run under the lock of the run queue that the thread is
//! on, so its times are written by one CPU at a time.

use agent_ebpf::records::cpu::{SWITCH_WORDS, SwitchWords, shape, sort, word};
use agent_ebpf::records::sched::{SchedState, class};
use agent_ebpf::records::{stage, task_flags};
use agent_ebpf::spec::spec_flags;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use events::flags;
use events::{Kind, UNKNOWN, task_state};

use crate::cpu_ring::ThisCpu;
use crate::maps::{self, config};
use crate::storage;
use crate::syscall::{Why, is_in, leave};
use crate::task::{Task, has, is_left_out, load, now};

/// Bits of `task_struct.__state` (include/linux/sched.h), as they are since 4.14.
pub mod bits {
    /// `TASK_INTERRUPTIBLE`.
    pub const INTERRUPTIBLE: u32 = 0x1;
    /// `TASK_UNINTERRUPTIBLE`.
    pub const UNINTERRUPTIBLE: u32 = 0x2;
    /// `__TASK_STOPPED`.
    pub const STOPPED: u32 = 0x4;
    /// `__TASK_TRACED`.
    pub const TRACED: u32 = 0x8;
    /// `EXIT_DEAD`, in `exit_state`.
    pub const EXIT_DEAD: u32 = 0x10;
    /// `TASK_PARKED`.
    pub const PARKED: u32 = 0x40;
    /// `TASK_DEAD`.
    pub const DEAD: u32 = 0x80;
    /// `TASK_NOLOAD`.
    pub const NOLOAD: u32 = 0x400;
    /// `TASK_RTLOCK_WAIT`.
    pub const RTLOCK_WAIT: u32 = 0x1000;
    /// `TASK_FROZEN`.
    pub const FROZEN: u32 = 0x8000;
}

/// A side of a switch.
struct Party {
    /// Null if it is not wanted, or not known.
    state: *mut SchedState,
    cgroup: u64,
    wanted: bool,
    idle: bool,
}

impl Party {
    #[inline(always)]
    fn of(task: Task) -> Self {
        let pid = task.pid();
        let cgroup = task.cgroup();
        let mut party = Self { state: core::ptr::null_mut(), cgroup, wanted: false, idle: pid == 0 };
        if party.idle {
            party.state = maps::idle();
            return party;
        }
        let filtered = config!(filter_cgroups) != 0;
        if is_left_out(pid) || filtered && !maps::allowed(cgroup) {
            return party;
        }
        // SAFETY: an argument of a hook.
        let state = unsafe { storage::sched(task.0, false) };
        let mut known = 0;
        if !state.is_null() {
            // SAFETY: not null, and under the lock of the run queue.
            let state = unsafe { &mut *state };
            known = state.flags;
            if filtered && state.cgroup != cgroup {
                // It was moved here from a cgroup that is not recorded.
                state.cgroup = cgroup;
                state.in_at = 0;
                state.out_at = 0;
                state.runnable_at = 0;
            }
        }
        if known & task_flags::EXCLUDED != 0 || config!(tree_pid) != 0 && known & task_flags::TREE == 0 {
            return party;
        }
        party.wanted = true;
        party.state = state;
        party
    }
}

/// A length of time, and whether it had to be clamped.
#[inline(always)]
fn between(from: u64, to: u64, bits: &mut u32) -> u64 {
    if from == 0 {
        return UNKNOWN;
    }
    let length = to.wrapping_sub(from);
    if (length as i64) < 0 {
        *bits |= flags::CLAMPED;
        return 0;
    }
    length
}

/// The fourth argument, in a function of its own: where a kernel has none, nothing may be left of this.
#[inline(always)]
fn state_argument(ctx: &BtfTracePointContext) -> u32 {
    ctx.arg::<u64>(3) as u32
}

/// `task_struct.__state`.
#[inline(always)]
pub fn state_bits(task: Task) -> u32 {
    let offset = config!(offsets.task_state);
    if has(offset) { load(task.0, offset) } else { 0 }
}

/// Whether a thread is in a sleep that counts as `D`.
#[inline(always)]
pub fn is_uninterruptible(state: u32) -> bool {
    state & bits::UNINTERRUPTIBLE != 0 && state & bits::NOLOAD == 0
}

/// A [`task_state`], as the kernel's own `sched_switch` prints it.
#[inline(always)]
fn reported(task: Task, state: u32) -> u8 {
    if state == 0 {
        return task_state::RUNNABLE;
    }
    if state & bits::DEAD != 0 {
        let ended: u32 = load(task.0, config!(offsets.task_exit_state));
        return if ended & bits::EXIT_DEAD != 0 { task_state::DEAD } else { task_state::ZOMBIE };
    }
    if state & bits::UNINTERRUPTIBLE != 0 {
        return if state & bits::NOLOAD != 0 { task_state::IDLE } else { task_state::UNINTERRUPTIBLE };
    }
    if state & bits::INTERRUPTIBLE != 0 {
        return task_state::INTERRUPTIBLE;
    }
    if state & bits::STOPPED != 0 {
        return task_state::STOPPED;
    }
    if state & bits::TRACED != 0 {
        return task_state::TRACED;
    }
    if state & bits::PARKED != 0 {
        return task_state::PARKED;
    }
    if state & (bits::RTLOCK_WAIT | bits::FROZEN) != 0 {
        return task_state::UNINTERRUPTIBLE;
    }
    task_state::OTHER
}

/// Whether a thread that could go on gives the CPU up by itself. Any other one that leaves it without an argument
/// that says "preempted" is asked to on its way back to user space.
#[inline(always)]
fn yields(task: Task) -> bool {
    task.is_kthread() || is_in(task, spec_flags::YIELD)
}

/// Why the previous thread leaves the CPU.
#[inline(always)]
fn why(ctx: &BtfTracePointContext) -> Why {
    if ctx.arg::<u64>(0) as u8 == 0 { Why::Waits } else { Why::Other }
}

/// `sched:sched_switch` where switches are not recorded: only the call of the thread that leaves the CPU is kept.
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch_call(ctx: BtfTracePointContext) -> i32 {
    if let Some(cpu) = ThisCpu::get() {
        leave(cpu, Task(ctx.arg::<*mut u8>(1)), why(&ctx));
    }
    0
}

/// `sched:sched_switch` (preempt, previous, next[, state of the previous]).
#[btf_tracepoint(function = "sched_switch")]
pub fn sched_switch(ctx: BtfTracePointContext) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    let time = cpu.now();
    let prev = Task(ctx.arg::<*mut u8>(1));
    if config!(calls) != 0 {
        leave(cpu, prev, why(&ctx));
    }
    let next = Task(ctx.arg::<*mut u8>(2));
    let from = Party::of(prev);
    let to = Party::of(next);
    if !(from.wanted || to.wanted || from.idle || to.idle) {
        return 0;
    }
    let mut preempted = ctx.arg::<u64>(0) & 0xff != 0;
    let state = if preempted {
        task_state::RUNNABLE
    } else if config!(switch_has_state) != 0 {
        reported(prev, state_argument(&ctx))
    } else {
        reported(prev, state_bits(prev))
    };
    let mut bits = 0;
    let (mut ran, mut off_cpu, mut runnable) = (UNKNOWN, UNKNOWN, UNKNOWN);
    if !from.state.is_null() {
        // SAFETY: not null, and under the lock of the run queue.
        let known = unsafe { &mut *from.state };
        ran = between(known.in_at, time, &mut bits);
        known.in_at = 0;
        known.out_at = time;
        known.runnable_at = if state == task_state::RUNNABLE && !from.idle { time } else { 0 };
    }
    if !to.state.is_null() {
        // SAFETY: as above.
        let known = unsafe { &mut *to.state };
        off_cpu = between(known.out_at, time, &mut bits);
        runnable = between(known.runnable_at, time, &mut bits);
        known.in_at = time;
        known.out_at = 0;
        known.runnable_at = 0;
    }
    if !(from.wanted || to.wanted) {
        return 0;
    }
    if state == task_state::RUNNABLE && !preempted && !from.idle {
        preempted = !yields(prev);
    }
    let Some(draft) = cpu.first_room() else {
        let cgroup = if from.wanted { from.cgroup } else { to.cgroup };
        maps::count_loss(Kind::Switch as u8, stage::RING, cgroup);
        return 0;
    };
    // SAFETY: a draft has room for these words, and the agent does not read them before they are published.
    unsafe {
        draft.set(word::TIME, time);
        draft.set(word::SHAPE, u64::from(shape::of(sort::SWITCH, 0, SWITCH_WORDS)) << 32);
        draft.at(2).cast::<SwitchWords>().write(SwitchWords {
            ids: [prev.pid(), prev.tid()],
            cgroup: from.cgroup,
            ran,
            off_cpu,
            runnable,
            next_cgroup: to.cgroup,
            next_ids: [next.pid(), next.tid()],
            flags: bits,
            class: class(state, preempted),
        });
    }
    cpu.publish(SWITCH_WORDS);
    0
}

/// `sched:sched_wakeup` (task): it is on a run queue.
#[btf_tracepoint(function = "sched_wakeup")]
pub fn sched_wakeup(ctx: BtfTracePointContext) -> i32 {
    note_runnable(Task(ctx.arg::<*mut u8>(0)))
}

/// `sched:sched_wakeup_new` (task): the same of a new one.
#[btf_tracepoint(function = "sched_wakeup_new")]
pub fn sched_wakeup_new(ctx: BtfTracePointContext) -> i32 {
    note_runnable(Task(ctx.arg::<*mut u8>(0)))
}

#[inline(always)]
fn note_runnable(task: Task) -> i32 {
    if config!(filter_cgroups) != 0 && !maps::allowed(task.cgroup()) {
        return 0;
    }
    // SAFETY: an argument of a hook.
    let state = unsafe { storage::sched(task.0, false) };
    if !state.is_null() {
        // SAFETY: not null, and under the lock of the run queue.
        let state = unsafe { &mut *state };
        // One that has a CPU, or waits for one already, is woken for nothing.
        if state.in_at == 0 && state.runnable_at == 0 {
            state.runnable_at = now();
        }
    }
    0
}

/// A new task: it has been off the CPU since its fork.
#[inline(always)]
pub fn note_fork(child: Task, inherited: u32, time: u64) {
    if config!(sched) == 0 {
        return;
    }
    // SAFETY: an argument of the hook, which holds no lock of a run queue.
    let state = unsafe { storage::sched(child.0, true) };
    if !state.is_null() {
        // SAFETY: not null; the child does not run yet.
        let state = unsafe { &mut *state };
        state.flags = inherited;
        // Where switches are not seen nothing would end it, and each sleep would seem to begin here.
        if config!(switches) != 0 {
            state.out_at = time;
        }
        state.cgroup = child.cgroup();
    }
}

/// A task that belongs to the recorded command from here on.
#[inline(always)]
pub fn note_tree(task: Task) {
    if config!(sched) == 0 {
        return;
    }
    // SAFETY: an argument of a hook that holds no lock of a run queue.
    let state = unsafe { storage::sched(task.0, true) };
    if !state.is_null() {
        // SAFETY: not null; the task is the current one.
        unsafe { (*state).flags |= task_flags::TREE };
    }
}

/// A task that was there before.
#[inline(always)]
pub fn note_found(task: Task) {
    if config!(sched) == 0 {
        return;
    }
    // SAFETY: a task that the verifier trusts; the iterator holds no lock of a run queue.
    unsafe { storage::sched(task.0, true) };
}

/// Forgets the times of a task: they may not have been kept while it was in a cgroup that is not recorded.
#[inline(always)]
pub fn note_moved(task: Task) {
    if config!(sched) == 0 {
        return;
    }
    // SAFETY: an argument of a hook.
    let state = unsafe { storage::sched(task.0, false) };
    if !state.is_null() {
        // SAFETY: not null. No id of a cgroup is 0, so its times are forgotten at its next switch.
        unsafe { (*state).cgroup = 0 };
    }
}
