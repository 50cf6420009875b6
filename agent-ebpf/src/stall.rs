//! Threads in uninterruptible sleep for long: an iterator that the agent runs a few times in the limit, and the hook
//! that keeps who wakes one that was reported.

use core::ffi::c_void;

use agent_ebpf::records::sched::SchedState;
use agent_ebpf::records::stall::{BDI_NAME, STACK, StallBody, WAKER_STACK, Wake, what};
use agent_ebpf::records::task_flags;
use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{
    bpf_get_stack, bpf_get_task_stack, bpf_probe_read_kernel_str, bpf_seq_write,
};
use aya_ebpf::macros::btf_tracepoint;
use aya_ebpf::programs::BtfTracePointContext;
use events::NO_CALL;

use crate::iter::TaskContext;
use crate::maps::{self, STALL_SCRATCH, StallScratch, config};
use crate::sched::{is_uninterruptible, state_bits};
use crate::storage;
use crate::syscall::{args_of, copy_args, key_of};
use crate::task::{Task, has, is_left_out, load, now, probe};

/// A worker of a workqueue (`PF_WQ_WORKER`).
const PF_WQ_WORKER: u32 = 0x20;
/// The last doubling of the limit: more would overflow.
const LAST_DOUBLING: u32 = 20;

/// Writes a `StallHead` for every thread that is, or was, in a sleep longer than the limit, and a `StallBody` after
/// it when the sleep is to be reported: at the limit, and whenever it has doubled.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task")]
pub fn stall_iter(ctx: *mut c_void) -> i32 {
    let ctx = ctx.cast::<TaskContext>();
    // SAFETY: the context of an `iter/task` program.
    let (meta, task) = unsafe { ((*ctx).meta, (*ctx).task) };
    if task.is_null() {
        return 0;
    }
    let task = Task(task);
    let asleep = is_uninterruptible(state_bits(task)) && !task.on_cpu();
    // The state of a thread is a cache miss or two, so it is left alone if nothing can follow from it.
    if !asleep && !maps::any_stall_reported() {
        return 0;
    }
    // Made for one that sleeps: at its fork the kernel may have had no room for it.
    // SAFETY: a task that the verifier trusts; the iterator holds no lock of a run queue.
    let state = unsafe { storage::sched(task.0, asleep) };
    if state.is_null() {
        return 0;
    }
    // SAFETY: not null. Of what is used here, only `woken` and `out_at` have another writer.
    let state = unsafe { &mut *state };
    if !asleep && state.reports == 0 {
        return 0;
    }
    let Some(scratch) = STALL_SCRATCH.get_ptr_mut(0) else {
        return 0;
    };
    // SAFETY: a map value; see STALL_SCRATCH.
    let scratch = unsafe { &mut *scratch };
    let what = look(task, state, asleep, scratch);
    if what == 0 {
        return 0;
    }
    scratch.head.what = what;
    // SAFETY: the first member of `struct bpf_iter_meta` is the seq_file; whole map values.
    unsafe {
        let seq = (*meta).cast();
        bpf_seq_write(seq, (&raw const scratch.head).cast(), size_of_val(&scratch.head) as u32);
        if what == what::REPORT {
            bpf_seq_write(seq, (&raw const scratch.body).cast(), size_of_val(&scratch.body) as u32);
        }
    }
    0
}

