//! What descriptors stand for. Records of calls have an id for it, which is made from everything that its name depends on, so
//! that the same id means the same name. The id is defined before it is used, by a record in the event ring buffers: no event,
//! and a system call by its kind. Definitions that are lost are repeated when the id is next used.

use super::Header;
use super::plain;

/// Classes of definitions, in [`Header::class`].
pub mod class {
    /// [`super::Named`].
    pub const NAMED: u8 = 16;
    /// [`super::Socket`].
    pub const SOCKET: u8 = 17;
}

/// Bits of [`Named::flags`].
pub mod name_flags {
    /// It was deleted.
    pub const DELETED: u16 = 1;
    /// It is in no directory: a pipe, an anonymous file, a file of memory.
    pub const ALONE: u16 = 1 << 1;
    /// It is the root of a mount that is in no mount namespace, so that the beginning of the path is unknown.
    pub const DETACHED: u16 = 1 << 2;
}

/// Most directories that a path is put together from. Of a longer one the beginning is missing.
pub const DEPTH_MAX: u32 = 256;
/// Bytes of a name, its NUL included (`NAME_MAX`).
pub const NAME: usize = 256;

/// Whatever has a name, in a directory or alone.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Named {
    /// Common part; the time is before that of the first record with this id.
    pub head: Header,
    /// Its id.
    pub id: u64,
    /// The id of the directory that it is in; 0 if it is in none. What has no name of its own is the root of a mount, and
    /// this is the directory that the mount covers.
    pub parent: u64,
    /// Its inode number.
    pub ino: u64,
    /// The type of its file system (`s_magic`).
    pub magic: u64,
    /// The device of its file system, as the kernel numbers it: major << 20 | minor.
    pub dev: u32,
    /// Type and permissions (`i_mode`).
    pub mode: u16,
    /// Bits of [`name_flags`].
    pub flags: u16,
    /// How many bytes of the name follow, its NUL included.
    pub name_len: u32,
    /// The device that it is, if it is one.
    pub rdev: u32,
    /// The name.
    pub name: [u8; NAME],
}

/// Bytes of the address of a unix socket (`sun_path`).
pub const UNIX_PATH: usize = 108;

/// A socket.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Socket {
    /// Common part; the time is before that of the first record with this id.
    pub head: Header,
    /// Its id.
    pub id: u64,
    /// Its inode number.
    pub ino: u64,
    /// The local address, of 4 or 16 bytes.
    pub local: [u64; 2],
    /// The remote address.
    pub remote: [u64; 2],
    /// `AF_*`.
    pub family: u16,
    /// `SOCK_STREAM` and others.
    pub ty: u16,
    /// `IPPROTO_*`.
    pub protocol: u16,
    /// The local port.
    pub local_port: u16,
    /// The remote port.
    pub remote_port: u16,
    /// Bytes of the address of a unix socket, 0 if it has none.
    pub path_len: u16,
    /// The same of its peer.
    pub peer_len: u16,
    /// Always 0.
    pub reserved: u16,
    /// The process that made its peer, 0 if unknown.
    pub peer_pid: u32,
    /// Always 0.
    pub reserved_too: u32,
    /// The address of a unix socket, without its family. Other sockets end before it.
    pub path: [u8; UNIX_PATH],
    /// The same of its peer.
    pub peer: [u8; UNIX_PATH],
}

plain! {
    Named = 32 + 32 + 16 + NAME;
    Socket = 32 + 16 + 32 + 16 + 8 + 2 * UNIX_PATH;
}
