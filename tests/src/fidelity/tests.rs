use super::*;

const LOG: &str = r#"10 execve("/bin/sh", ["sh", "-c", "a\tb"], 0x7ffd /* 20 vars */) = 0
10 openat(AT_FDCWD, "/etc/x,y", O_RDONLY|O_CLOEXEC) = -1 ENOENT (No such file or directory)
11 connect(3, {sa_family=AF_INET, sin_port=htons(80), sin_addr=inet_addr("10.0.0.1")}, 16 <unfinished ...>
10 read(3, "\177ELF", 832) = 4
11 <... connect resumed>) = 0
10 --- SIGCHLD {si_signo=SIGCHLD} ---
10 clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD, child_tidptr=0x7f) = 11
10 exit_group(0) = ?
10 +++ exited with 0 +++
"#;

fn threads(flags: &str) -> BTreeMap<u32, Vec<Logged>> {
    let call = |name: &str, args: &str| Logged { name: name.to_owned(), args: log::split(args) };
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
    assert_eq!(found.total(), Figures { calls: 6, positions: 16, same: 13, not_recorded: 3 });
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
        ("O_RDONLY", "_", Verdict::Different),
        ("3", "3</tmp/x>(deleted)", Verdict::Same),
        ("3", "4</tmp/x>", Verdict::Different),
        ("1<<CAP_CHOWN", "1<<CAP_CHOWN", Verdict::Same),
        (r#""\1\x02a""#, r#""\x01\x02a""#, Verdict::Same),
        (r#""a""#, r#""b""#, Verdict::Different),
    ] {
        assert_eq!(value::same("read", strace, ktape), expected, "{strace} {ktape}");
    }
}
