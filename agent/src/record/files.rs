//! What descriptors stand for, as the kernel side defines it, and their rows in the chunk's file dictionary.

mod kinds;
mod sockets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use agent_ebpf::records::Header;
use agent_ebpf::records::file::{NAME, Named, Socket, class, name_flags};
use capture_format::StrId;
use events::UNKNOWN;
use rustc_hash::FxHashMap;

use super::columns::{Dictionaries, file as f};
use super::decode;
use super::dictionary_rows::CachedRow;
use sockets::SocketAddresses;

/// Files that are known, at most twice as many. What is not used for longer than it takes to define these is forgotten.
const KNOWN_MAX: usize = 1 << 15;
/// Files whose rows are found without a search.
const RECENT: usize = 256;
/// Most directories of a path.
const DEPTH_MAX: usize = 64;

/// What stands behind an id.
#[derive(Debug)]
struct File {
    what: What,
    row: CachedRow,
}

#[derive(Debug)]
enum What {
    Named(Name),
    Socket(Box<Socket>),
}

/// Something with a name.
#[derive(Debug)]
struct Name {
    parent: u64,
    name: Box<[u8]>,
    ino: u64,
    magic: u64,
    dev: u32,
    mode: u16,
    flags: u16,
    /// Its path, and the number of changes of names as of which it is right.
    path: Option<(Path, u64)>,
}

/// A path.
#[derive(Clone, Debug)]
struct Path {
    bytes: Arc<[u8]>,
    /// Its beginning is missing.
    is_cut: bool,
}

/// The files that are known.
#[derive(Debug)]
pub struct Files {
    known: FxHashMap<u64, File>,
    /// Those that were known when there were too many.
    older: FxHashMap<u64, File>,
    /// The row of each id that was used last, by the upper bits of the id.
    recent: Box<[(u64, CachedRow); RECENT]>,
    /// Counts names that were defined again, and otherwise.
    changes: u64,
    /// The row that stands for all unknown ones.
    unknown: CachedRow,
    /// All files are to be defined again.
    is_due: bool,
}

impl Default for Files {
    fn default() -> Self {
        Self {
            known: FxHashMap::default(),
            older: FxHashMap::default(),
            recent: Box::new([(0, CachedRow::default()); RECENT]),
            changes: 1,
            unknown: CachedRow::default(),
            is_due: false,
        }
    }
}

impl Files {
    /// Whether the record with this header defines a file.
    pub fn is_definition(head: &Header) -> bool {
        matches!(head.class, class::NAMED | class::SOCKET)
    }

    /// Takes over a definition. `None` if it is damaged.
    pub fn define(&mut self, bytes: &[u8]) -> Option<()> {
        let head: Header = decode::record(bytes)?;
        if head.class == class::SOCKET {
            let socket: Socket = decode::record(bytes)?;
            self.insert(socket.id, What::Socket(Box::new(socket)));
            return Some(());
        }
        let (named, name) = decode::named(bytes)?;
        self.define_name(&named, name);
        Some(())
    }

    fn define_name(&mut self, named: &Named, name: &[u8]) {
        let same =
            |known: &Name| known.parent == named.parent && known.flags == named.flags && *known.name == *name;
        if let Some(file) = self.file_mut(named.id)
            && let What::Named(known) = &file.what
        {
            if same(known) {
                return;
            }
            // Whatever is below it has another path too.
            self.changes += 1;
        }
        let what = Name {
            parent: named.parent,
            name: name.into(),
            ino: named.ino,
            magic: named.magic,
            dev: named.dev,
            mode: named.mode,
            flags: named.flags,
            path: None,
        };
        self.insert(named.id, What::Named(what));
    }

    fn insert(&mut self, id: u64, what: What) {
        self.recent[recent_place(id)] = (0, CachedRow::default());
        self.older.remove(&id);
        self.known.insert(id, File { what, row: CachedRow::default() });
        if self.known.len() >= KNOWN_MAX {
            self.older = std::mem::take(&mut self.known);
            self.is_due = true;
        }
    }

    /// Whether all files are to be defined again, so that those in use are not forgotten. The call resets it.
    pub fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// Something was renamed, perhaps a directory, whose files have another path now.
    pub fn renamed(&mut self) {
        self.is_due = true;
    }

    /// A known file. One that is used does not get forgotten.
    fn file_mut(&mut self, id: u64) -> Option<&mut File> {
        if !self.known.contains_key(&id)
            && let Some(file) = self.older.remove(&id)
        {
            self.known.insert(id, file);
        }
        self.known.get_mut(&id)
    }

