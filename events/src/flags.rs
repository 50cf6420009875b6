//! Bits of a record's `flags`, stored in the file as they are: never reuse one.

/// The call was entered before the capture could see it: start and duration are unknown.
pub const START_UNKNOWN: u32 = 1 << 0;
/// The call was denied or answered by seccomp before it was entered.
pub const SECCOMP: u32 = 1 << 1;
/// The call has not returned: `dur` is how long it has lasted so far, `ret` means nothing.
pub const UNFINISHED: u32 = 1 << 2;
/// The call never gives a result (`exit`, `exit_group`, `rt_sigreturn`).
pub const NO_RESULT: u32 = 1 << 3;
/// With [`UNFINISHED`]: the thread was killed inside the call.
pub const KILLED: u32 = 1 << 4;
/// The first string could not be read.
pub const STR0_UNREAD: u32 = 1 << 5;
/// The first string is longer than what was kept.
pub const STR0_CUT: u32 = 1 << 6;
/// The second string could not be read.
pub const STR1_UNREAD: u32 = 1 << 7;
/// The second string is longer than what was kept.
pub const STR1_CUT: u32 = 1 << 8;
/// Written after later events had been written already.
pub const LATE: u32 = 1 << 9;
/// With [`UNFINISHED`]: the capture ended first.
pub const AT_END: u32 = 1 << 10;
/// A negative duration was clamped to 0 (the boot clock may step back between CPUs).
pub const CLAMPED: u32 = 1 << 11;
/// The kernel may have used other strings: these were read when the call returned, since at its entry they could not be read or
/// the entry was not seen, or another thread changes them.
pub const STRINGS_UNCERTAIN: u32 = 1 << 12;
/// The call created the file that it opened.
pub const CREATED: u32 = 1 << 13;
