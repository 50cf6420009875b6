//! What the files of a call are to it. A recorded call has up to two of them: those of its descriptors, and the directories
//! that its relative paths start from, in the order of the arguments; or, as the second one, what it returned.

use super::signature::Signature;
use super::types::ArgType;

#[cfg(test)]
mod tests;

/// The slot of what a call returned.
const RESULT: u8 = 1;

/// What an argument has to do with files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileArg {
    /// Nothing, or it is not recorded.
    #[default]
    None,
    /// A descriptor; its file is in this slot.
    Descriptor(u8),
    /// The descriptor of the directory that the path after it starts from; its file is in this slot.
    Directory(u8),
    /// A path. If it is relative, the slot has the directory that it starts from. `None`: it starts from no directory that the
    /// call knows, as the contents of a symbolic link.
    Path(Option<u8>),
    /// Two descriptors in memory, which the call has made; their files are in both slots.
    Pair,
}

/// What a call returns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileResult {
    /// No file.
    #[default]
    None,
    /// A descriptor of the file in the second slot.
    Descriptor,
    /// The same, if the argument at this position is one of these numbers.
    DescriptorIf(u8, &'static [u64]),
    /// Success or failure; the file in the second slot is the new working directory.
    Directory,
    /// Success or failure; the files in both slots are those of the descriptors that the argument at this position has.
    Pair(u8),
}

/// Which end of a connection a socket is, where the call is proof of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketRole {
    /// It connects.
    Client,
    /// It accepts.
    Server,
}

/// The paths of a call, by the positions of its arguments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Paths {
    /// It has none.
    #[default]
    None,
    /// One.
    One(u8),
    /// Two, in the order of the arguments.
    Two {
        /// The first one.
        first: u8,
        /// The second one.
        second: u8,
        /// Whether the second one is the new name, and the first one what it stands for: of links.
        is_link: bool,
    },
}

impl Paths {
    /// Their positions, in the order of the arguments.
    pub fn positions(self) -> impl Iterator<Item = u8> {
        let positions = match self {
            Self::None => [None, None],
            Self::One(path) => [Some(path), None],
            Self::Two { first, second, .. } => [Some(first), Some(second)],
        };
        positions.into_iter().flatten()
    }

    /// The position of the first path.
    pub fn first(self) -> Option<u8> {
        match self {
            Self::None => None,
            Self::One(first) | Self::Two { first, .. } => Some(first),
        }
    }
}

/// What the files of a call are to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileRoles {
    /// What each argument has to do with files.
    pub args: [FileArg; 6],
    /// What it returns.
    pub result: FileResult,
    /// Its paths.
    pub paths: Paths,
    /// The position of its socket address.
    pub address: Option<u8>,
    /// Whether that is the address of the socket itself, not that of its peer.
    pub is_local_address: bool,
    /// Which end of a connection its socket is.
    pub role: Option<SocketRole>,
}

impl FileRoles {
    /// Those of a call.
    pub fn new(signature: &Signature) -> Self {
        let name: &str = &signature.name;
        let mut roles = Self { result: result_of(name), ..Self::default() };
        let slots = if roles.result == FileResult::None { 2 } else { RESULT };
        let mut next = 0;
        let mut slot = || {
            next += 1;
            Some(next - 1).filter(|slot| *slot < slots)
        };
        let mut args = signature.args.iter().enumerate().take(roles.args.len()).peekable();
        while let Some((at, arg)) = args.next() {
            match arg.ty {
                ArgType::Fd => roles.args[at] = slot().map_or(FileArg::None, FileArg::Descriptor),
                ArgType::Dirfd => {
                    let slot = slot();
                    if let Some((path, _)) = args.next_if(|(_, next)| next.ty == ArgType::Path) {
                        roles.args[at] = slot.map_or(FileArg::None, FileArg::Directory);
                        roles.add_path(path, slot);
                    } else {
                        roles.args[at] = slot.map_or(FileArg::None, FileArg::Descriptor);
                    }
                }
                ArgType::Path => {
                    let slot = slot();
                    roles.add_path(at, slot.filter(|_| !starts_nowhere(name, &arg.name)));
                }
                ArgType::Sockaddr | ArgType::SockaddrOut | ArgType::Msghdr | ArgType::Mmsghdr => {
                    roles.address = roles.address.or(Some(at as u8));
                }
                ArgType::StructOut if arg.tag == "fds_out" => {
                    roles.args[at] = FileArg::Pair;
                    roles.result = FileResult::Pair(at as u8);
                }
                _ => {}
            }
        }
        if let Paths::Two { is_link, .. } = &mut roles.paths {
            *is_link = matches!(name, "link" | "linkat" | "symlink" | "symlinkat");
        }
        roles.is_local_address = matches!(name, "bind" | "getsockname");
        roles.role = match name {
            "connect" => Some(SocketRole::Client),
            "accept" | "accept4" => Some(SocketRole::Server),
            _ => None,
        };
        roles
    }

