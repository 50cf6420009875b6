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
#[derive(Clone, Copy, Debug)]
pub struct Hook {
    /// The program's name, which is the tracepoint's.
    pub name: &'static str,
    /// Its place in the order.
    pub group: Group,
    /// The kind of event that is lost when the kernel skips a run of the program as a recursion; `None` if a
    /// skipped run only makes others poorer.
    pub lost: Option<Kind>,
    /// Attached if one of these kinds is wanted; empty: always.
    pub needed_for: &'static [Kind],
    /// What is missing where the kernel lacks the tracepoint.
    pub without: &'static str,
}

const fn always(name: &'static str, lost: Kind, without: &'static str) -> Hook {
    Hook { name, group: Group::Lifecycle, lost: Some(lost), needed_for: &[], without }
}

/// The attachment of these is in the order of the table, so that at the end the issue goes first, then the completion:
/// what is known to be under way then stands still, and at the start no completion is missed of what was seen to begin.
/// A completion that the kernel skips is noticed, with its cgroup, at the next issue of a request at that address, or at
/// the end.
const fn block(name: &'static str, without: &'static str) -> Hook {
    Hook { name, group: Group::Flood, lost: None, needed_for: &[Kind::Block], without }
}

/// All of them.
pub const HOOKS: &[Hook] = &[
    always("sched_process_fork", Kind::Fork, "who started whom"),
    always("sched_process_exec", Kind::Exec, "programs and their arguments"),
    always("sched_process_exit", Kind::Exit, "how processes end"),
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
    Hook {
        name: "inet_sock_set_state",
        group: Group::Flood,
        lost: Some(Kind::Net),
        needed_for: &[Kind::Net],
        without: "TCP connections",
    },
    Hook {
        name: "signal_generate",
        group: Group::Flood,
        lost: Some(Kind::Signal),
        needed_for: &[Kind::Signal],
        without: "who sent which signal",
    },
    Hook {
        name: "mark_victim",
        group: Group::Flood,
        lost: Some(Kind::Oom),
        needed_for: &[Kind::Oom],
        without: "who was killed for memory",
    },
    Hook {
        name: "sched_wakeup",
        group: Group::Flood,
        lost: None,
        needed_for: &[Kind::Switch],
        without: "how long threads wait for a CPU",
    },
    Hook {
        name: "sched_wakeup_new",
        group: Group::Flood,
        lost: None,
        needed_for: &[Kind::Switch],
        without: "how long new threads wait for a CPU",
    },
    Hook {
        name: "sched_switch",
        group: Group::Flood,
        lost: Some(Kind::Switch),
        needed_for: &[Kind::Switch],
        without: "who has a CPU, and who waits for what",
    },
    Hook {
        name: "sched_waking",
        group: Group::Flood,
        lost: None,
        needed_for: &[Kind::Stall],
        without: "who wakes a stalled thread",
    },
    Hook {
        name: "sys_enter",
        group: Group::Syscall,
        lost: Some(Kind::Syscall),
        needed_for: &[Kind::Syscall],
        without: "durations and arguments of syscalls",
    },
    Hook {
        name: "sys_exit",
        group: Group::Syscall,
        lost: Some(Kind::Syscall),
        needed_for: &[Kind::Syscall],
        without: "syscalls",
    },
];

/// The hooks that these kinds need, in the order of attachment.
pub fn needed(kinds: &[Kind], selection: &Selection) -> Vec<&'static Hook> {
    let wanted =
        |hook: &&Hook| hook.needed_for.is_empty() || hook.needed_for.iter().any(|kind| kinds.contains(kind));
    let syscalls = *selection != Selection::None;
    let mut hooks: Vec<&Hook> =
        HOOKS.iter().filter(wanted).filter(|hook| syscalls || hook.group != Group::Syscall).collect();
    hooks.sort_by_key(|hook| hook.group);
    hooks
}

/// The hook of this name.
pub fn find(name: &str) -> Option<&'static Hook> {
    HOOKS.iter().find(|hook| hook.name == name)
}
