//! Room on the output's file system.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What index, trailer and a last word about losses may need when nothing else finds room any more, bytes.
const RESERVE: u64 = 2 << 20;

/// Size and free bytes (for whom is not root) of the file system that a file is on.
pub fn of(file: &impl AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstatvfs(file)?;
    Ok((stat.f_blocks * stat.f_frsize, stat.f_bavail * stat.f_frsize))
}

/// Room that is kept for the end, in a file without a name; it is there as long as this lives.
#[derive(Debug)]
pub struct Reserve {
    _file: File,
}

impl Reserve {
    /// In the file system of this directory, where it can hold files without names; elsewhere there is none.
    pub fn make(dir: &Path) -> Option<Self> {
        let file = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir).ok()?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE).ok()?;
        Some(Self { _file: file })
    }
}

/// Whether an error means that there is no room: on the disk, or left to this user.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
