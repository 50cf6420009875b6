//! What descriptors stand for, as the kernel side defines it, and their rows in the chunk's file dictionary.

mod kinds;
mod links;
mod paths;
mod sockets;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use agent_ebpf::records::Header;
use agent_ebpf::records::file::{DEPTH_MAX, class};
use events::UNKNOWN;
use rustc_hash::{FxHashMap, FxHashSet};

use super::columns::{Dictionaries, file as f};
use super::decode;
use super::dictionary_rows::CachedRow;
use crate::agent_events::Link;
pub use links::LinkedCall;
use paths::{Name, Path};
use sockets::KnownSocket;

/// When this many files are known, those that were known before the last time are forgotten.
const KNOWN_MAX: usize = 1 << 13;
/// Files whose rows are found without a search.
const RECENT: usize = 256;

/// What stands behind an id.
#[derive(Debug)]
struct File {
    row: CachedRow,
    what: What,
}

#[derive(Debug)]
enum What {
    Named(Name),
    Socket(Box<KnownSocket>),
}

/// The files that are known.
#[derive(Debug)]
pub struct Files {
    known: FxHashMap<u64, File>,
    /// Those that were known when there were too many, and have not been used since.
    older: FxHashMap<u64, File>,
    /// The row of the id that was used last of those with the same upper bits.
    recent: Box<[(u64, CachedRow); RECENT]>,
    /// Counts names that were defined again, and otherwise.
    changes: u64,
    /// The row that stands for all unknown ones.
    unknown: CachedRow,
    /// All files are to be defined again.
    is_due: bool,
    /// That was asked for, and has been done.
    is_renewed: bool,
    /// Names that known directories have or had.
    directories: FxHashSet<Box<[u8]>>,
    /// Paths are put together here.
    scratch: Vec<u8>,
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
            is_renewed: true,
            directories: FxHashSet::default(),
            scratch: Vec::new(),
        }
    }
}

/// Whether the record with this header defines a file.
pub fn is_definition(head: &Header) -> bool {
    matches!(head.class, class::NAMED | class::SOCKET)
}

impl Files {
    /// Takes over a definition. `None` if it is damaged.
    pub fn define(&mut self, bytes: &[u8]) -> Option<()> {
        let head: Header = decode::record(bytes)?;
        if head.class == class::SOCKET {
            let socket = decode::socket(bytes)?;
            if !self.is_known(socket.id) {
                self.insert(socket.id, What::Socket(Box::new(KnownSocket::new(&socket))));
            }
            return Some(());
        }
        let (named, name) = decode::named(bytes)?;
        if let Some(File { what: What::Named(known), .. }) = self.find(named.id) {
            if known.is(&named, name) {
                return Some(());
            }
            // Whatever is below it has another path too.
            self.forget_paths();
        }
        let known = Name::new(&named, name);
        if known.is_directory() && !self.directories.contains(name) {
            if self.directories.len() >= 2 * KNOWN_MAX {
                // All that are in use are defined again.
                self.directories.clear();
                self.is_due = true;
            }
            self.directories.insert(name.into());
        }
        self.insert(named.id, What::Named(known));
        Some(())
    }

    fn insert(&mut self, id: u64, what: What) {
        self.recent[recent_place(id)] = (0, CachedRow::default());
        self.older.remove(&id);
        self.known.insert(id, File { what, row: CachedRow::default() });
        // Not before those in use have been defined again since the last time.
        if self.known.len() >= KNOWN_MAX && self.is_renewed {
            std::mem::swap(&mut self.known, &mut self.older);
            self.known.clear();
            self.is_renewed = false;
            self.is_due = true;
        }
    }

