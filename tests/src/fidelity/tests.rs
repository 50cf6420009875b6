use super::*;

const LOG: &str = r#"10 execve("/bin/sh", ["sh", "-c", "a\tb"], 0x7ffd00001000 /* 20 vars */) = 0
10 openat(AT_FDCWD, "/etc/x,y", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
11 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}, 16 <unfinished ...>
10 read(3, "\177ELF", 832) = 4
11 <... connect resumed>) = 0
10 --- SIGCHLD {si_signo=SIGCHLD} ---
10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 11
10 exit_group(0) = ?
10 +++ exited with 0 +++
"#;

fn logged(name: &str, args: &str, result: &str) -> Logged {
    Logged { name: name.to_owned(), args: log::split(args), result: result.to_owned() }
}

fn threads(flags: &str) -> BTreeMap<u32, Vec<Logged>> {
    let call = |name: &str, args: &str| logged(name, args, "");
    BTreeMap::from([
        (
            10,
            vec![
                call("getpid", ""),
                call("execve", r#""/bin/sh", ["sh", "-c", "a\tb"], _"#),
                call("openat", &format!(r#"AT_FDCWD</srv>, "/etc/x,y", {flags}"#)),
                call("read", r#"3</a, "b>, _, 0x340"#),
                call("clone", "SIGCHLD|CLONE_CHILD_CLEARTID, NULL, _, _, NULL"),
                call("exit_group", "0"),
            ],
        ),
        (11, vec![call("connect", "3<TCP:[10.0.0.2:5->10.0.0.1:80]>, 10.0.0.1:80, 16")]),
    ])
}

#[test]
fn what_strace_logs_is_found_in_what_was_recorded() {
    let found = compare(&log::parse(LOG), &threads("O_CLOEXEC|O_RDONLY"));
    assert_eq!((found.differences.as_slice(), found.missing.as_slice()), (&[][..], &[][..]));
    // Not recorded: the environment, the buffer, the address of a thread id.
    assert_eq!(
        found.total(),
        Figures { calls: 6, positions: 16, same: 13, content: 1, addresses: 1, not_recorded: 1, nameless: 0 }
    );
}

#[test]
fn another_value_is_a_difference() {
    let found = compare(&log::parse(LOG), &threads("O_RDONLY|O_EXCL"));
    assert_eq!(
        found.differences,
        ["openat, argument 2: O_RDONLY|O_CLOEXEC (strace), O_RDONLY|O_EXCL (ktape)"]
    );
    let mut less = threads("O_RDONLY|O_CLOEXEC");
    less.remove(&11);
    assert_eq!(compare(&log::parse(LOG), &less).missing.len(), 1);
    for (strace, ktape, expected) in [
        ("SIGRT_2", "SIGRTMIN", Verdict::Same),
        ("SIGRT_3", "SIGRTMIN", Verdict::Different),
        ("0644", "420", Verdict::Same),
        ("-1", "0xffffffffffffffff", Verdict::Same),
        ("NULL", "0", Verdict::Same),
        ("5", "_", Verdict::NotRecorded),
        ("[5]", "_", Verdict::NotRecorded),
        ("{st_size=1}", "_", Verdict::NotRecorded),
        ("0x7ffd00001000", "_", Verdict::Address),
        ("NULL", "_", Verdict::Address),
        ("\"abc\"", "_", Verdict::Content),
        ("O_RDONLY", "_", Verdict::Different),
        ("3", "3</tmp/x>(deleted)", Verdict::Same),
        ("3", "4</tmp/x>", Verdict::Different),
        ("1<<CAP_CHOWN", "1<<CAP_CHOWN", Verdict::Same),
        (r#""\1\x02a""#, r#""\x01\x02a""#, Verdict::Same),
        (r#""a""#, r#""b""#, Verdict::Different),
        (r#""abc""#, r#""ab"..."#, Verdict::Same),
        (r#""abc"..."#, r#""abc""#, Verdict::Same),
        (r#""abc""#, r#""ac"..."#, Verdict::Different),
        ("0x7ffd00001000", "[0 1]", Verdict::Address),
        ("0x1", "?", Verdict::Address),
        ("FASYNC|O_RDWR", "O_RDWR|O_ASYNC", Verdict::Same),
        ("_IOC(_IOC_WRITE, 0x58, 0x39, 0x30)", "0x40305839", Verdict::Same),
        ("IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7)", "IOPRIO_CLASS_BE|0x7", Verdict::Same),
        ("QCMD(Q_SYNC, USRQUOTA)", "Q_SYNC|USRQUOTA", Verdict::Same),
        ("IPC_CREAT|21<<SHM_HUGE_SHIFT|0600", "IPC_CREAT|SHM_HUGE_2MB|0600", Verdict::Same),
        ("IPC_CREAT|30<<SHM_HUGE_SHIFT|0600", "IPC_CREAT|SHM_HUGE_2MB|0600", Verdict::Different),
        ("[256 => 16]", "[16]", Verdict::Same),
        ("[256 => 16]", "[8]", Verdict::Different),
        ("{sa_family=AF_UNSPEC, sa_data=\"\\0\"}", "unspec", Verdict::Same),
        // Numbers without a name for one of both.
        ("0x200", "MEMBARRIER_CMD_GET_REGISTRATIONS", Verdict::Nameless),
        ("0", "PR_MCE_KILL_LATE", Verdict::Nameless),
        ("A|0xc000", "A|B|0x8000", Verdict::Nameless),
        ("A|0xc000", "A|B|0xc000", Verdict::Different),
        ("A", "A|B", Verdict::Different),
        ("IPC_PRIVATE", "0", Verdict::Different),
        // The first 512 bytes of a set of nodes.
        ("[0x00000000000005, 0000000000000000]", "[0 2]", Verdict::Same),
        ("[0x00000000000005, 0x00000000000001]", "[0 2]", Verdict::Different),
        ("[0x00000000000005, 0x00000000000001, ...]", "[0 2 64...]", Verdict::Same),
        // Of an array, the beginning.
        ("[{a=1}, {a=2}]", "[{a=1}...]", Verdict::Same),
        ("[{a=1}, {a=2}]", "[{a=2}...]", Verdict::Different),
        ("[{b=\"x]\", a=1}]", "[{a=1}]", Verdict::Same),
        ("{a=0, ...}", "{a=0, c=7}", Verdict::Same),
    ] {
        assert_eq!(value::same("read", strace, ktape), expected, "{strace} {ktape}");
    }
}

/// What `names::of_call` finds of a call that strace and ktape show like this, after this log.
fn names_of(log: &str, strace: (&str, &str, &str), ktape: (&str, &str)) -> Vec<names::Verdict> {
    let log = log::parse(log);
    let sockets = Sockets::of(log.values().flatten());
    let (name, args, result) = strace;
    let compared = [logged(name, args, result), logged(name, ktape.0, ktape.1)];
    names::of_call(&compared[0], &compared[1], &sockets).iter().map(|compared| compared.verdict).collect()
}

#[test]
fn names_of_arguments_and_results_are_compared() {
    use names::Verdict::{Equal, Explained, Unknown, Wrong};
    let dup = ("dup2", "3</a \\74b>, 1<pipe:[5]>", "1</a \\74b>");
    let same = ("3</a \\x3cb>, 1", "1</a \\x3cb>");
    assert_eq!(names_of("", dup, same), [Equal, Explained(Reason::SecondDescriptor), Equal]);
    let other = ("3</a>, 1<pipe:[6]>", "1");
    assert_eq!(names_of("", dup, other), [Wrong, Wrong, Unknown]);
    let deleted = ("close", "3</a>(deleted)", "0");
    assert_eq!(names_of("", deleted, ("3</a>(deleted)", "0")), [Equal]);
    assert_eq!(names_of("", deleted, ("3</a>", "0")), [Wrong]);
    let open = ("openat", "AT_FDCWD</srv>, \"/a\", O_RDONLY", "3</a>");
    let ours = ("AT_FDCWD, \"/a\", O_RDONLY", "3</a>");
    assert_eq!(names_of("", open, ours), [Explained(Reason::AbsolutePath), Equal]);
    let relative = ("openat", "AT_FDCWD</srv>, \"a\", O_RDONLY", "-1 ENOENT (No such file or directory)");
    assert_eq!(names_of("", relative, ("AT_FDCWD, \"a\", O_RDONLY", "-1 ENOENT")), [Unknown]);
}

#[test]
fn names_differ_only_for_reasons_that_apply() {
    const LOG: &str = "7 bind(3<UNIX-STREAM:[11]>, {sa_family=AF_UNIX, sun_path=\"/s\"}, 5) = 0\n\
                       7 listen(3<UNIX-STREAM:[11,\"/s\"]>, 9) = 0\n\
                       7 accept(3<UNIX-STREAM:[11,\"/s\"]>, NULL, NULL) = 5<UNIX-STREAM:[13->12,\"/s\"]>\n\
                       7 connect(6<UDP:[0.0.0.0:80]>, {sa_family=AF_INET, sin_port=htons(99), sin_addr=inet_addr(\"10.0.0.1\")}, 16) = 0\n";
    let why = |strace: &str, ktape: &str| {
        let (strace, ktape) = (format!("3<{strace}>"), format!("3<{ktape}>"));
        match names_of(LOG, ("read", &strace, "0"), (&ktape, "0"))[0] {
            names::Verdict::Explained(reason) => Some(reason),
            _ => None,
        }
    };
    for (strace, ktape, expected) in [
        ("/dev/null<char 1:3>", "/dev/null", Some(Reason::DeviceNumbers)),
        ("/dev/null<char 1:3>", "/dev/zero", None),
        ("pid:7", "anon_inode:[pidfd]", Some(Reason::Referent)),
        ("pid:7", "anon_inode:[eventfd]", None),
        ("net:[7]", "namespace:[7]", Some(Reason::Namespace)),
        ("net:[7]", "namespace:[8]", None),
        ("anon_inode:inotify", "anon_inode:[inotify]", None),
        // The server, its own path; the client, that of its peer.
        ("UNIX-STREAM:[13->12,\"/s\"]", "UNIX:[/s]", Some(Reason::UnixSocket)),
        ("UNIX-STREAM:[12->13]", "UNIX:[/s]", Some(Reason::UnixSocket)),
        ("UNIX-STREAM:[12]", "UNIX:[12]", Some(Reason::UnixSocket)),
        ("UNIX-STREAM:[12]", "UNIX:[13]", None),
        ("UNIX-STREAM:[20->21]", "UNIX:[/s]", None),
        ("UNIX-STREAM:[13->12,\"/s\"]", "UNIX:[/t]", None),
        ("NETLINK:[ROUTE:7]", "NETLINK:[4711]", Some(Reason::Netlink)),
        ("UDP:[0.0.0.0:80]", "UDP:[10.0.0.2:80->10.0.0.1:99]", Some(Reason::FirstAddress)),
        ("UDP:[0.0.0.0:80]", "UDP:[10.0.0.2:81->10.0.0.1:99]", None),
        ("UDP:[0.0.0.0:80]", "UDP:[10.0.0.2:80->10.0.0.3:99]", None),
        ("TCP:[10.0.0.2:80->10.0.0.1:99]", "TCP:[10.0.0.2:0->10.0.0.1:99]", None),
    ] {
        assert_eq!(why(strace, ktape), expected, "{strace} {ktape}");
    }
    let memory = ("read", "3</memfd:x>(deleted)", "0");
    assert_eq!(names_of("", memory, ("3</memfd:x>", "0")), [names::Verdict::Explained(Reason::Memory)]);
}
