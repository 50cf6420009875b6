//! The two hooks that every syscall of the machine goes through. What happens here is paid by
//! everyone, so the order of the checks is by cost.

use agent_ebpf::records::{
    STR_SIZES, Syscall, SyscallArgs, SyscallStrs, TaskState, class, fallback as of, stage, task_flags,
};
use agent_ebpf::spec::{Spec, read, spec_flags};
use aya_ebpf::EbpfContext;
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::warn;
use events::flags;
use events::{Abi, Kind, syscall_key};

use crate::fallback;
use crate::maps::{self, EVENTS, config};
use crate::preempt_guard::without_preemption;
use crate::storage;
use crate::task::{Task, has, is_left_out, load, now};
use crate::user::{Got, read_path, read_string};

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
    let kept = state.flags & (task_flags::EXCLUDED | task_flags::TREE);
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
    state.key = key;
    state.flags = kept | task_flags::LIVE | mark;
    state.start = now();
    0
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
    state.flags = known & task_flags::TREE | mark;
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
    emit(task, state, ret, time, record_flags, cgroup);
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

/// Writes the record of a call that has returned.
#[inline(always)]
fn emit(task: Task, call: &TaskState, ret: i64, time: u64, bits: u32, cgroup: u64) {
    if let Some(spec) = maps::spec(call.key)
        && spec.class >= class::STR_SMALL
        // After an exec the strings are gone with the old memory: the agent takes the path from
        // the exec event.
        && (spec.flags & spec_flags::EXEC == 0 || ret != 0)
    {
        let fixed = Fixed::new(task, call, ret, time, bits, cgroup);
        emit_strings(call, &fixed, spec);
    } else {
        emit_plain(task, call, ret, time, bits, cgroup);
    }
}

/// Writes a record without strings: of a call that has none, or whose strings cannot be read.
#[inline(always)]
pub fn emit_plain(task: Task, call: &TaskState, ret: i64, time: u64, bits: u32, cgroup: u64) {
    let mut fixed = Fixed::new(task, call, ret, time, bits, cgroup);
    let mut size = class::ARGS6;
    if let Some(spec) = maps::spec(call.key) {
        size = spec.class;
        if spec.flags & spec_flags::NO_RESULT != 0 {
            fixed.bits |= flags::NO_RESULT;
        }
        if spec.read0 != read::NONE {
            fixed.bits |= flags::STR0_UNREAD;
        }
        if spec.read1 != read::NONE {
            fixed.bits |= flags::STR1_UNREAD;
        }
    }
    let kind = Kind::Syscall as u8;
    if size == class::ARGS0 {
        if let Some(slot) = maps::reserve::<Syscall>(&EVENTS, kind, cgroup) {
            fixed.write(slot.as_ptr(), class::ARGS0);
            slot.submit();
        }
    } else if size == class::ARGS3 {
        if let Some(slot) = maps::reserve::<SyscallArgs<3>>(&EVENTS, kind, cgroup) {
            // SAFETY: reserved for this type.
            let (head, args) =
                unsafe { (&raw mut (*slot.as_ptr()).call, (&raw mut (*slot.as_ptr()).args).cast()) };
            fixed.write(head, class::ARGS3);
            copy_args::<3>(args, call);
            slot.submit();
        }
    } else if let Some(slot) = maps::reserve::<SyscallArgs<6>>(&EVENTS, kind, cgroup) {
        // SAFETY: reserved for this type.
        let (head, args) =
            unsafe { (&raw mut (*slot.as_ptr()).call, (&raw mut (*slot.as_ptr()).args).cast()) };
        fixed.write(head, class::ARGS6);
        copy_args::<6>(args, call);
        slot.submit();
    }
}

/// Everything of a record but arguments and strings.
struct Fixed {
    task: Task,
    time: u64,
    cgroup: u64,
    dur: u64,
    ret: i64,
    key: u32,
    bits: u32,
}

