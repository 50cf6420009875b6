//! The table of hooks: every tracing program of the object, what it is needed for, and what is missing without it.

use agent_ebpf::records::fallback as of;
use events::{Kind, STALLS};

use super::settings::SyscallSelection;

/// The order in which hooks are attached; they are detached in reverse order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Rare events that describe the processes and cgroups of all others: attached first, detached last.
    Lifecycle,
    /// Frequent events other than system calls.
    Event,
    /// System calls: the entry before the return, so that a return without an entry belongs to a call that was in
    /// flight, or that seccomp answered, and never to one that entered before the entry hook was attached.
    Syscall,
}

/// The kernels on which a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// All kernels.
    All,
    /// Kernels that need the legacy object; no other object has the program.
    Legacy,
    /// Kernels that can preempt a program, see [`super::preemption`].
    Preemptible,
}

/// A program and the tracepoint that it is attached to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program's name.
    pub name: &'static str,
    /// The tracepoint's name.
    pub tracepoint: &'static str,
    /// When it is attached.
    pub group: Group,
    /// The kind of event that is lost when the kernel skips a run of the program as a recursion; `None` if only
    /// details of other events are lost.
    pub lost: Option<Kind>,
    /// Attached if one of these kinds is recorded; empty: always.
    pub needed_for: &'static [Kind],
    /// What is missing if the kernel lacks the tracepoint.
    pub without: &'static str,
    /// The kernels on which it is attached.
    pub kernels: Kernels,
    /// The fallback program that runs if the kernel skips this one, and the index of its counter.
    pub fallback: Option<(&'static str, usize)>,
}

const fn always(name: &'static str, lost: Kind, without: &'static str) -> Hook {
    Hook {
        name,
        tracepoint: name,
        group: Group::Lifecycle,
        lost: Some(lost),
        needed_for: &[],
        without,
        kernels: Kernels::All,
        fallback: None,
    }
}

/// A fallback program: on the same tracepoint as `first`, it does the work of that program if the kernel has skipped it.
/// It is attached after it and detached before it.
const fn fallback(name: &'static str, first: Hook) -> Hook {
    Hook { name, lost: None, kernels: Kernels::Preemptible, fallback: None, ..first }
}

const FORK: Hook = Hook {
    fallback: Some(("sched_process_fork_nested", of::FORK)),
    ..always("sched_process_fork", Kind::Fork, "parents of processes")
};
const EXEC: Hook = Hook {
    fallback: Some(("sched_process_exec_nested", of::EXEC)),
    ..always("sched_process_exec", Kind::Exec, "programs and their arguments")
};
const EXIT: Hook = Hook {
    fallback: Some(("sched_process_exit_nested", of::EXIT)),
    ..always("sched_process_exit", Kind::Exit, "how processes end")
};
const RENAME: Hook = Hook {
    fallback: Some(("task_rename_nested", of::RENAME)),
    ..always("task_rename", Kind::Rename, "names of threads")
};
const SYS_ENTER: Hook = Hook {
    fallback: Some(("sys_enter_nested", of::SYS_ENTER)),
    ..syscall("sys_enter", "durations and arguments of syscalls")
};
const SYS_EXIT: Hook =
    Hook { fallback: Some(("sys_exit_nested", of::SYS_EXIT)), ..syscall("sys_exit", "syscalls") };

/// A hook of block requests. They are attached in the order of the table, so that the completion of every request whose
/// issue was seen is seen, too. At the end, the issue hook is detached first, then the completion hook: the set of known
/// requests in flight then no longer changes. A completion that no program has seen is noticed, with its cgroup, at the next
/// issue of a request at the same address, or at the end, if the device was idle shortly before. The kernel's count of
/// skipped runs is no measure, as one program of the completion takes over from the other.
const fn block(name: &'static str, without: &'static str) -> Hook {
    event(name, None, &[Kind::Block], without)
}

/// A hook of requests of io_uring, as for those of blocks. A kernel has one or the other of those of submissions, see
/// [`super::uring`].
const fn uring(name: &'static str, without: &'static str) -> Hook {
    event(name, None, &[Kind::Uring], without)
}

const fn event(
    name: &'static str,
    lost: Option<Kind>,
    needed_for: &'static [Kind],
    without: &'static str,
) -> Hook {
    Hook {
        name,
        tracepoint: name,
        group: Group::Event,
        lost,
        needed_for,
        without,
        kernels: Kernels::All,
        fallback: None,
    }
}

