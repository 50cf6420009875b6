use super::*;

fn value<'a>(tag: &str, bytes: &'a [u8]) -> StructValue<'a> {
    let ty = StructType::of_tag(tag).unwrap();
    StructValue { ty, bytes, is_cut: false, arch: Arch::X86_64, option: None }
}

fn text(value: &StructValue<'_>) -> String {
    let mut out = Vec::new();
    value.write(&mut out);
    String::from_utf8(out).unwrap()
}

fn shown(tag: &str, words: &[u64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    text(&value(tag, &bytes))
}

/// The expected texts are those of strace.
#[test]
fn structures_have_their_members_by_name() {
    assert_eq!(
        shown("open_how_in", &[0o101, 0o644, 8]),
        "{flags=O_WRONLY|O_CREAT, mode=0644, resolve=RESOLVE_BENEATH}"
    );
    assert_eq!(shown("timespec_in", &[1, 500]), "{tv_sec=1, tv_nsec=500}");
    assert_eq!(
        shown("itimerspec_in", &[0, 0, 5, 1]),
        "{it_interval={tv_sec=0, tv_nsec=0}, it_value={tv_sec=5, tv_nsec=1}}"
    );
    assert_eq!(shown("rlimit_in", &[0, u64::MAX]), "{rlim_cur=0, rlim_max=RLIM64_INFINITY}");
    assert_eq!(
        shown("sigaction_in", &[1, 0x1400_0000, 0x7f00_0000_1000, 1 << 16]),
        "{sa_handler=SIG_IGN, sa_mask=[CHLD], sa_flags=SA_RESTORER|SA_RESTART, sa_restorer=0x7f0000001000}"
    );
    assert_eq!(
        shown("timespecs_in", &[1, 0x3fff_ffff, 2, 0x3fff_fffe]),
        "[{tv_sec=1, tv_nsec=UTIME_NOW}, {tv_sec=2, tv_nsec=UTIME_OMIT}]"
    );
}

/// The expected texts are those of `strace -v`.
#[test]
fn the_state_of_files_and_processes_has_its_members() {
    let times = [1_700_000_000, 1, 1_700_000_001, 2, 1_700_000_002, 3];
    let stat = |mode: u64, rdev: u64| {
        let mut words = vec![0x801, 77, 2, 1000 << 32 | mode, 100, rdev, 2996, 4096, 8];
        words.extend(times);
        shown("stat_out", &words)
    };
    let ends = "st_atime=1700000000, st_atime_nsec=1, st_mtime=1700000001, st_mtime_nsec=2, st_ctime=1700000002, \
                st_ctime_nsec=3}";
    assert_eq!(
        stat(0o100_644, 0),
        format!(
            "{{st_dev=makedev(0x8, 0x1), st_ino=77, st_mode=S_IFREG|0644, st_nlink=2, st_uid=1000, st_gid=100, \
             st_blksize=4096, st_blocks=8, st_size=2996, {ends}"
        )
    );
    assert!(
        stat(0o20_620, 0x8803).contains("st_mode=S_IFCHR|0620")
            && stat(0o20_620, 0x8803).contains("st_rdev=makedev(0x88, 0x3)")
    );
    assert!(stat(0o41_777, 0).contains("st_mode=S_IFDIR|S_ISVTX|0777"));
    assert_eq!(
        shown("statfs_out", &[0xef53, 4096, 5, 4, 3, 2, 1, 7 << 32 | 0x1f, 255, 4096, 0x1020]),
        "{f_type=EXT2_SUPER_MAGIC, f_bsize=4096, f_blocks=5, f_bfree=4, f_bavail=3, f_files=2, f_ffree=1, \
         f_fsid={val=[0x1f, 0x7]}, f_namelen=255, f_frsize=4096, f_flags=ST_VALID|ST_RELATIME}"
    );
    assert_eq!(
        shown("sysinfo_out", &[9, 1, 2, 3, 4, 5, 6, 7, 8, 9, 70, 0, 0, 1]),
        "{uptime=9, loads=[1, 2, 3], totalram=4, freeram=5, sharedram=6, bufferram=7, totalswap=8, freeswap=9, \
         procs=70, totalhigh=0, freehigh=0, mem_unit=1}"
    );
    assert!(
        shown("rusage_out", &[1, 2, 3, 4])
            .starts_with("{ru_utime={tv_sec=1, tv_usec=2}, ru_stime={tv_sec=3, tv_usec=4}")
    );
    let mut names = [0u8; 195];
    names[..5].copy_from_slice(b"Linux");
    names[65..68].copy_from_slice(b"a\"b");
    names[130..133].copy_from_slice(b"6.1");
    let uname = value("utsname_out", &names);
    assert_eq!(text(&uname), r#"{sysname="Linux", nodename="a\"b", release="6.1"}"#);
    assert_eq!(uname.member("release").unwrap().text(&names), Some(&b"6.1"[..]));
    assert_eq!(uname.values(uname.member("release").unwrap()).count(), 0);
}

#[test]
fn members_that_do_not_count_are_not_shown() {
    let args = |flags: u64| [flags, 0x10, 0x20, 0x30, 17, 0x40, 0x50, 0x60, 0, 0, 7];
    assert_eq!(
        shown("clone_args_in", &args(0x10_0000)),
        "{flags=CLONE_PARENT_SETTID, parent_tid=0x30, exit_signal=SIGCHLD, stack=0x40, stack_size=0x50, \
         set_tid=NULL, set_tid_size=0}"
    );
    assert_eq!(
        shown("clone_args_in", &args(0x2_0000_1000)),
        "{flags=CLONE_PIDFD|CLONE_INTO_CGROUP, pidfd=0x10, exit_signal=SIGCHLD, stack=0x40, stack_size=0x50, \
         set_tid=NULL, set_tid_size=0, cgroup=7}"
    );
}

#[test]
fn the_status_of_a_child_is_a_signal_if_one_has_changed_it() {
    let shown = |code: i32, status: i32| {
        let words = [17, 0, code, 0, 4711, 0, status].map(i32::to_le_bytes).concat();
        text(&value("siginfo_out", &words))
    };
    let begin = "{si_signo=SIGCHLD, si_code=CLD_";
    assert_eq!(shown(1, 9), format!("{begin}EXITED, si_pid=4711, si_uid=0, si_status=9}}"));
    assert_eq!(shown(2, 9), format!("{begin}KILLED, si_pid=4711, si_uid=0, si_status=SIGKILL}}"));
}

#[test]
fn capabilities_are_in_two_halves() {
    let words = [1 << 21 | 1u32, 1 << 21, 0, 1 << 6, 0, 0].map(u32::to_le_bytes).concat();
    assert_eq!(
        text(&value("cap_data_in", &words)),
        "{effective=CAP_CHOWN|CAP_SYS_ADMIN|CAP_PERFMON, permitted=CAP_SYS_ADMIN, inheritable=0}"
    );
}

#[test]
fn arrays_have_an_entry_for_each_element() {
    let bytes = [3, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0, 4, 0, 0x10, 0];
    let polled = value("pollfd_inout", &bytes);
    let expected = "[{fd=3, events=POLLIN, revents=0}, {fd=4, events=POLLOUT, revents=POLLHUP}";
    assert_eq!(text(&polled), format!("{expected}]"));
    assert_eq!(text(&StructValue { is_cut: true, ..polled }), format!("{expected}...]"));
    let fds: Vec<i128> = polled.values(polled.member("fd").unwrap()).map(|number| number.value).collect();
    assert_eq!((fds, polled.numbers()), (vec![3, 4], None));
    assert_eq!(shown("fds_out", &[7 << 32 | 3]), "[3, 7]");
    assert_eq!(shown("fd_set_in", &[1 << 3 | 1 << 63, 1]), "[3 63 64]");
}

#[test]
fn sets_of_signals_are_shown_by_what_is_shorter() {
    assert_eq!(shown("sigset_in", &[0]), "[]");
    assert_eq!(shown("sigset_in", &[1 << 1 | 1 << 16]), "[INT CHLD]");
    assert_eq!(shown("sigset_in", &[u64::MAX]), "~[]");
    assert_eq!(shown("sigset_in", &[!(1 << 31 | 1 << 33)]), "~[32 RTMIN]");
}

#[test]
fn the_status_of_a_child_is_shown_by_the_macros_of_wait() {
    let shown = |status: i32| text(&value("wait_status_out", &status.to_le_bytes()));
    assert_eq!(shown(0x0300), "[{WIFEXITED(s) && WEXITSTATUS(s) == 3}]");
    assert_eq!(shown(9), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}]");
    assert_eq!(shown(0x8b), "[{WIFSIGNALED(s) && WTERMSIG(s) == SIGSEGV && WCOREDUMP(s)}]");
    assert_eq!(shown(0x137f), "[{WIFSTOPPED(s) && WSTOPSIG(s) == SIGSTOP}]");
    assert_eq!(shown(0xffff), "[{WIFCONTINUED(s)}]");
}

#[test]
fn options_of_sockets_are_shown_by_what_they_are() {
    let shown = |args: &[u64], bytes: &[u8]| {
        text(&StructValue { option: Some(SocketOption::of(args)), ..value("sockopt_in", bytes) })
    };
    assert_eq!(shown(&[3, 6, 1], &1i32.to_le_bytes()), "[1]");
    assert_eq!(shown(&[3, 1, 4], &111i32.to_le_bytes()), "[ECONNREFUSED]");
    assert_eq!(shown(&[3, 1, 4], &0i32.to_le_bytes()), "[0]");
    let time = [5i64, 250_000].map(i64::to_le_bytes).concat();
    assert_eq!(shown(&[3, 1, 20], &time), "{tv_sec=5, tv_usec=250000}");
    assert_eq!(shown(&[3, 1, 13], &[1, 0, 0, 0, 9, 0, 0, 0]), "{l_onoff=1, l_linger=9}");
    assert_eq!(shown(&[3, 1, 25], b"eth0\0\0"), "\"eth0\"");
    let credentials = [7i32, 0, -1].map(i32::to_le_bytes).concat();
    assert_eq!(shown(&[3, 1, 17], &credentials), "{pid=7, uid=0, gid=-1}");
    assert_eq!(shown(&[3, 1, 26], &[0; 16]), "_");
}
