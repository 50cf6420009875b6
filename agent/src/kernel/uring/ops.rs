//! Operations of io_uring: the system call that does the same, and where a submission queue entry has its arguments.

use ktape_reader::syscalls::{self, Syscall};

/// A member of `struct io_uring_sqe`, by what it is most often used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Nothing: the argument is 0.
    Zero,
    /// `fd`.
    Fd,
    /// `off`, `addr2`.
    Off,
    /// `addr`, `splice_off_in`.
    Addr,
    /// `len`.
    Len,
    /// `rw_flags`, `open_flags` and so on.
    Flags,
    /// `splice_fd_in`, `file_index`.
    Index,
    /// `addr_len`, the lower half of the same.
    AddrLen,
    /// `addr3`.
    Addr3,
}

impl Field {
    /// Its value in an entry.
    pub fn of(self, sqe: &[u64; 8]) -> u64 {
        match self {
            Self::Zero => 0,
            Self::Fd => sqe[0] >> 32,
            Self::Off => sqe[1],
            Self::Addr => sqe[2],
            Self::Len => sqe[3] & 0xffff_ffff,
            Self::Flags => sqe[3] >> 32,
            Self::Index => sqe[5] >> 32,
            Self::AddrLen => sqe[5] >> 32 & 0xffff,
            Self::Addr3 => sqe[6],
        }
    }

    /// The word that it fills; `None` if it is smaller.
    pub fn word(self) -> Option<u8> {
        match self {
            Self::Off => Some(1),
            Self::Addr => Some(2),
            Self::AddrLen => Some(5),
            Self::Addr3 => Some(6),
            Self::Zero | Self::Fd | Self::Len | Self::Flags | Self::Index => None,
        }
    }
}

/// What else is to be known of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trait {
    /// Its result is a descriptor, unless `file_index` is a place among the ring's own files.
    ReturnsFile,
    /// It accepts connections.
    Accepts,
    /// A second completion only gives a buffer back.
    Notifies,
    /// With bit 0 of `ioprio` it completes again and again.
    MultishotPriority0,
    /// With bit 1 of `ioprio` it completes again and again.
    MultishotPriority1,
    /// With bit 0 of `len` it completes again and again.
    MultishotLen,
    /// With bit 6 of its flags it completes again and again.
    MultishotFlags,
    /// It completes again and again.
    Multishot,
    /// `fd` is a file, although no system call does the same.
    HasFile,
}

/// An operation.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    /// `IORING_OP_*` without the beginning.
    pub name: &'static str,
    /// The system call that does the same, empty if there is none.
    pub call: &'static str,
    /// Where its arguments are.
    pub fields: &'static [Field],
    /// The members of the request that keep the kernel's copies of its paths (`struct filename *`), by their order.
    pub names: [&'static str; 2],
    /// What else is to be known.
    pub traits: &'static [Trait],
}

impl Operation {
    /// The system call that does the same.
    pub fn syscall(&self) -> Option<&'static Syscall> {
        native(self.call)
    }
}

/// The system call of this name for programs of the machine's own ABI.
pub fn native(name: &str) -> Option<&'static Syscall> {
    syscalls::table().iter().find(|call| call.name == name && call.abi == events::Abi::Native)
}

const fn op(name: &'static str, call: &'static str, fields: &'static [Field]) -> Operation {
    Operation { name, call, fields, names: ["", ""], traits: &[] }
}

const fn alone(name: &'static str) -> Operation {
    op(name, "", &[])
}

