//! Constants of the kernel side, set once at load: numbers in its instructions, so that struct offsets may be used in direct
//! loads and switched-off features cost nothing.

pub mod offsets;

pub use offsets::{ALTERNATIVES, OPTIONAL, Offsets, URING_STRUCTS};

/// How much of a process that reads the recorder's output is excluded: bits of the values of `READERS`.
pub mod reader {
    /// It is not recorded.
    pub const EXCLUDED: u32 = 1 << 0;
    /// Nor are its later children.
    pub const CHILDREN: u32 = 1 << 1;
}

/// A byte offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Block tracepoints whose first argument was the queue once. It went in 5.11, from those of requests also within 5.10.
pub mod block_hook {
    /// `block_bio_queue`.
    pub const BIO_QUEUE: u32 = 1;
    /// `block_bio_remap`.
    pub const BIO_REMAP: u32 = 1 << 1;
    /// `block_split`.
    pub const SPLIT: u32 = 1 << 2;
    /// `block_rq_issue`.
    pub const RQ_ISSUE: u32 = 1 << 3;
    /// `block_rq_requeue`.
    pub const RQ_REQUEUE: u32 = 1 << 4;
}

/// What the hook of io_uring's completions passes, after the ring.
pub mod uring_completion {
    /// User data, result, flags.
    pub const USER_DATA: u32 = 0;
    /// The request first.
    pub const REQUEST: u32 = 1;
    /// The request, then a completion queue entry.
    pub const ENTRY: u32 = 2;
}

/// No hierarchy: not a number that the kernel gives out.
pub const NO_HIERARCHY: u32 = u32::MAX;

/// What is fixed for one capture.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Struct offsets.
    pub offsets: Offsets,
    /// The recorder's process id.
    pub own_pid: u32,
    /// 1: the recorder writes to a pipe, and the processes in `READERS`, which read it, are excluded as well.
    pub readers: u32,
    /// 0: the v2 hierarchy; else 1 + index into `css_set.subsys` of the v1 controller.
    pub cgroup_subsys: u32,
    /// The number of the chosen hierarchy (column 2 of `/proc/cgroups`; 0 is v2).
    pub hierarchy: u32,
    /// The number of the hierarchy in which block I/O is charged, if it is not the chosen one and block requests are
    /// recorded, else [`NO_HIERARCHY`].
    pub io_hierarchy: u32,
    /// 1: only cgroups in the allow-set.
    pub filter_cgroups: u32,
    /// The process whose tree is recorded, or 0 for all.
    pub tree_pid: u32,
    /// Ring buffers of each sort; a CPU with a higher number uses the last one.
    pub rings: u32,
    /// Rings that CPUs take for themselves.
    pub cpu_rings: u32,
    /// Segments of each of those, a power of two.
    pub ring_segments: u32,
    /// 1 if processors may show stores to others in another order than they are made in.
    pub weak_order: u32,
    /// 1 if the kernel lets programs take a number for a pointer (`bpf_rdonly_cast`, 6.2 and later).
    pub casts: u32,
    /// 1: some syscalls are not wanted, so that the number is looked at before anything else.
    pub narrow: u32,
    /// Byte offsets in `struct pt_regs` of the six arguments of a native call.
    pub regs_args: [u32; 6],
    /// Byte offsets in `struct pt_regs` of the six arguments of a compat call.
    pub regs_compat_args: [u32; 6],
    /// Byte offset in `struct pt_regs` of the number of the call (`orig_ax`, `syscallno`).
    pub regs_nr: u32,
    /// Byte offset in a kernel stack of the `struct pt_regs` of the entry, for the legacy programs; 0 if it is not
    /// known.
    pub stack_registers: u32,
    /// Byte offset in `task_struct` of the bit that marks an exec under way, or [`ABSENT`].
    pub in_execve: u32,
    /// That bit, in its byte.
    pub in_execve_mask: u32,
    /// 1: fallback programs are attached, which need marks of what the first programs have handled.
    pub fallbacks: u32,
    /// The bits of `thread_info.status` that mark a compat call (`TS_COMPAT`), 0 if there are none.
    pub compat_bits: u32,
    /// 1 if `sched_process_exit` has an argument for whether the process ended (6.16 and later).
    pub exit_has_group_dead: u32,
    /// 1 if TCP sockets are wanted.
    pub net: u32,
    /// 1 if programs can read the cookie of a socket (5.12 and later).
    pub socket_cookie: u32,
    /// Whether there is a helper that calls a function in a loop (`bpf_loop`, 5.17 and later): the verifier walks through
    /// that once.
    pub loops: u32,
    /// 1 + the memory controller's index in `css_set.subsys`, 0 if there is none.
    pub memory_subsys: u32,
    /// Bytes from one count of resident pages to the next.
    pub rss_stride: u32,
    /// Where in each the number is.
    pub rss_count: u32,
    /// 1 if `mark_victim` passes the task, not only its number (6.8 and later).
    pub oom_has_task: u32,
    /// 1 if `sched_switch` has an argument for the state in which the thread left (5.18 and later).
    pub switch_has_state: u32,
    /// 1: the times of threads are kept, for switches or stalls.
    pub sched: u32,
    /// 1: system calls are recorded.
    pub calls: u32,
    /// 1: their returns alone are, so that nothing is known of a call before it.
    pub returns_only: u32,
    /// 1: switches are recorded, so that the times of the last switch are true.
    pub switches: u32,
    /// A sleep of this many milliseconds is a stall; 0 for none.
    pub stall_ms: u32,
    /// The [`block_hook`]s whose second argument is the request or bio, after the queue.
    pub block_has_queue: u32,
    /// The bit of `request.rq_flags` that marks a request as one step of a flush sequence.
    pub block_flush_seq: u32,
    /// The first operation that is between a driver and its device alone (`REQ_OP_DRV_IN`).
    pub block_op_driver: u32,
    /// Bytes of `struct upid`.
    pub upid_size: u32,
    /// Bytes of `struct inode`: behind it, overlayfs has the file in the upper layer.
    pub inode_size: u32,
    /// The argument of the hook of io_uring's submissions that is the request.
    pub uring_request: u32,
    /// One of [`uring_completion`].
    pub uring_completion: u32,
}

