//! The hooks: every tracing program of the object, what it is needed for, and what is missing without it.

use agent_ebpf::kinds::Kind;

use super::Selection;

/// In which order hooks are attached, and in the other order taken out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Rare events that name what others point to: there first and longest.
    Lifecycle,
    /// What may come by the million, beside syscalls.
    Flood,
    /// System calls: the entry before the return, so that a return without an entry is one of a call that was
    /// waiting, or answered by seccomp, and never one whose entry could not be seen yet.
    Syscall,
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
    /// Whether only the legacy object has it.
    pub is_legacy: bool,
}

const fn always(name: &'static str, lost: Kind, without: &'static str) -> Hook {
    Hook {
        name,
        tracepoint: name,
        group: Group::Lifecycle,
        lost: Some(lost),
        needed_for: &[],
        without,
        is_legacy: false,
    }
}

/// The attachment of these is in the order of the table, so that at the end the issue goes first, then the completion:
/// what is known to be under way then stands still, and at the start no completion is missed of what was seen to begin.
/// A completion that the kernel skips is noticed, with its cgroup, at the next issue of a request at that address, or at
/// the end.
const fn block(name: &'static str, without: &'static str) -> Hook {
    flood(name, None, &[Kind::Block], without)
}

const fn flood(
    name: &'static str,
    lost: Option<Kind>,
    needed_for: &'static [Kind],
    without: &'static str,
) -> Hook {
    Hook { name, tracepoint: name, group: Group::Flood, lost, needed_for, without, is_legacy: false }
}

const fn syscall(name: &'static str, without: &'static str) -> Hook {
    Hook { group: Group::Syscall, ..flood(name, Some(Kind::Syscall), &[Kind::Syscall], without) }
}

/// All of them.
pub const HOOKS: &[Hook] = &[
    always("sched_process_fork", Kind::Fork, "who started whom"),
    always("sched_process_exec", Kind::Exec, "programs and their arguments"),
    always("sched_process_exit", Kind::Exit, "how processes end"),
    Hook {
        lost: None,
        is_legacy: true,
        ..always("sched_process_free", Kind::Exit, "an end to what is known of a thread")
    },
    always("task_rename", Kind::Rename, "names of threads"),
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
    flood("inet_sock_set_state", Some(Kind::Net), &[Kind::Net], "TCP connections"),
    // After the one that it stands in for.
    Hook {
        tracepoint: "inet_sock_set_state",
        ..flood(
            "inet_sock_set_state_nested",
            None,
            &[Kind::Net],
            "TCP connections that change at the same time",
        )
    },
    flood("signal_generate", Some(Kind::Signal), &[Kind::Signal], "who sent which signal"),
    flood("mark_victim", Some(Kind::Oom), &[Kind::Oom], "who was killed for memory"),
    flood("sched_wakeup", None, &[Kind::Switch], "how long threads wait for a CPU"),
    flood("sched_wakeup_new", None, &[Kind::Switch], "how long new threads wait for a CPU"),
    flood("sched_switch", Some(Kind::Switch), &[Kind::Switch], "who has a CPU, and who waits for what"),
    flood("sched_waking", None, &[Kind::Stall], "who wakes a stalled thread"),
    syscall("sys_enter", "durations and arguments of syscalls"),
    syscall("sys_exit", "syscalls"),
];

/// The hooks that these kinds need, in the order of attachment; `legacy` if they are the legacy object's.
pub fn needed(kinds: &[Kind], selection: &Selection, legacy: bool) -> Vec<&'static Hook> {
    let wanted =
        |hook: &&Hook| hook.needed_for.is_empty() || hook.needed_for.iter().any(|kind| kinds.contains(kind));
    let syscalls = *selection != Selection::None;
    let mut hooks: Vec<&Hook> = HOOKS
        .iter()
        .filter(wanted)
        .filter(|hook| syscalls || hook.group != Group::Syscall)
        .filter(|hook| legacy || !hook.is_legacy)
        .collect();
    hooks.sort_by_key(|hook| hook.group);
    hooks
}

/// The hook of this name.
pub fn find(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}
