//! The bytes of the kernel's types, and the sections that they consist of.

use std::fs::File;
use std::io::{self, Read};
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::path::Path;

use super::BtfError;

pub(super) const MAGIC: u16 = 0xeb9f;
const HEADER_LEN: usize = 24;

/// The kernel's types, not indexed yet.
pub struct RawTypes(Bytes);

enum Bytes {
    Mapped(Mapping),
    Read(Vec<u8>),
}

impl Deref for RawTypes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Bytes::Mapped(mapping) => mapping,
            Bytes::Read(bytes) => bytes,
        }
    }
}

impl From<Vec<u8>> for RawTypes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Bytes::Read(bytes))
    }
}

impl RawTypes {
    /// `/sys/kernel/btf/vmlinux`.
    pub fn of_kernel() -> Result<Self, BtfError> {
        let path = Path::new("/sys/kernel/btf/vmlinux");
        let error = |source| BtfError::Read { path: path.display().to_string(), source };
        let mut file = File::open(path).map_err(error)?;
        let size = file.metadata().map_err(error)?.len() as usize;
        // Kernels before 6.16 cannot map it, and copy it page by page.
        if let Ok(mapping) = Mapping::new(&file, size) {
            return Ok(Self(Bytes::Mapped(mapping)));
        }
        let mut bytes = Vec::with_capacity(size);
        file.read_to_end(&mut bytes).map_err(error)?;
        Ok(Self(Bytes::Read(bytes)))
    }

    /// Whether something in the kernel has this name; faster than to index all types.
    pub fn mention(&self, name: &str) -> bool {
        let text = [b"\0", name.as_bytes(), b"\0"].concat();
        let strings = Sections::of(self).map(|sections| sections.strings).unwrap_or_default();
        memchr::memmem::find(self.get(strings).unwrap_or_default(), &text).is_some()
    }
}

/// A file in memory.
struct Mapping {
    at: *const u8,
    len: usize,
}

// SAFETY: memory that nothing writes to.
unsafe impl Send for Mapping {}
// SAFETY: as above.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new(file: &File, len: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses; it aliases nothing.
        let at = unsafe {
            libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, libc::MAP_PRIVATE, file.as_raw_fd(), 0)
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { at: at.cast_const().cast(), len })
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: mapped with this length; the kernel's types never change.
        unsafe { std::slice::from_raw_parts(self.at, self.len) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no reference into it is left.
        unsafe { libc::munmap(self.at.cast_mut().cast(), self.len) };
    }
}

/// Where the sections are.
pub(super) struct Sections {
    pub types: Range<usize>,
    pub strings: Range<usize>,
}

impl Sections {
    pub fn of(data: &[u8]) -> Result<Self, BtfError> {
        if data.len() < HEADER_LEN || u16::from_ne_bytes([data[0], data[1]]) != MAGIC {
            return Err(BtfError::Malformed("wrong magic or too short"));
        }
        let field = |at: usize| word(data, at).unwrap_or(0) as usize;
        let section = |offset, len| {
            let start = field(4) + field(offset);
            start..start + field(len)
        };
        let (types, strings) = (section(8, 12), section(16, 20));
        if types.end > data.len() || strings.end > data.len() {
            return Err(BtfError::Malformed("a section ends behind the end of the file"));
        }
        Ok(Self { types, strings })
    }
}

/// The word at this offset.
pub(super) fn word(data: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(data.get(at..at + 4)?.try_into().ok()?))
}
