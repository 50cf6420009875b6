//! What the iterator that looks for stalled threads writes, and what the hook of wakeups keeps for them.

/// What a [`StallHead`] is followed by.
pub mod what {
    /// A thread that was reported before and still sleeps: the head alone.
    pub const SLEEPS: u32 = 1;
    /// A thread that was reported before and no longer sleeps that sleep: the head alone.
    pub const WOKEN: u32 = 2;
    /// To be reported: a [`super::StallBody`] follows.
    pub const REPORT: u32 = 3;
}

/// A thread in, or just out of, a long uninterruptible sleep. 48 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct StallHead {
    /// One of [`what`].
    pub what: u32,
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// Effective user id.
    pub uid: u32,
    /// When the thread started, ns of CLOCK_BOOTTIME: with its id this is its identity.
    pub start: u64,
    /// When the sleep began, ns of CLOCK_BOOTTIME.
    pub since: u64,
    /// When it was looked at, or with `WOKEN` when it was woken, as far as known; ns of CLOCK_BOOTTIME.
    pub time: u64,
    /// Its cgroup.
    pub cgroup: u64,
}

/// Most addresses of a kernel stack.
pub const STACK: usize = 32;
/// Room for the name of a backing device, with its NUL.
pub const BDI_NAME: usize = 16;
/// Bytes of a [`StallBody`].
pub const STALL_BODY: usize = 48 + 8 + 8 * STACK + BDI_NAME + 32 + 16;

/// Where a thread sleeps.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StallBody {
    /// The arguments of its call.
    pub args: [u64; 6],
    /// The work function of a kernel worker, an address; 0 if it is none.
    pub work: u64,
    /// The kernel's stack, innermost first.
    pub stack: [u64; STACK],
    /// The name (`major:minor`) of the backing device, should the work be one of writeback; it means nothing otherwise.
    pub bdi: [u8; BDI_NAME],
    /// [`events::syscall_key`] of its call, or [`events::NO_CALL`].
    pub call: u32,
    /// How many addresses the stack has.
    pub depth: u32,
    /// 1 if the first argument, taken as a file descriptor, names an open file.
    pub file: u32,
    /// That file's mode (`S_IF*`).
    pub mode: u32,
    /// The device that it is, `major << 20 | minor`.
    pub rdev: u32,
    /// The device that its file system is on.
    pub dev: u32,
    /// What the call's descriptors stand for: ids of [`super::file`], 0 if unknown.
    pub files: [u64; 2],
    /// How often this sleep was reported, this time included.
    pub reports: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Addresses kept of the stack of whoever wakes a stalled thread: enough to see an interrupt.
pub const WAKER_STACK: usize = 32;

/// Who woke a thread whose stall was reported, by the thread's id.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Wake {
    /// When, ns of CLOCK_BOOTTIME.
    pub time: u64,
    /// When the woken thread started, ns of CLOCK_BOOTTIME.
    pub start: u64,
    /// The cgroup of the current thread.
    pub cgroup: u64,
    /// The current thread's process id. In an interrupt it is unrelated to the wakeup; the stack shows which it is.
    pub pid: u32,
    /// The current thread's id.
    pub tid: u32,
    /// 1 if the woken thread is to die before it runs in user space again.
    pub dying: u32,
    /// Always 0.
    pub reserved: u32,
    /// The kernel's stack, innermost first; 0 after its end.
    pub stack: [u64; WAKER_STACK],
}

const _: () = assert!(size_of::<StallHead>() == 48);
const _: () = assert!(size_of::<StallBody>() == STALL_BODY && STALL_BODY.is_multiple_of(8));
const _: () = assert!(size_of::<Wake>() == 40 + 8 * WAKER_STACK);