impl Operation {
    const fn names(self, names: [&'static str; 2]) -> Self {
        Self { names, ..self }
    }

    const fn with(self, traits: &'static [Trait]) -> Self {
        Self { traits, ..self }
    }
}

use Field::{Addr, Addr3, AddrLen, Fd, Flags, Index, Len, Off, Zero};
use Trait::{
    Accepts, HasFile, Multishot, MultishotFlags, MultishotLen, MultishotPriority0, MultishotPriority1,
    Notifies, ReturnsFile,
};

const RW: &[Field] = &[Fd, Addr, Len, Off];
const RWV: &[Field] = &[Fd, Addr, Len, Off, Zero, Flags];
const SEND: &[Field] = &[Fd, Addr, Len, Flags, Off, AddrLen];
const MESSAGE: &[Field] = &[Fd, Addr, Flags];
const TWO_PATHS: &[Field] = &[Fd, Addr, Len, Off, Flags];
const LINK_NAMES: [&str; 2] = ["io_link.oldpath", "io_link.newpath"];
const XATTR_NAMES: [&str; 2] = ["io_xattr.filename", ""];

/// All operations, by their numbers, which are part of the kernel's ABI.
pub const OPERATIONS: &[Operation] = &[
    alone("NOP"),
    op("READV", "preadv2", RWV),
    op("WRITEV", "pwritev2", RWV),
    op("FSYNC", "fsync", &[Fd]),
    op("READ_FIXED", "pread64", RW),
    op("WRITE_FIXED", "pwrite64", RW),
    alone("POLL_ADD").with(&[HasFile, MultishotLen]),
    alone("POLL_REMOVE"),
    op("SYNC_FILE_RANGE", "sync_file_range", &[Fd, Off, Len, Flags]),
    op("SENDMSG", "sendmsg", MESSAGE),
    op("RECVMSG", "recvmsg", MESSAGE).with(&[MultishotPriority1]),
    alone("TIMEOUT").with(&[MultishotFlags]),
    alone("TIMEOUT_REMOVE"),
    op("ACCEPT", "accept4", &[Fd, Addr, Off, Flags]).with(&[ReturnsFile, Accepts, MultishotPriority0]),
    alone("ASYNC_CANCEL"),
    alone("LINK_TIMEOUT"),
    op("CONNECT", "connect", &[Fd, Addr, Off]),
    op("FALLOCATE", "fallocate", &[Fd, Len, Off, Addr]),
    op("OPENAT", "openat", &[Fd, Addr, Flags, Len]).names(["io_open.filename", ""]).with(&[ReturnsFile]),
    op("CLOSE", "close", &[Fd]),
    alone("FILES_UPDATE"),
    op("STATX", "statx", &[Fd, Addr, Flags, Len, Off]).names(["io_statx.filename", ""]),
    op("READ", "pread64", RW),
    op("WRITE", "pwrite64", RW),
    op("FADVISE", "fadvise64", &[Fd, Off, Len, Flags]),
    op("MADVISE", "madvise", &[Addr, Len, Flags]),
    op("SEND", "sendto", SEND),
    op("RECV", "recvfrom", &[Fd, Addr, Len, Flags]).with(&[MultishotPriority1]),
    op("OPENAT2", "openat2", &[Fd, Addr, Off, Len]).names(["io_open.filename", ""]).with(&[ReturnsFile]),
    op("EPOLL_CTL", "epoll_ctl", &[Fd, Len, Off, Addr]),
    op("SPLICE", "splice", &[Index, Addr, Fd, Off, Len, Flags]),
    alone("PROVIDE_BUFFERS"),
    alone("REMOVE_BUFFERS"),
    op("TEE", "tee", &[Index, Fd, Len, Flags]),
    op("SHUTDOWN", "shutdown", &[Fd, Len]),
    op("RENAMEAT", "renameat2", TWO_PATHS).names(["io_rename.oldpath", "io_rename.newpath"]),
    op("UNLINKAT", "unlinkat", &[Fd, Addr, Flags]).names(["io_unlink.filename", ""]),
    op("MKDIRAT", "mkdirat", &[Fd, Addr, Len]).names(["io_mkdir.filename", ""]),
    op("SYMLINKAT", "symlinkat", &[Addr, Fd, Off]).names(LINK_NAMES),
    op("LINKAT", "linkat", TWO_PATHS).names(LINK_NAMES),
    alone("MSG_RING").with(&[HasFile]),
    op("FSETXATTR", "fsetxattr", &[Fd, Addr, Off, Len, Flags]),
    op("SETXATTR", "setxattr", &[Addr3, Addr, Off, Len, Flags]).names(XATTR_NAMES),
    op("FGETXATTR", "fgetxattr", &[Fd, Addr, Off, Len]),
    op("GETXATTR", "getxattr", &[Addr3, Addr, Off, Len]).names(XATTR_NAMES),
    op("SOCKET", "socket", &[Fd, Off, Len]).with(&[ReturnsFile]),
    alone("URING_CMD").with(&[HasFile]),
    op("SEND_ZC", "sendto", SEND).with(&[Notifies]),
    op("SENDMSG_ZC", "sendmsg", MESSAGE).with(&[Notifies]),
    op("READ_MULTISHOT", "pread64", RW).with(&[Multishot]),
    op("WAITID", "waitid", &[Len, Fd, Off, Index]),
    op("FUTEX_WAIT", "futex_wait", &[Addr, Off, Addr3, Fd]),
    op("FUTEX_WAKE", "futex_wake", &[Addr, Addr3, Off, Fd]),
    op("FUTEX_WAITV", "futex_waitv", &[Addr, Len]),
    alone("FIXED_FD_INSTALL").with(&[HasFile, ReturnsFile]),
    op("FTRUNCATE", "ftruncate", &[Fd, Off]),
    op("BIND", "bind", &[Fd, Addr, Off]),
    op("LISTEN", "listen", &[Fd, Len]),
    alone("RECV_ZC").with(&[HasFile, Multishot]),
    alone("EPOLL_WAIT").with(&[HasFile]),
    op("READV_FIXED", "preadv2", RWV),
    op("WRITEV_FIXED", "pwritev2", RWV),
    op("PIPE", "pipe2", &[Addr, Flags]),
    alone("NOP128"),
    alone("URING_CMD128").with(&[HasFile]),
];

/// The calls that do the same as `pread64` and `pwrite64` without an offset, where a program passes -1 as one.
pub const WITHOUT_OFFSET: [(&str, &str); 2] = [("pread64", "read"), ("pwrite64", "write")];
