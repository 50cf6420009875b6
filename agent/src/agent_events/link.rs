//! Files that only a link in `/proc` names.

/// A file as a link in `/proc/PID/fd` names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Its type, as far as the link shows it; empty if there was no link.
    pub ty: &'static str,
    /// Its path or name.
    pub path: Vec<u8>,
    /// Its inode number, if that is its name.
    pub ino: Option<u64>,
    /// Whether it was deleted.
    pub is_deleted: bool,
}

impl Link {
    /// There is none.
    pub const NONE: Self = Self { ty: "", path: Vec::new(), ino: None, is_deleted: false };

    /// Whether there is one.
    pub fn is_known(&self) -> bool {
        !self.ty.is_empty()
    }
}
