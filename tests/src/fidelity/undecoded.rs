//! Arguments that strace decodes and ktape does not, each with the reason.

/// Why ktape does not decode an argument that strace decodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// It is the content of a buffer, which ktape never records.
    Content,
    /// What it points to depends on a command, and is no structure that is declared for it.
    Command,
    /// The call has two other strings or structures, the most that are recorded.
    Third,
    /// It points to other pointers.
    Pointers,
    /// It is filled in when the call fails.
    Failure,
    /// The kernel no longer has the call.
    Removed,
}

/// Calls and positions.
const UNDECODED: &[(&str, usize, Why)] = &[
    ("_sysctl", 0, Why::Removed),
    ("arch_prctl", 1, Why::Command),
    ("clock_nanosleep", 3, Why::Failure),
    ("fcntl", 2, Why::Command),
    ("get_thread_area", 0, Why::Command),
    ("getresgid", 2, Why::Third),
    ("getresuid", 2, Why::Third),
    ("getsockopt", 3, Why::Command),
    ("io_cancel", 1, Why::Pointers),
    ("io_submit", 2, Why::Pointers),
    ("ioctl", 2, Why::Command),
    ("kcmp", 4, Why::Command),
    ("keyctl", 1, Why::Command),
    ("lookup_dcookie", 1, Why::Removed),
    ("mincore", 2, Why::Content),
    ("modify_ldt", 1, Why::Command),
    ("move_pages", 2, Why::Third),
    ("name_to_handle_at", 2, Why::Third),
    ("nanosleep", 1, Why::Failure),
    ("ppoll", 3, Why::Third),
    ("prctl", 1, Why::Command),
    ("prctl", 2, Why::Command),
    ("pselect6", 3, Why::Third),
    ("pselect6", 4, Why::Third),
    ("pselect6", 5, Why::Third),
    ("recvfrom", 1, Why::Content),
    ("recvmsg", 1, Why::Pointers),
    ("rt_sigtimedwait", 2, Why::Third),
    ("seccomp", 2, Why::Command),
    ("select", 3, Why::Third),
    ("select", 4, Why::Third),
    ("semctl", 3, Why::Command),
    ("sendmsg", 1, Why::Pointers),
    ("sendto", 1, Why::Content),
    ("shmctl", 2, Why::Command),
];

/// Why the argument of a call at a position is not decoded; `None` if that is not known.
pub fn why(call: &str, position: usize) -> Option<Why> {
    UNDECODED.iter().find(|(name, at, _)| *name == call && *at == position).map(|(.., why)| *why)
}
