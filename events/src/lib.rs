//! The table of event kinds: the only place where a kind, its number, its columns and their
//! meaning are declared. Ring decoding, file schema, filter fields, text, JSON and CSV output,
//! `ktape fields` and the docs derive from it.

#![no_std]

pub mod flags;
mod samples;
mod table;

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
    /// A CPU went from one thread to another.
    Switch = 11,
    /// A block request, recorded once, when it is complete.
    Block = 12,
    /// A TCP connection changed its state.
    Net = 13,
    /// A signal was sent.
    Signal = 14,
    /// The kernel chose a process to kill because memory ran out.
    Oom = 15,
    /// A thread is, or was, in uninterruptible sleep for long.
    Stall = 16,
    /// The resources of a cgroup.
    Sample = 17,
    /// The resources of the host.
    SampleHost = 18,
    /// The counters of a disk.
    SampleDisk = 19,
    /// The room in a file system.
    SampleFs = 20,
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
    /// Bits of [`flags`].
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
    /// A length of time in nanoseconds that may be [`UNKNOWN`].
    MaybeDuration,
    /// A plain unsigned number that may be [`UNKNOWN`].
    MaybeU64,
    /// A signed number that may be unknown: [`UNKNOWN_SIGNED`].
    MaybeI64,
    /// A number of bytes that may be [`UNKNOWN`].
    Size,
    /// Why a thread left the CPU, see [`task_state`].
    TaskState,
    /// The number of an error, 0 for none.
    Errno,
    /// A device number, `major << 20 | minor`, that may be [`UNKNOWN`].
    Device,
    /// A raw `struct sockaddr`; empty if there is none.
    SockAddr,
    /// Lines of a kernel backtrace, innermost first, each with its NUL.
    Stack,
}

/// The value of a [`Ty::Cpu`] column for what no CPU is known of.
pub const CPU_UNKNOWN: u64 = u16::MAX as u64;
/// What stands for a number that is not known, in columns whose type says that this may be.
pub const UNKNOWN: u64 = u64::MAX;
/// The same for signed numbers.
pub const UNKNOWN_SIGNED: i64 = i64::MIN;
/// The value of a [`Ty::Syscall`] column for a thread in no call, or in none that is known.
pub const NO_CALL: u32 = u32::MAX;

/// Values of a [`Ty::TaskState`] column: stored in files, never reuse one. The letters are those of ps(1).
pub mod task_state {
    /// Runnable: it gave the CPU up by itself or was preempted.
    pub const RUNNABLE: u8 = 0;
    /// `S`: waits and can be woken by a signal.
    pub const INTERRUPTIBLE: u8 = 1;
    /// `D`: waits, and only what it waits for, or at most a fatal signal, wakes it.
    pub const UNINTERRUPTIBLE: u8 = 2;
    /// `T`: stopped by a signal.
    pub const STOPPED: u8 = 3;
    /// `t`: stopped by a tracer.
    pub const TRACED: u8 = 4;
    /// `X`: dead.
    pub const DEAD: u8 = 5;
    /// `Z`: a zombie.
    pub const ZOMBIE: u8 = 6;
    /// `I`: an idle kernel thread, in a sleep that does not count as load.
    pub const IDLE: u8 = 7;
    /// `P`: parked.
    pub const PARKED: u8 = 8;
    /// A state that this version does not know.
    pub const OTHER: u8 = 9;
    /// The letters, by value.
    pub const LETTERS: &[u8; 10] = b"RSDTtXZIP?";
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
pub const KINDS: [Kind; 20] = [
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
    Kind::Switch,
    Kind::Block,
    Kind::Net,
    Kind::Signal,
    Kind::Oom,
    Kind::Stall,
    Kind::Sample,
    Kind::SampleHost,
    Kind::SampleDisk,
    Kind::SampleFs,
];

/// The kinds that one sampler makes; `-e sample` means all of them.
pub const SAMPLES: [Kind; 4] = [Kind::Sample, Kind::SampleHost, Kind::SampleDisk, Kind::SampleFs];

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

    /// Whether it tells of the recording, not of what was recorded: such events are never filtered.
    pub const fn is_about_recording(self) -> bool {
        matches!(self, Kind::Loss | Kind::Clock)
    }

    /// The columns of this kind that refer to tasks or cgroups besides the subject: an event concerns them too.
    pub const fn has_other_parties(self) -> bool {
        let columns = self.decl().columns;
        let mut i = 0;
        while i < columns.len() {
            if matches!(columns[i].ty, Ty::Task | Ty::Cgroup) {
                return true;
            }
            i += 1;
        }
        false
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

/// All ABIs, in the order of their numbers.
pub const ALL_ABIS: [Abi; 3] = [Abi::Native, Abi::Compat, Abi::X32];

/// Syscall numbers are below this in every ABI.
pub const SYSCALL_NUMBERS: u32 = 1024;

/// The value of a [`Ty::Syscall`] column: ABI in bits 16 and up, number (without the x32 bit) below.
pub const fn syscall_key(abi: Abi, nr: u16) -> u32 {
    ((abi as u32) << 16) | nr as u32
}