const fn syscall(name: &'static str, without: &'static str) -> Hook {
    Hook { group: Group::Syscall, ..event(name, Some(Kind::Syscall), &[Kind::Syscall], without) }
}

/// The program that keeps the call of a thread that leaves the CPU, where the one of context switches does not.
const SWITCH_OF_CALLS: &str = "sched_switch_call";

/// All hooks.
pub const HOOKS: &[Hook] = &[
    FORK,
    fallback("sched_process_fork_nested", FORK),
    EXEC,
    fallback("sched_process_exec_nested", EXEC),
    EXIT,
    fallback("sched_process_exit_nested", EXIT),
    Hook {
        lost: None,
        kernels: Kernels::Legacy,
        ..always("sched_process_free", Kind::Exit, "when the kernel frees threads")
    },
    RENAME,
    fallback("task_rename_nested", RENAME),
    always("cgroup_mkdir", Kind::CgroupMkdir, "containers that start during a capture"),
    always("cgroup_rmdir", Kind::CgroupRmdir, "containers that end during a capture"),
    always("cgroup_attach_task", Kind::CgroupAttach, "processes that move into a container"),
    block("block_bio_complete", "completions of bios of bio-based devices"),
    block("block_bio_queue", "submitters and submission times of block requests"),
    block("block_bio_remap", "the devices that a block request passed through"),
    block("block_split", "submitters of the first parts of large block requests"),
    block("block_rq_complete", "block requests"),
    // Does the work of the hook before it if the kernel skips that one.
    Hook {
        tracepoint: "block_rq_complete",
        ..block("block_rq_complete_nested", "block requests that complete at the same time")
    },
    block("block_rq_requeue", "how often block requests were issued"),
    block("block_rq_issue", "waiting and device times of block requests"),
    event("inet_sock_set_state", Some(Kind::Net), &[Kind::Net], "TCP connections"),
    // Does the work of the hook before it if the kernel skips that one.
    Hook {
        tracepoint: "inet_sock_set_state",
        ..event(
            "inet_sock_set_state_nested",
            None,
            &[Kind::Net],
            "TCP connections that change at the same time",
        )
    },
    event("signal_generate", Some(Kind::Signal), &[Kind::Signal], "signals"),
    event("mark_victim", Some(Kind::Oom), &[Kind::Oom], "processes that the OOM killer killed"),
    uring("io_uring_complete", "requests of io_uring"),
    uring("io_uring_req_failed", "requests of io_uring in which something is wrong"),
    Hook { tracepoint: "io_uring_submit_sqe", ..uring("io_uring_submit", "requests of io_uring") },
    Hook { tracepoint: "io_uring_submit_req", ..uring("io_uring_submit", "requests of io_uring") },
    event("sched_wakeup", None, &[Kind::Switch], "how long threads wait for a CPU"),
    event("sched_wakeup_new", None, &[Kind::Switch], "how long new threads wait for a CPU"),
    event("sched_switch", Some(Kind::Switch), &[Kind::Switch], "context switches"),
    // Where switches are not recorded: the call of the thread that leaves the CPU is kept.
    Hook {
        tracepoint: "sched_switch",
        ..event(SWITCH_OF_CALLS, None, &[Kind::Syscall], "system calls that wait")
    },
    event("sched_waking", None, &STALLS, "wakers of stalled threads"),
    SYS_ENTER,
    fallback("sys_enter_nested", SYS_ENTER),
    SYS_EXIT,
    fallback("sys_exit_nested", SYS_EXIT),
];

/// The hooks that these kinds need on this kernel, in the order of attachment.
pub fn needed(kinds: &[Kind], selection: &SyscallSelection, kernel: Kernels) -> Vec<&'static Hook> {
    let wanted =
        |hook: &&Hook| hook.needed_for.is_empty() || hook.needed_for.iter().any(|kind| kinds.contains(kind));
    let syscalls = *selection != SyscallSelection::None;
    let mut hooks: Vec<&Hook> = HOOKS
        .iter()
        .filter(wanted)
        .filter(|hook| syscalls || hook.group != Group::Syscall && hook.name != SWITCH_OF_CALLS)
        .filter(|hook| hook.name != SWITCH_OF_CALLS || !kinds.contains(&Kind::Switch))
        .filter(|hook| hook.kernels == Kernels::All || hook.kernels == kernel)
        .collect();
    hooks.sort_by_key(|hook| hook.group);
    hooks
}

/// The hook of this name.
pub fn find(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}

#[cfg(test)]
mod tests;
