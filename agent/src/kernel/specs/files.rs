//! Which arguments and results of a call stand for files.

use agent_ebpf::spec::{Spec, file, result};
use ktape_reader::syscalls::{ArgType, Syscall, string_positions};

/// Calls that return a descriptor.
const RETURN_DESCRIPTORS: &[&str] = &[
    "accept",
    "accept4",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "eventfd",
    "eventfd2",
    "fanotify_init",
    "fsmount",
    "fsopen",
    "fspick",
    "inotify_init",
    "inotify_init1",
    "io_uring_setup",
    "memfd_create",
    "memfd_secret",
    "mq_open",
    "open",
    "open_by_handle_at",
    "open_tree",
    "open_tree_attr",
    "openat",
    "openat2",
    "perf_event_open",
    "pidfd_getfd",
    "pidfd_open",
    "signalfd",
    "signalfd4",
    "socket",
    "timerfd_create",
    "userfaultfd",
];

/// Arguments that are files to the table, but not to be looked up: the text of a symbolic link, what is mounted, descriptors of
/// another process, those that a call replaces, and a number that only some commands take for a descriptor.
const NOT_FILES: &[(&str, &str)] = &[
    ("symlink", "oldname"),
    ("symlinkat", "oldname"),
    ("mount", "dev_name"),
    ("pidfd_getfd", "fd"),
    ("dup2", "newfd"),
    ("dup3", "newfd"),
    ("fsconfig", "aux"),
];

/// Sets what of a call stands for files.
pub(super) fn set(spec: &mut Spec, call: &Syscall) {
    spec.result = match call.name {
        "chdir" | "fchdir" => result::CWD,
        "fcntl" | "fcntl64" => result::FCNTL,
        "bpf" => result::BPF,
        name if RETURN_DESCRIPTORS.contains(&name) => result::DESCRIPTOR,
        _ => result::NONE,
    };
    // A result has the place of the second one.
    let room = if spec.result == result::NONE { 2 } else { 1 };
    let found = found(call);
    for (to, from) in spec.files.iter_mut().zip(found.iter().take(room)) {
        *to = *from;
    }
    let last = spec.files.iter().rposition(|how| *how != 0).map_or(0, |at| at as u8 + 1);
    spec.file_words = if room == 1 { 2 } else { last };
}

/// How each file of a call is looked up, in the order of its arguments.
fn found(call: &Syscall) -> Vec<u8> {
    let strings = string_positions(&call.args);
    let is_second = |path: usize| strings.iter().position(|at| usize::from(*at) == path) == Some(1);
    let second = |path: usize| if is_second(path) { file::SECOND } else { 0 };
    let mut found = Vec::new();
    let mut directory = None;
    for (index, arg) in call.args.iter().enumerate() {
        if NOT_FILES.contains(&(call.name, &*arg.name)) {
            // It has a place nevertheless.
            found.push(0);
            continue;
        }
        match arg.ty {
            ArgType::Fd => found.push(file::DESCRIPTOR | index as u8),
            ArgType::Dirfd => {
                directory = Some(found.len());
                found.push(file::DESCRIPTOR | file::BASE | index as u8);
            }
            // Only what is read is known to be relative.
            ArgType::Path if strings.iter().any(|at| usize::from(*at) == index) => match directory.take() {
                Some(of) => found[of] |= second(index),
                None => found.push(file::CWD | second(index)),
            },
            _ => {}
        }
    }
    found
}
