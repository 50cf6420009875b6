//! Ids and credentials of threads and processes, which travel with what changes them.

use super::plain;

/// A thread, with its process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskDetails {
    /// What each thread has for itself.
    pub thread: ThreadDetails,
    /// What all threads of its process share.
    pub process: ProcessDetails,
}

/// What each thread has for itself.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ThreadDetails {
    /// Effective capabilities, by their bits.
    pub cap_effective: u64,
    /// Capabilities that it can make effective.
    pub cap_permitted: u64,
    /// Capabilities that it can pass on to a program.
    pub cap_inheritable: u64,
    /// Effective group id in the initial namespace.
    pub gid: u32,
    /// The user who has logged in; `u32::MAX` if there is none.
    pub loginuid: u32,
    /// Its id in its own pid namespace; 0 if it is gone.
    pub vtid: u32,
    /// Always 0.
    pub reserved: u32,
}

/// What all threads of a process share.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessDetails {
    /// The inode number of the executable; 0 of kernel threads.
    pub exe_ino: u64,
    /// Its id in its own pid namespace; 0 if it is gone.
    pub vpid: u32,
    /// Its session, in the initial pid namespace.
    pub sid: u32,
    /// Its process group, in the initial pid namespace.
    pub pgid: u32,
    /// The same in its own one; 0 if the group is outside.
    pub vpgid: u32,
    /// The device of its controlling terminal, as in `/proc/PID/stat`; 0 if it has none.
    pub tty: u32,
    /// Bits of [`exe`].
    pub exe: u32,
}

/// What kind of file an executable is.
pub mod exe {
    /// In the upper layer of an overlayfs.
    pub const UPPER_LAYER: u32 = 1;
    /// Made by `memfd_create`.
    pub const MEMFD: u32 = 1 << 1;
}

plain! {
    ThreadDetails = 24 + 16;
    ProcessDetails = 8 + 24;
    TaskDetails = 40 + 32;
}
