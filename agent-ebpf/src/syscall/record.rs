//! The records of calls: from the smallest, without arguments, to that of an exec that failed.

use agent_ebpf::records::{
    EXEC_ARGS, STR_SECOND, STR_SIZES, Syscall, SyscallArgs, SyscallStrs, TaskState, class,
};
use agent_ebpf::spec::{Spec, read, spec_flags};
use events::{Kind, flags};

use crate::maps::{self, EVENTS};
use crate::task::Task;
use crate::user::{Got, NOT_FILLED_IN, ROOM_UNKNOWN, Source, read_argv, read_path, read_string};

/// Writes the record of a call that has returned.
#[inline(always)]
pub fn emit(task: Task, call: &TaskState, ret: i64, time: u64, bits: u32, cgroup: u64) {
    if let Some(spec) = maps::spec(call.key)
        && spec.class >= class::STR_SMALL
        // After an exec the strings are gone with the old memory: the agent takes the path from
        // the exec event.
        && (spec.flags & spec_flags::EXEC == 0 || ret != 0)
    {
        let fixed = Fixed::new(task, call, ret, time, bits, cgroup);
        if spec.flags & spec_flags::EXEC != 0 {
            emit_failed_exec(call, &fixed, spec);
        } else {
            emit_strings(call, &fixed, spec);
        }
    } else {
        emit_plain(task, call, ret, time, bits, cgroup);
    }
}

/// Writes a record without strings: of a call that has none, or whose strings cannot be read.
#[inline(always)]
pub fn emit_plain(task: Task, call: &TaskState, ret: i64, time: u64, bits: u32, cgroup: u64) {
    let mut fixed = Fixed::new(task, call, ret, time, bits, cgroup);
    let mut size = class::ARGS6;
    if let Some(spec) = maps::spec(call.key) {
        size = spec.class;
        if spec.flags & spec_flags::NO_RESULT != 0 {
            fixed.bits |= flags::NO_RESULT;
        }
        // A call that has not returned has not filled anything in.
        if spec.read0 != read::NONE && spec.room == 0 {
            fixed.bits |= flags::STR0_UNREAD;
        }
        if spec.read1 != read::NONE {
            fixed.bits |= flags::STR1_UNREAD;
        }
    }
    let kind = Kind::Syscall as u8;
    if size == class::ARGS0 {
        if let Some(slot) = maps::reserve::<Syscall>(&EVENTS, kind, cgroup) {
            fixed.write(slot.as_ptr(), class::ARGS0);
            slot.submit();
        }
    } else if size == class::ARGS3 {
        if let Some(slot) = maps::reserve::<SyscallArgs<3>>(&EVENTS, kind, cgroup) {
            // SAFETY: reserved for this type.
            let (head, args) =
                unsafe { (&raw mut (*slot.as_ptr()).call, (&raw mut (*slot.as_ptr()).args).cast()) };
            fixed.write(head, class::ARGS3);
            copy_args::<3>(args, call);
            slot.submit();
        }
    } else if let Some(slot) = maps::reserve::<SyscallArgs<6>>(&EVENTS, kind, cgroup) {
        // SAFETY: reserved for this type.
        let (head, args) =
            unsafe { (&raw mut (*slot.as_ptr()).call, (&raw mut (*slot.as_ptr()).args).cast()) };
        fixed.write(head, class::ARGS6);
        copy_args::<6>(args, call);
        slot.submit();
    }
}

/// Everything of a record but arguments and strings.
struct Fixed {
    task: Task,
    time: u64,
    cgroup: u64,
    dur: u64,
    ret: i64,
    key: u32,
    bits: u32,
}

impl Fixed {
    #[inline(always)]
    fn new(task: Task, call: &TaskState, ret: i64, time: u64, mut bits: u32, cgroup: u64) -> Self {
        let mut dur = time.wrapping_sub(call.start);
        if (dur as i64) < 0 {
            dur = 0;
            bits |= flags::CLAMPED;
        }
        Self { task, time, cgroup, dur, ret, key: call.key, bits }
    }

    #[inline(always)]
    fn write(&self, to: *mut Syscall, class: u8) {
        let head = self.task.header(Kind::Syscall as u8, class, self.bits, self.time, self.cgroup);
        // SAFETY: the fixed part of a reserved record.
        unsafe {
            to.write(Syscall { head, dur: self.dur, ret: self.ret, key: self.key, uid: self.task.uid() });
        }
    }
}

