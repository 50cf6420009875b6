//! Words for types of files and sockets.

use std::borrow::Cow;

use super::paths::Name;
use super::sockets::KnownSocket;

/// `S_IFMT`.
const TYPE_MASK: u16 = 0o170_000;

/// Types of file systems (`include/uapi/linux/magic.h`).
mod magic {
    pub const PIPEFS: u64 = 0x5049_5045;
    pub const ANON_INODE_FS: u64 = 0x0904_1934;
    pub const PID_FS: u64 = 0x5049_4446;
    pub const NSFS: u64 = 0x6e73_6673;
    pub const DMA_BUF: u64 = 0x444d_4142;
    pub const SECRETMEM: u64 = 0x5345_434d;
}

/// The type of something with a name, and whether that name is its path.
pub(super) fn of(named: &Name) -> (&[u8], bool) {
    let alone = named.is_alone();
    let Name { mode, magic, name, .. } = named;
    if alone {
        match *magic {
            magic::PIPEFS => return (b"pipe", false),
            magic::PID_FS => return (b"pidfd", false),
            magic::NSFS => return (b"namespace", false),
            magic::DMA_BUF => return (b"dmabuf", false),
            magic::SECRETMEM => return (b"secretmem", false),
            magic::ANON_INODE_FS => return (anonymous(name), false),
            _ if name.starts_with(b"memfd:") => return (b"memfd", true),
            _ => {}
        }
    }
    let ty: &[u8] = match mode & TYPE_MASK {
        0o040_000 => b"directory",
        0o100_000 => b"file",
        0o020_000 => b"char",
        0o060_000 => b"block",
        0o010_000 => b"fifo",
        0o120_000 => b"symlink",
        0o140_000 => b"socket",
        _ => b"other",
    };
    // The root of an internal file system is in no directory either.
    (ty, !alone || !name.is_empty())
}

/// Writes the name of what has no path, as the links in `/proc/PID/fd` have it. That of a pipe is its number alone.
pub(super) fn write_name(named: &Name, out: &mut Vec<u8>) {
    out.clear();
    match named.magic {
        magic::PIPEFS => {}
        magic::NSFS => out.extend_from_slice(format!("namespace:[{}]", named.ino).as_bytes()),
        magic::PID_FS => out.extend_from_slice(b"anon_inode:[pidfd]"),
        magic::DMA_BUF => out.extend_from_slice(&[b"/dmabuf:", &*named.name].concat()),
        magic::SECRETMEM => out.extend_from_slice(b"/secretmem"),
        _ => out.extend_from_slice(&[b"anon_inode:", &*named.name].concat()),
    }
}

/// The kernel's name of an anonymous file, such as `[eventfd]`, without brackets.
fn anonymous(name: &[u8]) -> &[u8] {
    let inner = name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")).unwrap_or(name);
    if inner.is_empty() { b"anonymous" } else { inner }
}

/// The family of a socket.
pub(super) fn family(family: u16) -> &'static str {
    match family {
        1 => "unix",
        2 => "ipv4",
        10 => "ipv6",
        16 => "netlink",
        17 => "packet",
        38 => "alg",
        40 => "vsock",
        44 => "xdp",
        _ => "socket",
    }
}

/// The protocol of a socket.
pub(super) fn protocol(socket: &KnownSocket) -> Cow<'static, str> {
    const SOCK_RAW: u16 = 3;
    if !matches!(socket.family, 2 | 10) {
        return Cow::Borrowed(match (socket.family, socket.ty) {
            (1, 1) => "stream",
            (1, 2) => "dgram",
            (1, 5) => "seqpacket",
            _ => "",
        });
    }
    Cow::Borrowed(match socket.protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        58 => "icmpv6",
        132 => "sctp",
        136 => "udplite",
        255 => "raw",
        262 => "mptcp",
        0 if socket.ty == SOCK_RAW => "raw",
        number => return Cow::Owned(number.to_string()),
    })
}
