//! Calls of which only the return is seen: with one hook instead of two, and without durations.

use agent_ebpf::records::cpu::{live, shape, verdict, word};
use agent_ebpf::records::{stage, task_flags};
use agent_ebpf::spec::spec_flags;
use aya_ebpf::programs::BtfTracePointContext;
use events::Kind;

use super::{complete, ctx_regs, draft, head, identity, is_skipped, key_of, mark_return};
use crate::cpu_ring::ThisCpu;
use crate::maps::{self, config};
use crate::storage;
use crate::task::{Task, load};

/// Writes the record of a call that returns. Its arguments are those in its registers, which hold on x86-64, but not after an
/// exec or `rt_sigreturn`; strings are read now.
#[inline(always)]
pub fn record<const FALLBACK: bool>(ctx: &BtfTracePointContext, cpu: ThisCpu, ret: i64) -> i32 {
    if identity::is_due(cpu) {
        if is_new(Task::current(), ret) {
            return 0;
        }
        identity::find(ctx, cpu, Task::current(), true);
    }
    if cpu.verdict() != verdict::WANTED {
        if cpu.verdict() == verdict::PER_CALL && config!(tree_pid) == 0 {
            maps::count_loss(Kind::Syscall as u8, stage::RING, cpu.cgroup());
        }
        return 0;
    }
    let regs: *mut u8 = ctx_regs(ctx);
    let nr: u64 = load(regs, config!(regs_nr));
    if (nr as i64) < 0 {
        return 0;
    }
    let task = identity::task(cpu);
    let key = key_of(task, nr as u32);
    let Some(spec) = maps::spec(key) else { return 0 };
    if config!(narrow) != 0 && is_skipped(Some(spec)) {
        return 0;
    }
    mark_return::<FALLBACK>(cpu);
    if config!(net) != 0 && ret >= 0 && spec.flags & spec_flags::ACCEPT != 0 {
        crate::net::accepted(Task::current(), ret, cpu.cgroup());
    }
    let Some(draft) = cpu.room() else {
        maps::count_loss(Kind::Syscall as u8, stage::RING, cpu.cgroup());
        return 0;
    };
    draft::write(cpu, task, draft, regs, key, spec);
    cpu.set_live(live::NONE);
    if spec.flags & spec_flags::FILLS != 0 {
        head::fill(ret);
    }
    let own_shape = cpu.shape();
    complete(cpu, ret, cpu.start());
    // SAFETY: indices of every record.
    unsafe {
        draft.set(word::TIME, cpu.start());
        draft.set(word::SHAPE, u64::from(own_shape) << 32);
        draft.set(word::RESULT, ret as u64);
    }
    cpu.publish(shape::words(own_shape));
    0
}

/// Whether this is the first return of a new task, which is not the return of a call.
#[inline(always)]
fn is_new(task: Task, ret: i64) -> bool {
    if ret != 0 {
        return false;
    }
    // SAFETY: the current task.
    let state = unsafe { storage::state(task.0, false) };
    if state.is_null() {
        return false;
    }
    // SAFETY: not null; only the task itself writes to it.
    let flags = unsafe { &mut (*state).flags };
    let new = *flags & task_flags::CHILD != 0;
    *flags &= !task_flags::CHILD;
    new
}