/// Word by word: a plain copy would become a loop over bytes.
#[inline(always)]
pub fn copy_args<const N: usize>(to: *mut u64, call: &TaskState) {
    for (i, arg) in call.args.iter().take(N).enumerate() {
        // SAFETY: the argument array of a reserved record has N words.
        unsafe { to.add(i).write_volatile(*arg) };
    }
}

/// Tries the smallest class first: nearly all paths fit.
#[inline(always)]
fn emit_strings(call: &TaskState, fixed: &Fixed, spec: &Spec) {
    if try_strings::<{ STR_SIZES[0] }>(call, fixed, spec, class::STR_SMALL)
        && try_strings::<{ STR_SIZES[1] }>(call, fixed, spec, class::STR_MEDIUM)
    {
        if spec.read1 == read::NONE {
            try_strings::<{ STR_SIZES[2] }>(call, fixed, spec, class::STR_LARGE);
        } else {
            try_strings::<{ STR_SIZES[3] }>(call, fixed, spec, class::STR_LARGE_TWO);
        }
    }
}

/// Whether a larger class is needed.
#[inline(always)]
fn try_strings<const N: usize>(call: &TaskState, fixed: &Fixed, spec: &Spec, class: u8) -> bool {
    let Some(slot) = maps::reserve::<SyscallStrs<N>>(&EVENTS, Kind::Syscall as u8, fixed.cgroup) else {
        return false;
    };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type.
    let bytes = unsafe { (&raw mut (*record).bytes).cast::<u8>() };
    let at = argument(call, spec.arg0);
    let (first, second) = if spec.read1 == read::NONE {
        let first = if class == class::STR_SMALL {
            let next = argument(call, spec.arg0 + 1);
            let source = Source { how: spec.read0, at, next, room: room(call, fixed, spec) };
            // SAFETY: N bytes.
            unsafe { read_string(bytes, N as u32, &source) }
        } else {
            // Addresses fit the smallest class.
            // SAFETY: N bytes.
            unsafe { read_path(bytes, N as u32, at) }
        };
        (first, Got { len: 0, bits: 0 })
    } else {
        // Two strings have half of the room each, and are never socket addresses.
        // SAFETY: N bytes in all.
        unsafe {
            let first = read_path(bytes, N as u32 / 2, at);
            (first, read_path(bytes.add(N / 2), N as u32 / 2, argument(call, spec.arg1)))
        }
    };
    // An address always fits; one that is cut is so for another reason.
    if (first.bits | second.bits) & Got::CUT != 0 && class < class::STR_LARGE && spec.read0 == read::STRING {
        slot.discard();
        return true;
    }
    let whole = Fixed { bits: fixed.bits | first.bits | (second.bits << 2), ..*fixed };
    // SAFETY: reserved for this type.
    unsafe {
        (&raw mut (*record).len).cast::<u32>().write(first.len);
        (&raw mut (*record).len).cast::<u32>().add(1).write(second.len);
        whole.write(&raw mut (*record).call, class);
        copy_args::<6>((&raw mut (*record).args).cast(), call);
    }
    slot.submit();
    false
}

/// Most arguments that are read of an exec that failed. Verifiers go through the loop once for each.
const ARGV_MAX: u64 = 128;

/// Writes the record of an exec that failed: path and arguments, which are still there. In a function of its own, since
/// nothing else needs it.
#[inline(never)]
fn emit_failed_exec(call: &TaskState, fixed: &Fixed, spec: &Spec) -> i32 {
    let blur = |value: u64| blurred(value, fixed.time);
    let fixed = Fixed {
        dur: blur(fixed.dur),
        ret: blur(fixed.ret as u64) as i64,
        bits: blur(u64::from(fixed.bits)) as u32,
        ..*fixed
    };
    let fixed = &fixed;
    // A search along PATH fails several times before each program: the largest class alone would fill a ring buffer.
    if try_exec::<{ STR_SIZES[1] }, { STR_SECOND[1] as u64 / 2 }, 16>(
        call,
        fixed,
        spec,
        class::STR_MEDIUM,
        Cut::Discard,
    ) && try_exec::<{ STR_SIZES[3] }, 2048, 64>(call, fixed, spec, class::STR_LARGE_TWO, Cut::Discard)
        && try_exec::<{ STR_SIZES[4] }, { EXEC_ARGS as u64 }, ARGV_MAX>(
            call,
            fixed,
            spec,
            class::STR_ARGV,
            Cut::Keep,
        )
    {
        // Without the room for that in the ring, the record is shorter.
        try_exec::<{ STR_SIZES[3] }, 2048, 16>(call, fixed, spec, class::STR_LARGE_TWO, Cut::Last);
    }
    0
}

