//! Read-only globals of the kernel side, set once at load. The verifier treats them as constants,
//! so struct offsets may be used in direct loads and switched-off features cost nothing.

/// How many processes behind the recorder's pipe can be left out.
pub const READERS: usize = 4;

/// A byte offset that the running kernel does not have.
pub const ABSENT: u32 = u32::MAX;

macro_rules! offsets {
    ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => {
        /// Byte offsets of kernel struct members, from the running kernel's BTF.
        #[repr(C)]
        #[derive(Clone, Copy, Debug)]
        pub struct Offsets { $($(#[$doc])* pub $name: u32,)* }

        impl Offsets {
            /// No offset known.
            pub const ABSENT: Self = Self { $($name: ABSENT,)* };
            /// The members, as `struct.member[.member]`, in the order of the fields.
            pub const PATHS: &'static [&'static str] = &[$($path,)*];

            /// The offsets, in the order of [`Self::PATHS`].
            pub fn from_values(values: &[u32]) -> Option<Self> {
                let mut values = values.iter().copied();
                let offsets = Self { $($name: values.next()?,)* };
                if values.next().is_some() { return None; }
                Some(offsets)
            }
        }
    };
}

offsets! {
    /// Thread id.
    task_pid = "task_struct.pid";
    /// Process id.
    task_tgid = "task_struct.tgid";
    /// Name.
    task_comm = "task_struct.comm";
    /// Start time on the boot clock (`start_boottime`; `real_start_time` before 5.5).
    task_start = "task_struct.start_boottime";
    /// Credentials.
    task_cred = "task_struct.cred";
    /// The process's leader.
    task_leader = "task_struct.group_leader";
    /// The parent that `getppid` names.
    task_parent = "task_struct.real_parent";
    /// Memory map.
    task_mm = "task_struct.mm";
    /// `PF_*` bits.
    task_flags = "task_struct.flags";
    /// Exit code.
    task_exit_code = "task_struct.exit_code";
    /// Pending signals of the thread alone.
    task_pending = "task_struct.pending.signal.sig";
    /// State shared by the process's threads.
    task_signal = "task_struct.signal";
    /// Whether it runs right now.
    task_on_cpu = "task_struct.on_cpu";
    /// The set of cgroups.
    task_cgroups = "task_struct.cgroups";
    /// `TS_COMPAT` (x86).
    task_status = "task_struct.thread_info.status";
    /// The cgroup in the default (v2) hierarchy.
    css_set_dfl = "css_set.dfl_cgrp";
    /// The states in each v1 controller.
    css_set_subsys = "css_set.subsys";
    /// The cgroup of a state.
    css_cgroup = "cgroup_subsys_state.cgroup";
    /// The node in the file system.
    cgroup_kn = "cgroup.kn";
    /// The hierarchy.
    cgroup_root = "cgroup.root";
    /// The hierarchy's number.
    root_hierarchy = "cgroup_root.hierarchy_id";
    /// The node's id.
    kn_id = "kernfs_node.id";
    /// Effective user id.
    cred_euid = "cred.euid";
    /// `SIGNAL_*` bits.
    signal_flags = "signal_struct.flags";
    /// Threads that have not ended.
    signal_live = "signal_struct.live";
    /// Exit code of the whole process.
    signal_group_exit_code = "signal_struct.group_exit_code";
    /// Start of the arguments.
    mm_arg_start = "mm_struct.arg_start";
    /// End of the arguments.
    mm_arg_end = "mm_struct.arg_end";
    /// The executable.
    mm_exe_file = "mm_struct.exe_file";
    /// The path of an open file.
    file_path = "file.f_path";
    /// The path given to exec.
    bprm_filename = "linux_binprm.filename";
}

/// What is fixed for one capture.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Struct offsets.
    pub offsets: Offsets,
    /// The recorder's process id.
    pub own_pid: u32,
    /// Processes to leave out as well, with their later children: those that the recorder's pipe
    /// leads to; 0 where there is none.
    pub reader_pids: [u32; READERS],
    /// 0: the v2 hierarchy; else 1 + index into `css_set.subsys` of the v1 controller.
    pub cgroup_subsys: u32,
    /// The number of the chosen hierarchy (column 2 of `/proc/cgroups`; 0 is v2).
    pub hierarchy: u32,
    /// 1: only cgroups in the allow-set.
    pub filter_cgroups: u32,
    /// The process whose tree is recorded, or 0 for all.
    pub tree_pid: u32,
    /// Rings in use; a CPU with a higher number uses the last one.
    pub rings: u32,
    /// 1: some syscalls are not wanted, so that the number is looked at before anything else.
    pub narrow: u32,
    /// Byte offsets in `struct pt_regs` of the six arguments of a native call.
    pub regs_args: [u32; 6],
    /// Byte offsets in `struct pt_regs` of the six arguments of a compat call.
    pub regs_compat_args: [u32; 6],
    /// Byte offset in `struct pt_regs` of the number of the call (`orig_ax`, `syscallno`).
    pub regs_nr: u32,
    /// Byte offset in `task_struct` of the bit that says that an exec is under way, or [`ABSENT`].
    pub in_execve: u32,
    /// That bit, in its byte.
    pub in_execve_mask: u32,
    /// The bits of `thread_info.status` that say compat (`TS_COMPAT`), 0 if it does not say.
    pub compat_bits: u32,
    /// 1 if `sched_process_exit` says itself whether the process ended (6.16 and later).
    pub exit_has_group_dead: u32,
}

impl Config {
    /// Before the agent has filled it in.
    pub const EMPTY: Self = Self {
        offsets: Offsets::ABSENT,
        own_pid: 0,
        reader_pids: [0; READERS],
        cgroup_subsys: 0,
        hierarchy: 0,
        filter_cgroups: 0,
        tree_pid: 0,
        rings: 1,
        narrow: 0,
        regs_args: [0; 6],
        regs_compat_args: [0; 6],
        regs_nr: 0,
        in_execve: ABSENT,
        in_execve_mask: 0,
        compat_bits: 0,
        exit_has_group_dead: 0,
    };
}
