use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::*;

const FILES: [&str; 2] = [include_str!("x86_64.tbl"), include_str!("i386.tbl")];
const TRACEFS: &str = "/sys/kernel/tracing/events/syscalls";

fn signature(abi: Abi, nr: u16) -> String {
    table().get(abi, nr).map(Syscall::signature).unwrap_or_default()
}

#[test]
fn every_line_of_the_table_files_parses() {
    for text in FILES {
        let mut seen = std::collections::HashSet::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&'static str> = line.split(' ').collect();
            assert!(words[0].parse::<u16>().unwrap() < SYSCALL_NUMBERS as u16, "{line}");
            assert!(matches!(words[1], "common" | "64" | "x32" | "i386"), "{line}");
            assert!(seen.insert((words[0], words[1])), "{line}: twice");
            assert!(words.len() <= 3 + 6, "{line}");
            for word in &words[3..] {
                let arg = Arg::parse_static(word).unwrap_or_else(|| panic!("{line}: {word}"));
                let known = arg.ty.name() == arg.tag || arg.ty != ArgType::Ulong;
                assert!(known, "{line}: no type is meant by {}", arg.tag);
            }
        }
    }
}

#[test]
fn important_calls() {
    for (nr, expected) in [
        (0, "read(fd:fd, buf:ptr, count:size)"),
        (1, "write(fd:fd, buf:ptr, count:size)"),
        (2, "open(filename:path, flags:open_flags, mode:mode)"),
        (3, "close(fd:fd)"),
        (9, "mmap(addr:address, len:size, prot:mmap_prot, flags:mmap_flags, fd:fd, off:offset)"),
        (16, "ioctl(fd:fd, cmd:ioctl_cmd, arg:ulong)"),
        (17, "pread64(fd:fd, buf:ptr, count:size, pos:offset)"),
        (41, "socket(family:family_const, type:socket_type_flags, protocol:int)"),
        (42, "connect(fd:fd, uservaddr:sockaddr, addrlen:int)"),
        (44, "sendto(fd:fd, buff:ptr, len:size, flags:msg_flags, addr:sockaddr, addr_len:int)"),
        (47, "recvmsg(fd:fd, msg:msghdr, flags:msg_flags)"),
        (
            56,
            "clone(clone_flags:clone_flags, newsp:address, parent_tidptr:address, child_tidptr:address, tls:address)",
        ),
        (59, "execve(filename:path, argv:argv, envp:ptr)"),
        (60, "exit(error_code:int)"),
        (61, "wait4(upid:pid, stat_addr:wait_status_out, options:wait_flags, ru:rusage_out)"),
        (62, "kill(pid:pid, sig:signal)"),
        (72, "fcntl(fd:fd, cmd:fcntl_cmd, arg:flock_either)"),
        (82, "rename(oldname:path, newname:path)"),
        (92, "chown(filename:path, user:uid, group:gid)"),
        (110, "getppid()"),
        (157, "prctl(option:prctl_cmd, arg2:name_either, arg3:ulong, arg4:ulong, arg5:ulong)"),
        (165, "mount(dev_name:path, dir_name:path, type:string, flags:mount_flags, data:ptr)"),
        (166, "umount2(name:path, flags:umount_flags)"),
        (
            202,
            "futex(uaddr:address, op:futex_cmd, val:uint, utime:timespec_either, uaddr2:address, val3:uint)",
        ),
        (232, "epoll_wait(epfd:fd, events:epoll_events_out, maxevents:int, timeout:int)"),
        (257, "openat(dfd:dirfd, filename:path, flags:open_flags, mode:mode)"),
        (262, "newfstatat(dfd:dirfd, filename:path, statbuf:stat_out, flag:at_flags)"),
        (288, "accept4(fd:fd, upeer_sockaddr:sockaddr_out, upeer_addrlen:socklen, flags:accept_flags)"),
        (302, "prlimit64(pid:pid, resource:resource_const, new_rlim:rlimit64_in, old_rlim:rlimit64_out)"),
        (316, "renameat2(olddfd:dirfd, oldname:path, newdfd:dirfd, newname:path, flags:rename_flags)"),
        (319, "memfd_create(uname:string, flags:memfd_flags)"),
        (322, "execveat(fd:dirfd, filename:path, argv:argv, envp:ptr, flags:at_flags)"),
        (332, "statx(dfd:dirfd, filename:path, flags:at_flags, mask:statx_mask, buffer:statx_out)"),
        (435, "clone3(uargs:clone_args_in, size:size)"),
    ] {
        assert_eq!(signature(Abi::Native, nr), expected);
    }
}

