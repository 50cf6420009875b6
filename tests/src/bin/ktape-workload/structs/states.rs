//! What calls fill in about files, file systems, processes and the machine.

use std::ffi::{CStr, CString};
use std::fs;
use std::mem::zeroed;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use super::{child, made, shown};
use crate::sys;

/// Makes these calls; files are in `dir`.
pub fn states(dir: &Path) {
    files(dir);
    locks_and_vectors(dir);
    file_systems(dir);
    processes();
    signals();
}

/// The number of a device, as strace shows it.
fn device(number: u64) -> String {
    let hex = |part: u32| if part == 0 { "0".to_owned() } else { format!("{part:#x}") };
    format!("makedev({}, {})", hex(libc::major(number)), hex(libc::minor(number)))
}

/// A file's mode, of those here.
fn mode(bits: u32) -> String {
    let (kind, kind_bits) =
        [("S_IFREG", libc::S_IFREG), ("S_IFCHR", libc::S_IFCHR), ("S_IFDIR", libc::S_IFDIR)]
            .into_iter()
            .find(|(_, kind)| bits & libc::S_IFMT == *kind)
            .expect("a known kind");
    let sticky = if bits & libc::S_ISVTX != 0 { "|S_ISVTX" } else { "" };
    format!("{kind}{sticky}|0{:o}", bits & !kind_bits & !libc::S_ISVTX)
}

fn state(of: &libc::stat) -> String {
    let rdev = if of.st_rdev == 0 { String::new() } else { format!("st_rdev={}, ", device(of.st_rdev)) };
    format!(
        "{{st_dev={}, st_ino={}, st_mode={}, st_nlink={}, st_uid={}, st_gid={}, st_blksize={}, st_blocks={}, st_size={}, \
         {rdev}st_atime={}, st_atime_nsec={}, st_mtime={}, st_mtime_nsec={}, st_ctime={}, st_ctime_nsec={}}}",
        device(of.st_dev),
        of.st_ino,
        mode(of.st_mode),
        of.st_nlink,
        of.st_uid,
        of.st_gid,
        of.st_blksize,
        of.st_blocks,
        of.st_size,
        of.st_atime,
        of.st_atime_nsec,
        of.st_mtime,
        of.st_mtime_nsec,
        of.st_ctime,
        of.st_ctime_nsec
    )
}

fn path_of(path: &Path) -> CString {
    CString::new(path.to_owned().into_os_string().into_vec()).expect("no NUL")
}

fn files(dir: &Path) {
    let name = dir.join("state");
    fs::write(&name, [7; 5000]).expect("a file");
    let path = path_of(&name);
    // SAFETY: all-zero is a valid stat.
    let mut found: libc::stat = unsafe { zeroed() };
    sys!(SYS_stat, path.as_ptr(), &raw mut found).expect("it is there");
    made("stat", &format!("{name:?}, {}", state(&found)));
    sys!(SYS_lstat, path.as_ptr(), &raw mut found).expect("it is there");
    made("lstat", &format!("{name:?}, {}", state(&found)));
    let fd = sys!(SYS_open, path.as_ptr(), 0).expect("the file") as usize;
    sys!(SYS_fstat, fd, &raw mut found).expect("it is open");
    made("fstat", &format!("{}, {}", shown(fd), state(&found)));
    sys!(SYS_newfstatat, libc::AT_FDCWD, c"/dev/null".as_ptr(), &raw mut found, 0).expect("it is there");
    made("newfstatat", &format!("AT_FDCWD, \"/dev/null\", {}, 0", state(&found)));
    sys!(SYS_newfstatat, libc::AT_FDCWD, c"/tmp".as_ptr(), &raw mut found, 0).expect("it is there");
    made("newfstatat", &format!("AT_FDCWD, \"/tmp\", {}, 0", state(&found)));
    sys!(SYS_newfstatat, libc::AT_FDCWD, c"/none/x".as_ptr(), &raw mut found, 0)
        .expect_err("it is not there");
    made("newfstatat", "AT_FDCWD, \"/none/x\", _, 0");

    // SAFETY: all-zero is a valid statx.
    let mut found: libc::statx = unsafe { zeroed() };
    let flags = libc::AT_EMPTY_PATH;
    sys!(SYS_statx, fd, c"".as_ptr(), flags, libc::STATX_SIZE, &raw mut found).expect("it is open");
    println!("SO_STATX\t{} {} {}", found.stx_size, found.stx_ino, found.stx_mtime.tv_nsec);
}

fn locks_and_vectors(dir: &Path) {
    let name = dir.join("locked");
    fs::write(&name, "x").expect("a file");
    let path = path_of(&name);
    let fd = sys!(SYS_open, path.as_ptr(), libc::O_RDWR).expect("the file") as usize;
    // SAFETY: all-zero is a valid flock.
    let mut lock: libc::flock = unsafe { zeroed() };
    (lock.l_type, lock.l_start, lock.l_len) = (libc::F_WRLCK as i16, 5, 7);
    sys!(SYS_fcntl, fd, libc::F_SETLK, &raw const lock).expect("locked");
    made(
        "fcntl",
        &format!("{}, F_SETLK, {{l_type=F_WRLCK, l_whence=SEEK_SET, l_start=5, l_len=7}}", shown(fd)),
    );
    sys!(SYS_fcntl, fd, libc::F_SETFL, libc::O_APPEND).expect("set");
    made("fcntl", &format!("{}, F_SETFL, O_APPEND", shown(fd)));
    let parts = [b"abc".as_slice(), b"de"]
        .map(|part| libc::iovec { iov_base: part.as_ptr() as _, iov_len: part.len() });
    assert_eq!(sys!(SYS_writev, fd, parts.as_ptr(), 2), Ok(5));
    made("writev", &format!("{}, [{{iov_len=3}}, {{iov_len=2}}], 2", shown(fd)));
}