    /// The row of what the kernel side calls by this id; 0 is nothing.
    #[inline]
    pub fn row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        if id == 0 {
            return self.unknown_row(chunk);
        }
        let (recent, row) = self.recent[recent_place(id)];
        if recent == id
            && let Some(row) = row.of(chunk.number)
        {
            return row;
        }
        self.search_row(chunk, id)
    }

    fn search_row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let Some(file) = self.file_mut(id) else { return self.unknown_row(chunk) };
        let row = match file.row.of(chunk.number) {
            Some(row) => row,
            None => {
                let row = self.write(chunk, id);
                if let Some(file) = self.file_mut(id) {
                    file.row = CachedRow { chunk: chunk.number, row };
                }
                row
            }
        };
        self.recent[recent_place(id)] = (id, CachedRow { chunk: chunk.number, row });
        row
    }

    fn unknown_row(&mut self, chunk: &mut Dictionaries<'_>) -> u32 {
        if let Some(row) = self.unknown.of(chunk.number) {
            return row;
        }
        let row = write(chunk, [b""; 5], [UNKNOWN, UNKNOWN, 0, 0, 0]);
        self.unknown = CachedRow { chunk: chunk.number, row };
        row
    }

    fn write(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let path = self.path(id, DEPTH_MAX);
        let Some(file) = self.file_mut(id) else { return self.unknown_row(chunk) };
        match &file.what {
            What::Named(name) => {
                let (ty, shows_path) = kinds::of(name.mode, name.magic, name.flags, &name.name);
                let (path, is_cut) = match &path {
                    Some(path) if shows_path => (&path.bytes[..], path.is_cut),
                    _ => (&b""[..], false),
                };
                let is_deleted = name.flags & name_flags::DELETED != 0 && name.flags & name_flags::ALONE == 0;
                let numbers = [u64::from(name.dev), name.ino, u64::from(is_deleted), u64::from(is_cut), 0];
                write(chunk, [ty, path, b"", b"", b""], numbers)
            }
            What::Socket(socket) => {
                let addresses = SocketAddresses::of(socket);
                let protocol = kinds::protocol(socket);
                let strings = [
                    kinds::family(socket.family).as_bytes(),
                    addresses.path(),
                    addresses.local(),
                    addresses.remote(),
                    protocol.as_bytes(),
                ];
                write(chunk, strings, [UNKNOWN, socket.ino, 0, 0, u64::from(socket.peer_pid)])
            }
        }
    }

    /// The path of a file, if it is in a directory.
    pub fn path_of(&mut self, id: u64) -> Option<Arc<[u8]>> {
        self.path(id, DEPTH_MAX).filter(|path| !path.is_cut).map(|path| path.bytes)
    }

    fn path(&mut self, id: u64, depth: usize) -> Option<Path> {
        let changes = self.changes;
        let What::Named(name) = &self.file_mut(id)?.what else { return None };
        if let Some((path, as_of)) = &name.path
            && *as_of == changes
        {
            return Some(path.clone());
        }
        let (parent, own, flags) = (name.parent, name.name.clone(), name.flags);
        let above = if parent == 0 || depth == 0 { None } else { self.path(parent, depth - 1) };
        let is_cut =
            above.as_ref().map_or(parent != 0 || flags & name_flags::DETACHED != 0, |above| above.is_cut);
        let path = if flags & name_flags::ALONE != 0 {
            Path { bytes: own.into(), is_cut: false }
        } else {
            let mut bytes = above.map_or_else(Vec::new, |above| above.bytes.to_vec());
            if !own.is_empty() {
                if bytes != b"/" {
                    bytes.push(b'/');
                }
                bytes.extend_from_slice(&own);
            } else if bytes.is_empty() {
                bytes.push(b'/');
            }
            Path { bytes: bytes.into(), is_cut }
        };
        // What is not complete may become so.
        if !is_cut && let What::Named(name) = &mut self.file_mut(id)?.what {
            name.path = Some((path.clone(), changes));
        }
        Some(path)
    }
}

#[inline]
fn recent_place(id: u64) -> usize {
    // Upper bits: they depend on all of what the id is made from.
    (id >> 56) as usize % RECENT
}

/// Writes a row: type, path, addresses and protocol; device, inode, whether deleted, whether cut, process of the peer.
fn write(chunk: &mut Dictionaries<'_>, strings: [&[u8]; 5], numbers: [u64; 5]) -> u32 {
    let strings: [StrId; 5] = strings.map(|text| chunk.builder.intern(text));
    let table = chunk.builder.table_at(chunk.index.file);
    for (column, string) in [f::TYPE, f::PATH, f::LOCAL, f::REMOTE, f::PROTO].into_iter().zip(strings) {
        table.push_bytes(column, string);
    }
    for (column, number) in [f::DEV, f::INO, f::DELETED, f::CUT, f::PEER_PID].into_iter().zip(numbers) {
        table.push_u64(column, number);
    }
    table.end_row()
}

const _: () = assert!(NAME == 256);