#[test]
fn calls_of_32_bit_callers() {
    for (nr, expected) in [
        (1, "exit(error_code:int)"),
        (7, "waitpid(pid:pid, stat_addr:wait_status_out, options:wait_flags)"),
        (20, "getpid()"),
        (22, "umount(name:path)"),
        (52, "umount2(name:path, flags:umount_flags)"),
        (90, "mmap(arg:ptr)"),
        (102, "socketcall(call:socketcall_cmd, args:ptr)"),
        (119, "sigreturn()"),
        (
            120,
            "clone(clone_flags:clone_flags, newsp:address, parent_tidptr:address, tls:address, child_tidptr:address)",
        ),
        (140, "_llseek(fd:fd, offset_high:ulong, offset_low:ulong, result:offsets_out, whence:whence_const)"),
        (192, "mmap2(addr:address, len:size, prot:mmap_prot, flags:mmap_flags, fd:fd, pgoff:offset)"),
        (195, "stat64(filename:path, statbuf:stat64_out)"),
        (
            422,
            "futex_time64(uaddr:address, op:futex_cmd, val:uint, utime:timespec_either, uaddr2:address, val3:uint)",
        ),
    ] {
        assert_eq!(signature(Abi::Compat, nr), expected);
    }
    assert_eq!(signature(Abi::X32, 520), "execve(filename:path, argv:argv, envp:ptr)");
    assert_eq!(signature(Abi::X32, 59), "", "x32 has its own number for execve");
    assert_eq!(signature(Abi::Native, 520), "");
}

#[test]
fn names_find_their_numbers() {
    assert_eq!(table().by_name("openat"), [(Abi::Native, 257), (Abi::X32, 257), (Abi::Compat, 295)],);
    assert_eq!(table().by_name("socketcall"), [(Abi::Compat, 102)]);
    assert_eq!(table().by_name("nonsense"), []);
    assert_eq!(table().by_name("syscall_1000"), ALL_ABIS.map(|abi| (abi, 1000)));
    assert_eq!(table().by_name("syscall_59"), [(Abi::X32, 59)]);
    assert_eq!(table().by_name("syscall_059"), []);
    assert_eq!(table().name(Abi::Native, 0), "read");
    assert_eq!(table().name(Abi::Native, 999), "syscall_999");
    assert_eq!(table().name(Abi::Native, u16::MAX), "syscall_65535");
    assert_eq!(table().get_key(0x1_0014).unwrap().name, "getpid");
    assert!(table().get_key(3 << 16).is_none());
}

#[test]
fn the_vocabulary_has_each_key_once() {
    let vocabulary = table().vocabulary();
    assert!(vocabulary.windows(2).all(|pair| pair[0].0 < pair[1].0));
    assert_eq!(vocabulary.len(), table().iter().count());
}

/// Names and numbers in a header, without the x32 bit.
fn header(file: &str) -> BTreeMap<u16, String> {
    let path = Path::new("/usr/include/x86_64-linux-gnu/asm").join(file);
    let Ok(text) = fs::read_to_string(&path) else {
        eprintln!("NOT CHECKED: numbers against {}: it is not installed", path.display());
        return BTreeMap::new();
    };
    text.lines()
        .filter_map(|line| line.strip_prefix("#define __NR_")?.split_once(' '))
        .map(|(name, value)| {
            let digits: String = value.chars().filter(char::is_ascii_digit).collect();
            let digits = digits.strip_prefix("32").filter(|_| value.contains("X32")).unwrap_or(&digits);
            (digits.parse().unwrap(), name.to_owned())
        })
        .collect()
}

#[test]
fn numbers_are_those_of_the_headers() {
    for (abi, file) in
        [(Abi::Native, "unistd_64.h"), (Abi::Compat, "unistd_32.h"), (Abi::X32, "unistd_x32.h")]
    {
        let header = header(file);
        let Some(&last) = header.keys().filter(|&&nr| nr < 512).max() else { continue };
        for (nr, name) in &header {
            assert_eq!(table().name(abi, *nr), *name, "{file} {nr}");
        }
        // Nothing below the header's newest number that it does not have, except for uretprobe and uprobe.
        for call in table().iter().filter(|call| call.abi == abi && call.nr <= last) {
            assert!(header.contains_key(&call.nr) || matches!(call.nr, 335 | 336), "{} in {file}", call.name);
        }
    }
}

#[test]
fn arguments_are_those_of_the_running_kernel() {
    let Ok(events) = fs::read_dir(TRACEFS) else {
        eprintln!("NOT CHECKED: arguments against {TRACEFS}: not mounted, or not root");
        return;
    };
    let mut checked = 0;
    for event in events {
        let path = event.unwrap().path();
        let Some(name) = path.file_name().unwrap().to_str().unwrap().strip_prefix("sys_enter_") else {
            continue;
        };
        let name = match name {
            "newstat" => "stat",
            "newfstat" => "fstat",
            "newlstat" => "lstat",
            "newuname" => "uname",
            "sendfile64" => "sendfile",
            "umount" => "umount2",
            name => name,
        };
        let Some((abi, nr)) = table().by_name(name).into_iter().find(|&(abi, _)| abi == Abi::Native) else {
            eprintln!("NOT CHECKED: {name}: this kernel is newer than the table");
            continue;
        };
        let format = fs::read_to_string(path.join("format")).unwrap();
        let names: Vec<&str> = format
            .lines()
            .filter_map(|line| line.trim().strip_prefix("field:")?.split(';').next()?.rsplit(' ').next())
            .filter(|field| !field.starts_with("common_") && *field != "__syscall_nr")
            .collect();
        let ours: Vec<&str> = table().get(abi, nr).unwrap().args.iter().map(|arg| &*arg.name).collect();
        assert_eq!(ours.len(), names.len(), "{name}: {ours:?}, the kernel says {names:?}");
        if ours != names {
            eprintln!("{name}: {ours:?}, the kernel says {names:?}: a kernel of another age");
        }
        checked += 1;
    }
    assert!(checked > 250, "only {checked} formats in {TRACEFS}");
}
