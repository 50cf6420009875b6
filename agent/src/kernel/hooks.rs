//! The hooks: every tracing program of the object, what it is needed for, and what is missing without it.

use agent_ebpf::records::fallback as of;
use events::Kind;

use super::settings::Selection;

/// In which order hooks are attached, and in the other order taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Rare events that name what others point to: there first and longest.
    Lifecycle,
    /// What may come by the million, beside syscalls.
    Event,
    /// System calls: the entry before the return, so that a return without an entry is one of a call that was
    /// waiting, or answered by seccomp, and never one whose entry could not be seen yet.
    Syscall,
}

/// Which kernels have a program attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// Every one.
    All,
    /// Those that need the legacy object, which alone has it.
    Legacy,
    /// Those that take the CPU away in the middle of a program, see [`super::preemption`].
    Preemptible,
}

/// A hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The program's name.
    pub name: &'static str,
    /// The tracepoint's.
    pub tracepoint: &'static str,
    /// Its place in the order.
    pub group: Group,
    /// The kind of event that is lost when the kernel skips a run of the program as a recursion; `None` if a
    /// skipped run only makes others poorer.
    pub lost: Option<Kind>,
    /// Attached if one of these kinds is wanted; empty: always.
    pub needed_for: &'static [Kind],
    /// What is missing where the kernel lacks the tracepoint.
    pub without: &'static str,
    /// Where it is attached.
    pub kernels: Kernels,
    /// The program that stands in for it where the kernel skips it, and its place among those.
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

/// A program that does the work of another one on the same hook if the kernel has skipped that. It is attached after it,
/// and taken out before it.
const fn fallback(name: &'static str, first: Hook) -> Hook {
    Hook { name, lost: None, kernels: Kernels::Preemptible, fallback: None, ..first }
}

const FORK: Hook = Hook {
    fallback: Some(("sched_process_fork_nested", of::FORK)),
    ..always("sched_process_fork", Kind::Fork, "who started whom")
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

/// The attachment of these is in the order of the table, so that at the end the issue goes first, then the completion:
/// what is known to be under way then stands still, and at the start no completion is missed of what was seen to begin.
/// A completion that the kernel skips is noticed, with its cgroup, at the next issue of a request at that address, or at
/// the end.
const fn block(name: &'static str, without: &'static str) -> Hook {
    event(name, None, &[Kind::Block], without)
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

/// All of them.
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
        ..always("sched_process_free", Kind::Exit, "an end to what is known of a thread")
    },
    RENAME,
    fallback("task_rename_nested", RENAME),
    always("cgroup_mkdir", Kind::CgroupMkdir, "containers that start during a capture"),
    always("cgroup_rmdir", Kind::CgroupRmdir, "containers that end during a capture"),
    always("cgroup_attach_task", Kind::CgroupAttach, "processes that move into a container"),
    block("block_bio_complete", "which bios of bio-based devices are still under way"),
    block("block_bio_queue", "who submitted a block request, and when"),
    block("block_bio_remap", "the devices that a block request came through"),
    block("block_split", "who submitted the first part of a large block request"),
    block("block_rq_complete", "block requests"),
    block("block_rq_requeue", "how often a block request was issued"),
    block("block_rq_issue", "how long a block request waited, and the device took"),
    event("inet_sock_set_state", Some(Kind::Net), &[Kind::Net], "TCP connections"),
    // After the one that it stands in for.
    Hook {
        tracepoint: "inet_sock_set_state",
        ..event(
            "inet_sock_set_state_nested",
            None,
            &[Kind::Net],
            "TCP connections that change at the same time",
        )
    },
    event("signal_generate", Some(Kind::Signal), &[Kind::Signal], "who sent which signal"),
    event("mark_victim", Some(Kind::Oom), &[Kind::Oom], "who was killed for memory"),
    event("sched_wakeup", None, &[Kind::Switch], "how long threads wait for a CPU"),
    event("sched_wakeup_new", None, &[Kind::Switch], "how long new threads wait for a CPU"),
    event("sched_switch", Some(Kind::Switch), &[Kind::Switch], "who has a CPU, and who waits for what"),
    event("sched_waking", None, &[Kind::Stall], "who wakes a stalled thread"),
    SYS_ENTER,
    fallback("sys_enter_nested", SYS_ENTER),
    SYS_EXIT,
    fallback("sys_exit_nested", SYS_EXIT),
];

/// The hooks that these kinds need, in the order of attachment, on a kernel of this sort.
pub fn needed(kinds: &[Kind], selection: &Selection, kernel: Kernels) -> Vec<&'static Hook> {
    let wanted =
        |hook: &&Hook| hook.needed_for.is_empty() || hook.needed_for.iter().any(|kind| kinds.contains(kind));
    let syscalls = *selection != Selection::None;
    let mut hooks: Vec<&Hook> = HOOKS
        .iter()
        .filter(wanted)
        .filter(|hook| syscalls || hook.group != Group::Syscall)
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
