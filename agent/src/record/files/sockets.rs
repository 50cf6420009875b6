//! Addresses of sockets.

use agent_ebpf::records::file::Socket;

/// `AF_UNIX`, `AF_INET` and `AF_INET6`, the same on every machine.
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// The largest of these addresses: `struct sockaddr_in6`.
const ADDRESS_MAX: usize = 28;

/// Both addresses of a socket.
pub(super) struct SocketAddresses<'a> {
    socket: &'a Socket,
    local: ([u8; ADDRESS_MAX], usize),
    remote: ([u8; ADDRESS_MAX], usize),
}

impl<'a> SocketAddresses<'a> {
    pub fn of(socket: &'a Socket) -> Self {
        let local = address(socket.family, socket.local, socket.local_port);
        let remote = address(socket.family, socket.remote, socket.remote_port);
        Self { socket, local, remote }
    }

    /// The local address as a `struct sockaddr_in` or `struct sockaddr_in6`; empty if it is bound to none.
    pub fn local(&self) -> &[u8] {
        &self.local.0[..self.local.1]
    }

    /// The remote address likewise.
    pub fn remote(&self) -> &[u8] {
        &self.remote.0[..self.remote.1]
    }

    /// What a unix socket is bound to, or else what its peer is bound to: a path, or a name behind a NUL.
    pub fn path(&self) -> &'a [u8] {
        if self.socket.family != AF_UNIX {
            return b"";
        }
        match unix_path(&self.socket.path, self.socket.path_len) {
            b"" => unix_path(&self.socket.peer, self.socket.peer_len),
            path => path,
        }
    }
}

fn address(family: u16, words: [u64; 2], port: u16) -> ([u8; ADDRESS_MAX], usize) {
    let mut buffer = [0; ADDRESS_MAX];
    if !matches!(family, AF_INET | AF_INET6) || words == [0; 2] && port == 0 {
        return (buffer, 0);
    }
    buffer[..2].copy_from_slice(&family.to_le_bytes());
    buffer[2..4].copy_from_slice(&port.to_be_bytes());
    // Addresses lie in memory as on the wire.
    if family == AF_INET {
        buffer[4..8].copy_from_slice(&words[0].to_ne_bytes()[..4]);
        return (buffer, 16);
    }
    buffer[8..16].copy_from_slice(&words[0].to_ne_bytes());
    buffer[16..24].copy_from_slice(&words[1].to_ne_bytes());
    (buffer, ADDRESS_MAX)
}

fn unix_path(bytes: &[u8], len: u16) -> &[u8] {
    let bytes = bytes.get(..usize::from(len)).unwrap_or(bytes);
    if bytes.first() == Some(&0) {
        return bytes;
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
