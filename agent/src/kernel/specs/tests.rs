use super::*;
use ktape_reader::syscalls::table;

fn whole(name: &str) -> Spec {
    let (abi, nr) = table().by_name(name).into_iter().find(|&(abi, _)| abi == Abi::Native).unwrap();
    spec(table().get(abi, nr).unwrap())
}

/// Without what is about files.
fn of(name: &str) -> Spec {
    Spec { files: [0; 2], result: 0, file_words: 0, ..whole(name) }
}

#[test]
fn files_are_looked_up_by_descriptor_and_by_the_start_of_relative_paths() {
    use agent_ebpf::spec::{file::*, result};
    const FIRST: u8 = DESCRIPTOR;
    let files = |name: &str| {
        let spec = whole(name);
        (spec.files, spec.result, spec.file_words)
    };
    assert_eq!(files("getppid"), ([0, 0], result::NONE, 0));
    assert_eq!(files("read"), ([FIRST, 0], result::NONE, 1));
    assert_eq!(files("mmap"), ([FIRST | 4, 0], result::NONE, 1));
    assert_eq!(files("sendfile"), ([FIRST, FIRST | 1], result::NONE, 2));
    assert_eq!(files("epoll_ctl"), ([FIRST, FIRST | 2], result::NONE, 2));
    assert_eq!(files("socket"), ([0, 0], result::DESCRIPTOR, 2));
    assert_eq!(files("dup2"), ([FIRST, 0], result::DESCRIPTOR, 2));
    assert_eq!(files("fcntl"), ([FIRST, 0], result::FCNTL, 2));
    assert_eq!(files("bpf"), ([0, 0], result::BPF, 2));
    assert_eq!(files("accept4"), ([FIRST, 0], result::DESCRIPTOR, 2));
    assert_eq!(files("open"), ([CWD, 0], result::DESCRIPTOR, 2));
    assert_eq!(files("openat"), ([FIRST | BASE, 0], result::DESCRIPTOR, 2));
    assert_eq!(files("unlink"), ([CWD, 0], result::NONE, 1));
    assert_eq!(files("rename"), ([CWD, CWD | SECOND], result::NONE, 2));
    assert_eq!(files("renameat2"), ([FIRST | BASE, FIRST | BASE | SECOND | 2], result::NONE, 2));
    assert_eq!(files("symlinkat"), ([0, FIRST | BASE | SECOND | 1], result::NONE, 2));
    assert_eq!(files("chdir"), ([CWD, 0], result::CWD, 2));
    assert_eq!(files("fchdir"), ([FIRST, 0], result::CWD, 2));
    assert_eq!(files("execve"), ([CWD, 0], result::NONE, 1));
    assert_eq!(files("pipe2"), ([0, 0], result::PAIR, 2));
    assert_eq!(files("socketpair"), ([0, 0], result::PAIR, 2));
    assert_eq!(files("pivot_root"), ([CWD, CWD | SECOND], result::MOUNTS, 2));
    assert_eq!(files("umount2"), ([CWD, 0], result::MOUNTS, 1));
    for call in table().iter() {
        let spec = spec(call);
        // The words of files follow three or six arguments, or none.
        assert!(spec.file_words <= 2, "{}", call.name);
        for how in spec.files.into_iter().filter(|how| how & DESCRIPTOR != 0) {
            let argument = how & ARGUMENT;
            let recorded = match spec.class {
                class::ARGS0 => 0,
                class::ARGS3 => 3,
                _ => 6,
            };
            assert!(argument < recorded, "{}: argument {argument}", call.name);
        }
    }
}

fn strings(read0: u8, arg0: u8, read1: u8, arg1: u8) -> Spec {
    Spec { class: class::STRINGS, read0, arg0, read1, arg1, ..Spec::default() }
}

#[test]
fn classes_follow_from_the_highest_kept_argument() {
    for (name, class) in [
        ("getppid", class::ARGS0),
        ("rt_sigreturn", class::ARGS0),
        ("close", class::ARGS3),
        ("read", class::ARGS3),
        ("write", class::ARGS3),
        ("pread64", class::ARGS6),
        ("mmap", class::ARGS6),
        ("mremap", class::ARGS6),
        ("getrandom", class::ARGS3),
    ] {
        assert_eq!(of(name), Spec { class, flags: of(name).flags, ..Spec::default() }, "{name}");
    }
}

