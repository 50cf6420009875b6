//! Sockets and their addresses.

use agent_ebpf::records::file::Socket;

/// `AF_UNIX`, `AF_INET` and `AF_INET6`, the same on every machine.
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
/// The largest of these addresses: `struct sockaddr_in6`.
const ADDRESS_MAX: usize = 28;

/// A `struct sockaddr_in` or `struct sockaddr_in6`, or nothing.
#[derive(Debug)]
pub(super) struct Address {
    buffer: [u8; ADDRESS_MAX],
    len: u8,
}

impl Address {
    /// Its bytes; none if the socket has no such address.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[..usize::from(self.len)]
    }

    fn new(family: u16, words: [u64; 2], port: u16) -> Self {
        let mut buffer = [0; ADDRESS_MAX];
        if !matches!(family, AF_INET | AF_INET6) || words == [0; 2] && port == 0 {
            return Self { buffer, len: 0 };
        }
        buffer[..2].copy_from_slice(&family.to_le_bytes());
        buffer[2..4].copy_from_slice(&port.to_be_bytes());
        // Addresses lie in memory as on the wire.
        if family == AF_INET {
            buffer[4..8].copy_from_slice(&words[0].to_ne_bytes()[..4]);
            return Self { buffer, len: 16 };
        }
        buffer[8..16].copy_from_slice(&words[0].to_ne_bytes());
        buffer[16..24].copy_from_slice(&words[1].to_ne_bytes());
        Self { buffer, len: ADDRESS_MAX as u8 }
    }
}

/// What is kept of a socket.
#[derive(Debug)]
pub(super) struct KnownSocket {
    /// Its inode number.
    pub ino: u64,
    /// The process that made its peer, 0 if unknown.
    pub peer_pid: u32,
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_*`.
    pub ty: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// The local address.
    pub local: Address,
    /// The remote address.
    pub remote: Address,
    /// What a unix socket is bound to, or else what its peer is bound to: a path, or a name behind a NUL.
    pub path: Box<[u8]>,
}

impl KnownSocket {
    /// As the kernel side defines it.
    pub fn new(socket: &Socket) -> Self {
        let path = match socket.family {
            AF_UNIX => match unix_path(&socket.path, socket.path_len) {
                b"" => unix_path(&socket.peer, socket.peer_len),
                path => path,
            },
            _ => b"",
        };
        Self {
            ino: socket.ino,
            peer_pid: socket.peer_pid,
            family: socket.family,
            ty: socket.ty,
            protocol: socket.protocol,
            local: Address::new(socket.family, socket.local, socket.local_port),
            remote: Address::new(socket.family, socket.remote, socket.remote_port),
            path: path.into(),
        }
    }
}

fn unix_path(bytes: &[u8], len: u16) -> &[u8] {
    let bytes = bytes.get(..usize::from(len)).unwrap_or(bytes);
    if bytes.first() == Some(&0) {
        return bytes;
    }
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    &bytes[..end]
}
