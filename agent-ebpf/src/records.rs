//! What travels through the rings. Every struct is `repr(C)` with explicit sizes and no implicit
//! padding (checked below), so that the agent may read it from any bytes of that length.

pub mod block;
pub mod cpu;
pub mod details;
pub mod file;
pub mod net;
pub mod oom;
pub mod sched;
pub mod signals;
pub mod stall;
pub mod uring;

/// The start of every record. 32 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Header {
    /// When the event ended, ns of CLOCK_BOOTTIME.
    pub time: u64,
    /// The id (kernfs node id) of the subject's cgroup in the chosen hierarchy.
    pub cgroup: u64,
    /// The subject's process id in the initial namespace.
    pub pid: u32,
    /// The subject's thread id in the initial namespace.
    pub tid: u32,
    /// Bits of [`events::flags`].
    pub flags: u32,
    /// The CPU.
    pub cpu: u16,
    /// A [`events::Kind`] as its number.
    pub kind: u8,
    /// Which of several structs follows, where a kind has several.
    pub class: u8,
}

/// What a call's record has ([`crate::spec::Spec::class`]).
pub mod class {
    /// No arguments.
    pub const ARGS0: u8 = 0;
    /// Arguments 0 to 2.
    pub const ARGS3: u8 = 1;
    /// All six arguments.
    pub const ARGS6: u8 = 2;
    /// All six arguments, and one or two strings.
    pub const STRINGS: u8 = 3;
}

/// Path and arguments that a call of `execve` was given at its entry, in `N` bytes: the path, then the arguments, each with
/// its NUL, in the last [`GIVEN_ARGS`]. No event, and a system call by its kind. `head.time` is the entry, `head.flags` are
/// about the two strings, and `head.class` is an index of [`GIVEN_SIZES`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExecGiven<const N: usize> {
    /// Common part.
    pub head: Header,
    /// How many bytes there are of the path, without its NUL, and of the arguments.
    pub len: [u32; 2],
    /// The bytes.
    pub bytes: [u8; N],
}

/// Sizes of [`ExecGiven`].
pub const GIVEN_SIZES: [usize; 3] = [1024, 4104 + 4104, 4104 + 2 * EXEC_ARGS];
/// Bytes for arguments in each of them.
pub const GIVEN_ARGS: [usize; 3] = [512, 4104, 2 * EXEC_ARGS];

/// `TASK_COMM_LEN` of the kernel.
pub const COMM_LEN: usize = 16;

use details::TaskDetails;

/// A new task. The header's subject is the parent.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Fork {
    /// Common part.
    pub head: Header,
    /// The child's cgroup.
    pub child_cgroup: u64,
    /// The child's start time, ns of CLOCK_BOOTTIME: with its id this is its identity.
    pub child_start: u64,
    /// The child's process id.
    pub child_pid: u32,
    /// The child's thread id.
    pub child_tid: u32,
    /// The parent's effective user id.
    pub uid: u32,
    /// 1 if parent and child belong to the recorded command.
    pub tree: u32,
    /// The process id that the child calls its parent: not the subject's with `CLONE_PARENT`.
    pub child_ppid: u32,
    /// The subject's parent.
    pub ppid: u32,
    /// The parent's name, which the child inherits.
    pub comm: [u8; COMM_LEN],
    /// The child's ids and credentials.
    pub child: TaskDetails,
}

/// A thread that has changed since it was reported last: its process has another parent, because the last one has ended and an
/// ancestor or the init process has taken its place, or it has other credentials, another session, process group or terminal.
/// No event, and a [`Fork`] by its kind; its [`Header::class`] is [`Change::CLASS`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Change {
    /// Common part; the subject is the thread.
    pub head: Header,
    /// The parent's process id.
    pub ppid: u32,
    /// Always 0.
    pub reserved: u32,
    /// The name of the parent's leader, should the agent not know it.
    pub comm: [u8; COMM_LEN],
    /// What is true now.
    pub details: TaskDetails,
}

impl Change {
    /// In [`Header::class`], where a [`Fork`] has 0.
    pub const CLASS: u8 = 1;
}

/// Bytes kept of an executed file's path.
pub const EXEC_PATH: usize = 1024;
/// Bytes kept of an executed program's arguments.
pub const EXEC_ARGS: usize = 32 << 10;
/// Bytes of room for arguments in a record of an exec: in most of them, and where that is not enough.
pub const EXEC_ARGS_SIZES: [usize; 2] = [3072, EXEC_ARGS];

