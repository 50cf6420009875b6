use super::*;
use crate::syscalls;

fn meanings(call: &str) -> (Signature, Meanings) {
    let call = syscalls::table().iter().find(|known| known.name == call).unwrap();
    let signature = Signature::from(call);
    let meanings = Meanings::new(&signature, Arch::X86_64);
    (signature, meanings)
}

/// The arguments of a call that have names.
fn named(call: &str, args: &[u64]) -> Vec<String> {
    let (signature, meanings) = meanings(call);
    let count = meanings.count(signature.args.len(), args);
    let name = |at: usize| {
        let mut out = Vec::new();
        meanings.set(at, args)?.write(args[at], &mut out).then(|| String::from_utf8(out).unwrap())
    };
    (0..count).filter_map(name).collect()
}

#[test]
fn names_depend_on_another_argument() {
    for (call, args, expected) in [
        ("setsockopt", &[3, 1, 2, 0, 4][..], &["SOL_SOCKET", "SO_REUSEADDR"][..]),
        ("setsockopt", &[3, 6, 1, 0, 4], &["SOL_TCP", "TCP_NODELAY"]),
        ("socket", &[2, 1, 6], &["AF_INET", "SOCK_STREAM", "IPPROTO_TCP"]),
        ("socket", &[16, 3, 0], &["AF_NETLINK", "SOCK_RAW", "NETLINK_ROUTE"]),
        ("fcntl", &[3, 4, 0o4000], &["F_SETFL", "O_NONBLOCK"]),
        ("fcntl", &[3, 2, 1], &["F_SETFD", "FD_CLOEXEC"]),
        ("fcntl", &[3, 0, 10], &["F_DUPFD"]),
        ("fcntl", &[3, 1024, 0], &["F_SETLEASE", "F_RDLCK"]),
        ("msgget", &[0, 0o1600], &["IPC_PRIVATE", "IPC_CREAT|0600"]),
        (
            "keyctl",
            &[5, 7, 0x3f0000],
            &[
                "KEYCTL_SETPERM",
                "KEY_USR_VIEW|KEY_USR_READ|KEY_USR_WRITE|KEY_USR_SEARCH|KEY_USR_LINK|KEY_USR_SETATTR",
            ],
        ),
        (
            "futex",
            &[0x1000, 0x189, 0, 0, 0, 0xffff_ffff],
            &["FUTEX_WAIT_BITSET_PRIVATE|FUTEX_CLOCK_REALTIME", "FUTEX_BITSET_MATCH_ANY"],
        ),
    ] {
        assert_eq!(named(call, args), expected, "{call}{args:?}");
    }
}

#[test]
fn unused_arguments_are_not_counted() {
    for (call, args, expected) in [
        ("openat", [0, 0, 0, 7, 0, 0], 3),
        ("openat", [0, 0, 0o100, 7, 0, 0], 4),
        ("openat", [0, 0, 0x410002, 7, 0, 0], 4),
        ("open", [0, 0, 7, 0, 0, 0], 2),
        ("mq_open", [0, 2, 7, 7, 0, 0], 2),
        ("mq_open", [0, 0o102, 0o600, 7, 0, 0], 4),
        ("fcntl", [3, 1, 9, 0, 0, 0], 2),
        ("fcntl", [3, 4, 9, 0, 0, 0], 3),
        ("futex", [1, 0x81, 1, 9, 9, 9], 3),
        ("futex", [1, 0x80, 1, 9, 9, 9], 4),
        ("futex", [1, 0x189, 1, 9, 9, 9], 6),
        ("mremap", [1, 2, 3, 1, 9, 0], 4),
        ("mremap", [1, 2, 3, 3, 9, 0], 5),
        ("prctl", [15, 1, 9, 9, 9, 0], 2),
        // PR_GET_NO_NEW_PRIVS fails if one of them is not 0.
        ("prctl", [39, 1, 9, 9, 9, 0], 5),
        ("mknod", [1, 0o010_644, 9, 0, 0, 0], 2),
        ("mknod", [1, 0o020_644, 9, 0, 0, 0], 3),
        ("mknodat", [3, 1, 0o140_644, 9, 0, 0], 3),
        ("mknodat", [3, 1, 0o060_644, 9, 0, 0], 4),
        ("read", [1, 2, 3, 0, 0, 0], 3),
    ] {
        let (signature, meanings) = meanings(call);
        assert_eq!(meanings.count(signature.args.len(), &args), expected, "{call}{args:?}");
    }
}

#[test]
fn an_argument_is_a_structure_with_some_operations_only() {
    let is_struct = |call: &str, args: &[u64]| meanings(call).1.is_struct(args);
    // F_SETLKW, F_SETFL; FUTEX_WAIT_BITSET of a private one, FUTEX_CMP_REQUEUE.
    assert!(is_struct("fcntl", &[3, 7, 0x7fff_0000_0000]));
    assert!(!is_struct("fcntl", &[3, 4, 0o4000]));
    assert!(is_struct("futex", &[0x1000, 9 | 128, 1, 0]));
    assert!(!is_struct("futex", &[0x1000, 4, 1, 100]));
    assert!(is_struct("nanosleep", &[0x1000, 0]));
    // IPC_STAT, also with IPC_64, IPC_RMID; MSG_STAT.
    assert!(is_struct("shmctl", &[7, 2, 0x1000]));
    assert!(is_struct("shmctl", &[7, 0x102, 0x1000]));
    assert!(!is_struct("shmctl", &[7, 0, 0x1000]));
    assert!(is_struct("msgctl", &[7, 11, 0x1000]));
    // LANDLOCK_RULE_PATH_BENEATH, LANDLOCK_RULE_NET_PORT.
    assert!(is_struct("landlock_add_rule", &[3, 1, 0x1000, 0]));
    assert!(!is_struct("landlock_add_rule", &[3, 2, 0x1000, 0]));
    // PR_SET_NAME, PR_SET_DUMPABLE; SECCOMP_SET_MODE_FILTER, SECCOMP_GET_ACTION_AVAIL.
    assert!(is_struct("prctl", &[15, 0x1000]));
    assert!(!is_struct("prctl", &[4, 1]));
    assert!(is_struct("seccomp", &[1, 0, 0x1000]));
    assert!(!is_struct("seccomp", &[2, 0, 0x1000]));
}
