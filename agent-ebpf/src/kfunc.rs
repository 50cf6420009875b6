//! Functions of the kernel that the programs call by their number in the running kernel's types.
//!
//! The number is not known before the load, and there may be none. So the object has calls with numbers of our own, which
//! stand nowhere else; the agent puts the kernel's there, or takes the calls out.

/// Disables preemption (`bpf_preempt_disable`).
pub const PREEMPT_DISABLE: u32 = 0x6b74_7001;
/// Enables preemption again (`bpf_preempt_enable`).
pub const PREEMPT_ENABLE: u32 = 0x6b74_7002;
/// No interrupts on this CPU (`bpf_local_irq_save`).
pub const IRQ_SAVE: u32 = 0x6b74_7003;
/// Interrupts again (`bpf_local_irq_restore`).
pub const IRQ_RESTORE: u32 = 0x6b74_7004;

/// The same pointer, which the verifier trusts no longer (`bpf_rdonly_cast`).
pub const CAST: u32 = 0x6b74_7005;

/// The functions that control preemption, with the kernel's names.
pub const PREEMPTION: [(u32, &str); 4] = [
    (PREEMPT_DISABLE, "bpf_preempt_disable"),
    (PREEMPT_ENABLE, "bpf_preempt_enable"),
    (IRQ_SAVE, "bpf_local_irq_save"),
    (IRQ_RESTORE, "bpf_local_irq_restore"),
];

/// The instruction that calls the function with this number: `BPF_JMP | BPF_CALL`, with `BPF_PSEUDO_KFUNC_CALL` as its
/// source register.
pub const fn call(number: u32) -> u64 {
    (number as u64) << 32 | 0x2085
}

/// The instruction that passes the number of a type to [`CAST`], its second argument: `r2 = number`.
pub const fn pass_type(number: u32) -> u64 {
    (number as u64) << 32 | 0x02b7
}

/// What takes the place of a call of [`CAST`] where the kernel has no such function: `r0 = r1`.
pub const RETURN_ARGUMENT: u64 = 0x10bf;

/// Numbers of types that the agent replaces by those of the running kernel, as those of functions.
pub mod types {
    /// `struct task_struct`.
    pub const TASK: u32 = 0x6b74_7101;
    /// `struct sock`.
    pub const SOCK: u32 = 0x6b74_7102;
    /// `struct request`.
    pub const REQUEST: u32 = 0x6b74_7103;
    /// `struct bio`.
    pub const BIO: u32 = 0x6b74_7104;
    /// `struct cgroup`.
    pub const CGROUP: u32 = 0x6b74_7105;

    /// `struct cgroup_subsys_state`.
    pub const CSS: u32 = 0x6b74_7106;

    /// `struct timespec64`: two numbers of 64 bits. Any memory is read as such, where no pointer is wanted.
    pub const WORDS: u32 = 0x6b74_7107;

    /// `struct file`.
    pub const FILE: u32 = 0x6b74_7108;
    /// `struct socket`.
    pub const SOCKET: u32 = 0x6b74_7109;

    /// All of them, with the kernel's names.
    pub const ALL: [(u32, &str); 9] = [
        (TASK, "task_struct"),
        (SOCK, "sock"),
        (REQUEST, "request"),
        (BIO, "bio"),
        (CGROUP, "cgroup"),
        (CSS, "cgroup_subsys_state"),
        (WORDS, "timespec64"),
        (FILE, "file"),
        (SOCKET, "socket"),
    ];
}

/// An instruction that does nothing, and that the kernel removes: a jump to the next one.
pub const NOTHING: u64 = 0x05;