    fn add_path(&mut self, at: usize, base: Option<u8>) {
        self.args[at] = FileArg::Path(base);
        let at = at as u8;
        self.paths = match self.paths {
            Paths::None => Paths::One(at),
            Paths::One(first) => Paths::Two { first, second: at, is_link: false },
            two @ Paths::Two { .. } => two,
        };
    }

    /// Whether the call with these arguments returns a descriptor if it succeeds.
    pub fn returns_descriptor(&self, args: &[u64]) -> bool {
        match self.result {
            FileResult::None | FileResult::Directory | FileResult::Pair(_) => false,
            FileResult::Descriptor => true,
            FileResult::DescriptorIf(at, values) => {
                args.get(usize::from(at)).is_some_and(|value| values.contains(value))
            }
        }
    }

    /// The slot of what it returned.
    pub fn result_slot(&self) -> Option<u8> {
        (!matches!(self.result, FileResult::None | FileResult::Pair(_))).then_some(RESULT)
    }

    /// The position of two descriptors in memory that it has made.
    pub fn pair(&self) -> Option<u8> {
        if let FileResult::Pair(at) = self.result { Some(at) } else { None }
    }

    /// The slot of its first descriptor that is more than the start of a path.
    pub fn descriptor(&self) -> Option<u8> {
        self.args.iter().find_map(|arg| match arg {
            FileArg::Descriptor(slot) => Some(*slot),
            FileArg::Pair => Some(0),
            FileArg::None | FileArg::Directory(_) | FileArg::Path(_) => None,
        })
    }
}

/// A path that the kernel does not look up from the working directory: the contents of a symbolic link, and what is
/// mounted, which may be a word such as `proc`.
fn starts_nowhere(call: &str, argument: &str) -> bool {
    matches!((call, argument), ("symlink" | "symlinkat", "oldname") | ("mount", "dev_name"))
}

/// What a call returns (the RETURN VALUE sections of the man pages; `fcntl`: F_DUPFD, F_DUPFD_CLOEXEC; `bpf`: the commands
/// that make or get a map, a program, a link, an iterator or a token; `landlock_create_ruleset`: without flags).
fn result_of(call: &str) -> FileResult {
    match call {
        "accept" | "accept4" | "creat" | "dup" | "dup2" | "dup3" | "epoll_create" | "epoll_create1"
        | "eventfd" | "eventfd2" | "fanotify_init" | "fsmount" | "fsopen" | "fspick" | "inotify_init"
        | "inotify_init1" | "io_uring_setup" | "memfd_create" | "memfd_secret" | "mq_open" | "open"
        | "openat" | "openat2" | "open_by_handle_at" | "open_tree" | "open_tree_attr" | "perf_event_open"
        | "pidfd_getfd" | "pidfd_open" | "signalfd" | "signalfd4" | "socket" | "timerfd_create"
        | "userfaultfd" => FileResult::Descriptor,
        "fcntl" | "fcntl64" => FileResult::DescriptorIf(1, &[0, 1030]),
        "bpf" => FileResult::DescriptorIf(0, &[0, 5, 7, 13, 14, 17, 18, 19, 28, 30, 32, 33, 36]),
        "landlock_create_ruleset" => FileResult::DescriptorIf(2, &[0]),
        "chdir" | "fchdir" => FileResult::Directory,
        _ => FileResult::None,
    }
}
