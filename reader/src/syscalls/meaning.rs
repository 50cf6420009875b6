//! What the arguments of a call mean together: names of values that depend on another argument, and arguments that a call
//! with these values does not have.

use super::sets::{Arch, BitTest, ValueSet, value_sets};
use super::signature::Signature;

#[cfg(test)]
mod tests;

/// Where the names of an argument's values are.
#[derive(Clone, Debug, Default)]
enum NamesOf {
    #[default]
    None,
    Set(&'static ValueSet),
    /// It depends on the argument at this position.
    Other(u8, Vec<(BitTest, &'static ValueSet)>),
}

/// The meaning of the arguments of one call.
#[derive(Clone, Debug, Default)]
pub struct Meanings {
    names: [NamesOf; 6],
    length: Option<&'static LengthRule>,
    /// Whether what may be a structure is one, by the argument at a position.
    is_struct: Option<StructRule>,
}

impl Meanings {
    /// The meaning of the arguments of a call on an architecture.
    pub fn new(signature: &Signature, arch: Arch) -> Self {
        let sets = value_sets(arch);
        let call = &signature.name;
        let set = |at: usize| {
            let arg = signature.args.get(at)?;
            sets.of(call, &arg.name, &arg.tag)
        };
        let mut meanings = Self::default();
        for (at, arg) in signature.args.iter().enumerate().take(meanings.names.len()) {
            meanings.names[at] = set(at).map_or(NamesOf::None, NamesOf::Set);
            let others = sets.by_other(call, &arg.name, &arg.tag);
            for other in (0..signature.args.len()).filter(|other| *other != at) {
                let Some(deciding) = set(other) else { continue };
                let of_value = |(name, set): (&str, _)| Some((deciding.bits(name)?, set));
                let of_values: Vec<_> = others.clone().filter_map(of_value).collect();
                if !of_values.is_empty() {
                    meanings.names[at] = NamesOf::Other(other as u8, of_values);
                    break;
                }
            }
        }
        meanings.is_struct = has_struct(call);
        meanings.length = LENGTHS.iter().find(|rule| rule.call == signature.name);
        meanings
    }

    /// The names of the value of the argument at `position`, in a call with these arguments.
    #[inline]
    pub fn set(&self, position: usize, args: &[u64]) -> Option<&'static ValueSet> {
        match self.names.get(position)? {
            NamesOf::None => None,
            NamesOf::Set(set) => Some(set),
            NamesOf::Other(other, sets) => {
                let deciding = args.get(usize::from(*other))?;
                Some(sets.iter().find(|(wanted, _)| wanted.accepts(*deciding))?.1)
            }
        }
    }

    /// Whether an argument that may be a structure is one, in a call with these arguments.
    #[inline]
    pub fn is_struct(&self, args: &[u64]) -> bool {
        let Some((at, is_struct)) = self.is_struct else { return true };
        args.get(usize::from(at)).is_none_or(|deciding| is_struct(*deciding))
    }

    /// All sets that values of the argument at `position` can have names of.
    pub fn all_sets(&self, position: usize) -> impl Iterator<Item = &'static ValueSet> {
        let (one, several) = match self.names.get(position) {
            None | Some(NamesOf::None) => (None, &[][..]),
            Some(NamesOf::Set(set)) => (Some(*set), &[][..]),
            Some(NamesOf::Other(_, sets)) => (None, sets.as_slice()),
        };
        one.into_iter().chain(several.iter().map(|(_, set)| *set))
    }

    /// How many of `count` arguments a call with these arguments has. Registers beyond it hold what was in them before.
    #[inline]
    pub fn count(&self, count: usize, args: &[u64]) -> usize {
        match self.length {
            None => count,
            Some(rule) => rule.count(args).map_or(count, |used| used.min(count)),
        }
    }
}

/// How many arguments a call has, by the value of one of them.
#[derive(Debug)]
struct LengthRule {
    call: &'static str,
    /// The position of the deciding argument.
    at: u8,
    /// For the value of that argument: how many arguments there are, `None` if all.
    used: fn(u64) -> Option<usize>,
}

impl LengthRule {
    fn count(&self, args: &[u64]) -> Option<usize> {
        (self.used)(*args.get(usize::from(self.at))?)
    }
}

/// Calls with arguments that the kernel uses only with some values of another one (open(2), mq_open(3), mknod(2), fcntl(2),
/// epoll_ctl(2), mremap(2), futex(2), prctl(2)).
const LENGTHS: &[LengthRule] = &[
    LengthRule { call: "open", at: 1, used: |flags| without_mode(flags).then_some(2) },
    LengthRule { call: "openat", at: 2, used: |flags| without_mode(flags).then_some(3) },
    LengthRule { call: "mq_open", at: 1, used: |flags| (flags & O_CREAT == 0).then_some(2) },
    LengthRule { call: "mknod", at: 1, used: |mode| without_device(mode).then_some(2) },
    LengthRule { call: "mknodat", at: 2, used: |mode| without_device(mode).then_some(3) },
    LengthRule { call: "fcntl", at: 1, used: fcntl },
    LengthRule { call: "fcntl64", at: 1, used: fcntl },
    // EPOLL_CTL_DEL
    LengthRule { call: "epoll_ctl", at: 1, used: |operation| (operation == 2).then_some(3) },
    LengthRule { call: "mremap", at: 3, used: |flags| (flags & MREMAP_FIXED_OR_DONTUNMAP == 0).then_some(4) },
    LengthRule { call: "futex", at: 1, used: futex },
    LengthRule { call: "prctl", at: 0, used: prctl },
];

const O_CREAT: u64 = 0o100;
/// Without `O_DIRECTORY`, whose number depends on the architecture.
const TMPFILE: u64 = 0o20_000_000;

fn without_mode(flags: u64) -> bool {
    flags & (O_CREAT | TMPFILE) == 0
}

/// Neither `S_IFCHR` nor `S_IFBLK`.
fn without_device(mode: u64) -> bool {
    !matches!(mode & 0o170_000, 0o020_000 | 0o060_000)
}

/// `MREMAP_FIXED` and `MREMAP_DONTUNMAP`.
const MREMAP_FIXED_OR_DONTUNMAP: u64 = 2 | 4;

/// `F_GETFD`, `F_GETFL`, `F_GETOWN`, `F_GETSIG`, `F_GETLEASE`, `F_GETPIPE_SZ`, `F_GET_SEALS`.
fn fcntl(command: u64) -> Option<usize> {
    matches!(command, 1 | 3 | 9 | 11 | 1025 | 1032 | 1034).then_some(2)
}

/// The position of an argument, and with which of its values an argument of the call is the structure that the table has for it.
pub type StructRule = (u8, fn(u64) -> bool);

/// Whether what may be a structure in this call is one; `None` if it always is, or if the call has no structure.
pub fn has_struct(call: &str) -> Option<StructRule> {
    /// `IPC_64`, which 32-bit callers may set.
    const IPC_64: u64 = 0x100;
    match call {
        "fcntl" => Some((1, fcntl_has_lock)),
        "futex" | "futex_time64" => Some((1, futex_has_timeout)),
        // LANDLOCK_RULE_PATH_BENEATH
        "landlock_add_rule" => Some((1, |rule| rule == 1)),
        // IPC_STAT, MSG_STAT, MSG_STAT_ANY
        "msgctl" => Some((1, |command| matches!(command & !IPC_64, 2 | 11 | 13))),
        // IPC_STAT, SHM_STAT, SHM_STAT_ANY
        "shmctl" => Some((1, |command| matches!(command & !IPC_64, 2 | 13 | 15))),
        // PR_SET_NAME
        "prctl" => Some((0, |option| option == 15)),
        // SECCOMP_SET_MODE_FILTER
        "seccomp" => Some((0, |operation| operation == 1)),
        _ => None,
    }
}

/// F_SETLK, F_SETLKW, F_OFD_SETLK, F_OFD_SETLKW. The two that find a lock fill it in at the return.
fn fcntl_has_lock(command: u64) -> bool {
    matches!(command, 6 | 7 | 37 | 38)
}

/// FUTEX_WAIT, FUTEX_LOCK_PI, FUTEX_WAIT_BITSET, FUTEX_WAIT_REQUEUE_PI, FUTEX_LOCK_PI2: others have a number in its place.
fn futex_has_timeout(operation: u64) -> bool {
    matches!(operation & 0x7f, 0 | 6 | 9 | 11 | 13)
}

fn futex(operation: u64) -> Option<usize> {
    // Without FUTEX_PRIVATE_FLAG and FUTEX_CLOCK_REALTIME.
    match operation & 0x7f {
        // FUTEX_WAIT: with a timeout.
        0 => Some(4),
        // FUTEX_WAKE, FUTEX_FD.
        1 | 2 => Some(3),
        // FUTEX_REQUEUE.
        3 => Some(5),
        // FUTEX_LOCK_PI: a timeout follows the value, which is not used.
        6 | 13 => Some(4),
        // FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI.
        7 | 8 => Some(2),
        _ => None,
    }
}

fn prctl(option: u64) -> Option<usize> {
    match option {
        // PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_TIMING, PR_GET_SECCOMP, PR_GET_SECUREBITS, PR_GET_TIMERSLACK,
        // PR_TASK_PERF_EVENTS_DISABLE and _ENABLE. Others fail unless all arguments that follow are 0.
        3 | 7 | 13 | 21 | 27 | 30 | 31 | 32 => Some(1),
        // PR_SET_PDEATHSIG, PR_GET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_TIMING, PR_SET_NAME, PR_GET_NAME,
        // PR_CAPBSET_READ, PR_CAPBSET_DROP, PR_GET_TSC, PR_SET_TSC, PR_SET_SECUREBITS, PR_SET_TIMERSLACK,
        // PR_SET_CHILD_SUBREAPER, PR_GET_CHILD_SUBREAPER, PR_GET_TID_ADDRESS.
        1 | 2 | 4 | 8 | 14 | 15 | 16 | 23 | 24 | 25 | 26 | 28 | 29 | 36 | 37 | 40 => Some(2),
        // PR_SET_SECCOMP.
        22 => Some(3),
        _ => None,
    }
}
