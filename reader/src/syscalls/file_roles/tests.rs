use super::FileArg::{Descriptor, Directory, Path};
use super::*;

fn roles(signature: &str) -> FileRoles {
    FileRoles::new(&Signature::parse(signature).unwrap())
}

fn args(signature: &str) -> Vec<FileArg> {
    let roles = roles(signature);
    roles.args.into_iter().filter(|arg| *arg != FileArg::None).collect()
}

#[test]
fn files_belong_to_descriptors_and_directories_in_order() {
    for (signature, expected) in [
        ("read(fd:fd, buf:ptr, count:size)", vec![Descriptor(0)]),
        ("epoll_ctl(epfd:fd, op:epoll_ctl_cmd, fd:fd, event:ptr)", vec![Descriptor(0), Descriptor(1)]),
        ("unlink(pathname:path)", vec![Path(Some(0))]),
        ("unlinkat(dfd:dirfd, pathname:path, flag:at_flags)", vec![Directory(0), Path(Some(0))]),
        (
            "renameat(olddfd:dirfd, oldname:path, newdfd:dirfd, newname:path)",
            vec![Directory(0), Path(Some(0)), Directory(1), Path(Some(1))],
        ),
        ("rename(oldname:path, newname:path)", vec![Path(Some(0)), Path(Some(1))]),
        // The contents of a link start from nowhere, and the new name from the second directory.
        (
            "symlinkat(oldname:path, newdfd:dirfd, newname:path)",
            vec![Path(None), Directory(1), Path(Some(1))],
        ),
        ("mount(dev_name:path, dir_name:path)", vec![Path(None), Path(Some(1))]),
        ("inotify_add_watch(fd:fd, pathname:path)", vec![Descriptor(0), Path(Some(1))]),
        ("fanotify_mark(fd:fd, dfd:dirfd, pathname:path)", vec![Descriptor(0), Directory(1), Path(Some(1))]),
        ("fsconfig(fd:fd, cmd:fsconfig_cmd, aux:dirfd)", vec![Descriptor(0), Descriptor(1)]),
        ("getpid()", vec![]),
    ] {
        assert_eq!(args(signature), expected, "{signature}");
    }
}

#[test]
fn the_second_file_of_calls_that_return_one_is_that() {
    // The number that is replaced, and one of another process, stand for other files.
    assert_eq!(args("dup2(oldfd:fd, newfd:fd)"), [Descriptor(0)]);
    assert_eq!(args("pidfd_getfd(pidfd:fd, fd:fd, flags:flags)"), [Descriptor(0)]);
    let open = roles("openat(dfd:dirfd, filename:path, flags:open_flags, mode:mode)");
    assert_eq!(open.args[..2], [Directory(0), Path(Some(0))]);
    assert_eq!((open.result_slot(), open.descriptor()), (Some(1), None));
    assert!(open.returns_descriptor(&[]));
    let chdir = roles("chdir(filename:path)");
    assert_eq!(chdir.result_slot(), Some(1));
    assert!(!chdir.returns_descriptor(&[1]));
    let fcntl = roles("fcntl(fd:fd, cmd:fcntl_cmd, arg:ulong)");
    assert!(fcntl.returns_descriptor(&[3, 1030, 0]));
    assert!(!fcntl.returns_descriptor(&[3, 3, 0]));
    assert_eq!(roles("close(fd:fd)").result_slot(), None);
}

#[test]
fn paths_addresses_and_roles() {
    assert_eq!(
        roles("link(oldname:path, newname:path)").paths,
        Paths::Two { first: 0, second: 1, is_link: true }
    );
    assert_eq!(
        roles("rename(oldname:path, newname:path)").paths,
        Paths::Two { first: 0, second: 1, is_link: false }
    );
    let connect = roles("connect(fd:fd, uservaddr:sockaddr, addrlen:int)");
    assert_eq!((connect.address, connect.role), (Some(1), Some(SocketRole::Client)));
    let accept = roles("accept(fd:fd, upeer_sockaddr:sockaddr_out, upeer_addrlen:ptr)");
    assert_eq!((accept.address, accept.role), (Some(1), Some(SocketRole::Server)));
    assert!(roles("bind(fd:fd, umyaddr:sockaddr, addrlen:int)").is_local_address);
    assert!(!roles("sendto(fd:fd, addr:sockaddr)").is_local_address);
    let pipe = roles("pipe2(fildes:fds_out, flags:open_flags)");
    assert_eq!((pipe.args[0], pipe.pair(), pipe.result_slot()), (FileArg::Pair, Some(0), None));
}

#[test]
fn every_call_that_returns_a_descriptor_is_in_the_table() {
    let named = crate::syscalls::table().iter().filter(|call| {
        FileRoles::new(&Signature::from(*call)).result != FileResult::None && call.abi == events::Abi::Native
    });
    assert_eq!(named.count(), 42);
}
