//! Which thread this CPU runs, and whether its calls are recorded: found out once for each time that a thread gets the CPU, and
//! again when something changes that it depends on.

use agent_ebpf::records::cpu::verdict;
use agent_ebpf::records::{Change, TaskState, task_flags};
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::warn;
use events::Kind;

use crate::cast::untrusted;
use crate::cpu_ring::ThisCpu;
use crate::details;
#[cfg(not(feature = "legacy"))]
use crate::maps::member;
use crate::maps::{self, LIFECYCLE, config};
use crate::storage;
use crate::task::{Task, is_left_out};

/// The thread that this CPU's verdict is about.
#[inline(always)]
pub fn task(cpu: ThisCpu) -> Task {
    // Where a number cannot be taken for a pointer, or not without a call of a helper at each load.
    if config!(casts) == 0 {
        return Task::current();
    }
    Task(untrusted!(cpu.task() as *mut u8, TASK))
}

/// The pointers of a thread that change with its cgroup, parent and user.
#[inline(always)]
fn pointers(task: Task) -> [u64; 3] {
    #[cfg(not(feature = "legacy"))]
    macro_rules! pointer {
        ($name:ident) => {
            member!(task.0 as u64, $name, "u64")
        };
    }
    #[cfg(feature = "legacy")]
    macro_rules! pointer {
        ($name:ident) => {
            task.pointer(config!(offsets.$name)) as u64
        };
    }
    [pointer!(task_cgroups), pointer!(task_parent), pointer!(task_cred)]
}

/// Whether [`find`] has to be called.
#[inline(always)]
pub fn is_due(cpu: ThisCpu) -> bool {
    let known = cpu.verdict();
    if known == verdict::UNKNOWN || known == verdict::PER_CALL || cpu.recheck() != 0 {
        return true;
    }
    let [cgroups, parent, cred] = pointers(task(cpu));
    let was = cpu.pointers();
    cgroups != was[0] || parent != was[1] || cred != was[2]
}

/// Decides whether the calls of the current thread are recorded, and if so, has the ring name it. `at_entry`: it is in no
/// call but the one that it enters.
#[inline(always)]
pub fn find(ctx: &BtfTracePointContext, cpu: ThisCpu, task: Task, at_entry: bool) {
    // First, so that a change during what follows is not missed.
    cpu.set_recheck(0);
    cpu.set_task(task.0 as u64);
    cpu.set_pointers(pointers(task));
    cpu.set_verdict(decide(ctx, cpu, task, at_entry));
}

#[inline(always)]
fn decide(ctx: &BtfTracePointContext, cpu: ThisCpu, task: Task, at_entry: bool) -> u32 {
    let pid = task.pid();
    if is_left_out(pid) {
        return verdict::UNWANTED;
    }
    let cgroup = task.cgroup();
    cpu.set_cgroup(cgroup);
    if config!(filter_cgroups) != 0 && !maps::allowed(cgroup) {
        return verdict::UNWANTED;
    }
    let tree = config!(tree_pid);
    // SAFETY: the current task.
    let state = unsafe { storage::state(task.0, tree == 0 || pid == tree) };
    if state.is_null() {
        // No loss yet: the kernel refuses while it frees the storage of another task on this CPU. The return tries again, and
        // records the call without its start, or counts it as lost.
        if tree == 0 {
            warn!(ctx, "no storage for task {}", task.tid());
            return verdict::PER_CALL;
        }
        return verdict::UNWANTED;
    }
    // SAFETY: not null, and only the task itself, here, and the fork of it write to it.
    let state = unsafe { &mut *state };
    let known = state.flags;
    if known & task_flags::EXCLUDED != 0 {
        return verdict::UNWANTED;
    }
    if tree != 0 && known & task_flags::TREE == 0 {
        // The recorded command belongs to its tree from its exec on.
        return if pid == tree { verdict::PER_CALL } else { verdict::UNWANTED };
    }
    if at_entry {
        state.flags = known & task_flags::KEPT;
        if state.start == 0 && config!(returns_only) == 0 {
            // Seen.
            state.start = 1;
        }
    }
    let parent = task.parent().pid();
    if known >> task_flags::PARENT_SHIFT != parent || details::have_changed(task, state) {
        report_change(task, state, parent, cpu.now(), cgroup);
    }
    let ids = u64::from(pid) | u64::from(task.tid()) << 32;
    if cpu.write_identity(cgroup, ids, u64::from(task.uid()), || cpu.now()) {
        verdict::WANTED
    } else {
        verdict::PER_CALL
    }
}

/// Reports that a thread has another parent or other details than were reported last. Without room in the ring buffer, that is
/// tried again when the thread gets the CPU next.
#[inline(never)]
fn report_change(task: Task, state: &mut TaskState, parent: u32, time: u64, cgroup: u64) -> i32 {
    let Some(slot) = maps::try_reserve::<Change>(&LIFECYCLE) else { return 0 };
    let head = task.header(Kind::Fork as u8, Change::CLASS, 0, time.wrapping_sub(1), cgroup);
    details::note_reported(task, state);
    // SAFETY: reserved for this type.
    unsafe {
        let record = slot.as_ptr();
        (&raw mut (*record).head).write(head);
        (&raw mut (*record).ppid).write(parent);
        (&raw mut (*record).reserved).write(0);
        task.parent().leader().comm(&raw mut (*record).comm);
        details::write(task, &raw mut (*record).details);
    }
    slot.submit();
    state.flags = state.flags & !task_flags::PARENT | parent << task_flags::PARENT_SHIFT;
    0
}
