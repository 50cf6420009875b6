//! TCP sockets.

use super::{Header, plain};

/// The states of a TCP socket, as the kernel numbers them (`include/net/tcp_states.h`, part of its ABI).
pub mod tcp {
    /// Data flows.
    pub const ESTABLISHED: u32 = 1;
    /// `connect` has sent its request.
    pub const SYN_SENT: u32 = 2;
    /// A request was received and answered.
    pub const SYN_RECV: u32 = 3;
    /// This side has announced that it sends no more.
    pub const FIN_WAIT1: u32 = 4;
    /// The other side has acknowledged that.
    pub const FIN_WAIT2: u32 = 5;
    /// No socket.
    pub const CLOSE: u32 = 7;
    /// The other side has announced that it sends no more.
    pub const CLOSE_WAIT: u32 = 8;
    /// Both sides have announced it, the other one first.
    pub const LAST_ACK: u32 = 9;
    /// Waits for connections.
    pub const LISTEN: u32 = 10;
    /// Both sides have announced it at the same time.
    pub const CLOSING: u32 = 11;
    /// Not a state of the kernel: the connection is open, and its counters are reported ([`super::Net::new`]).
    pub const OPEN: u32 = 255;
}

/// Which part a socket plays ([`Net::role`]).
pub mod role {
    /// Not known: it was there before the capture.
    pub const UNKNOWN: u32 = 0;
    /// It connected.
    pub const CLIENT: u32 = 1;
    /// It was accepted, or is about to be.
    pub const SERVER: u32 = 2;
    /// It waits for connections.
    pub const LISTENER: u32 = 3;
}

/// A TCP socket's change of state, or the counters of an open connection. The header's subject is the socket's user, 0 if
/// unknown. 144 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Net {
    /// Common part.
    pub head: Header,
    /// A number that all events of the socket share: its cookie.
    pub sock: u64,
    /// When it began to connect, to listen, or came from a listener, ns of CLOCK_BOOTTIME; 0: not known.
    pub birth: u64,
    /// At its end or while it is open: what the other side has acknowledged, in bytes.
    pub sent: u64,
    /// Likewise: bytes received.
    pub received: u64,
    /// The address of this side; IPv4 in the first word.
    pub local: [u32; 4],
    /// The address of the other side.
    pub remote: [u32; 4],
    /// The network namespace's inode, 0 if not known.
    pub netns: u32,
    /// The socket's user id.
    pub uid: u32,
    /// Likewise: segments sent again.
    pub retrans: u32,
    /// The interface that link-local addresses belong to.
    pub scope: u32,
    /// `AF_INET` or `AF_INET6`.
    pub family: u16,
    /// The port of this side; 0 if none is chosen yet.
    pub local_port: u16,
    /// The port of the other side; 0 if there is none.
    pub remote_port: u16,
    /// One of [`tcp`].
    pub old: u8,
    /// One of [`tcp`].
    pub new: u8,
    /// One of [`role`].
    pub role: u32,
    /// 1 if the counters are known.
    pub counted: u32,
    /// At its end: bytes and FIN that the other side has not acknowledged.
    pub unacked: u32,
    /// At its end: `sk_err`, 0 if there is none.
    pub error: u16,
    /// At its end: bits of [`ending`].
    pub ending: u16,
}

/// Bits of a socket at its end ([`Net::ending`]), as the kernel numbers them (`enum sock_flags`).
pub mod ending {
    /// No process has the socket any more (`SOCK_DEAD`).
    pub const ORPHANED: u16 = 1 << 0;
    /// The other side has sent its FIN (`SOCK_DONE`).
    pub const FIN_RECEIVED: u16 = 1 << 1;
}

/// What is kept of a socket while it lives. 40 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct SockInfo {
    /// As in [`Net`].
    pub birth: u64,
    /// The cgroup of its user.
    pub cgroup: u64,
    /// Its user's process.
    pub pid: u32,
    /// The thread that connected, listened, accepted or closed, or was found with the socket.
    pub tid: u32,
    /// The user id.
    pub uid: u32,
    /// One of [`role`].
    pub role: u32,
    /// Bits of [`sock_flags`].
    pub flags: u32,
    /// Always 0.
    pub reserved: u32,
}

/// Bits of [`SockInfo::flags`].
pub mod sock_flags {
    /// Its user is known.
    pub const OWNED: u32 = 1 << 0;
    /// It is the recorder's.
    pub const EXCLUDED: u32 = 1 << 1;
    /// Its user belongs to the recorded command.
    pub const TREE: u32 = 1 << 2;
    /// Its user is that of its listener, as no `accept` has returned it yet.
    pub const INHERITED: u32 = 1 << 3;
}

/// Words of what is known of each CPU's runs of the hook.
pub const RUNS: usize = 2;
/// Of these: 1 while the first program is at work.
pub const ACTIVE: usize = 0;
/// Changes that the second program took over.
pub const NESTED: usize = 1;

plain! {
    Net = 32 + 32 + 32 + 16 + 8 + 8 + 8;
    SockInfo = 40;
}