#[test]
fn strings_and_addresses_are_read() {
    assert_eq!(of("openat"), strings(read::STRING, 1, 0, 0));
    assert_eq!(of("renameat2"), strings(read::STRING, 1, read::STRING, 3));
    let mount = strings(read::STRING, 0, read::TWO_STRINGS, 1);
    assert_eq!(of("mount"), Spec { count: [0, 2], ..mount });
    assert_eq!(of("connect"), strings(read::SOCKADDR, 1, 0, 0));
    assert_eq!(of("sendto"), strings(read::SOCKADDR, 4, 0, 0));
    assert_eq!(of("sendmsg"), strings(read::MSGHDR, 1, 0, 0));
    assert_eq!(of("sendmmsg"), strings(read::MMSGHDR, 1, 0, 0));
    assert_eq!(of("memfd_create"), strings(read::STRING, 0, 0, 0));
    assert_eq!(of("setxattr"), strings(read::STRING, 0, read::STRING, 1));
}

#[test]
fn the_room_for_an_address_is_kept_where_no_argument_is_stored() {
    let filled = |read0, arg0, room, least| Spec { room, least, ..strings(read0, arg0, 0, 0) };
    assert_eq!(of("accept"), filled(read::SOCKADDR_OUT, 1, 5, 0));
    assert_eq!(of("accept4"), filled(read::SOCKADDR_OUT, 1, 5, 0));
    assert_eq!(of("getsockname"), filled(read::SOCKADDR_OUT, 1, 5, 0));
    assert_eq!(of("getpeername"), filled(read::SOCKADDR_OUT, 1, 5, 0));
    assert_eq!(of("recvfrom"), filled(read::SOCKADDR_OUT, 4, 1, 0));
    assert_eq!(of("recvmsg"), filled(read::MSGHDR_OUT, 1, 5, 0));
    assert_eq!(of("recvmmsg"), filled(read::MMSGHDR_OUT, 1, 5, 1));
    for call in table().iter() {
        let spec = spec(call);
        let stored =
            call.args.get(usize::from(spec.room)).is_some_and(|arg| kept(arg.ty) || arg.ty.is_string());
        assert!(spec.room == 0 || !stored, "{}", call.name);
        let fills_in = call.args.iter().any(|arg| arg.ty == ArgType::SockaddrOut)
            || call.name.starts_with("recv")
                && call.args.iter().any(|arg| matches!(arg.ty, ArgType::Msghdr | ArgType::Mmsghdr));
        assert_eq!(spec.room != 0, fills_in, "{}", call.name);
    }
}

#[test]
fn exec_and_calls_without_result_are_marked() {
    assert_eq!(of("execve"), Spec { flags: spec_flags::EXEC, ..strings(read::STRING, 0, read::ARGV, 1) });
    assert_eq!(of("execveat"), Spec { flags: spec_flags::EXEC, ..strings(read::STRING, 1, read::ARGV, 2) });
    for name in ["exit", "exit_group", "rt_sigreturn"] {
        assert_eq!(of(name).flags, spec_flags::NO_RESULT, "{name}");
    }
    let marked: Vec<_> = table()
        .iter()
        .filter(|call| spec(call).flags & !spec_flags::FILLS != 0)
        .map(|call| call.name)
        .collect();
    assert_eq!(marked.len(), 5 + 5 + 6, "{marked:?}");
}