/// A successful exec. The arguments follow.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Exec {
    /// Common part. Of the flags, `STR0_*` are about the path and `STR1_*` about the arguments.
    pub head: Header,
    /// The thread id before the exec.
    pub old_tid: u32,
    /// The effective user id after the exec.
    pub uid: u32,
    /// How many bytes of the path follow.
    pub path_len: u32,
    /// How many bytes of the arguments follow.
    pub args_len: u32,
    /// The parent's process id.
    pub ppid: u32,
    /// Always 0.
    pub reserved: u32,
    /// The id of the executed file ([`mod@file`]), 0 if unknown.
    pub exe: u64,
    /// The name after the exec.
    pub comm: [u8; COMM_LEN],
    /// Ids and credentials after the exec.
    pub details: TaskDetails,
    /// The path as given to the call.
    pub path: [u8; EXEC_PATH],
}

/// A successful exec with `N` bytes of room for its arguments.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct ExecArgs<const N: usize> {
    /// Everything else.
    pub exec: Exec,
    /// The arguments, each with its NUL.
    pub args: [u8; N],
}

/// A thread's end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Exit {
    /// Common part.
    pub head: Header,
    /// The code as `wait` reports it: status << 8 | core << 7 | signal.
    pub code: u32,
    /// 1 if this was the last thread of the process.
    pub process: u32,
    /// Its effective user id.
    pub uid: u32,
    /// Its parent's process id.
    pub ppid: u32,
}

/// A thread's new name.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Rename {
    /// Common part; the subject is the renamed thread.
    pub head: Header,
    /// Its effective user id.
    pub uid: u32,
    /// Its parent's process id.
    pub ppid: u32,
    /// The new name.
    pub comm: [u8; COMM_LEN],
}

/// Bytes kept of a cgroup's path.
pub const CGROUP_PATH: usize = 3960;

/// Classes of records of cgroups.
pub mod cgroup_class {
    /// In the hierarchy that identifies cgroups.
    pub const IDENTIFYING: u8 = 0;
    /// In the hierarchy of the I/O controller, where that is another one: no event.
    pub const IO: u8 = 1;
}

/// A cgroup event (mkdir, rmdir, attach). The header's subject is whoever did it, its class one of [`cgroup_class`].
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Cgroup {
    /// Common part.
    pub head: Header,
    /// The id of the cgroup.
    pub id: u64,
    /// The moved task's process id (attach).
    pub moved_pid: u32,
    /// The moved task's thread id (attach).
    pub moved_tid: u32,
    /// 1 if the whole process moved (attach).
    pub threadgroup: u32,
    /// Effective user id of whoever did it.
    pub uid: u32,
    /// The process id of that one's parent.
    pub ppid: u32,
    /// How many bytes of the path follow.
    pub path_len: u32,
    /// The path inside the hierarchy.
    pub path: [u8; CGROUP_PATH],
}

/// What the task iterator writes for each thread of the machine.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskInfo {
    /// The cgroup id.
    pub cgroup: u64,
    /// When the thread started, ns of CLOCK_BOOTTIME.
    pub start: u64,
    /// When the process's leader started, ns of CLOCK_BOOTTIME.
    pub leader_start: u64,
    /// When its call was entered, ns of CLOCK_BOOTTIME; 0 if unknown or in no call.
    pub call_start: u64,
    /// The call's arguments.
    pub args: [u64; 6],
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The parent's process id.
    pub ppid: u32,
    /// Effective user id.
    pub uid: u32,
    /// [`events::syscall_key`] of the call that the thread is in, or `u32::MAX`.
    pub call: u32,
    /// 1 for a kernel thread.
    pub kthread: u32,
    /// The thread's name.
    pub comm: [u8; COMM_LEN],
    /// The name of the process's leader.
    pub leader_comm: [u8; COMM_LEN],
    /// How many bytes of the executable's path follow this struct.
    pub exe_len: u32,
    /// Bits of [`task_flags`].
    pub flags: u32,
    /// What the call's descriptors stand for.
    pub files: [u64; 2],
    /// Ids and credentials.
    pub details: TaskDetails,
}

/// Per-task state of the kernel side ([`TaskState::flags`]).
pub mod task_flags {
    /// Inside a call that was seen to start.
    pub const LIVE: u32 = 1 << 0;
    /// Inside a call whose start was not seen.
    pub const START_UNKNOWN: u32 = 1 << 1;
    /// A new task, whose first return is not the return of a call.
    pub const CHILD: u32 = 1 << 2;
    /// Not to be recorded: the recorder, or the reader of its pipe.
    pub const EXCLUDED: u32 = 1 << 3;
    /// Belongs to the recorded command.
    pub const TREE: u32 = 1 << 4;
    /// Was moved into a recorded cgroup: it may be in a call whose entry was not recorded.
    pub const MOVED: u32 = 1 << 5;
    /// `sys_enter` has handled the entry of its call; read by its fallback program only.
    pub const ENTRY_SEEN: u32 = 1 << 6;
    /// `sys_exit` has handled its last return; read by its fallback program only.
    pub const RETURN_SEEN: u32 = 1 << 7;
    /// With [`LIVE`]: the strings of its call are in a record of the entry.
    pub const SENT: u32 = 1 << 8;
    /// With [`SENT`]: other threads may have changed them before the kernel took its copy. They are to be read again.
    pub const SHARED: u32 = 1 << 9;
    /// From this bit on: the process id of the parent that was reported last, 0 for none. No process id is longer
    /// (`PID_MAX_LIMIT` is 2^22).
    pub const PARENT_SHIFT: u32 = 10;
    /// The bits of that.
    pub const PARENT: u32 = u32::MAX << PARENT_SHIFT;
    /// What is true of a task whatever call it is in.
    pub const KEPT: u32 = EXCLUDED | TREE | PARENT;
}

