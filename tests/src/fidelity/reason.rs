//! The reasons for which strace and ktape may have different names of a descriptor.
//!
//! strace reads `/proc/PID/fd` when a call is entered and when it has returned, and asks the kernel for the addresses of
//! sockets. What ktape has otherwise is a fault, unless one of the reasons here applies: each is checked as far as the log
//! allows, and counted.

/// Why ktape has another name than strace, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// The path is absolute, so the directory is not looked up.
    AbsolutePath,
    /// The call returns a descriptor. There is room for the name of one more, that of the first argument.
    SecondDescriptor,
    /// Whether the argument is a descriptor depends on another one.
    DependentArgument,
    /// strace adds the numbers of a device.
    DeviceNumbers,
    /// Memory has no name that could be deleted, but the kernel marks it as deleted.
    Memory,
    /// strace has what a file refers to, a process or signals. ktape has the kernel's name for such files.
    Referent,
    /// strace has the kind of a namespace. ktape has one word for all, and the same number.
    Namespace,
    /// strace has the inodes of a unix socket and its peer, and its path. ktape has its path, or else that of its peer, or
    /// else its inode.
    UnixSocket,
    /// strace has the protocol and the port of a netlink socket, ktape its inode.
    Netlink,
    /// strace shows the address that it read first of a socket. It was connected since.
    FirstAddress,
}

impl Reason {
    /// The reason in words.
    pub fn text(self) -> &'static str {
        match self {
            Self::AbsolutePath => "the path is absolute",
            Self::SecondDescriptor => "beside a returned descriptor, only the first one has a name",
            Self::DependentArgument => "whether it is a descriptor depends on another argument",
            Self::DeviceNumbers => "strace adds the numbers of devices",
            Self::Memory => "memory counts as deleted",
            Self::Referent => "strace has the process or signals that a file refers to",
            Self::Namespace => "one word for all kinds of namespaces",
            Self::UnixSocket => "inodes or paths of unix sockets",
            Self::Netlink => "inodes or ports of netlink sockets",
            Self::FirstAddress => "strace shows the address before a connect",
        }
    }
}