/// The same value, of which verifiers know nothing any more: they would go through the loops of what follows for each
/// value that they know to be possible.
#[inline(always)]
fn blurred(mut value: u64, by: u64) -> u64 {
    // SAFETY: arithmetic that changes nothing.
    unsafe {
        core::arch::asm!("{value} ^= {by}", "{value} ^= {by}", value = inout(reg) value, by = in(reg) by);
    }
    value
}

/// What to do with a record in which path or arguments are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// A larger class follows.
    Discard,
    /// There is no larger one.
    Keep,
    /// As [`Cut::Keep`]; and without room in the ring buffer, the event is lost.
    Last,
}

/// Whether another class is needed. Of the strings' N bytes, twice HALF are for the arguments.
#[inline(always)]
fn try_exec<const N: usize, const HALF: u64, const MAX: u64>(
    call: &TaskState,
    fixed: &Fixed,
    spec: &Spec,
    class: u8,
    cut: Cut,
) -> bool {
    let slot = if cut == Cut::Last {
        maps::reserve::<SyscallStrs<N>>(&EVENTS, Kind::Syscall as u8, fixed.cgroup)
    } else {
        maps::try_reserve::<SyscallStrs<N>>(&EVENTS)
    };
    let Some(slot) = slot else { return true };
    let record = slot.as_ptr();
    // SAFETY: reserved for this type.
    let bytes = unsafe { (&raw mut (*record).bytes).cast::<u8>() };
    let second = STR_SECOND[usize::from(class - class::STR_SMALL)];
    // The arguments first: verifiers go through the loop once for all that may be known of the path before it.
    // SAFETY: N bytes in all, twice HALF of them from `second` on.
    let (argv, path) = unsafe {
        let argv = read_argv::<HALF, MAX>(bytes.add(second), spec.read1, argument(call, spec.arg1));
        (argv, read_path(bytes, second as u32, argument(call, spec.arg0)))
    };
    if (path.bits | argv.bits) & Got::CUT != 0 && cut == Cut::Discard {
        slot.discard();
        return true;
    }
    let whole = Fixed { bits: fixed.bits | path.bits | (argv.bits << 2), ..*fixed };
    // SAFETY: reserved for this type.
    unsafe {
        (&raw mut (*record).len).cast::<u32>().write(path.len);
        (&raw mut (*record).len).cast::<u32>().add(1).write(argv.len);
        whole.write(&raw mut (*record).call, class);
        copy_args::<6>((&raw mut (*record).args).cast(), call);
    }
    slot.submit();
    false
}

const _: () = assert!(STR_SIZES[1] == 2 * STR_SECOND[1] && STR_SIZES[3] == 2 * STR_SECOND[3]);

/// How much room the caller had at the entry, and whether the call has filled it.
#[inline(always)]
fn room(call: &TaskState, fixed: &Fixed, spec: &Spec) -> u64 {
    if spec.room == 0 {
        return 0;
    }
    if fixed.ret < i64::from(spec.least) {
        return NOT_FILLED_IN;
    }
    if fixed.bits & (flags::START_UNKNOWN | flags::SECCOMP) != 0 {
        return ROOM_UNKNOWN;
    }
    argument(call, spec.room)
}

/// An argument by an index that the verifier cannot know.
#[inline(always)]
pub fn argument(call: &TaskState, index: u8) -> u64 {
    // As a word of the whole state, of which the arguments are 1 to 6: so the mask alone shows
    // that it stays inside, whatever the compiler makes of it.
    let word = (usize::from(index) + 1) & 7;
    // SAFETY: the state is eight words, see below.
    unsafe { core::ptr::from_ref(call).cast::<u64>().add(word).read_volatile() }
}

const _: () = assert!(size_of::<TaskState>() == 8 * 8 && core::mem::offset_of!(TaskState, args) == 8);
