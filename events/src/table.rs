//! The rows of the table of kinds.

use super::{Kind, KindDecl, Ring, Ty, col, samples};

impl Kind {
    /// The row of the table. No wildcard arm: the compiler names a forgotten kind.
    pub const fn decl(self) -> KindDecl {
        match self {
            Kind::Syscall => KindDecl {
                kind: self,
                name: "syscall",
                ring: Ring::Flood,
                columns: const {
                    &[
                        col("dur", Ty::Duration, "from entry to return"),
                        col("nr", Ty::Syscall, "which call"),
                        col("ret", Ty::SyscallResult, "its result"),
                        col("args", Ty::SyscallArgs, "its arguments"),
                        col("strs", Ty::SyscallStrings, "its paths and socket addresses"),
                    ]
                },
                doc: "a system call, at its return (raw_syscalls:sys_enter and sys_exit)",
            },
            Kind::Fork => KindDecl {
                kind: self,
                name: "fork",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("child_pid", Ty::Pid, "the process id of the child"),
                        col("child_tid", Ty::Pid, "the thread id of the child"),
                        col("thread", Ty::Bool, "whether the child is a thread of the same process"),
                        col("child_cgroup", Ty::Cgroup, "the cgroup the child starts in"),
                    ]
                },
                doc: "a new process or thread; its task is the parent (sched:sched_process_fork)",
            },
            Kind::Exec => KindDecl {
                kind: self,
                name: "exec",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("path", Ty::Path, "the file that was executed, as given"),
                        col("args", Ty::Args, "the arguments"),
                        col(
                            "old_tid",
                            Ty::Pid,
                            "the thread id before, another one if a thread other than the leader executes",
                        ),
                        col("old_comm", Ty::Text, "the name before"),
                    ]
                },
                doc: "a successful execve or execveat (sched:sched_process_exec)",
            },
            Kind::Exit => KindDecl {
                kind: self,
                name: "exit",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("status", Ty::I64, "the exit status, 0 to 255"),
                        col("signal", Ty::Signal, "the signal that killed it"),
                        col("core", Ty::Bool, "whether memory was dumped"),
                        col(
                            "process",
                            Ty::Bool,
                            "whether this was the last thread, so that the process ended",
                        ),
                    ]
                },
                doc: "a thread ended (sched:sched_process_exit)",
            },
            Kind::Rename => KindDecl {
                kind: self,
                name: "rename_task",
                ring: Ring::Lifecycle,
                columns: const { &[col("comm", Ty::Text, "the new name")] },
                doc: "a thread was given a new name without an exec (task:task_rename)",
            },
            Kind::CgroupMkdir => KindDecl {
                kind: self,
                name: "cgroup_mkdir",
                ring: Ring::Lifecycle,
                columns: const { &[col("cgroup", Ty::Cgroup, "the new cgroup")] },
                doc: "a cgroup was created (cgroup:cgroup_mkdir)",
            },
            Kind::CgroupRmdir => KindDecl {
                kind: self,
                name: "cgroup_rmdir",
                ring: Ring::Lifecycle,
                columns: const { &[col("cgroup", Ty::Cgroup, "the removed cgroup")] },
                doc: "a cgroup was removed (cgroup:cgroup_rmdir)",
            },
            Kind::CgroupAttach => KindDecl {
                kind: self,
                name: "cgroup_attach",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("cgroup", Ty::Cgroup, "the cgroup it was moved to"),
                        col("moved_pid", Ty::Pid, "the process id of the moved task"),
                        col("moved_tid", Ty::Pid, "the thread id of the moved task"),
                        col("threadgroup", Ty::Bool, "whether the whole process moved"),
                    ]
                },
                doc: "a task was moved to another cgroup; its task is the mover (cgroup:cgroup_attach_task)",
            },
            Kind::Loss => KindDecl {
                kind: self,
                name: "loss",
                ring: Ring::Agent,
                columns: const {
                    &[
                        col("from", Ty::Time, "earliest time at which the lost events can have happened"),
                        col("kind", Ty::Kind, "the kind of the lost events, 0 if any"),
                        col(
                            "stage",
                            Ty::Text,
                            "where they were lost: ring, recursion, storage, map, queue, writer",
                        ),
                        col("cgroup", Ty::Cgroup, "whose events they were"),
                        col("count", Ty::U64, "how many"),
                    ]
                },
                doc: "events that happened but are not in the file",
            },
            Kind::Clock => KindDecl {
                kind: self,
                name: "clock",
                ring: Ring::Agent,
                columns: const {
                    &[
                        col("wall_offset", Ty::I64, "wall clock minus boot clock, in ns"),
                        col("step", Ty::I64, "by how much that changed since the last such event, in ns"),
                    ]
                },
                doc: "how boot time maps to wall time",
            },
            Kind::Switch => KindDecl {
                kind: self,
                name: "switch",
                ring: Ring::Flood,
                columns: const {
                    &[
                        col(
                            "state",
                            Ty::TaskState,
                            "the state it left the CPU in: R, S, D, T, t, X, Z, I, P",
                        ),
                        col(
                            "preempted",
                            Ty::Bool,
                            "whether the CPU was taken from it while it could have gone on",
                        ),
                        col("ran", Ty::MaybeDuration, "how long it had been on the CPU"),
                        col(
                            "next",
                            Ty::Task,
                            "the thread that the CPU went to; `idle`, with the ids 0, if to none",
                        ),
                        col("off_cpu", Ty::MaybeDuration, "how long that one had been off the CPU"),
                        col(
                            "runnable",
                            Ty::MaybeDuration,
                            "how long of that it could have run: its wait for a CPU",
                        ),
                    ]
                },
                doc: "a CPU went from one thread, the event's, to another (sched:sched_switch)",
            },
            Kind::Block => KindDecl {
                kind: self,
                name: "block",
                ring: Ring::Flood,
                columns: const {
                    &[
                        col("dur", Ty::Duration, "from the first tracepoint that saw it to its completion"),
                        col(
                            "queued",
                            Ty::MaybeDuration,
                            "until it was first issued to the device; until now if it is unfinished and waits",
                        ),
                        col("service", Ty::MaybeDuration, "from its last issue to its completion"),
                        col("dev", Ty::Text, "the device's name"),
                        col("devno", Ty::Device, "the device's number, major:minor"),
                        col(
                            "via",
                            Ty::Text,
                            "the devices above it that the request came through, such as dm-0, outermost first, joined by >",
                        ),
                        col(
                            "op",
                            Ty::Text,
                            "read, write, flush, discard, secure_erase, write_zeroes, zone, driver, other",
                        ),
                        col(
                            "rq_flags",
                            Ty::Text,
                            "what is asked of it: sync, meta, prio, fua, preflush, ahead, background, nowait, joined by |",
                        ),
                        col("sector", Ty::MaybeU64, "the first sector, of 512 bytes"),
                        col(
                            "bytes",
                            Ty::U64,
                            "how much was transferred; if it failed or is unfinished, how much was asked for",
                        ),
                        col("error", Ty::Errno, "why it failed"),
                        col("bios", Ty::U64, "how many pieces (bios) were merged into it"),
                        col("issues", Ty::U64, "how often it was issued: more than once if it was requeued"),
                        col(
                            "owner",
                            Ty::Cgroup,
                            "the cgroup whose memory it writes or that it is charged to",
                        ),
                        col("owner_kind", Ty::Text, "where owner is from: bio, submitter or unknown"),
                    ]
                },
                doc: "a block request, at its completion; its task is who submitted it (block:block_rq_*)",
            },
            Kind::Net => KindDecl {
                kind: self,
                name: "net",
                ring: Ring::Flood,
                columns: const {
                    &[
                        col("dur", Ty::MaybeDuration, "the age of the connection"),
                        col("old", Ty::Text, "the state before, such as SYN_SENT"),
                        col("new", Ty::Text, "the state after; CLOSE is the end"),
                        col("role", Ty::Text, "client, server, listener or unknown"),
                        col("local", Ty::SockAddr, "the address on this side"),
                        col("remote", Ty::SockAddr, "the address on the other side"),
                        col("sock", Ty::U64, "a number that all events of one socket share"),
                        col("netns", Ty::MaybeU64, "the network namespace, as its inode"),
                        col("sent", Ty::Size, "at its end: bytes that the other side has acknowledged"),
                        col("received", Ty::Size, "at its end: bytes received"),
                        col("retrans", Ty::MaybeU64, "at its end: segments sent again"),
                    ]
                },
                doc: "a TCP socket changed its state; its task is the socket's user as far as known (sock:inet_sock_set_state)",
            },
            Kind::Signal => KindDecl {
                kind: self,
                name: "signal",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("signal", Ty::Signal, "which signal"),
                        col("target", Ty::Task, "to whom"),
                        col("target_pid", Ty::Pid, "the process id of the target"),
                        col("target_tid", Ty::Pid, "the thread id of the target"),
                        col("group", Ty::Bool, "whether it is for the process, not for that thread alone"),
                        col("cause", Ty::Text, "user, tkill, kernel, timer, child, fault, other"),
                        col("result", Ty::Text, "delivered, ignored, pending, overflow, lost"),
                    ]
                },
                doc: "a signal was sent; its task is the sender (signal:signal_generate)",
            },
            Kind::Oom => KindDecl {
                kind: self,
                name: "oom",
                ring: Ring::Lifecycle,
                columns: const {
                    &[
                        col("trigger", Ty::Task, "the thread whose need for memory made the kernel kill"),
                        col(
                            "scope",
                            Ty::Text,
                            "cgroup if a cgroup's limit was reached, host if all memory was used up",
                        ),
                        col("limited", Ty::Cgroup, "the cgroup whose limit was reached"),
                        col("memory", Ty::Size, "what that cgroup used"),
                        col("limit", Ty::Size, "what it may use"),
                        col("anon", Ty::Size, "the victim's anonymous memory"),
                        col("file", Ty::Size, "the victim's file pages"),
                        col("shmem", Ty::Size, "the victim's shared memory"),
                        col("swap", Ty::Size, "the victim's swap"),
                        col("page_tables", Ty::Size, "the victim's page tables"),
                        col("score_adj", Ty::MaybeI64, "the victim's oom_score_adj"),
                    ]
                },
                doc: "the kernel chose a process to kill for memory; its task is the victim (oom:mark_victim)",
            },
            Kind::Stall => KindDecl {
                kind: self,
                name: "stall",
                ring: Ring::Agent,
                columns: const {
                    &[
                        col("dur", Ty::Duration, "how long it has slept"),
                        col(
                            "phase",
                            Ty::Text,
                            "asleep, still (told again at doubling times), woken, or exited",
                        ),
                        col("nr", Ty::Syscall, "the call it is in"),
                        col("args", Ty::SyscallArgs, "the call's arguments"),
                        col("wait", Ty::Text, "the function that it waits in"),
                        col("stack", Ty::Stack, "the kernel's functions, innermost first"),
                        col("dev", Ty::Text, "the block device that it waits for, where that is known"),
                        col(
                            "dev_from",
                            Ty::Text,
                            "where dev is from: fd, the file that the call works on, or writeback, what the kernel worker writes",
                        ),
                        col("workqueue", Ty::Text, "the work function, of a kernel worker"),
                        col("waker", Ty::Task, "who woke it"),
                    ]
                },
                doc: "a thread in uninterruptible sleep for longer than --stall: while it sleeps, and when it wakes",
            },
            Kind::Sample => samples::CGROUP,
            Kind::SampleHost => samples::HOST,
            Kind::SampleDisk => samples::DISK,
            Kind::SampleFs => samples::FILE_SYSTEM,
        }
    }
}
