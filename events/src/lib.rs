//! The table of event kinds: the only place where a kind, its number, its columns and their
//! meaning are declared. Ring decoding, file schema, filter fields, text, JSON and CSV output,
//! `ktape fields` and the docs derive from it.

#![no_std]

#[cfg(test)]
extern crate std;

mod collections;
pub mod flags;
mod kinds;
#[cfg(test)]
mod tests;
mod types;

pub use collections::{KindMap, KindSet};
pub use kinds::{KIND_COUNT, KIND_HIGHEST, KINDS, Kind};
pub use types::{Storage, TYPES, Ty};

/// Which way an event takes out of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ring {
    /// The event ring buffers, which a busy machine may fill: what does not fit is lost, and counted.
    Event,
    /// The lifecycle ring buffers: rare events that name what many others refer to.
    Lifecycle,
    /// None: the agent makes the event itself.
    Agent,
    /// None: it follows from other events, and is computed when a capture is read. It is in no file.
    Reader,
}

/// The value of a [`Ty::Cpu`] column for what no CPU is known of.
pub const CPU_UNKNOWN: u64 = u16::MAX as u64;
/// Stored in place of an unknown number, in columns whose type allows it.
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
    /// What one event of it is.
    pub doc: &'static str,
    /// Where the kernel or the agent takes it from: tracepoints, files, calls.
    pub source: &'static str,
}

/// The kinds that a recorder writes: all that are not [derived](Kind::is_derived).
pub const RECORDED: KindSet = {
    let mut set = KindSet::EMPTY;
    let mut i = 0;
    while i < KIND_COUNT {
        if !KINDS[i].is_derived() {
            set = set.with(KINDS[i]);
        }
        i += 1;
    }
    set
};

/// The columns that every kind starts with, in this order.
pub const COMMON: &[Column] = &[
    col("time", Ty::Time, "when the event ended (boot clock)"),
    col("cpu", Ty::Cpu, "the CPU that it ended on"),
    col("task", Ty::Task, "the thread that the event is about"),
    col("flags", Ty::Flags, "properties of the record itself"),
];

/// The kinds that one sampler makes; `-e sample` means all of them.
pub const SAMPLES: [Kind; 4] = [Kind::Sample, Kind::SampleHost, Kind::SampleDisk, Kind::SampleFs];
/// The kinds that the thread that looks for stalled threads makes; to record, `-e stall` means both.
pub const STALLS: [Kind; 2] = [Kind::Stall, Kind::StallOngoing];

impl Kind {
    /// Whether it tells of the recording, not of what was recorded: such events are never filtered.
    pub const fn is_about_recording(self) -> bool {
        matches!(self, Kind::Loss | Kind::Clock)
    }

    /// Whether it is computed from other events when a capture is read. No file has events of such a kind.
    pub const fn is_derived(self) -> bool {
        matches!(self.decl().ring, Ring::Reader)
    }

    /// The kinds that a [derived](Self::is_derived) one is computed from. Without the [first](Self::follows_from) of them, there are
    /// none of it.
    pub const fn computed_from(self) -> &'static [Self] {
        match self {
            Self::ThreadState => &[Self::Switch, Self::Syscall, Self::Fork, Self::Block, Self::Stall],
            Self::Conn => &[Self::Net, Self::Syscall, Self::Uring, Self::Exit],
            _ => &[],
        }
    }

    /// The kinds of which one has to be there if there are to be any of this [derived](Self::is_derived) one.
    pub const fn follows_from(self) -> &'static [Self] {
        match self {
            Self::ThreadState => &[Self::Switch],
            Self::Conn => &[Self::Net, Self::Syscall, Self::Uring],
            _ => &[],
        }
    }

    /// Whether its events are about a call: a system call, or a request of io_uring that does the same as one.
    pub const fn is_about_call(self) -> bool {
        matches!(self, Kind::Syscall | Kind::Uring)
    }

    /// Whether its events have a call with its files, paths and addresses: those [about a call](Self::is_about_call), and the
    /// parts of a thread's time, most of which are in one.
    pub const fn has_files(self) -> bool {
        matches!(self, Kind::Syscall | Kind::Uring | Kind::ThreadState)
    }

    /// Whether some column of this kind refers to a task or cgroup besides the subject: the event concerns that too.
    pub const fn has_other_parties(self) -> bool {
        let columns = self.decl().columns;
        let mut i = 0;
        while i < columns.len() {
            if matches!(columns[i].ty.storage(), Storage::TaskRow | Storage::CgroupRow) {
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
