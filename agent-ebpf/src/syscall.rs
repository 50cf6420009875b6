//! The two hooks that every syscall of the machine goes through. What happens here is paid by
//! everyone, so the order of the checks is by cost.
//!
//! A call that returns before its thread leaves the CPU takes the short way: its entry writes the record at the head of
//! the CPU's ring buffer, and its return completes it. Nothing is looked up by task. If the thread leaves the CPU in
//! between, [`leave`] puts the call into the task's storage, and its return goes the long way.

mod again;
mod alone;
mod arguments;
mod draft;
mod exec;
mod head;
mod identity;
mod messages;
mod parked;
mod record;

use agent_ebpf::records::cpu::{live, verdict, word};
use agent_ebpf::records::{fallback as of, task_flags};
use agent_ebpf::spec::{Spec, result, spec_flags};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use events::{Abi, syscall_key};

use crate::cpu_ring::ThisCpu;
use crate::fallback;
use crate::files;
use crate::maps::{self, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, load};
pub use arguments::{args_of, copy_args};
pub use parked::{Why, end_call, leave, settle};

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
    if bits != 0 && task.status() & bits != 0 {
        return syscall_key(Abi::Compat, 0) | (nr & 0xffff);
    }
    if nr & X32_BIT != 0 {
        return syscall_key(Abi::X32, 0) | (nr & 0xffff);
    }
    nr & 0xffff
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
#[inline(always)]
pub fn sys_enter(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(entered::<false>(&ctx))
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sys_enter")]
#[inline(always)]
pub fn sys_enter_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(entered::<true>(&ctx))
}

/// Where the first program ends early for a reason that lasts, its fallback program ends early too, whether the first one
/// was skipped or not.
/// From there on there is a mark, in a word that is written anyway.
#[inline(always)]
fn entered<const FALLBACK: bool>(ctx: &BtfTracePointContext) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    if FALLBACK && was_seen(cpu, task_flags::ENTRY_SEEN) {
        return 0;
    }
    if identity::is_due(cpu) {
        identity::find(ctx, cpu, Task::current(), true);
    }
    let known = cpu.verdict();
    if known == verdict::UNWANTED {
        return 0;
    }
    let task = identity::task(cpu);
    let nr: i64 = ctx.arg(1);
    let key = key_of(task, nr as u32);
    let spec = maps::spec(key);
    if config!(narrow) != 0 && is_skipped(spec) {
        cpu.set_live(live::SKIPPED);
        return 0;
    }
    if FALLBACK {
        fallback::count(of::SYS_ENTER);
    } else if config!(fallbacks) != 0 {
        cpu.set_marks(u64::from(task_flags::ENTRY_SEEN));
    }
    let regs: *mut u8 = ctx_regs(ctx);
    if known == verdict::WANTED
        && let Some(spec) = spec
        && spec.flags & spec_flags::EXEC == 0
        && let Some(draft) = cpu.room()
    {
        draft::write(cpu, task, draft, regs, key, spec);
        return 0;
    }
    parked::enter(cpu, regs, key, spec)
}

/// Whether the first program has handled what its fallback program now runs for. The mark goes.
#[inline(always)]
fn was_seen(cpu: ThisCpu, mark: u32) -> bool {
    let marks = cpu.marks();
    if marks & u64::from(mark) != 0 {
        cpu.set_marks(0);
        return true;
    }
    if cpu.verdict() != verdict::UNKNOWN {
        return false;
    }
    // The thread may have left the CPU between the two programs.
    // SAFETY: the current task.
    let state = unsafe { storage::state(Task::current().0, false) };
    if state.is_null() {
        return false;
    }
    // SAFETY: not null; only the task itself writes to it.
    let flags = unsafe { &mut (*state).flags };
    let seen = *flags & mark != 0;
    *flags &= !mark;
    seen
}

/// `raw_syscalls:sys_exit` (regs, ret).
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
pub fn sys_exit(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(returned::<false>(&ctx))
}

/// Its fallback program.
#[cfg(not(feature = "legacy"))]
#[btf_tracepoint(function = "sys_exit")]
#[inline(always)]
pub fn sys_exit_nested(ctx: BtfTracePointContext) -> i32 {
    without_preemption!(returned::<true>(&ctx))
}

/// See [`entered`].
#[inline(always)]
fn returned<const FALLBACK: bool>(ctx: &BtfTracePointContext) -> i32 {
    let Some(cpu) = ThisCpu::get() else { return 0 };
    if FALLBACK && was_seen(cpu, task_flags::RETURN_SEEN) {
        return 0;
    }
    let ret: i64 = ctx.arg(1);
    if config!(returns_only) != 0 {
        return alone::record::<FALLBACK>(ctx, cpu, ret);
    }
    let call = cpu.live();
    if call == live::READY || call == live::SHARED || call == live::FILLS {
        let time = cpu.now();
        let dur = time.wrapping_sub(cpu.start());
        if dur >> 32 == 0
            && !(-ERESTART_LAST..=-ERESTART_FIRST).contains(&ret)
            && (call != live::SHARED || again::append() == 0)
            && let Some(draft) = cpu.draft()
        {
            mark_return::<FALLBACK>(cpu);
            if call == live::FILLS {
                head::fill(ret);
            }
            let shape = cpu.shape();
            complete(cpu, ret, time);
            // SAFETY: indices of every record.
            unsafe {
                draft.set(word::TIME, time);
                draft.set(word::SHAPE, u64::from(shape) << 32 | dur);
                draft.set(word::RESULT, ret as u64);
            }
            cpu.set_live(live::NONE);
            cpu.publish(agent_ebpf::records::cpu::shape::words(shape));
            return 0;
        }
    }
    if cpu.live() == live::NONE && cpu.verdict() == verdict::UNWANTED && !identity::is_due(cpu) {
        return 0;
    }
    if cpu.live() == live::SKIPPED {
        cpu.set_live(live::NONE);
        return 0;
    }
    parked::leave_call::<FALLBACK>(ctx, cpu, ret)
}

/// Completes what the descriptors of a call stand for, in the record at the head.
#[inline(always)]
fn complete(cpu: ThisCpu, ret: i64, time: u64) {
    let result = cpu.result();
    if result == 0 {
        return;
    }
    if result & draft::CHECKED != 0 {
        draft::check_files();
    }
    let made = result & draft::MADE;
    if made == u64::from(result::PAIR) {
        if let Some(draft) = cpu.draft() {
            let files = head::files_of_pair(draft, ret, time);
            // SAFETY: an index of every record with strings.
            unsafe { draft.set_pair(word::FILES, files) };
        }
    } else if made == u64::from(result::MOUNTS) {
        files::note_mounts(ret);
    } else if made != 0 && ret >= 0 {
        draft::set_result(result, ret, time);
    }
}

#[inline(always)]
fn mark_return<const FALLBACK: bool>(cpu: ThisCpu) {
    if FALLBACK {
        fallback::count(of::SYS_EXIT);
    } else if config!(fallbacks) != 0 {
        cpu.set_marks(u64::from(task_flags::RETURN_SEEN));
    }
}

#[inline(always)]
fn ctx_regs(ctx: &BtfTracePointContext) -> *mut u8 {
    // SAFETY: the first argument of both hooks is a `struct pt_regs *`.
    unsafe { *ctx.as_ptr().cast::<*mut u8>() }
}
