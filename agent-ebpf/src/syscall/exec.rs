//! Path and arguments of a program, as a call of `execve` was given them. Kept for calls that fail; of one that succeeds, the
//! exec event has them.

use agent_ebpf::records::{ExecGiven, GIVEN_ARGS, GIVEN_SIZES, TaskState};
use agent_ebpf::spec::Spec;
use events::Kind;

use super::arguments::argument;
use crate::maps::{self, EVENTS};
use crate::task::Task;
use crate::user::{Got, read_argv, read_path};

/// Most arguments that are read. Verifiers go through the loop once for each.
const ARGV_MAX: u64 = 128;

/// Writes the record of the entry. 0 if there is one. In a function of its own, since nothing else needs it.
#[inline(never)]
pub fn write_given(task: Task, call: &TaskState, spec: &Spec, cgroup: u64) -> i32 {
    let given = Given { task, call, spec, cgroup };
    // A search along PATH fails several times before each program: the largest size alone would fill a ring buffer.
    if given.write::<{ GIVEN_SIZES[0] }, { GIVEN_ARGS[0] as u64 / 2 }, 16>(0, Cut::Discard)
        && given.write::<{ GIVEN_SIZES[1] }, 2048, 64>(1, Cut::Discard)
        && given.write::<{ GIVEN_SIZES[2] }, { GIVEN_ARGS[2] as u64 / 2 }, ARGV_MAX>(2, Cut::Keep)
        // Without the room for that in the ring, the record is shorter.
        && given.write::<{ GIVEN_SIZES[1] }, 2048, 16>(1, Cut::Keep)
    {
        return 1;
    }
    0
}

/// What to do with a record in which path or arguments are cut.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cut {
    /// A larger size follows.
    Discard,
    /// There is no larger one.
    Keep,
}

struct Given<'a> {
    task: Task,
    call: &'a TaskState,
    spec: &'a Spec,
    cgroup: u64,
}

impl Given<'_> {
    /// Whether another size is needed. Of the N bytes, twice HALF are for the arguments.
    #[inline(always)]
    fn write<const N: usize, const HALF: u64, const MAX: u64>(&self, size: usize, cut: Cut) -> bool {
        let Some(slot) = maps::try_reserve::<ExecGiven<N>>(&EVENTS) else { return true };
        let record = slot.as_ptr();
        let Self { task, call, spec, cgroup } = *self;
        // SAFETY: reserved for this type.
        let bytes = unsafe { (&raw mut (*record).bytes).cast::<u8>() };
        let args_at = N - GIVEN_ARGS[size];
        // The arguments first: verifiers go through the loop once for all that may be known of the path before it.
        // SAFETY: N bytes in all, twice HALF of them from `args_at` on.
        let (argv, path) = unsafe {
            let argv = read_argv::<HALF, MAX>(bytes.add(args_at), spec.read1, argument(call, spec.arg1));
            (argv, read_path(bytes, args_at as u32, argument(call, spec.arg0)))
        };
        if (path.bits | argv.bits) & Got::CUT != 0 && cut == Cut::Discard {
            slot.discard();
            return true;
        }
        let bits = path.bits | argv.bits << 2;
        // SAFETY: reserved for this type.
        unsafe {
            let head = task.header(Kind::Syscall as u8, size as u8, bits, call.start, cgroup);
            (&raw mut (*record).head).write(head);
            (&raw mut (*record).len).cast::<u32>().write(path.len);
            (&raw mut (*record).len).cast::<u32>().add(1).write(argv.len);
        }
        slot.submit();
        false
    }
}