/// The value of the task storage: the call that a task is in, and what was reported of it. 136 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct TaskState {
    /// When the call was entered, ns of CLOCK_BOOTTIME.
    pub start: u64,
    /// Its arguments.
    pub args: [u64; 6],
    /// [`events::syscall_key`].
    pub key: u32,
    /// Bits of [`task_flags`], and the parent that was reported last.
    pub flags: u32,
    /// What its descriptors stand for: ids of [`mod@file`], 0 for nothing.
    pub files: [u64; 2],
    /// The open files behind them, should other threads be able to replace them meanwhile; else 0.
    pub open: [u64; 2],
    /// What the last reported [`TaskDetails`] are from: the kernel's objects for credentials, session, process group and
    /// terminal; the login user.
    pub reported: [u64; 5],
}

/// Fallback programs, which do the work of another program on the same hook where the kernel has skipped that: the index of
/// each in the map of their runs.
pub mod fallback {
    /// For `sys_enter`.
    pub const SYS_ENTER: usize = 0;
    /// For `sys_exit`.
    pub const SYS_EXIT: usize = 1;
    /// For `sched_process_fork`.
    pub const FORK: usize = 2;
    /// For `sched_process_exec`.
    pub const EXEC: usize = 3;
    /// For `sched_process_exit`.
    pub const EXIT: usize = 4;
    /// For `task_rename`.
    pub const RENAME: usize = 5;
    /// How many there are.
    pub const COUNT: usize = 6;
}

/// Where an event was lost in the kernel ([`LossKey::stage`]).
pub mod stage {
    /// No room in the ring.
    pub const RING: u8 = 1;
    /// Task storage could not be had.
    pub const STORAGE: u8 = 2;
    /// A map was full.
    pub const MAP: u8 = 3;
    /// The kernel did not run the program; another one has noticed.
    pub const SKIPPED: u8 = 4;
}

/// A key of the per-CPU loss map.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LossKey {
    /// The cgroup of the lost event; `u64::MAX` if the map had no room for another cgroup.
    pub cgroup: u64,
    /// The kind of the lost event.
    pub kind: u8,
    /// One of [`stage`].
    pub stage: u8,
    /// Always 0.
    pub reserved: [u16; 3],
}

/// Structs that may be read from any bytes of their length.
///
/// # Safety
///
/// `repr(C)`, made of integers alone, without implicit padding.
pub unsafe trait Plain: Copy {}

// SAFETY: an array of integers.
unsafe impl Plain for [u32; 2] {}

/// Declares structs that cross a ring buffer or a map, each with its size: the sum of its fields, so that an implicit
/// padding stops the compiler.
macro_rules! plain {
    ($($ty:ty = $size:expr;)*) => {
        $(
            const _: () = assert!(size_of::<$ty>() == $size);
            // SAFETY: repr(C) and made of integers, as all types listed here; no padding by the line above.
            unsafe impl $crate::records::Plain for $ty {}
        )*
    };
}
pub(crate) use plain;

plain! {
    Header = 32;
    ExecGiven<{ GIVEN_SIZES[0] }> = 32 + 8 + GIVEN_SIZES[0];
    Fork = 32 + 16 + 24 + 16 + 72;
    Change = 40 + 16 + 72;
    Exec = 32 + 32 + 16 + 72 + EXEC_PATH;
    ExecArgs<{ EXEC_ARGS_SIZES[0] }> = 32 + 32 + 16 + 72 + EXEC_PATH + EXEC_ARGS_SIZES[0];
    ExecArgs<{ EXEC_ARGS_SIZES[1] }> = 32 + 32 + 16 + 72 + EXEC_PATH + EXEC_ARGS_SIZES[1];
    Exit = 48;
    Rename = 56;
    Cgroup = 32 + 32 + CGROUP_PATH;
    TaskState = 136;
    TaskInfo = 32 + 48 + 24 + 32 + 8 + 16 + 72;
    LossKey = 16;
}
