//! What calls do with a socket.

/// What a call does with the socket that it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Sends bytes; its result is their number.
    Send,
    /// Receives bytes; its result is their number, unless one of these flags is in the argument at the position: then they stay
    /// where they are, or are no data.
    Receive { flags: Option<u8> },
    /// Sends several messages; its result is their number.
    SendMany,
    /// Receives several messages; its result is their number.
    ReceiveMany,
    /// Sends to the first descriptor what it reads from the second one.
    SendFile,
    /// Moves bytes from the first descriptor to the second one.
    Splice,
    /// Connects the socket.
    Connect,
    /// Accepts a connection, which is in the second slot.
    Accept,
    /// Makes two connected sockets.
    Pair,
    /// Closes a descriptor of it.
    Close,
    /// Anything else: of interest if it fails.
    Other,
}

/// Flags with which a call receives no data: `MSG_PEEK` and `MSG_ERRQUEUE`.
pub(super) const NO_DATA: u64 = 0x2 | 0x2000;

impl Action {
    /// That of a call, by its name.
    pub(super) fn of(call: &str) -> Self {
        match call {
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" | "send" | "sendto" | "sendmsg" => {
                Self::Send
            }
            "read" | "readv" | "pread64" | "preadv" | "preadv2" => Self::Receive { flags: None },
            "recv" | "recvfrom" => Self::Receive { flags: Some(3) },
            "recvmsg" => Self::Receive { flags: Some(2) },
            "sendmmsg" => Self::SendMany,
            "recvmmsg" | "recvmmsg_time64" => Self::ReceiveMany,
            "sendfile" | "sendfile64" => Self::SendFile,
            "splice" => Self::Splice,
            "connect" => Self::Connect,
            "accept" | "accept4" => Self::Accept,
            "socketpair" => Self::Pair,
            "close" => Self::Close,
            _ => Self::Other,
        }
    }
}