/// One of [`what`], or 0 if there is nothing to report.
#[inline(always)]
fn look(task: Task, state: &mut SchedState, asleep: bool, scratch: &mut StallScratch) -> u32 {
    let pid = task.pid();
    if is_left_out(pid) || state.flags & task_flags::EXCLUDED != 0 {
        return 0;
    }
    let cgroup = task.cgroup();
    // What was reported is reported to its end, even if the thread moves to another cgroup.
    if state.reports == 0
        && (config!(filter_cgroups) != 0 && !maps::allowed(cgroup)
            || config!(tree_pid) != 0 && state.flags & task_flags::TREE == 0)
    {
        return 0;
    }
    let time = now();
    let count = load::<u64>(task.0, config!(offsets.task_nvcsw))
        .wrapping_add(load::<u64>(task.0, config!(offsets.task_nivcsw)));
    let same = asleep && state.sleep_since != 0 && state.sleep_count == count;
    scratch.head.pid = pid;
    scratch.head.tid = task.tid();
    scratch.head.uid = task.uid();
    scratch.head.start = task.start();
    scratch.head.cgroup = cgroup;
    scratch.head.time = time;
    scratch.head.since = state.sleep_since;
    if state.reports != 0 && (!same || state.woken != 0) {
        if state.woken != 0 {
            scratch.head.time = state.woken;
        }
        state.reports = 0;
        return what::WOKEN;
    }
    if !asleep || same && state.woken != 0 {
        // Woken, but it had no CPU yet.
        return 0;
    }
    if !same {
        state.sleep_count = count;
        state.woken = 0;
        // Without the hook of switches, a sleep begins when it is first seen.
        state.sleep_since = if state.out_at != 0 { state.out_at } else { time };
        scratch.head.since = state.sleep_since;
    }
    let reports = if state.reports < LAST_DOUBLING { state.reports } else { LAST_DOUBLING };
    let limit = (u64::from(config!(stall_ms)) * 1_000_000) << reports;
    if time.wrapping_sub(state.sleep_since) as i64 >= limit as i64 {
        state.reports += 1;
        maps::note_stall_reported();
        scratch.body.reports = state.reports;
        scratch.body.reserved = 0;
        describe(task, &mut scratch.body);
        return what::REPORT;
    }
    if state.reports != 0 { what::SLEEPS } else { 0 }
}

#[inline(always)]
fn describe(task: Task, body: &mut StallBody) {
    // SAFETY: the array has the length given.
    let len = unsafe { bpf_get_task_stack(task.0.cast(), (&raw mut body.stack).cast(), 8 * STACK as u32, 0) };
    body.depth = if len > 0 { len as u32 / 8 } else { 0 };
    body.call = NO_CALL;
    body.file = 0;
    body.files = [0; 2];
    body.work = 0;
    if task.is_kthread() {
        describe_worker(task, body);
        return;
    }
    describe_call(task, body);
    if body.call != NO_CALL {
        describe_file(task, body);
    }
}

#[inline(always)]
fn describe_call(task: Task, body: &mut StallBody) {
    // SAFETY: a task that the verifier trusts.
    let state = unsafe { storage::state(task.0, false) };
    if !state.is_null() {
        // SAFETY: not null; the task sleeps.
        let state = unsafe { &*state };
        if state.flags & (task_flags::LIVE | task_flags::START_UNKNOWN) != 0 {
            body.call = state.key;
            copy_args::<6>(body.args.as_mut_ptr(), state);
            body.files = state.files;
            return;
        }
    }
    // The call was not noted: its registers hold as long as it sleeps.
    let regs = task.registers();
    if regs.is_null() {
        return;
    }
    let nr: u64 = load(regs, config!(regs_nr));
    if (nr as i64) < 0 {
        return;
    }
    body.call = key_of(task, nr as u32);
    for (i, arg) in args_of(regs, body.call).into_iter().enumerate() {
        // SAFETY: six words, and six arguments.
        unsafe { body.args.as_mut_ptr().add(i).write_volatile(arg) };
    }
}

