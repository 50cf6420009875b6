//! Open pipes of processes, as `/proc` shows them.
//!
//! Only the symbolic links of `/proc` are read, never what they lead to: that may be on a file system that hangs.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::RawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// A pipe: `pipe:[INODE]`, or the path of a named one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pipe(OsString);

/// A pipe that a process has open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PipeEnd {
    /// The descriptor.
    pub fd: u32,
    /// Which pipe.
    pub pipe: Pipe,
    /// Whether the process can read it.
    pub reads: bool,
    /// Whether the process can write to it.
    pub writes: bool,
}

/// Which descriptors of a process are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Standard input and output.
    Standard,
    /// All.
    All,
}

impl Pipe {
    /// The pipe behind a descriptor of this process; `None` if it is something else.
    pub fn of_descriptor(fd: RawFd) -> Option<Self> {
        Self::of_path(Path::new(&format!("/proc/self/fd/{fd}")))
    }

    /// The pipe at a path, such as `/dev/fd/63` or that of a named pipe; `None` if something else is there.
    pub fn of_path(path: &Path) -> Option<Self> {
        if !fs::metadata(path).is_ok_and(|meta| meta.file_type().is_fifo()) {
            return None;
        }
        let link = fs::read_link(path).map(|link| Self(link.into_os_string())).ok();
        if link.as_ref().is_some_and(Self::is_anonymous) {
            return link;
        }
        let path = fs::canonicalize(path).ok()?;
        let name = Self(path.file_name()?.to_owned());
        Some(if name.is_anonymous() { name } else { Self(path.into_os_string()) })
    }

    fn is_anonymous(&self) -> bool {
        self.0.as_bytes().starts_with(b"pipe:[")
    }

    /// A pipe of this name, for tests.
    #[cfg(test)]
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }
}

/// The pipes that a process has open: anonymous ones, and `output`.
///
/// # Errors
///
/// The process is gone, or belongs to another user.
pub fn pipe_ends(pid: u32, output: &Pipe, depth: Depth) -> io::Result<Vec<PipeEnd>> {
    let dir = format!("/proc/{pid}/fd");
    if depth == Depth::Standard {
        // A kernel thread has none, and a process that is gone neither.
        return Ok(["0", "1"].into_iter().filter_map(|name| end(&dir, OsStr::new(name), output)).collect());
    }
    let entries = fs::read_dir(&dir)?;
    Ok(entries.flatten().filter_map(|entry| end(&dir, &entry.file_name(), output)).collect())
}

fn end(dir: &str, name: &OsStr, output: &Pipe) -> Option<PipeEnd> {
    let fd = name.to_str()?.parse().ok()?;
    let path = Path::new(dir).join(name);
    let pipe = Pipe(fs::read_link(&path).ok()?.into_os_string());
    if !pipe.is_anonymous() && pipe != *output {
        return None;
    }
    // The mode of the link, not of its target, is that of the descriptor.
    let mode = fs::symlink_metadata(&path).ok()?.permissions().mode();
    Some(PipeEnd { fd, pipe, reads: mode & 0o400 != 0, writes: mode & 0o200 != 0 })
}

/// The ids of all processes.
pub fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn both_ends_of_a_pipe_are_seen() {
        let (read, write) = io::pipe().unwrap();
        let pipe = Pipe::of_descriptor(write.as_raw_fd()).unwrap();
        assert_eq!(Pipe::of_path(Path::new(&format!("/dev/fd/{}", read.as_raw_fd()))), Some(pipe.clone()));
        let ends = pipe_ends(std::process::id(), &pipe, Depth::All).unwrap();
        let mut ours: Vec<_> =
            ends.into_iter().filter(|e| e.pipe == pipe).map(|e| (e.fd, e.reads, e.writes)).collect();
        ours.sort_unstable();
        let mut expected =
            vec![(read.as_raw_fd() as u32, true, false), (write.as_raw_fd() as u32, false, true)];
        expected.sort_unstable();
        assert_eq!(ours, expected);
    }

    #[test]
    fn only_pipes_are_pipes() {
        let file = fs::File::open("/dev/null").unwrap();
        assert_eq!(Pipe::of_descriptor(file.as_raw_fd()), None);
        assert_eq!(Pipe::of_path(Path::new("/none")), None);
        assert_eq!(Pipe::of_path(Path::new("/etc/passwd")), None);
    }

    #[test]
    fn a_named_pipe_has_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let path = fs::canonicalize(dir.path()).unwrap().join("fifo");
        let name = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
        // SAFETY: a path that ends with NUL.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        assert_eq!(Pipe::of_path(&path), Some(Pipe::named(path.to_str().unwrap())));
    }
}
