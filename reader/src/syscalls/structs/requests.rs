//! Structures of signals, of System V IPC, of clocks and of access rights.

use super::{Extent, Form, Info, Member, Stated, StructType, When, member, named, number, one};
use crate::syscalls::ArgType::{
    Address, Flags, Gid, Int, Long, Mode, Pid, Signal, Size, String, Uid, Uint, Ulong,
};

/// `SIGEV_THREAD_ID`.
const THREAD_ID: u32 = 4;

/// The members of a `siginfo_t`, which share their places (`include/uapi/asm-generic/siginfo.h`).
const SIGINFO: &[Member] = &[
    member("si_signo", 0, 4, Signal),
    named("si_code", 8, 4, Int, "si_code_const").info(Info::NamedCode),
    member("si_code", 8, 4, Int).info(Info::OtherCode),
    member("si_pid", 16, 4, Pid).info(Info::Sender),
    member("si_uid", 20, 4, Uid).info(Info::Sender),
    member("si_status", 24, 4, Int).info(Info::Child),
    member("si_timerid", 16, 4, Int).info(Info::Timer),
    member("si_overrun", 20, 4, Int).info(Info::Timer),
    member("si_addr", 16, 8, Address).info(Info::Fault),
    member("si_band", 16, 8, Long).info(Info::Ready),
    member("si_fd", 24, 4, Int).info(Info::Ready),
    member("si_int", 24, 4, Int).info(Info::Value),
    member("si_ptr", 24, 8, Address).info(Info::Value),
];

/// All of them (`include/uapi/asm-generic/`: `siginfo.h`, `msgbuf.h`, `shmbuf.h`, `ipcbuf.h`; `include/uapi/linux/`:
/// `landlock.h`, `filter.h`, `timex.h`, `time.h`, `utime.h`, `aio_abi.h`; `include/linux/fs.h` of a file handle). What follows
/// the first number of a message or the two of a file handle is content, which is not recorded.
pub(super) static STRUCTS: &[StructType] = &[
    one("siginfo", 32, SIGINFO),
    one(
        "sigevent",
        20,
        &[
            member("sigev_value.sival_int", 0, 4, Int),
            member("sigev_value.sival_ptr", 0, 8, Address),
            member("sigev_signo", 8, 4, Signal),
            named("sigev_notify", 12, 4, Int, "notify_const"),
            member("sigev_notify_thread_id", 16, 4, Pid).when(When::Word(12, THREAD_ID)),
        ],
    ),
    one("msgbuf", 8, &[member("mtype", 0, 8, Long)]),
    one(
        "msqid_ds",
        104,
        &[
            member("msg_perm.uid", 4, 4, Uid),
            member("msg_perm.gid", 8, 4, Gid),
            member("msg_perm.mode", 20, 4, Mode),
            member("msg_perm.key", 0, 4, Int),
            member("msg_perm.cuid", 12, 4, Uid),
            member("msg_perm.cgid", 16, 4, Gid),
            member("msg_stime", 48, 8, Long),
            member("msg_rtime", 56, 8, Long),
            member("msg_ctime", 64, 8, Long),
            member("msg_qnum", 80, 8, Size),
            member("msg_qbytes", 88, 8, Size),
            member("msg_lspid", 96, 4, Pid),
            member("msg_lrpid", 100, 4, Pid),
        ],
    ),
    one(
        "shmid_ds",
        96,
        &[
            member("shm_perm.uid", 4, 4, Uid),
            member("shm_perm.gid", 8, 4, Gid),
            member("shm_perm.mode", 20, 4, Mode),
            member("shm_perm.key", 0, 4, Int),
            member("shm_perm.cuid", 12, 4, Uid),
            member("shm_perm.cgid", 16, 4, Gid),
            member("shm_segsz", 48, 8, Size),
            member("shm_cpid", 80, 4, Pid),
            member("shm_lpid", 84, 4, Pid),
            member("shm_nattch", 88, 8, Size),
            member("shm_atime", 56, 8, Long),
            member("shm_dtime", 64, 8, Long),
            member("shm_ctime", 72, 8, Long),
        ],
    ),
    one(
        "landlock_ruleset",
        24,
        &[
            named("handled_access_fs", 0, 8, Flags, "landlock_fs_flags"),
            named("handled_access_net", 8, 8, Flags, "landlock_net_flags"),
            named("scoped", 16, 8, Flags, "landlock_scope_flags"),
        ],
    )
    .extent(Extent::BytesOf(Stated::After))
    .common(),
    // Packed.
    one(
        "landlock_path_beneath",
        12,
        &[named("allowed_access", 0, 8, Flags, "landlock_fs_flags"), member("parent_fd", 8, 4, Int)],
    )
    .common(),
    one("sock_fprog", 2, &[member("len", 0, 2, Uint)]).common(),
    one("file_handle", 8, &[member("handle_bytes", 0, 4, Uint), member("handle_type", 4, 4, Int)]).common(),
    one(
        "timex",
        164,
        &[
            named("modes", 0, 4, Flags, "timex_modes_flags"),
            member("offset", 8, 8, Long),
            member("freq", 16, 8, Long),
            member("maxerror", 24, 8, Long),
            member("esterror", 32, 8, Long),
            named("status", 40, 4, Flags, "timex_status_flags"),
            member("constant", 48, 8, Long),
            member("precision", 56, 8, Long),
            member("tolerance", 64, 8, Long),
            member("time.tv_sec", 72, 8, Long),
            member("time.tv_usec", 80, 8, Long),
            member("tick", 88, 8, Long),
            member("ppsfreq", 96, 8, Long),
            member("jitter", 104, 8, Long),
            member("shift", 112, 4, Int),
            member("stabil", 120, 8, Long),
            member("jitcnt", 128, 8, Long),
            member("calcnt", 136, 8, Long),
            member("errcnt", 144, 8, Long),
            member("stbcnt", 152, 8, Long),
            member("tai", 160, 4, Int),
        ],
    ),
    one("timezone", 8, &[member("tz_minuteswest", 0, 4, Int), member("tz_dsttime", 4, 4, Int)]).common(),
    one("utimbuf", 16, &[member("actime", 0, 8, Long), member("modtime", 8, 8, Long)]),
    one(
        "io_events",
        32,
        &[
            member("data", 0, 8, Ulong),
            member("obj", 8, 8, Address),
            member("res", 16, 8, Long),
            member("res2", 24, 8, Long),
        ],
    )
    .extent(Extent::ElementsOf(Stated::Result))
    .form(Form::Array)
    .common(),
    number("ids", &[member("id", 0, 4, Uid)]),
    number("mempolicies", &[named("mode", 0, 4, Int, "mempolicy_const")]),
    number("nodes", &[member("bits", 0, 8, Ulong)])
        .extent(Extent::BitsOf(Stated::After))
        .form(Form::Bits)
        .wide(),
    number("nodes_counted", &[member("bits", 0, 8, Ulong)])
        .extent(Extent::BitsOf(Stated::Second))
        .form(Form::Bits)
        .wide(),
    number("page_nodes", &[member("node", 0, 4, Int)]).extent(Extent::ElementsOf(Stated::Second)),
    number("page_states", &[member("state", 0, 4, Int)]).extent(Extent::ElementsOf(Stated::Second)),
    // The kernel uses no more of it.
    number("name", &[member("name", 0, 15, String)]).form(Form::Text),
];
