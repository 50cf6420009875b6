use super::*;

fn call(name: &str, outcome: Outcome) -> Call {
    Call { name: name.into(), outcome }
}

fn error(name: &str) -> Outcome {
    Outcome::Error(name.into())
}

#[test]
fn results_are_parsed() {
    let threads = parse(concat!(
        "7 execve(\"/bin/x\", [\"x\"], 0x7ffd /* 3 vars */) = 0\n",
        "7 openat(AT_FDCWD, \"/a) = 9\", O_RDONLY|O_CLOEXEC) = 3\n",
        "7 mmap(NULL, 8192, PROT_READ, MAP_PRIVATE, -1, 0) = 0x7f3a2c000000\n",
        "7 close(9) = -1 EBADF (Bad file descriptor)\n",
        "7 umask(000) = 022\n",
        "7 fcntl(1, F_GETFL) = 0x8002 (flags O_RDWR|O_LARGEFILE)\n",
        "7 poll([{fd=3, events=POLLIN}], 1, 0) = 1 ([{fd=3, revents=POLLIN}])\n",
        "7 syscall_0x258(0, 0, 0, 0, 0, 0) = -1 ENOSYS (Function not implemented)\n",
        "7 nanosleep({tv_sec=0, tv_nsec=20000}, NULL) = -1 (errno 600)\n",
        "7 exit_group(0)  = ?\n",
        "7 +++ exited with 0 +++\n",
    ));
    assert_eq!(
        threads[&7],
        [
            call("execve", Outcome::Value(0)),
            call("openat", Outcome::Value(3)),
            call("mmap", Outcome::Value(0x7f3a_2c00_0000)),
            call("close", error("EBADF")),
            call("umask", Outcome::Value(0o22)),
            call("fcntl", Outcome::Value(0x8002)),
            call("poll", Outcome::Value(1)),
            call("syscall_600", error("ENOSYS")),
            call("nanosleep", Outcome::Never),
            call("exit_group", Outcome::Never),
        ]
    );
}

#[test]
fn interleaved_and_interrupted_calls_are_parsed() {
    let threads = parse(concat!(
        "7 read(3,  <unfinished ...>\n",
        "8 write(4, \"\"..., 1) = 1\n",
        "7 <... read resumed>\"\"..., 1) = 1\n",
        "7 nanosleep({tv_sec=1, tv_nsec=0}, NULL) = ? ERESTART_RESTARTBLOCK (Interrupted by signal)\n",
        "7 --- SIGALRM {si_signo=SIGALRM, si_code=SI_KERNEL} ---\n",
        "7 rt_sigreturn({mask=[]}) = -1 EINTR (Interrupted system call)\n",
        "7 restart_syscall(<... resuming interrupted nanosleep ...>) = 0\n",
        "7 <... rt_sigreturn resumed>) = 13925973685579284257\n",
        "8 read(5,  <unfinished ...>) = ?\n",
        "8 +++ killed by SIGKILL +++\n",
    ));
    assert_eq!(
        threads[&7],
        [
            call("read", Outcome::Value(1)),
            call("nanosleep", Outcome::Restart("ERESTART_RESTARTBLOCK".into())),
            call("rt_sigreturn", error("EINTR")),
            call("restart_syscall", Outcome::Value(0)),
            call("rt_sigreturn", Outcome::Value(-4_520_770_388_130_267_359)),
        ]
    );
    assert_eq!(threads[&8], [call("write", Outcome::Value(1)), call("read", Outcome::Never)]);
}

#[test]
fn a_thread_that_calls_execve_continues_as_the_leader() {
    for mark in ["<unfinished ...>", "<pid changed to 7 ...>"] {
        let threads = parse(&format!(
            "7 futex(0x7f00, FUTEX_WAIT, 8, NULL <unfinished ...>\n\
             8 execve(\"/bin/true\", [\"true\"], 0x7ffe /* 3 vars */ {mark}\n\
             7 +++ superseded by execve in pid 8 +++\n\
             7 <... execve resumed>) = 0\n\
             7 brk(NULL) = 0x55d0\n",
        ));
        assert_eq!(
            threads[&7],
            [
                call("futex", Outcome::Never),
                call("execve", Outcome::Value(0)),
                call("brk", Outcome::Value(0x55d0)),
            ]
        );
        assert!(!threads.contains_key(&8));
    }
}

#[test]
fn raw_results_are_classified() {
    assert_eq!(Outcome::from_raw(3), Outcome::Value(3));
    assert_eq!(Outcome::from_raw(-2), error("ENOENT"));
    assert_eq!(Outcome::from_raw(-512), Outcome::Restart("ERESTARTSYS".into()));
    assert_eq!(Outcome::from_raw(-4096), Outcome::Value(-4096));
}

#[test]
fn the_summary_is_parsed() {
    let counts = parse_summary(
        "syscall              calls\n----------------- --------\nread                100003\nwrite               100003\n\
         ----------------- --------\ntotal               200006\n",
    );
    assert_eq!(counts.into_iter().collect::<Vec<_>>(), [("read".into(), 100_003), ("write".into(), 100_003)]);
}

#[test]
fn a_thread_that_exits_before_strace_reads_its_call() {
    let threads = parse(
        "7 getpid() = 7\n7 ???( <unfinished ...>\n7 +++ exited with 0 +++\n\
         8 nanosleep({tv_sec=0, tv_nsec=20000},  <unfinished ...>\n8 <... nanosleep resumed>NULL) = ? <unavailable>\n\
         8 +++ exited with 0 +++\n9 ????( <unfinished ...>\n9 +++ exited with 0 +++\n",
    );
    assert_eq!(threads[&7], [call("getpid", Outcome::Value(7))]);
    assert_eq!(threads[&8], [call("nanosleep", Outcome::Never)]);
    assert!(!threads.contains_key(&9));
}

#[test]
fn a_thread_that_is_killed_at_its_entry_by_the_exit_of_another() {
    let threads = parse(
        "6 nanosleep({tv_sec=0, tv_nsec=20000}, NULL) = 0\n5 exit_group(0 <unfinished ...>\n\
         6 exit_group(0 <unfinished ...>\n5 <... exit_group resumed>) = ?\n5 +++ exited with 0 +++\n\
         6 +++ exited with 0 +++\n7 exit_group(1 <unfinished ...>\n8 exit_group(1 <unfinished ...>\n\
         7 <... exit_group resumed>) = ?\n8 <... exit_group resumed>) = ?\n7 +++ exited with 1 +++\n\
         8 +++ exited with 1 +++\n",
    );
    assert_eq!(threads[&6], [call("nanosleep", Outcome::Value(0))]);
    for exited in [5, 7, 8] {
        assert_eq!(threads[&exited], [call("exit_group", Outcome::Never)]);
    }
    // The other `exit_group` may be several lines earlier and complete.
    let threads = parse(
        "6 getpid() = 5\n5 exit_group(0) = ?\n4 nanosleep({tv_sec=0, tv_nsec=20000}, NULL) = ?\n4 +++ exited with 0 +++\n\
         6 exit_group(0 <unfinished ...>\n5 +++ exited with 0 +++\n6 +++ exited with 0 +++\n",
    );
    assert_eq!(threads[&6], [call("getpid", Outcome::Value(5))]);
    let alone = parse("9 getpid() = 9\n9 exit_group(0 <unfinished ...>\n9 +++ killed by SIGKILL +++\n");
    assert_eq!(alone[&9], [call("getpid", Outcome::Value(9)), call("exit_group", Outcome::Never)]);
}
