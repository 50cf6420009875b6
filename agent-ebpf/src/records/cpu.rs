//! What each CPU has for itself: a ring buffer with one writer, and the system call that its current thread is in.
//!
//! Only programs that run in the context of a thread with preemption disabled write here, so that nothing else on the CPU
//! does meanwhile. A [`Cpu`] and the ring are memory that the agent maps. A position in a ring counts the bytes of segments
//! ever passed: its lower [`SEGMENT_SHIFT`] bits are an offset in a segment, the others number the segments. A record that
//! begins in a segment may extend into the slack after it, so none is split; the next one then begins in the next segment.

use super::plain;

/// Bits of an offset in a segment.
pub const SEGMENT_SHIFT: u32 = 16;
/// Bytes of a segment in which records may begin.
pub const SEGMENT_DATA: u64 = 1 << SEGMENT_SHIFT;
/// Bytes after them: at least as many as the longest record has.
pub const SEGMENT_SLACK: u64 = 16 << 10;
/// Bytes of the longest record.
pub const RECORD_MAX: u64 = 10 << 10;
/// Bytes of room for a string, its NUL included: a path of `PATH_MAX` and what shows that it was not longer.
pub const STRING_ROOM: u32 = 4104;

const _: () =
    assert!(RECORD_MAX <= SEGMENT_SLACK && 8 * word::STRINGS as u64 + 2 * STRING_ROOM as u64 <= RECORD_MAX);

/// A segment of a ring.
#[repr(C)]
pub struct Segment {
    /// Records, and slack.
    pub bytes: [u8; (SEGMENT_DATA + SEGMENT_SLACK) as usize],
}

/// Files that each CPU remembers as defined.
pub const FILES_DEFINED: u32 = 1 << FILES_DEFINED_BITS;
/// The number of bits of that.
pub const FILES_DEFINED_BITS: u32 = 12;

/// Open files that each CPU remembers with their ids.
pub const FILES_OPEN: u32 = 1 << FILES_OPEN_BITS;
/// The number of bits of that.
pub const FILES_OPEN_BITS: u32 = 7;

/// Where the next record begins, after one of `bytes` bytes at `position`.
#[inline(always)]
pub const fn next(position: u64, bytes: u64) -> u64 {
    let end = position + bytes;
    if (end ^ position) >> SEGMENT_SHIFT == 0 { end } else { end & !(SEGMENT_DATA - 1) }
}

/// The state of a CPU: what the agent writes, then what the programs write. 256 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Cpu {
    /// The position up to which the agent has read.
    pub tail: u64,
    /// Boot clock minus monotonic clock, ns.
    pub offset: u64,
    /// 1: decisions about the current thread are to be made again. The programs reset it.
    pub recheck: u64,
    /// Its number.
    pub number: u64,
    /// Changes when all files are to be defined again.
    pub renewed: u64,
    /// Always 0.
    pub reserved: [u64; 3],

    /// The position up to which records are complete.
    pub head: u64,
    /// What `tail` was when a program last read it.
    pub seen: u64,
    /// The first segment of the ring.
    pub first: u32,
    /// 1 once the CPU has a ring.
    pub has_ring: u32,
    /// What is known of the current thread, one of [`verdict`].
    pub verdict: u32,
    /// The current thread's call, one of [`live`].
    pub live: u32,
    /// The thread's `task_struct`.
    pub task: u64,
    /// Its `cgroups`, `real_parent` and `cred` when the verdict was given.
    pub pointers: [u64; 3],

    /// When its call was entered, ns of CLOCK_BOOTTIME.
    pub start: u64,
    /// Which one, [`events::syscall_key`].
    pub key: u32,
    /// The upper half of the second word of its record, see [`word::SHAPE`].
    pub shape: u32,
    /// Bits of [`super::task_flags`] for fallback programs: `ENTRY_SEEN`, `RETURN_SEEN`.
    pub marks: u64,
    /// The cgroup of the thread.
    pub cgroup: u64,
    /// The identity that was last written to the ring: cgroup, ids, user.
    pub written: [u64; 3],
    /// How often a file could not be defined.
    pub undefined: u64,
    /// What the result of the call stands for, one of [`crate::spec::result`].
    pub result: u64,
    /// What the call's descriptors stand for, should its record have room for that.
    pub files: [u64; 2],
    /// The open files behind the call's descriptors, should other threads be able to replace them meanwhile; else 0.
    pub open: [u64; 2],
    /// Always 0.
    pub reserved_too: [u64; 3],
}

/// What is known of a CPU's current thread ([`Cpu::verdict`]).
pub mod verdict {
    /// Nothing: it has just got the CPU.
    pub const UNKNOWN: u32 = 0;
    /// Its calls are recorded, and the ring names it.
    pub const WANTED: u32 = 1;
    /// Its calls are not recorded.
    pub const UNWANTED: u32 = 2;
    /// Each of its calls has to be looked at.
    pub const PER_CALL: u32 = 3;
}