    /// Whether all files are to be defined again, so that those in use are not forgotten. The call resets it.
    pub fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.is_due)
    }

    /// The kernel side defines all files again from here on.
    pub fn renewed(&mut self) {
        self.is_renewed = true;
    }

    /// A known file. One that is used is not forgotten.
    #[inline]
    fn find(&mut self, id: u64) -> Option<&mut File> {
        if self.is_known(id) { self.known.get_mut(&id) } else { None }
    }

    #[inline]
    fn is_known(&mut self, id: u64) -> bool {
        if self.known.contains_key(&id) {
            return true;
        }
        if self.older.is_empty() {
            return false;
        }
        let Some(file) = self.older.remove(&id) else { return false };
        self.known.insert(id, file);
        true
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
        let Some(file) = self.find(id) else { return self.unknown_row(chunk) };
        let row = match file.row.of(chunk.number) {
            Some(row) => row,
            None => self.write(chunk, id),
        };
        self.recent[recent_place(id)] = (id, CachedRow { chunk: chunk.number, row });
        row
    }

    /// The row of a file that only a link names.
    pub fn row_of_link(&mut self, chunk: &mut Dictionaries<'_>, link: &Link) -> u32 {
        if !link.is_known() {
            return self.unknown_row(chunk);
        }
        let numbers = [UNKNOWN, link.ino.unwrap_or(UNKNOWN), u64::from(link.is_deleted), 0, 0];
        write(chunk, [link.ty.as_bytes(), &link.path, b"", b"", b""], numbers)
    }

    #[inline]
    fn unknown_row(&mut self, chunk: &mut Dictionaries<'_>) -> u32 {
        if let Some(row) = self.unknown.of(chunk.number) {
            return row;
        }
        let row = write(chunk, [b""; 5], [UNKNOWN, UNKNOWN, 0, 0, 0]);
        self.unknown = CachedRow { chunk: chunk.number, row };
        row
    }

    /// Writes the row of a known file.
    fn write(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let parent = match &self.known[&id].what {
            What::Named(name) => name.parent,
            What::Socket(_) => 0,
        };
        let above = if parent == 0 { None } else { self.path(parent) };
        let number = chunk.number;
        let Some(file) = self.known.get_mut(&id) else { return self.unknown.row };
        let row = match &file.what {
            What::Named(name) => {
                let (ty, shows_path) = kinds::of(name);
                let mut is_cut = name.write_path(above.as_ref(), &mut self.scratch);
                if !shows_path {
                    kinds::write_name(name, &mut self.scratch);
                    is_cut = false;
                }
                let path = &self.scratch[..];
                let marks = [name.is_deleted(), is_cut].map(u64::from);
                write(
                    chunk,
                    [ty, path, b"", b"", b""],
                    [u64::from(name.dev), name.ino, marks[0], marks[1], 0],
                )
            }
            What::Socket(socket) => {
                let protocol = kinds::protocol(socket);
                let family = kinds::family(socket.family).as_bytes();
                let strings =
                    [family, &socket.path, socket.local.bytes(), socket.remote.bytes(), protocol.as_bytes()];
                write(chunk, strings, [UNKNOWN, socket.ino, 0, 0, u64::from(socket.peer_pid)])
            }
        };
        file.row = CachedRow { chunk: number, row };
        row
    }

    /// The path of a file or directory, as far as it is known.
    pub fn path_of(&mut self, id: u64) -> Option<Arc<[u8]>> {
        self.path(id).filter(|path| !path.is_cut).map(|path| path.bytes)
    }

    /// The path of a file as `/proc/PID/exe` shows it: with a mark if it was deleted.
    pub fn shown_path(&mut self, id: u64) -> Option<Vec<u8>> {
        let path = self.path_of(id)?;
        let Some(File { what: What::Named(name), .. }) = self.find(id) else { return None };
        let mut shown = Vec::with_capacity(path.len());
        if name.is_alone() {
            shown.push(b'/');
        }
        shown.extend_from_slice(&path);
        if name.is_deleted() || name.is_alone() {
            shown.extend_from_slice(b" (deleted)");
        }
        Some(shown)
    }

    /// The absolute path that a call means, which starts from the directory with this id.
    pub fn absolute(&mut self, base: u64, path: &[u8]) -> Option<Vec<u8>> {
        if path.first() == Some(&b'/') {
            return Some(paths::absolute(b"", path));
        }
        self.path_of(base).map(|base| paths::absolute(&base, path))
    }

    /// Something has another path. If that is a known directory, so has all that is in it, from now on: returns whether it is one.
    pub fn rename(&mut self, old: &[u8], new: &[u8]) -> bool {
        let ((old_parent, old_name), (new_parent, new_name)) = (paths::split(old), paths::split(new));
        if !self.directories.contains(old_name) {
            return false;
        }
        let renamed = self.directories_at(old);
        if renamed.is_empty() {
            return false;
        }
        // If it is not known where it is now, its path is incomplete until it is defined again.
        let parents = if old_parent == new_parent { Vec::new() } else { self.directories_at(new_parent) };
        for id in renamed {
            let Some(File { what: What::Named(name), .. }) = self.find(id) else { continue };
            let parent = if old_parent == new_parent {
                name.parent
            } else {
                parents.first().copied().unwrap_or(UNKNOWN)
            };
            name.rename(parent, new_name);
        }
        self.directories.insert(new_name.into());
        self.forget_paths();
        true
    }

    /// Paths, and rows that have them, are made anew.
    fn forget_paths(&mut self) {
        self.changes += 1;
        self.recent.fill((0, CachedRow::default()));
        let files = self.known.values_mut().chain(self.older.values_mut());
        files.for_each(|file| file.row = CachedRow::default());
    }

    /// The ids of the known directories with this path.
    fn directories_at(&mut self, path: &[u8]) -> Vec<u64> {
        let (_, wanted) = paths::split(path);
        let candidates = self.known.iter().chain(&self.older).filter_map(|(id, file)| match &file.what {
            // The root of a mount has the name of what it covers.
            What::Named(name) if name.is_directory() && (*name.name == *wanted || name.name.is_empty()) => {
                Some(*id)
            }
            What::Named(_) | What::Socket(_) => None,
        });
        let candidates: Vec<u64> = candidates.collect();
        candidates.into_iter().filter(|id| self.path_of(*id).is_some_and(|known| *known == *path)).collect()
    }

    /// The path of a directory, which is kept.
    fn path(&mut self, id: u64) -> Option<Path> {
        let changes = self.changes;
        // From the bottom up to what has a path, and down again.
        let mut climb = Vec::new();
        let (mut at, mut above) = (id, None);
        while at != 0 && climb.len() < DEPTH_MAX as usize {
            let Some(File { what: What::Named(name), .. }) = self.find(at) else { break };
            if let Some(path) = name.path_as_of(changes) {
                above = Some(path.clone());
                break;
            }
            let parent = name.parent;
            climb.push(at);
            at = parent;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        while let Some(id) = climb.pop() {
            let Some(File { what: What::Named(name), .. }) = self.find(id) else { break };
            let is_cut = name.write_path(above.as_ref(), &mut scratch);
            let path = Path { bytes: Arc::from(&scratch[..]), is_cut };
            name.keep_path(&path, changes);
            above = Some(path);
        }
        self.scratch = scratch;
        above
    }
}

#[inline]
fn recent_place(id: u64) -> usize {
    // Upper bits: they depend on all of what the id is made from.
    (id >> 56) as usize % RECENT
}

/// Writes a row: type, path, addresses and protocol; device, inode, whether deleted, whether cut, process of the peer.
fn write(chunk: &mut Dictionaries<'_>, strings: [&[u8]; 5], numbers: [u64; 5]) -> u32 {
    let strings = strings.map(|text| chunk.builder.intern(text));
    let table = chunk.builder.table_at(chunk.index.file);
    for (column, string) in [f::TYPE, f::PATH, f::LOCAL, f::REMOTE, f::PROTO].into_iter().zip(strings) {
        table.push_bytes(column, string);
    }
    for (column, number) in [f::DEV, f::INO, f::DELETED, f::CUT, f::PEER_PID].into_iter().zip(numbers) {
        table.push_u64(column, number);
    }
    table.end_row()
}
