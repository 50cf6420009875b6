//! Members of kernel structs, and where they are in the running kernel.

use super::ABSENT;

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
    /// Whether seccomp looks at its calls.
    task_seccomp = "task_struct.seccomp.mode";
    /// State shared by the process's threads.
    task_signal = "task_struct.signal";
    /// Whether it runs right now.
    task_on_cpu = "task_struct.on_cpu";
    /// The set of cgroups.
    task_cgroups = "task_struct.cgroups";
    /// The lower end of the kernel stack.
    task_stack = "task_struct.stack";
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
    /// Effective group id.
    cred_egid = "cred.egid";
    /// Capabilities.
    cred_effective = "cred.cap_effective";
    /// Capabilities that it can make effective.
    cred_permitted = "cred.cap_permitted";
    /// Capabilities that it can pass on.
    cred_inheritable = "cred.cap_inheritable";
    /// The user who has logged in, with the audit subsystem.
    task_loginuid = "task_struct.loginuid";
    /// A thread's numbers.
    task_thread_pid = "task_struct.thread_pid";
    /// Those of the process, its group and its session, by `enum pid_type`.
    signal_pids = "signal_struct.pids";
    /// The controlling terminal.
    signal_tty = "signal_struct.tty";
    /// The driver of a terminal.
    tty_driver = "tty_struct.driver";
    /// Its number among those of the driver.
    tty_index = "tty_struct.index";
    /// A driver's major number.
    driver_major = "tty_driver.major";
    /// Its first minor number.
    driver_minor = "tty_driver.minor_start";
    /// `SIGNAL_*` bits.
    signal_flags = "signal_struct.flags";
    /// Threads that have not ended.
    signal_live = "signal_struct.live";
    /// Exit code of the whole process.
    signal_group_exit_code = "signal_struct.group_exit_code";
    /// How many tasks use it.
    mm_users = "mm_struct.mm_users.counter";
    /// Start of the arguments.
    mm_arg_start = "mm_struct.arg_start";
    /// End of the arguments.
    mm_arg_end = "mm_struct.arg_end";
    /// The executable.
    mm_exe_file = "mm_struct.exe_file";
    /// The path of an open file.
    file_path = "file.f_path";
    /// The name of an open file, and the place of that in a mount.
    file_dentry = "file.f_path.dentry";
    /// The mount that it was opened in.
    file_mnt = "file.f_path.mnt";
    /// How it was opened (`FMODE_*`).
    file_mode = "file.f_mode";
    /// What its driver can do.
    file_op = "file.f_op";
    /// The directory that a name is in.
    dentry_parent = "dentry.d_parent";
    /// A name's hash, then its length.
    dentry_hash = "dentry.d_name.hash";
    /// The name.
    dentry_name = "dentry.d_name.name";
    /// What has the name.
    dentry_inode = "dentry.d_inode";
    /// Null once the name is removed.
    dentry_pprev = "dentry.d_hash.pprev";
    /// The uppermost directory of a mount.
    vfsmount_root = "vfsmount.mnt_root";
    /// The part of a mount that files know.
    mount_mnt = "mount.mnt";
    /// The mount that a mount is in.
    mount_parent = "mount.mnt_parent";
    /// The directory that a mount covers.
    mount_point = "mount.mnt_mountpoint";
    /// The mount namespace.
    mount_ns = "mount.mnt_ns";
    /// The working directory and others.
    task_fs = "task_struct.fs";
    /// Its name.
    pwd_dentry = "fs_struct.pwd.dentry";
    /// The mount that it is in.
    pwd_mnt = "fs_struct.pwd.mnt";
    /// How many tasks share a table of open files.
    files_count = "files_struct.count.counter";
    /// The number of an inode.
    inode_ino = "inode.i_ino";
    /// How often the number was used before, or a random number.
    inode_generation = "inode.i_generation";
    /// The type of a file system.
    sb_magic = "super_block.s_magic";
    /// The address that a unix socket is bound to.
    unix_addr = "unix_sock.addr";
    /// The socket that a unix socket is connected to.
    unix_peer = "unix_sock.peer";
    /// The length of such an address.
    unix_address_len = "unix_address.len";
    /// The address.
    unix_address_name = "unix_address.name";
    /// The process that made a socket's peer.
    sk_peer_pid = "sock.sk_peer_pid";
    /// A process's numbers, that of the initial namespace first.
    pid_numbers = "pid.numbers";
    /// How many namespaces below the initial one these go.
    pid_level = "pid.level";
    /// The namespace that such a number is of.
    upid_ns = "upid.ns";
    /// The path given to exec.
    bprm_filename = "linux_binprm.filename";
    /// A cgroup's place among its controllers' states.
    cgroup_self = "cgroup.self";
    /// How deep a cgroup lies.
    cgroup_level = "cgroup.level";
    /// A node's name.
    kn_name = "kernfs_node.name";
    /// The state above.
    css_parent = "cgroup_subsys_state.parent";
    /// What a file's driver keeps: a socket.
    file_private = "file.private_data";
    /// The protocol's part of a socket.
    socket_sk = "socket.sk";
    /// `IPPROTO_*`.
    sk_protocol = "sock.sk_protocol";
    /// Which directions are shut down.
    sk_shutdown = "sock.sk_shutdown";
    /// `SOCK_STREAM` and others.
    sk_type = "sock.sk_type";
    /// The error that ended it, or that the next call on it will return.
    sk_err = "sock.sk_err";
    /// The user that the socket belongs to.
    sk_uid = "sock.sk_uid";
    /// The v2 cgroup it was made in.
    sk_cgroup = "sock.sk_cgrp_data.cgroup";
    /// The same where a number may stand in its place (before 5.15).
    sk_cgroup_val = "sock.sk_cgrp_data.val";
    /// `SOCK_*` bits.
    sk_flags = "sock.__sk_common.skc_flags";
    /// One of `records::net::tcp`.
    sk_state = "sock.__sk_common.skc_state";
    /// `AF_*`.
    sk_family = "sock.__sk_common.skc_family";
    /// IPv4 address of the other side.
    sk_daddr = "sock.__sk_common.skc_daddr";
    /// IPv4 address of this side.
    sk_saddr = "sock.__sk_common.skc_rcv_saddr";
    /// IPv6 address of the other side.
    sk_v6_daddr = "sock.__sk_common.skc_v6_daddr";
    /// IPv6 address of this side.
    sk_v6_saddr = "sock.__sk_common.skc_v6_rcv_saddr";
    /// The other side's port, in network order.
    sk_dport = "sock.__sk_common.skc_dport";
    /// This side's port.
    sk_num = "sock.__sk_common.skc_num";
    /// The interface that it is bound to.
    sk_bound = "sock.__sk_common.skc_bound_dev_if";
    /// The network namespace.
    sk_net = "sock.__sk_common.skc_net.net";
    /// A namespace's number.
    net_inum = "net.ns.inum";
    /// This side's port in network order; stays when the socket gives it up.
    inet_sport = "inet_sock.inet_sport";
    /// Sequence numbers that were acknowledged.
    tcp_bytes_acked = "tcp_sock.bytes_acked";
    /// Bytes sent, again and again.
    tcp_bytes_sent = "tcp_sock.bytes_sent";
    /// Bytes sent again.
    tcp_bytes_retrans = "tcp_sock.bytes_retrans";
    /// Sequence numbers that were received.
    tcp_bytes_received = "tcp_sock.bytes_received";
    /// Segments sent again.
    tcp_total_retrans = "tcp_sock.total_retrans";
    /// The first number that is not acknowledged.
    tcp_snd_una = "tcp_sock.snd_una";
    /// The number after the last one written.
    tcp_write_seq = "tcp_sock.write_seq";
    /// The next number to send.
    tcp_snd_nxt = "tcp_sock.snd_nxt";
    /// The list of segments in flight; its first member points to the first one, or to itself.
    tcp_sent_queue = "tcp_sock.tsorted_sent_queue";
    /// Where a signal comes from.
    siginfo_code = "kernel_siginfo.si_code";
    /// `oom_score_adj`.
    signal_score_adj = "signal_struct.oom_score_adj";
    /// Resident pages by kind.
    mm_rss = "mm_struct.rss_stat";
    /// Bytes of page tables.
    mm_pgtables = "mm_struct.pgtables_bytes";
    /// The memory controller's state within its cgroup.
    memcg_css = "mem_cgroup.css";
    /// Pages that are used.
    memcg_usage = "mem_cgroup.memory.usage";
    /// Pages that may be used.
    memcg_max = "mem_cgroup.memory.max";
    /// Counts the limits above that a kill is under way for.
    memcg_under_oom = "mem_cgroup.under_oom";
    /// What it waits for (`state` before 5.14).
    task_state = "task_struct.__state";
    /// The same after its end.
    task_exit_state = "task_struct.exit_state";
    /// How often it left the CPU to wait.
    task_nvcsw = "task_struct.nvcsw";
    /// How often it left the CPU and could have gone on.
    task_nivcsw = "task_struct.nivcsw";
    /// Open files.
    task_files = "task_struct.files";
    /// The `struct kthread` of a kernel thread (5.17 and later).
    task_worker_private = "task_struct.worker_private";
    /// The same before 5.17.
    task_set_child_tid = "task_struct.set_child_tid";
    /// What the kernel thread was made for.
    kthread_data = "kthread.data";
    /// The function that a worker runs.
    worker_func = "worker.current_func";
    /// The work that a worker runs.
    worker_work = "worker.current_work";
    /// Where the work that a worker runs was queued.
    worker_pool_queue = "worker.current_pwq";
    /// The workqueue of that.
    pool_queue_wq = "pool_workqueue.wq";
    /// A workqueue's name.
    wq_name = "workqueue_struct.name";
    /// The work item of a device's writeback.
    wb_work = "bdi_writeback.dwork.work";
    /// Its device.
    wb_bdi = "bdi_writeback.bdi";
    /// The name of that.
    bdi_name = "backing_dev_info.dev_name";
    /// The table of open files.
    files_fdt = "files_struct.fdt";
    /// Its size.
    fdt_max = "fdtable.max_fds";
    /// Its files.
    fdt_fd = "fdtable.fd";
    /// The inode of an open file.
    file_inode = "file.f_inode";
    /// Its type and mode.
    inode_mode = "inode.i_mode";
    /// The device that it is.
    inode_rdev = "inode.i_rdev";
    /// Its file system.
    inode_sb = "inode.i_sb";
    /// The device of a file system.
    sb_dev = "super_block.s_dev";
    /// The next bio of a request.
    bio_next = "bio.bi_next";
    /// Where a bio goes to; a disk or partition (5.12 and later).
    bio_bdev = "bio.bi_bdev";
    /// The disk that a bio goes to (before 5.12).
    bio_disk = "bio.bi_disk";
    /// Operation and flags.
    bio_opf = "bio.bi_opf";
    /// The first sector, in the device that it goes to now.
    bio_sector = "bio.bi_iter.bi_sector";
    /// Bytes left.
    bio_size = "bio.bi_iter.bi_size";
    /// The bio that a piece was split from, for a moment.
    bio_private = "bio.bi_private";
    /// Who pays.
    bio_blkg = "bio.bi_blkg";
    /// The payer's cgroup state.
    blkg_blkcg = "blkcg_gq.blkcg";
    /// The payer's cgroup.
    blkcg_cgroup = "blkcg.css.cgroup";
    /// The disk of a device.
    bdev_disk = "block_device.bd_disk";
    /// Major number.
    disk_major = "gendisk.major";
    /// Minor number of the whole disk.
    disk_minor = "gendisk.first_minor";
    /// What the driver can do.
    disk_fops = "gendisk.fops";
    /// Set where the driver takes bios, not requests.
    fops_submit_bio = "block_device_operations.submit_bio";
    /// The queue of a request.
    rq_queue = "request.q";
    /// The disk of a queue (5.15 and later).
    queue_disk = "request_queue.disk";
    /// The disk of a request (before 5.17).
    rq_disk = "request.rq_disk";
    /// Operation and flags.
    rq_cmd_flags = "request.cmd_flags";
    /// `RQF_*` bits.
    rq_flags = "request.rq_flags";
    /// Bytes left.
    rq_data_len = "request.__data_len";
    /// The next sector.
    rq_sector = "request.__sector";
    /// The first bio that is left.
    rq_bio = "request.bio";
    /// The operation of an io_uring request.
    req_opcode = "io_kiocb.opcode";
    /// Its ring.
    req_ctx = "io_kiocb.ctx";
    /// The file that it works on.
    req_file = "io_kiocb.file";
    /// What identifies it to the program (5.19 and later).
    req_user_data = "io_kiocb.cqe.user_data";
    /// The same before 5.19.
    req_own_user_data = "io_kiocb.user_data";
    /// `IORING_SETUP_*`.
    ring_flags = "io_ring_ctx.flags";
    /// The submission queue entries.
    ring_entries = "io_ring_ctx.sq_sqes";
    /// How many there are, a power of two.
    ring_size = "io_ring_ctx.sq_entries";
    /// How many were taken so far.
    ring_head = "io_ring_ctx.cached_sq_head";
    /// The order of the entries.
    ring_order = "io_ring_ctx.sq_array";
    /// The text of a path that the kernel has copied.
    filename_name = "filename.name";
}

/// Members that stand for each other: a kernel has one or the other, by its version.
pub const ALTERNATIVES: [(&str, &str); 7] = [
    ("task_struct.start_boottime", "task_struct.real_start_time"),
    ("task_struct.__state", "task_struct.state"),
    ("task_struct.worker_private", "task_struct.set_child_tid"),
    ("sock.sk_cgrp_data.cgroup", "sock.sk_cgrp_data.val"),
    ("bio.bi_bdev", "bio.bi_disk"),
    ("request_queue.disk", "request.rq_disk"),
    ("io_kiocb.cqe.user_data", "io_kiocb.user_data"),
];

/// Structs of io_uring, which a kernel may lack as a whole.
pub const URING_STRUCTS: [&str; 2] = ["io_kiocb.", "io_ring_ctx."];

/// Members that some kernels are built without, and what is not known then.
pub const OPTIONAL: [(&str, &str); 3] = [
    (
        "mem_cgroup.under_oom",
        "the limit that a process was killed for is the first one above it that is full",
    ),
    ("task_struct.seccomp.mode", "no call can be answered by seccomp"),
    ("task_struct.loginuid", "the users who have logged in are unknown"),
];
