//! Names, and the paths that they are part of.

use std::sync::Arc;

use agent_ebpf::records::file::{Named, name_flags};

/// Something with a name, in a directory or alone.
#[derive(Debug)]
pub(super) struct Name {
    /// The id of the directory that it is in, 0 for none.
    pub parent: u64,
    /// Its inode number.
    pub ino: u64,
    /// The type of its file system.
    pub magic: u64,
    /// The device of its file system.
    pub dev: u32,
    /// Type and permissions.
    pub mode: u16,
    /// Bits of [`name_flags`].
    flags: u16,
    /// The name; empty at the root of a mount.
    pub name: Box<[u8]>,
    /// Of a directory: its path, and the number of changes of names as of which it is right.
    path: Option<(Path, u64)>,
}

/// A path.
#[derive(Clone, Debug)]
pub(super) struct Path {
    /// The path, as far as it is known.
    pub bytes: Arc<[u8]>,
    /// Its beginning is missing.
    pub is_cut: bool,
}

/// An absolute path, without `.`, `..` and repeated slashes. `..` removes the name before it.
pub(super) fn absolute(base: &[u8], path: &[u8]) -> Vec<u8> {
    let base = if path.first() == Some(&b'/') { &b""[..] } else { base };
    let mut names: Vec<&[u8]> = Vec::new();
    for name in base.split(|byte| *byte == b'/').chain(path.split(|byte| *byte == b'/')) {
        match name {
            b"" | b"." => {}
            b".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    let mut whole: Vec<u8> = names.iter().flat_map(|name| [b"/", *name].concat()).collect();
    if whole.is_empty() {
        whole.push(b'/');
    }
    whole
}

/// A path without its last name, and that.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(0) => (b"/", &path[1..]),
        Some(at) => (&path[..at], &path[at + 1..]),
        None => (b"", path),
    }
}

impl Name {
    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.mode & 0o170_000 == 0o040_000
    }

    /// Moves it to another name in another directory.
    pub fn rename(&mut self, parent: u64, name: &[u8]) {
        self.parent = parent;
        self.name = name.into();
        self.path = None;
    }

    /// As the kernel side defines it.
    pub fn new(named: &Named, name: &[u8]) -> Self {
        Self {
            parent: named.parent,
            ino: named.ino,
            magic: named.magic,
            dev: named.dev,
            mode: named.mode,
            flags: named.flags,
            name: name.into(),
            path: None,
        }
    }

    /// Whether a definition says the same.
    pub fn is(&self, named: &Named, name: &[u8]) -> bool {
        self.parent == named.parent && self.flags == named.flags && *self.name == *name
    }

    /// Whether it was deleted. What is in no directory has not been.
    pub fn is_deleted(&self) -> bool {
        self.flags & name_flags::DELETED != 0 && !self.is_alone()
    }

    /// Whether it is in no directory.
    pub fn is_alone(&self) -> bool {
        self.flags & name_flags::ALONE != 0
    }

    /// Writes its path, below that of its directory. Returns whether the beginning is missing.
    pub fn write_path(&self, above: Option<&Path>, out: &mut Vec<u8>) -> bool {
        out.clear();
        if self.is_alone() {
            out.extend_from_slice(&self.name);
            return false;
        }
        if let Some(above) = above {
            out.extend_from_slice(&above.bytes);
        }
        if !self.name.is_empty() {
            if *out != b"/" {
                out.push(b'/');
            }
            out.extend_from_slice(&self.name);
        } else if out.is_empty() {
            out.push(b'/');
        }
        match above {
            Some(above) => above.is_cut,
            None => self.parent != 0 || self.flags & name_flags::DETACHED != 0,
        }
    }

    /// Its path, if it is kept and right.
    pub fn path_as_of(&self, changes: u64) -> Option<&Path> {
        self.path.as_ref().filter(|(_, as_of)| *as_of == changes).map(|(path, _)| path)
    }

    /// Keeps its path, if it is complete: otherwise it may become so.
    pub fn keep_path(&mut self, path: &Path, changes: u64) {
        if !path.is_cut {
            self.path = Some((path.clone(), changes));
        }
    }
}
