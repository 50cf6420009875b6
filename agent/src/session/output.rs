//! The file that is written: private, never silently over another one, owned by whoever called.

use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

/// Where a capture goes.
#[derive(Debug)]
pub enum Output {
    /// A file, with its path.
    File(PathBuf, File),
    /// Standard output.
    Stdout(io::Stdout),
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::File(_, file) => file.write(bytes),
            Self::Stdout(stdout) => stdout.lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::File(_, file) => file.flush(),
            Self::Stdout(stdout) => stdout.lock().flush(),
        }
    }
}

/// The name of a capture without `-o`: host and time of its start.
fn default_path() -> PathBuf {
    let host: String = super::header::host_name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("ktape-{host}-{now}.ktape"))
}

impl Output {
    /// Opens `-o`; `-` is standard output, nothing a file in the working directory.
    ///
    /// # Errors
    ///
    /// The file exists (without `force`), cannot be made, or standard output is a terminal.
    pub fn open(path: Option<&Path>, force: bool) -> Result<Self> {
        let path = match path {
            Some(path) if path == Path::new("-") => {
                let stdout = io::stdout();
                if stdout.is_terminal() {
                    bail!(
                        "a capture is not for a terminal: write `-o FILE`, or pipe it into `ktape replay -`"
                    );
                }
                return Ok(Self::Stdout(stdout));
            }
            Some(path) => path.to_path_buf(),
            None => default_path(),
        };
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        if force {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(&path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => anyhow::anyhow!(
                "{} exists; choose another name, or say --force to write over it",
                path.display()
            ),
            _ => anyhow::Error::new(error).context(format!("cannot create {}", path.display())),
        })?;
        give_to_caller(&file).with_context(|| format!("cannot give {} to its owner", path.display()))?;
        Ok(Self::File(path, file))
    }

    /// What to call it.
    pub fn name(&self) -> String {
        match self {
            Self::File(path, _) => path.display().to_string(),
            Self::Stdout(_) => "standard output".to_owned(),
        }
    }

    /// Whether it is a file, which can be replayed later.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File(..))
    }

    /// The process at the other end, if standard output is a pipe.
    pub fn reader(&self) -> Option<u32> {
        match self {
            Self::File(..) => None,
            Self::Stdout(stdout) => pipe_reader(stdout.as_raw_fd()),
        }
    }
}

/// Under sudo, the file belongs to the user who called it.
fn give_to_caller(file: &File) -> io::Result<()> {
    let id = |name: &str| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok());
    // SAFETY: no arguments.
    if unsafe { libc::geteuid() } != 0 {
        return Ok(());
    }
    match (id("SUDO_UID"), id("SUDO_GID")) {
        (Some(uid), gid) => std::os::unix::fs::fchown(file, Some(uid), gid),
        _ => Ok(()),
    }
}

/// Finds the process whose standard input is the read end of this pipe. If it were recorded, what
/// it reads would make it read more.
pub fn pipe_reader(fd: i32) -> Option<u32> {
    let ours = std::fs::metadata(format!("/proc/self/fd/{fd}")).ok()?;
    let own = std::process::id();
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let input = std::fs::metadata(format!("/proc/{pid}/fd/0")).ok()?;
        let same = (input.dev(), input.ino()) == (ours.dev(), ours.ino());
        (same && is_fifo(&input) && pid != own).then_some(pid)
    })
}

fn is_fifo(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::FileTypeExt::is_fifo(&metadata.file_type())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn files_are_private_and_never_overwritten_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ktape");
        let output = Output::open(Some(&path), false).unwrap();
        assert!(output.is_file());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Output::open(Some(&path), false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        std::fs::write(&path, b"old").unwrap();
        Output::open(Some(&path), true).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
    }
}
