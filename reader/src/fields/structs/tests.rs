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

/// The expected texts are those of strace.
#[test]
fn what_a_signal_comes_with_depends_on_its_sender() {
    let shown = |signal: i32, code: i32, rest: [u64; 2]| {
        let mut bytes = [signal, 0, code, 0].map(i32::to_le_bytes).concat();
        bytes.extend(rest.map(u64::to_le_bytes).concat());
        text(&value("siginfo_in", &bytes))
    };
    let sender = 1000 << 32 | 4711;
    assert_eq!(shown(10, 0, [sender, 5]), "{si_signo=SIGUSR1, si_code=SI_USER, si_pid=4711, si_uid=1000}");
    assert_eq!(shown(10, -6, [sender, 5]), "{si_signo=SIGUSR1, si_code=SI_TKILL, si_pid=4711, si_uid=1000}");
    assert_eq!(
        shown(34, -1, [sender, 0xffff_ffff]),
        "{si_signo=SIGRTMIN, si_code=SI_QUEUE, si_pid=4711, si_uid=1000, si_int=-1, si_ptr=0xffffffff}"
    );
    assert_eq!(
        shown(14, -2, [2 << 32 | 1, 7]),
        "{si_signo=SIGALRM, si_code=SI_TIMER, si_timerid=1, si_overrun=2, si_int=7, si_ptr=0x7}"
    );
    assert_eq!(shown(11, 1, [0x10, 0]), "{si_signo=SIGSEGV, si_code=1, si_addr=0x10}");
    assert_eq!(shown(29, 1, [65, 3]), "{si_signo=SIGIO, si_code=1, si_band=65, si_fd=3}");
    assert_eq!(shown(17, 0, [sender, 9]), "{si_signo=SIGCHLD, si_code=SI_USER, si_pid=4711, si_uid=1000}");
}

/// The expected texts are those of `strace -v`, but for members that it does not show.
#[test]
fn requests_have_their_members() {
    assert_eq!(
        shown("sigevent_in", &[7, 4 << 32 | 14, 4711]),
        "{sigev_value={sival_int=7, sival_ptr=0x7}, sigev_signo=SIGALRM, sigev_notify=SIGEV_THREAD_ID, \
         sigev_notify_thread_id=4711}"
    );
    assert_eq!(
        shown("sigevent_in", &[0, 1 << 32, 4711]),
        "{sigev_value={sival_int=0, sival_ptr=NULL}, sigev_signo=0, sigev_notify=SIGEV_NONE}"
    );
    let owner = [1000 << 32 | 0x1234, 1001 << 32 | 100, 0o600 << 32 | 101, 0, 0, 0];
    let perm = "uid=1000, gid=100, mode=0600, key=4660, cuid=1001, cgid=101";
    assert_eq!(
        shown("shmid_ds_out", &[&owner[..], &[4096, 1, 2, 3, 8 << 32 | 7, 9]].concat()),
        format!(
            "{{shm_perm={{{perm}}}, shm_segsz=4096, shm_cpid=7, shm_lpid=8, shm_nattch=9, shm_atime=1, shm_dtime=2, shm_ctime=3}}"
        )
    );
    assert_eq!(
        shown("msqid_ds_out", &[&owner[..], &[1, 2, 3, 4, 5, 6, 8 << 32 | 7]].concat()),
        format!(
            "{{msg_perm={{{perm}}}, msg_stime=1, msg_rtime=2, msg_ctime=3, msg_qnum=5, msg_qbytes=6, msg_lspid=7, msg_lrpid=8}}"
        )
    );
    assert_eq!(
        shown("landlock_ruleset_in", &[0x6, 1, 2]),
        "{handled_access_fs=LANDLOCK_ACCESS_FS_WRITE_FILE|LANDLOCK_ACCESS_FS_READ_FILE, \
         handled_access_net=LANDLOCK_ACCESS_NET_BIND_TCP, scoped=LANDLOCK_SCOPE_SIGNAL}"
    );
    assert_eq!(
        shown("landlock_path_beneath_in", &[1, 3]),
        "{allowed_access=LANDLOCK_ACCESS_FS_EXECUTE, parent_fd=3}"
    );
    assert!(
        shown("timex_inout", &[0x8001, 1, 2, 3, 4, 0x2040, 6, 7, 8, 9, 10])
            .starts_with("{modes=ADJ_OFFSET_SINGLESHOT, offset=1, freq=2, maxerror=3, esterror=4, status=STA_UNSYNC|STA_NANO, constant=6, precision=7, tolerance=8, time={tv_sec=9, tv_usec=10}")
    );
    assert_eq!(shown("io_events_out", &[1, 0x2000, 4096, 0]), "[{data=1, obj=0x2000, res=4096, res2=0}]");
    assert_eq!(
        text(&value("sembufs_in", &[2, 0, 0xff, 0xff, 0, 0x10])),
        "[{sem_num=2, sem_op=-1, sem_flg=SEM_UNDO}]"
    );
    assert_eq!(text(&value("mempolicies_out", &[2, 0, 0, 0])), "[MPOL_BIND]");
    assert_eq!(shown("nodes_in", &[5, 1]), "[0 2 64]");
    assert_eq!(text(&value("page_states_out", &[1, 0, 0, 0, 0xf2, 0xff, 0xff, 0xff])), "[1, -EFAULT]");
    let name = value("name_either", b"a\"b\0cdefghijklm");
    assert_eq!((text(&name), name.text()), (r#""a\"b""#.to_owned(), Some(&b"a\"b"[..])));
    assert_eq!(text(&value("mq_attr_in", &[0; 32])), "{mq_flags=0, mq_maxmsg=0, mq_msgsize=0, mq_curmsgs=0}");
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
