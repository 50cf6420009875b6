//! The file system that a capture is written to: its free space, writing, fsync, and a reserve for the end.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Bytes that index, trailer and the last loss records may need when no other space is left.
pub const RESERVE: u64 = 2 << 20;

/// Size and free space of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Size of the file system, bytes.
    pub total: u64,
    /// Bytes that a user other than root can still write.
    pub free: u64,
}

/// The operations of a file system that the store uses. Unit tests replace it with a disk that fills up or fails.
pub trait FileSystem: Send + Sync {
    /// Size and free space of the file system that `file` is on.
    ///
    /// # Errors
    /// That of `fstatvfs`.
    fn space(&self, file: &File) -> io::Result<Space>;

    /// Writes to a file, as [`Write::write`].
    ///
    /// # Errors
    /// That of `write`.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize>;

    /// Returns once the data of a file, or the entries of a directory, are on the disk.
    ///
    /// # Errors
    /// That of `fdatasync`.
    fn sync(&self, file: &File) -> io::Result<()>;

    /// Sets space aside in the file system of this directory; `None` where that is not possible.
    fn reserve(&self, dir: &Path) -> Option<Reserve>;
}

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mounted;

impl FileSystem for Mounted {
    fn space(&self, file: &File) -> io::Result<Space> {
        let stat = rustix::fs::fstatvfs(file)?;
        Ok(Space { total: stat.f_blocks * stat.f_frsize, free: stat.f_bavail * stat.f_frsize })
    }

    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        file.write(bytes)
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }

    fn reserve(&self, dir: &Path) -> Option<Reserve> {
        // A file without a name: nothing of it stays behind after a kill.
        let file = OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir).ok()?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE).ok()?;
        Some(Reserve(Box::new(file)))
    }
}

/// Space that is set aside as long as this value lives.
pub struct Reserve(#[expect(dead_code, reason = "held for what its drop releases")] Box<dyn Send>);

impl Reserve {
    /// A reserve that ends when `held` is dropped.
    #[cfg(test)]
    pub fn holding(held: impl Send + 'static) -> Self {
        Self(Box::new(held))
    }
}

/// Whether an error means that there is no space: on the disk, or left to this user.
pub fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn a_mounted_file_system_reports_space_writes_and_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::create(dir.path().join("x")).unwrap();
        let space = Mounted.space(&file).unwrap();
        assert!(space.total > 0 && space.free <= space.total, "{space:?}");
        assert_eq!(Mounted.write(&mut file, b"abc").unwrap(), 3);
        Mounted.sync(&file).unwrap();
        assert_eq!(std::fs::read(dir.path().join("x")).unwrap(), b"abc");
    }

    #[test]
    fn a_reserve_has_no_name() {
        let dir = tempfile::tempdir().unwrap();
        let reserve = Mounted.reserve(dir.path());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(reserve);
        assert!(Mounted.reserve(&dir.path().join("none")).is_none());
        // Where files without names exist, the space is allocated.
        let tmpfile =
            OpenOptions::new().write(true).mode(0o600).custom_flags(libc::O_TMPFILE).open(dir.path());
        if let Ok(file) = tmpfile
            && rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, RESERVE).is_ok()
        {
            assert!(file.metadata().unwrap().blocks() * 512 >= RESERVE);
        }
    }

    #[test]
    fn no_space_is_told_from_other_errors() {
        for (errno, full) in
            [(libc::ENOSPC, true), (libc::EDQUOT, true), (libc::EFBIG, true), (libc::EIO, false)]
        {
            assert_eq!(is_full(&io::Error::from_raw_os_error(errno)), full, "{errno}");
        }
    }
}