fn file_systems(dir: &Path) {
    // SAFETY: all-zero is a valid statfs.
    let mut found: libc::statfs = unsafe { zeroed() };
    sys!(SYS_statfs, c"/proc".as_ptr(), &raw mut found).expect("it is mounted");
    println!("SO_STATFS\t{} {}", found.f_bsize, found.f_namelen);
    let path = path_of(dir);
    let fd = sys!(SYS_open, path.as_ptr(), libc::O_DIRECTORY).expect("a directory");
    sys!(SYS_fstatfs, fd, &raw mut found).expect("it is open");

    let (from, to) = (path_of(&dir.join("state")), path_of(&dir.join("copied")));
    let from = sys!(SYS_open, from.as_ptr(), 0).expect("the file") as usize;
    let to = sys!(SYS_open, to.as_ptr(), libc::O_RDWR | libc::O_CREAT, 0o600).expect("a file") as usize;
    let mut offset = 100i64;
    assert_eq!(sys!(SYS_sendfile, to, from, &raw mut offset, 50), Ok(50));
    made("sendfile", &format!("{}, {}, [100], 50", shown(to), shown(from)));
}

fn processes() {
    // SAFETY: all-zero is a valid rusage, and so on.
    let (mut usage, mut names): (libc::rusage, libc::utsname) = unsafe { zeroed() };
    let mut status = 0i32;
    let pid = child(|| sys::exit(4));
    sys!(SYS_wait4, pid, &raw mut status, 0, &raw mut usage).expect("it ends");
    let (user, system) = (usage.ru_utime, usage.ru_stime);
    made(
        "wait4",
        &format!(
            "{pid}, [{{WIFEXITED(s) && WEXITSTATUS(s) == 4}}], 0, {{ru_utime={{tv_sec={}, tv_usec={}}}, \
             ru_stime={{tv_sec={}, tv_usec={}}}, ru_maxrss={}, ru_ixrss=0, ru_idrss=0, ru_isrss=0, ru_minflt={}, ru_majflt={}, \
             ru_nswap=0, ru_inblock={}, ru_oublock={}, ru_msgsnd=0, ru_msgrcv=0, ru_nsignals=0, ru_nvcsw={}, ru_nivcsw={}}}",
            user.tv_sec,
            user.tv_usec,
            system.tv_sec,
            system.tv_usec,
            usage.ru_maxrss,
            usage.ru_minflt,
            usage.ru_majflt,
            usage.ru_inblock,
            usage.ru_oublock,
            usage.ru_nvcsw,
            usage.ru_nivcsw
        ),
    );
    sys!(SYS_uname, &raw mut names).expect("its name");
    // SAFETY: the kernel ends each with a NUL.
    let text =
        |name: &[libc::c_char; 65]| unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
    made(
        "uname",
        &format!(
            "{{sysname={:?}, nodename={:?}, release={:?}}}",
            text(&names.sysname),
            text(&names.nodename),
            text(&names.release)
        ),
    );
    // SAFETY: as above.
    let mut machine: libc::sysinfo = unsafe { zeroed() };
    sys!(SYS_sysinfo, &raw mut machine).expect("its state");
    made(
        "sysinfo",
        &format!(
            "{{uptime={}, loads=[{}, {}, {}], totalram={}, freeram={}, sharedram={}, bufferram={}, totalswap={}, freeswap={}, \
             procs={}, totalhigh={}, freehigh={}, mem_unit={}}}",
            machine.uptime,
            machine.loads[0],
            machine.loads[1],
            machine.loads[2],
            machine.totalram,
            machine.freeram,
            machine.sharedram,
            machine.bufferram,
            machine.totalswap,
            machine.freeswap,
            machine.procs,
            machine.totalhigh,
            machine.freehigh,
            machine.mem_unit
        ),
    );
    // SAFETY: as above.
    let mut times: libc::tms = unsafe { zeroed() };
    sys!(SYS_times, &raw mut times).expect("times");
    made(
        "times",
        &format!(
            "{{tms_utime={}, tms_stime={}, tms_cutime={}, tms_cstime={}}}",
            times.tms_utime, times.tms_stime, times.tms_cutime, times.tms_cstime
        ),
    );
    let groups = sys!(SYS_getgroups, 0, 0).expect("how many") as usize;
    let mut list = vec![0u32; groups + 1];
    sys!(SYS_getgroups, list.len(), list.as_mut_ptr()).expect("groups");
    let list: Vec<String> = list[..groups].iter().map(u32::to_string).collect();
    made("getgroups", &format!("{}, [{}]", groups + 1, list.join(", ")));
}

fn signals() {
    let (set, mut old) = (0u64, 0u64);
    sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, &raw mut old, 8).expect("the set");
    made("rt_sigprocmask", "SIG_BLOCK, [], [USR1 CHLD], 8");
    let mut action = [0u64; 4];
    sys!(SYS_rt_sigaction, libc::SIGUSR2, 0, action.as_mut_ptr(), 8).expect("the action");
    made(
        "rt_sigaction",
        "SIGUSR2, NULL, {sa_handler=SIG_IGN, sa_mask=[HUP], sa_flags=SA_RESTART, sa_restorer=NULL}, 8",
    );
}
