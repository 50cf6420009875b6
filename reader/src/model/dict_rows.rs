//! Rows of a chunk's dictionaries: threads, processes, cgroups.

use capture_format::{Chunk, FormatError, StrId, TableId};

use super::binding::Binding;
use super::dictionaries::PARENT_ON_HOST;
use crate::containers::OTHER;

/// A thread, as its events refer to it.
#[derive(Clone, Copy, Debug)]
pub struct TaskRow<'c> {
    /// The row of its process, if there is one.
    pub process: Option<u32>,
    /// Thread id.
    pub tid: u64,
    /// The thread's name.
    pub name: &'c [u8],
    /// Effective user id.
    pub uid: u64,
    /// The user's name; empty if it has none.
    pub user: &'c [u8],
    /// The row of its cgroup, if there is one.
    pub cgroup: Option<u32>,
    /// Thread id in its own pid namespace; 0 if that and what follows is unknown.
    pub vtid: u64,
    /// Effective group id.
    pub gid: u64,
    /// The group's name; empty if it has none.
    pub group: &'c [u8],
    /// The user who has logged in; `u32::MAX` if there is none.
    pub loginuid: u64,
    /// That user's name; empty if it has none.
    pub login: &'c [u8],
    /// Effective, permitted and inheritable capabilities, by their bits.
    pub capabilities: [u64; 3],
}

/// A process.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProcessRow<'c> {
    /// Process id.
    pub pid: u64,
    /// When it started, boot clock, ns.
    pub start: u64,
    /// The parent's process id.
    pub ppid: u64,
    /// The parent's name.
    pub pname: &'c [u8],
    /// The name of the main thread.
    pub name: &'c [u8],
    /// The executable's path.
    pub exe: &'c [u8],
    /// The arguments, each followed by a NUL.
    pub args: &'c [u8],
    /// The containers around its parent, as in [`CgroupRow::chain`]; [`PARENT_ON_HOST`], or empty if unknown.
    pub parent_chain: &'c [u8],
    /// The working directory; empty if unknown.
    pub cwd: &'c [u8],
    /// The row of its parent, if there is one.
    pub parent: Option<u32>,
    /// Process id in its own pid namespace; 0 if that and what follows is unknown.
    pub vpid: u64,
    /// Its session.
    pub sid: u64,
    /// Its process group.
    pub pgid: u64,
    /// The same in its own pid namespace; 0 if it is outside.
    pub vpgid: u64,
    /// The device number of its controlling terminal; 0 if it has none.
    pub tty: u64,
    /// The inode number of its executable; 0 if it has none.
    pub exe_ino: u64,
    /// Whether its executable is in the upper layer of an overlayfs.
    pub is_exe_upper_layer: bool,
    /// Whether its executable was made by `memfd_create`.
    pub is_exe_memfd: bool,
}

/// A cgroup.
#[derive(Clone, Copy, Debug, Default)]
pub struct CgroupRow<'c> {
    /// The kernel's id; 0 if unknown.
    pub id: u64,
    /// When it was created, boot clock ns; 0 if before the capture.
    pub birth: u64,
    /// The path.
    pub path: &'c [u8],
    /// The full id of the innermost container; empty for the host.
    pub container: &'c [u8],
    /// The runtime.
    pub runtime: &'c [u8],
    /// All containers, outermost first, joined by `>`.
    pub chain: &'c [u8],
    /// The pod's uid.
    pub pod_uid: &'c [u8],
}

/// What a descriptor stands for.
#[derive(Clone, Copy, Debug, Default)]
pub struct FileRow<'c> {
    /// Its type; empty if it is unknown what the descriptor stands for.
    pub ty: &'c [u8],
    /// Its path, or the name or path of a unix socket.
    pub path: &'c [u8],
    /// The local address of a socket, a `struct sockaddr`.
    pub local: &'c [u8],
    /// Its remote address.
    pub remote: &'c [u8],
    /// Its protocol.
    pub proto: &'c [u8],
    /// The device of its file system, [`events::UNKNOWN`] if unknown.
    pub dev: u64,
    /// Its inode number, [`events::UNKNOWN`] if unknown.
    pub ino: u64,
    /// Whether it had been deleted.
    pub is_deleted: bool,
    /// Whether the beginning of the path is missing.
    pub is_cut: bool,
    /// Who created the peer of a unix socket, 0 if unknown.
    pub peer_pid: u64,
}

impl FileRow<'_> {
    /// Whether it is known what it is.
    pub fn is_known(&self) -> bool {
        !self.ty.is_empty()
    }
}

impl ProcessRow<'_> {
    /// Whether its parent was on the host when the process was created.
    pub fn has_host_parent(&self) -> bool {
        self.parent_chain == PARENT_ON_HOST.as_bytes()
    }
}

impl CgroupRow<'_> {
    /// Whether it stands for a hidden one: that of a container that is not selected.
    pub fn is_hidden(&self) -> bool {
        self.container == OTHER.as_bytes()
    }

    /// Whether it is known which cgroup it is.
    pub fn is_known(&self) -> bool {
        self.id != 0 && self.id != u64::MAX
    }
}

/// The columns of a dictionary; one that the file lacks is empty.
#[derive(Debug, Default)]
pub(super) struct Dict<'c> {
    pub(super) rows: usize,
    numbers: Vec<&'c [u64]>,
    strings: Vec<&'c [StrId]>,
    refs: Vec<&'c [u32]>,
}

impl<'c> Dict<'c> {
    pub(super) fn new(chunk: &'c Chunk, binding: &Binding, id: TableId) -> Result<Self, FormatError> {
        let (Some(table), Some(known)) = (chunk.table(id), binding.dictionary(id)) else {
            return Ok(Self::default());
        };
        let mut dict = Self { rows: table.rows(), ..Self::default() };
        for column in &known.known {
            let (mut numbers, mut strings, mut refs): (&[u64], &[StrId], &[u32]) = (&[], &[], &[]);
            if let Some(column) = column {
                match table.column(*column)? {
                    capture_format::ColumnView::U64(values) => numbers = values,
                    capture_format::ColumnView::Bytes(values) => strings = values,
                    capture_format::ColumnView::Ref(_, values) => refs = values,
                    _ => {}
                }
            }
            dict.numbers.push(numbers);
            dict.strings.push(strings);
            dict.refs.push(refs);
        }
        Ok(dict)
    }

    pub(super) fn number(&self, column: u16, row: u32) -> u64 {
        self.numbers.get(usize::from(column)).and_then(|c| c.get(row as usize)).copied().unwrap_or(0)
    }

    pub(super) fn reference(&self, column: u16, row: u32) -> Option<u32> {
        self.refs.get(usize::from(column)).and_then(|c| c.get(row as usize)).copied()
    }

    pub(super) fn string(&self, chunk: &'c Chunk, column: u16, row: u32) -> &'c [u8] {
        let id = self.strings.get(usize::from(column)).and_then(|c| c.get(row as usize));
        id.map_or(&[], |id| chunk.str(*id))
    }
}