/// What stands for the first field of [`Config`] in the object's instructions; the fields after it have the numbers after it.
/// They stand nowhere else.
const PLACEHOLDER: u32 = 0x6b75_0000;

/// What stands for the field at this offset.
pub const fn placeholder(offset: usize) -> u32 {
    PLACEHOLDER + offset as u32 / 4
}

/// The offset of a load that stands for the one in the first field of [`Config`]; the fields after it have the offsets below it. No
/// program reads so far in front of what a pointer points to.
const OFFSET_PLACEHOLDER: i32 = -0x7000;

/// The offset of a load that stands for the one in the field at this offset.
pub const fn offset_placeholder(offset: usize) -> i32 {
    OFFSET_PLACEHOLDER - offset as i32 / 4
}

/// The index of the field that the offset of a load stands for.
pub const fn offset_field(number: i16) -> Option<usize> {
    let index = OFFSET_PLACEHOLDER - number as i32;
    if index >= 0 && (index as usize) < size_of::<Config>() / 4 { Some(index as usize) } else { None }
}

/// The index of the field that a number of an instruction stands for.
pub const fn field(number: u32) -> Option<usize> {
    match number.checked_sub(PLACEHOLDER) {
        Some(index) if (index as usize) < size_of::<Config>() / 4 => Some(index as usize),
        _ => None,
    }
}

impl Config {
    /// Before the agent has filled it in.
    pub const EMPTY: Self = Self {
        offsets: Offsets::ABSENT,
        own_pid: 0,
        readers: 0,
        cgroup_subsys: 0,
        hierarchy: 0,
        io_hierarchy: NO_HIERARCHY,
        filter_cgroups: 0,
        tree_pid: 0,
        rings: 1,
        cpu_rings: 1,
        ring_segments: 1,
        weak_order: 0,
        casts: 0,
        narrow: 0,
        regs_args: [0; 6],
        regs_compat_args: [0; 6],
        regs_nr: 0,
        stack_registers: 0,
        in_execve: ABSENT,
        in_execve_mask: 0,
        fallbacks: 0,
        compat_bits: 0,
        exit_has_group_dead: 0,
        net: 0,
        socket_cookie: 0,
        loops: 0,
        memory_subsys: 0,
        rss_stride: 0,
        rss_count: 0,
        oom_has_task: 0,
        switch_has_state: 0,
        sched: 0,
        calls: 0,
        returns_only: 0,
        switches: 0,
        stall_ms: 0,
        block_has_queue: 0,
        block_flush_seq: 0,
        block_op_driver: 0,
        upid_size: 0,
        inode_size: 0,
        uring_request: 0,
        uring_completion: 0,
    };
}
