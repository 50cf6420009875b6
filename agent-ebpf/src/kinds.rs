//! The table of event kinds: the only place where a kind, its number, its columns and their
//! meaning are declared. Ring decoding, file schema, filter fields, text, JSON and CSV output,
//! `ktape fields` and the docs derive from it.

/// What an event is. The numbers are stored in files: never reuse one.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A system call, recorded once, when it returns.
    Syscall = 1,
    /// A new process or thread.
    Fork = 2,
    /// A successful `execve`.
    Exec = 3,
    /// A thread ended; the last one of a process ends the process.
    Exit = 4,
    /// A thread changed its name (`prctl`, `/proc/PID/comm`); exec has its own event.
    Rename = 5,
    /// A cgroup was created.
    CgroupMkdir = 6,
    /// A cgroup was removed.
    CgroupRmdir = 7,
    /// A task was moved into a cgroup.
    CgroupAttach = 8,
    /// Events that were made but are not in the file.
    Loss = 9,
    /// The distance between boot clock and wall clock, at start and whenever it steps.
    Clock = 10,
}

/// Which way an event takes out of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// The rings that a busy machine may fill.
    Flood,
    /// The rings of rare events that name many others.
    Lifecycle,
    /// Made by the agent itself.
    Agent,
}

/// The type of a column: what its integers or bytes mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    /// Nanoseconds of CLOCK_BOOTTIME.
    Time,
    /// A length of time in nanoseconds.
    Duration,
    /// A CPU number.
    Cpu,
    /// Bits of [`crate::records::flags`].
    Flags,
    /// A process or thread id in the initial pid namespace.
    Pid,
    /// A user id in the initial user namespace.
    Uid,
    /// A plain unsigned number.
    U64,
    /// A signed number.
    I64,
    /// A yes or no, 1 or 0.
    Bool,
    /// ABI and number of a syscall, see [`syscall_key`].
    Syscall,
    /// The result of a syscall; -4095 to -1 are errors.
    SyscallResult,
    /// The arguments of a syscall, one integer for each declared argument, read through the syscall table.
    SyscallArgs,
    /// The strings of a syscall, one for each argument that is a path or a socket address, in argument order.
    SyscallStrings,
    /// The number of a signal, 0 for none.
    Signal,
    /// A kind of event, as its number.
    Kind,
    /// A path.
    Path,
    /// NUL-separated arguments.
    Args,
    /// Other bytes meant to be read as text.
    Text,
    /// The task that the event is about (a row of the task dictionary).
    Task,
    /// A cgroup (a row of the cgroup dictionary).
    Cgroup,
}

/// A column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The name; the filter field is `KIND.NAME` unless it is one of [`COMMON`].
    pub name: &'static str,
    /// Its type.
    pub ty: Ty,
    /// One line for `ktape fields` and the docs.
    pub doc: &'static str,
}

const fn col(name: &'static str, ty: Ty, doc: &'static str) -> Column {
    Column { name, ty, doc }
}

/// A row of the table.
#[derive(Clone, Copy, Debug)]
pub struct KindDecl {
    /// The kind.
    pub kind: Kind,
    /// Its name on the command line and in output.
    pub name: &'static str,
    /// Which ring carries it.
    pub ring: Ring,
    /// Columns that only this kind has; they follow [`COMMON`].
    pub columns: &'static [Column],
    /// What it records, from where.
    pub doc: &'static str,
}

/// The columns that every kind starts with, in this order.
pub const COMMON: &[Column] = &[
    col("time", Ty::Time, "when it ended (boot clock)"),
    col("cpu", Ty::Cpu, "the CPU it ended on"),
    col("task", Ty::Task, "the thread it is about"),
    col("flags", Ty::Flags, "what is known about the record itself"),
];

/// All kinds, in the order of their numbers.
pub const KINDS: [Kind; 10] = [
    Kind::Syscall,
    Kind::Fork,
    Kind::Exec,
    Kind::Exit,
    Kind::Rename,
    Kind::CgroupMkdir,
    Kind::CgroupRmdir,
    Kind::CgroupAttach,
    Kind::Loss,
    Kind::Clock,
];

impl Kind {
    /// The kind with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        let mut i = 0;
        while i < KINDS.len() {
            if KINDS[i] as u8 == number {
                return Some(KINDS[i]);
            }
            i += 1;
        }
        None
    }

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
        }
    }
}

/// A syscall's ABI, the upper part of its key.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Abi {
    /// The machine's own: x86-64 or arm64.
    Native = 0,
    /// 32-bit callers (`int 0x80`, sysenter) on x86-64.
    Compat = 1,
    /// The x32 ABI: 64-bit entry, number with bit 30 set.
    X32 = 2,
}

/// The value of a [`Ty::Syscall`] column: ABI in bits 16 and up, number (without the x32 bit) below.
pub const fn syscall_key(abi: Abi, nr: u16) -> u32 {
    ((abi as u32) << 16) | nr as u32
}