/// The state of a call ([`Cpu::live`]).
pub mod live {
    /// None, or it is in the task's storage.
    pub const NONE: u32 = 0;
    /// Its record is at the head, complete but for its return.
    pub const READY: u32 = 1;
    /// The same, but at the return more has to be read.
    pub const PARTIAL: u32 = 2;
    /// It is not wanted.
    pub const SKIPPED: u32 = 3;
    /// As [`READY`], but other threads may change its strings: they are read again once the kernel has its copy.
    pub const SHARED: u32 = 4;
    /// As [`READY`], but at the return what the call has filled in is read.
    pub const FILLS: u32 = 5;
}

/// The words of a record in a ring.
pub mod word {
    /// When it ended, ns of CLOCK_BOOTTIME.
    pub const TIME: usize = 0;
    /// Lower half: the duration of a call in ns. Upper half: its [`super::shape`].
    pub const SHAPE: usize = 1;
    /// The result of a call.
    pub const RESULT: usize = 2;
    /// The first of its arguments.
    pub const ARGS: usize = 3;
    /// Of a record with strings: the lengths of the first and second one, in its lower half, and bits of [`events::flags`].
    pub const LENGTHS: usize = 9;
    /// A duration that does not fit into half a word; in [`super::sort::LONG`] only.
    pub const DURATION: usize = 10;
    /// The files of a record with strings, two words.
    pub const FILES: usize = 11;
    /// Strings, each padded with whatever was there to whole words.
    pub const STRINGS: usize = 13;
    /// In place of a bit of [`events::flags`]. With [`super::sort::STRINGS`]: the second string is the first one, read again.
    /// With [`super::sort::LONG`]: the strings are those of the thread's last [`super::sort::ENTERED`], read again; of a call
    /// that fills in bytes, those bytes.
    pub const AGAIN: u32 = 1 << 31;
}

/// The type of a record.
pub mod sort {
    /// A call without strings. Its arguments are a multiple of three, and what is left of its words are files.
    pub const CALL: u32 = 0;
    /// A call with six arguments and strings.
    pub const STRINGS: u32 = 1;
    /// The same, with everything that a call can have.
    pub const LONG: u32 = 2;
    /// Arguments and strings of a call that has not returned when the thread leaves the CPU: no event.
    pub const ENTERED: u32 = 3;
    /// The thread that the calls after it are of: no event.
    pub const IDENTITY: u32 = 4;
    /// A context switch, [`super::SwitchWords`].
    pub const SWITCH: u32 = 5;
    /// As [`LONG`], without strings: those are in the last [`ENTERED`] of the thread, or in its [`super::super::ExecGiven`].
    pub const LONG_ENTERED: u32 = 6;
    /// The strings of the last [`ENTERED`] of the thread, read again: no event.
    pub const AGAIN: u32 = 7;
}

/// A shape: from the lowest bit on the key of a call ([`events::syscall_key`]), one of [`sort`], and the number of words.
pub mod shape {
    /// Bits of a key.
    pub const KEY_BITS: u32 = 18;
    const SORT_SHIFT: u32 = KEY_BITS;
    const WORDS_SHIFT: u32 = 21;

    /// A shape.
    #[inline(always)]
    pub const fn of(sort: u32, key: u32, words: u32) -> u32 {
        words << WORDS_SHIFT | sort << SORT_SHIFT | key
    }

    /// The number of words.
    #[inline(always)]
    pub const fn words(shape: u32) -> u32 {
        shape >> WORDS_SHIFT
    }

    /// The type.
    #[inline(always)]
    pub const fn sort(shape: u32) -> u32 {
        shape >> SORT_SHIFT & 7
    }

    /// The key.
    #[inline(always)]
    pub const fn key(shape: u32) -> u32 {
        shape & ((1 << SORT_SHIFT) - 1)
    }

    const _: () = assert!(super::RECORD_MAX / 8 < 1 << (32 - WORDS_SHIFT));
}

/// Words of an identity. Lower half of [`word::SHAPE`]: the user id; then the cgroup, then process and thread id.
pub const IDENTITY_WORDS: u32 = 4;

/// Words of a context switch: two of each record, then these.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SwitchWords {
    /// The previous thread's process id and thread id.
    pub ids: [u32; 2],
    /// Its cgroup.
    pub cgroup: u64,
    /// How long it was on the CPU, ns, or [`events::UNKNOWN`].
    pub ran: u64,
    /// How long the next thread was off the CPU, ns, or unknown.
    pub off_cpu: u64,
    /// How long of that it was on a run queue, ns, or unknown.
    pub runnable: u64,
    /// The next thread's cgroup.
    pub next_cgroup: u64,
    /// The next thread's process id and thread id; 0 is the CPU's idle task.
    pub next_ids: [u32; 2],
    /// Bits of [`events::flags`].
    pub flags: u32,
    /// Made by [`super::sched::class`].
    pub class: u32,
}

/// Words of such a record.
pub const SWITCH_WORDS: u32 = 2 + (size_of::<SwitchWords>() / 8) as u32;

plain! {
    Cpu = 256;
    SwitchWords = 64;
}

// The agent's words and the programs' words have cache lines of their own.
const _: () = assert!(core::mem::offset_of!(Cpu, head) == 64 && core::mem::offset_of!(Cpu, start) == 128);