#[test]
fn structures_are_read_when_they_are_there_and_as_long_as_they_are() {
    let given = |read1, arg1, unit, count| Spec { unit, count, ..strings(read::BYTES, 0, read1, arg1) };
    assert_eq!(of("nanosleep"), given(0, 0, [16, 0], [count::ONE, 0]));
    assert_eq!(of("clone3"), given(0, 0, [1, 0], [1, 0]));
    let openat2 = strings(read::STRING, 1, read::BYTES, 2);
    assert_eq!(of("openat2"), Spec { unit: [0, 1], count: [0, 3], ..openat2 });
    let affinity = strings(read::BYTES, 2, 0, 0);
    assert_eq!(of("sched_setaffinity"), Spec { unit: [1, 0], count: [1, 0], ..affinity });

    let filled = |read0, arg0, unit: u8, count: u8, least| Spec {
        flags: spec_flags::FILLS,
        least,
        unit: [unit, 0],
        count: [count, 0],
        ..strings(read0, arg0, 0, 0)
    };
    assert_eq!(of("pipe2"), filled(read::BYTES_OUT, 0, 8, count::ONE, 0));
    let waited = Spec { read1: read::BYTES_OUT, arg1: 3, ..filled(read::BYTES_OUT, 1, 4, count::ONE, 1) };
    assert_eq!(of("wait4"), Spec { unit: [4, 144], count: [count::ONE; 2], ..waited });
    let state = Spec { read1: read::BYTES_OUT, arg1: 2, ..filled(read::STRING, 1, 0, 0, 0) };
    assert_eq!(of("newfstatat"), Spec { unit: [0, 120], count: [0, count::ONE], ..state });
    // What is in place of a name may be a number.
    let name = given(0, 0, [15, 0], [count::ONE | count::IF_POINTER, 0]);
    assert_eq!(of("prctl"), Spec { arg0: 1, ..name });
    let timer = Spec { arg0: 1, read1: read::BYTES_OUT, arg1: 2, ..given(0, 0, [20, 4], [count::ONE; 2]) };
    assert_eq!(of("timer_create"), Spec { flags: spec_flags::FILLS, ..timer });
    assert_eq!(of("migrate_pages"), Spec { arg0: 2, ..given(read::BYTES, 3, [1; 2], [count::BITS | 1; 2]) });
    let pages = Spec { arg0: 3, read1: read::BYTES_OUT, arg1: 4, ..given(0, 0, [4; 2], [1; 2]) };
    assert_eq!(of("move_pages"), Spec { flags: spec_flags::FILLS, ..pages });
    let lock = given(0, 0, [24, 0], [count::ONE | count::IF_POINTER, 0]);
    assert_eq!(of("fcntl"), Spec { arg0: 2, ..lock });
    assert_eq!(of("writev"), Spec { arg0: 1, ..given(0, 0, [16, 0], [2, 0]) });
    assert_eq!(of("epoll_wait"), filled(read::BYTES_OUT, 1, 12, count::RESULT, 1));
    assert_eq!(of("poll"), filled(read::BYTES_BOTH, 0, 8, 1, 1));
    // What is only filled in is behind the room for it.
    let option = Spec { read1: read::BYTES_OUT, arg1: 3, ..filled(read::BYTES_BOTH, 4, 4, count::ONE, 0) };
    assert_eq!(of("getsockopt"), Spec { unit: [4, 1], count: [count::ONE, count::POINTED | 4], ..option });
    let select = strings(read::BYTES, 1, read::BYTES, 2);
    assert_eq!(of("select"), Spec { unit: [1; 2], count: [count::BITS; 2], ..select });
    let limits = strings(read::BYTES, 2, read::BYTES_OUT, 3);
    let limits = Spec { flags: spec_flags::FILLS, unit: [16; 2], count: [count::ONE; 2], ..limits };
    assert_eq!(of("prlimit64"), limits);
}

#[test]
fn the_map_is_indexed_by_abi_and_number() {
    let specs = specs(table());
    assert_eq!(specs.len(), (ABIS * NUMBERS) as usize);
    assert_eq!(specs[257], whole("openat"));
    assert_eq!(specs[NUMBERS as usize + 295], whole("openat"));
    assert_eq!(specs[2 * NUMBERS as usize + 520], whole("execve"));
    assert_eq!(specs[1000], Spec { class: class::ARGS6, ..Spec::default() });
}

#[test]
fn an_address_is_followed_by_its_length() {
    for call in table().iter() {
        for (i, arg) in call.args.iter().enumerate() {
            let next = call.args.get(i + 1).map(|next| next.ty);
            match arg.ty {
                ArgType::Sockaddr => assert_eq!(next, Some(ArgType::Int), "{}", call.name),
                ArgType::SockaddrOut => assert_eq!(next, Some(ArgType::Socklen), "{}", call.name),
                _ => {}
            }
        }
    }
}
