//! Structures that calls only fill in: what a file, a file system, a process or the machine is like.

use super::{Extent, Member, Stated, StructType, member, named, number, one};
use crate::syscalls::ArgType::{self, Address, Device, Flags, Gid, Long, Offset, Size, String, Uid, Uint};

/// The members of a `struct rusage`.
const RUSAGE: &[Member] = &[
    member("ru_utime.tv_sec", 0, 8, Long),
    member("ru_utime.tv_usec", 8, 8, Long),
    member("ru_stime.tv_sec", 16, 8, Long),
    member("ru_stime.tv_usec", 24, 8, Long),
    member("ru_maxrss", 32, 8, Long),
    member("ru_ixrss", 40, 8, Long),
    member("ru_idrss", 48, 8, Long),
    member("ru_isrss", 56, 8, Long),
    member("ru_minflt", 64, 8, Long),
    member("ru_majflt", 72, 8, Long),
    member("ru_nswap", 80, 8, Long),
    member("ru_inblock", 88, 8, Long),
    member("ru_oublock", 96, 8, Long),
    member("ru_msgsnd", 104, 8, Long),
    member("ru_msgrcv", 112, 8, Long),
    member("ru_nsignals", 120, 8, Long),
    member("ru_nvcsw", 128, 8, Long),
    member("ru_nivcsw", 136, 8, Long),
];

/// A number behind a pointer.
const fn of(name: &'static str, width: u8, ty: ArgType) -> Member {
    member(name, 0, width, ty)
}

/// All of them (`arch/x86/include/uapi/asm/stat.h`, `include/uapi/linux/stat.h`, `include/uapi/asm-generic/statfs.h`,
/// `include/uapi/linux/`: `resource.h`, `times.h`, `sysinfo.h`, `utsname.h`). Of a `struct stat` and of a `struct statx` what is
/// behind the last member here is not read; of a `struct new_utsname` the last three texts.
pub(super) static STRUCTS: &[StructType] = &[
    one(
        "stat",
        120,
        &[
            member("st_dev", 0, 8, Device),
            member("st_ino", 8, 8, Size),
            named("st_mode", 24, 4, Flags, "file_mode_flags"),
            member("st_nlink", 16, 8, Size),
            member("st_uid", 28, 4, Uid),
            member("st_gid", 32, 4, Gid),
            member("st_blksize", 56, 8, Long),
            member("st_blocks", 64, 8, Long),
            member("st_size", 48, 8, Long),
            member("st_rdev", 40, 8, Device),
            member("st_atime", 72, 8, Long),
            member("st_atime_nsec", 80, 8, Size),
            member("st_mtime", 88, 8, Long),
            member("st_mtime_nsec", 96, 8, Size),
            member("st_ctime", 104, 8, Long),
            member("st_ctime_nsec", 112, 8, Size),
        ],
    ),
    one(
        "stat64",
        88,
        &[
            member("st_dev", 0, 8, Device),
            member("st_ino", 12, 4, Size),
            named("st_mode", 16, 4, Flags, "file_mode_flags"),
            member("st_nlink", 20, 4, Size),
            member("st_uid", 24, 4, Uid),
            member("st_gid", 28, 4, Gid),
            member("st_blksize", 52, 4, Long),
            member("st_blocks", 56, 8, Long),
            member("st_size", 44, 8, Long),
            member("st_rdev", 32, 8, Device),
            member("st_atime", 64, 4, Long),
            member("st_atime_nsec", 68, 4, Size),
            member("st_mtime", 72, 4, Long),
            member("st_mtime_nsec", 76, 4, Size),
            member("st_ctime", 80, 4, Long),
            member("st_ctime_nsec", 84, 4, Size),
        ],
    )
    .common(),
    one(
        "statx",
        152,
        &[
            named("stx_mask", 0, 4, Flags, "statx_mask"),
            member("stx_blksize", 4, 4, Uint),
            named("stx_attributes", 8, 8, Flags, "statx_attributes_flags"),
            member("stx_nlink", 16, 4, Uint),
            member("stx_uid", 20, 4, Uid),
            member("stx_gid", 24, 4, Gid),
            named("stx_mode", 28, 2, Flags, "file_mode_flags"),
            member("stx_ino", 32, 8, Size),
            member("stx_size", 40, 8, Size),
            member("stx_blocks", 48, 8, Size),
            named("stx_attributes_mask", 56, 8, Flags, "statx_attributes_flags"),
            member("stx_atime.tv_sec", 64, 8, Long),
            member("stx_atime.tv_nsec", 72, 4, Uint),
            member("stx_btime.tv_sec", 80, 8, Long),
            member("stx_btime.tv_nsec", 88, 4, Uint),
            member("stx_ctime.tv_sec", 96, 8, Long),
            member("stx_ctime.tv_nsec", 104, 4, Uint),
            member("stx_mtime.tv_sec", 112, 8, Long),
            member("stx_mtime.tv_nsec", 120, 4, Uint),
            member("stx_rdev_major", 128, 4, Uint),
            member("stx_rdev_minor", 132, 4, Uint),
            member("stx_dev_major", 136, 4, Uint),
            member("stx_dev_minor", 140, 4, Uint),
            member("stx_mnt_id", 144, 8, Size),
        ],
    )
    .common(),
    one(
        "statfs",
        88,
        &[
            named("f_type", 0, 8, Flags, "file_system_const"),
            member("f_bsize", 8, 8, Size),
            member("f_blocks", 16, 8, Size),
            member("f_bfree", 24, 8, Size),
            member("f_bavail", 32, 8, Size),
            member("f_files", 40, 8, Size),
            member("f_ffree", 48, 8, Size),
            member("f_fsid.val", 56, 4, Flags).count(2),
            member("f_namelen", 64, 8, Size),
            member("f_frsize", 72, 8, Size),
            named("f_flags", 80, 8, Flags, "file_system_flags"),
        ],
    ),
    one(
        "sysinfo",
        112,
        &[
            member("uptime", 0, 8, Long),
            member("loads", 8, 8, Size).count(3),
            member("totalram", 32, 8, Size),
            member("freeram", 40, 8, Size),
            member("sharedram", 48, 8, Size),
            member("bufferram", 56, 8, Size),
            member("totalswap", 64, 8, Size),
            member("freeswap", 72, 8, Size),
            member("procs", 80, 2, Uint),
            member("totalhigh", 88, 8, Size),
            member("freehigh", 96, 8, Size),
            member("mem_unit", 104, 4, Uint),
        ],
    ),
    one(
        "utsname",
        195,
        &[
            member("sysname", 0, 65, String),
            member("nodename", 65, 65, String),
            member("release", 130, 65, String),
        ],
    )
    .common(),
    one("rusage", 144, RUSAGE),
    one(
        "tms",
        32,
        &[
            member("tms_utime", 0, 8, Long),
            member("tms_stime", 8, 8, Long),
            member("tms_cutime", 16, 8, Long),
            member("tms_cstime", 24, 8, Long),
        ],
    ),
    number("longs", &[of("value", 8, Long)]).wide(),
    number("offsets", &[of("value", 8, Offset)]),
    number("sizes", &[of("value", 8, Size)]).wide(),
    number("addresses", &[of("value", 8, Address)]).wide(),
    number("gids", &[of("gid", 4, Gid)]).extent(Extent::ElementsOf(Stated::Before)).wide(),
    number("gids_filled", &[of("gid", 4, Gid)]).extent(Extent::ElementsOf(Stated::Result)).wide(),
];