/// The file behind the first argument, should it be a file descriptor: the agent knows whether it is.
#[inline(always)]
fn describe_file(task: Task, body: &mut StallBody) {
    if !has(config!(offsets.task_files)) || !has(config!(offsets.file_inode)) {
        return;
    }
    let files: *mut u8 = probe(task.0, config!(offsets.task_files));
    if files.is_null() {
        return;
    }
    let table: *mut u8 = probe(files, config!(offsets.files_fdt));
    let max: u32 = probe(table, config!(offsets.fdt_max));
    let fd = body.args[0] as u32;
    if fd >= max {
        return;
    }
    let array: *mut u8 = probe(table, config!(offsets.fdt_fd));
    let file: *mut u8 = probe(array.wrapping_add(fd as usize * 8), 0);
    if file.is_null() {
        return;
    }
    let inode: *mut u8 = probe(file, config!(offsets.file_inode));
    if inode.is_null() {
        return;
    }
    let sb: *mut u8 = probe(inode, config!(offsets.inode_sb));
    body.mode = u32::from(probe::<u16>(inode, config!(offsets.inode_mode)));
    body.rdev = probe(inode, config!(offsets.inode_rdev));
    body.dev = probe(sb, config!(offsets.sb_dev));
    body.file = 1;
}

/// What a worker does, and for which device if that is writeback.
#[inline(always)]
fn describe_worker(task: Task, body: &mut StallBody) {
    if load::<u32>(task.0, config!(offsets.task_flags)) & PF_WQ_WORKER == 0
        || !has(config!(offsets.kthread_data))
        || !has(config!(offsets.worker_func))
    {
        return;
    }
    let kthread: *mut u8 = if has(config!(offsets.task_worker_private)) {
        probe(task.0, config!(offsets.task_worker_private))
    } else {
        probe(task.0, config!(offsets.task_set_child_tid))
    };
    let worker: *mut u8 = probe(kthread, config!(offsets.kthread_data));
    body.work = probe(worker, config!(offsets.worker_func));
    // SAFETY: two words.
    unsafe { (&raw mut body.bdi).cast::<[u64; BDI_NAME / 8]>().write_volatile([0; BDI_NAME / 8]) };
    if body.work == 0 || !has(config!(offsets.wb_work)) || !has(config!(offsets.bdi_name)) {
        return;
    }
    let work: *mut u8 = probe(worker, config!(offsets.worker_work));
    let writeback = work.wrapping_sub(config!(offsets.wb_work) as usize);
    let bdi: *mut u8 = probe(writeback, config!(offsets.wb_bdi));
    let name = bdi.wrapping_add(config!(offsets.bdi_name) as usize);
    // SAFETY: the array has the length given; a bad source is an error of the helper.
    unsafe { bpf_probe_read_kernel_str((&raw mut body.bdi).cast(), BDI_NAME as u32, name.cast()) };
}

/// `sched:sched_waking` (task): by whom, if its stall was reported. Here, not at `sched_wakeup`, since that one may run on
/// the CPU that it is woken on, where the current task is unrelated.
#[btf_tracepoint(function = "sched_waking")]
pub fn sched_waking(ctx: BtfTracePointContext) -> i32 {
    let task = Task(ctx.arg::<*mut u8>(0));
    if !is_uninterruptible(state_bits(task)) {
        return 0;
    }
    // SAFETY: an argument of a hook.
    let state = unsafe { storage::sched(task.0, false) };
    if state.is_null() {
        return 0;
    }
    // SAFETY: not null; under the lock that orders the wakeups of a thread.
    let state = unsafe { &mut *state };
    if state.reports == 0 || state.woken != 0 {
        return 0;
    }
    state.woken = now();
    note_wake(&ctx, task, state.woken)
}

#[inline(always)]
fn note_wake(ctx: &BtfTracePointContext, task: Task, time: u64) -> i32 {
    let waker = Task::current();
    let mut wake = Wake {
        time,
        start: task.start(),
        cgroup: waker.cgroup(),
        pid: waker.pid(),
        tid: waker.tid(),
        dying: u32::from(task.is_dying()),
        reserved: 0,
        stack: [0; WAKER_STACK],
    };
    // SAFETY: the array has the length given.
    unsafe { bpf_get_stack(ctx.as_ptr(), (&raw mut wake.stack).cast(), 8 * WAKER_STACK as u32, 0) };
    maps::note_wake(task.tid(), &wake);
    0
}
