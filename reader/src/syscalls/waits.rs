//! System calls that wait.

/// Calls whose purpose is to wait: for time, descriptors, processes, signals, locks or messages.
const WAITS: &[&str] = &[
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "futex",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "msgrcv",
    "nanosleep",
    "pause",
    "poll",
    "ppoll",
    "ppoll_time64",
    "pselect6",
    "pselect6_time64",
    "restart_syscall",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "select",
    "_newselect",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "sigsuspend",
    "wait4",
    "waitid",
    "waitpid",
];

/// Whether the purpose of a call is to wait. Threads sleep in such calls interruptibly.
pub fn is_wait(name: &str) -> bool {
    WAITS.contains(&name)
}