impl Fixed {
    #[inline(always)]
    fn new(task: Task, call: &TaskState, ret: i64, time: u64, mut bits: u32, cgroup: u64) -> Self {
        let mut dur = time.wrapping_sub(call.start);
        if (dur as i64) < 0 {
            dur = 0;
            bits |= flags::CLAMPED;
        }
        Self { task, time, cgroup, dur, ret, key: call.key, bits }
    }

    #[inline(always)]
    fn write(&self, to: *mut Syscall, class: u8) {
        let head = self.task.header(Kind::Syscall as u8, class, self.bits, self.time, self.cgroup);
        // SAFETY: the fixed part of a reserved record.
        unsafe {
            to.write(Syscall { head, dur: self.dur, ret: self.ret, key: self.key, uid: self.task.uid() });
        }
    }
}

/// Word by word: a plain copy would become a loop over bytes.
#[inline(always)]
pub fn copy_args<const N: usize>(to: *mut u64, call: &TaskState) {
    for (i, arg) in call.args.iter().take(N).enumerate() {
        // SAFETY: the argument array of a reserved record has N words.
        unsafe { to.add(i).write_volatile(*arg) };
    }
}

/// Tries the smallest class first: nearly all paths fit.
#[inline(always)]
fn emit_strings(call: &TaskState, fixed: &Fixed, spec: &Spec) {
    if try_strings::<{ STR_SIZES[0] }>(call, fixed, spec, class::STR_SMALL)
        && try_strings::<{ STR_SIZES[1] }>(call, fixed, spec, class::STR_MEDIUM)
    {
        if spec.read1 == read::NONE {
            try_strings::<{ STR_SIZES[2] }>(call, fixed, spec, class::STR_LARGE);
        } else {
            try_strings::<{ STR_SIZES[3] }>(call, fixed, spec, class::STR_LARGE_TWO);
        }
    }
}

/// Whether a larger class is needed.
#[inline(always)]
fn try_strings<const N: usize>(call: &TaskState, fixed: &Fixed, spec: &Spec, class: u8) -> bool {
    let Some(slot) = maps::reserve::<SyscallStrs<N>>(&EVENTS, Kind::Syscall as u8, fixed.cgroup) else {
        return false;
    };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type.
    let bytes = unsafe { (&raw mut (*record).bytes).cast::<u8>() };
    let at = argument(call, spec.arg0);
    let (first, second) = if spec.read1 == read::NONE {
        let next = argument(call, spec.arg0 + 1);
        // SAFETY: N bytes.
        (unsafe { read_string(bytes, N as u32, spec.read0, at, next) }, Got { len: 0, bits: 0 })
    } else {
        // Two strings have half of the room each, and are never socket addresses.
        // SAFETY: N bytes in all.
        unsafe {
            let first = read_path(bytes, N as u32 / 2, at);
            (first, read_path(bytes.add(N / 2), N as u32 / 2, argument(call, spec.arg1)))
        }
    };
    if (first.bits | second.bits) & Got::CUT != 0 && class < class::STR_LARGE {
        slot.discard();
        return true;
    }
    let whole = Fixed { bits: fixed.bits | first.bits | (second.bits << 2), ..*fixed };
    // SAFETY: reserved for this type.
    unsafe {
        (&raw mut (*record).len).cast::<u32>().write(first.len);
        (&raw mut (*record).len).cast::<u32>().add(1).write(second.len);
        whole.write(&raw mut (*record).call, class);
        copy_args::<6>((&raw mut (*record).args).cast(), call);
    }
    slot.submit();
    false
}

/// An argument by an index that the verifier cannot know.
#[inline(always)]
fn argument(call: &TaskState, index: u8) -> u64 {
    // As a word of the whole state, of which the arguments are 1 to 6: so the mask alone shows
    // that it stays inside, whatever the compiler makes of it.
    let word = (usize::from(index) + 1) & 7;
    // SAFETY: the state is eight words, see below.
    unsafe { core::ptr::from_ref(call).cast::<u64>().add(word).read_volatile() }
}

const _: () = assert!(size_of::<TaskState>() == 8 * 8 && core::mem::offset_of!(TaskState, args) == 8);
