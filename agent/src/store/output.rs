//! The output of a capture: standard output, or a private file that belongs to the caller and overwrites another one only
//! with `--force`.

use std::fs::{File, OpenOptions, Permissions, TryLockError};
use std::io::{self, IsTerminal, Seek};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use crate::usage::usage;
use ktape_reader::scan::stream::StreamError;

/// An output that is open.
#[derive(Debug)]
pub enum Output {
    /// A file.
    File {
        /// Path as the user gave it.
        path: PathBuf,
        /// The open file.
        file: File,
        /// Whether it was created for this capture, and did not exist before.
        created: bool,
    },
    /// Standard output.
    Stdout(io::Stdout),
}

/// The file name of a capture without `-o`: host and start time, UTC.
fn default_path() -> PathBuf {
    let now = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    PathBuf::from(format!("{}-{now}.ktape", default_name()))
}

/// The beginning of the file names of this host's captures.
pub fn default_name() -> String {
    let host: String = super::header::host_name()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' })
        .collect();
    format!("ktape-{host}")
}

impl Output {
    /// Opens the value of `-o`: `-` is standard output, a directory means a file in it, `None` one in the working
    /// directory.
    ///
    /// # Errors
    ///
    /// The file exists (without `force`) or cannot be created, or standard output is a terminal.
    pub fn open(path: Option<&Path>, force: bool) -> Result<Self> {
        let path = match path {
            Some(path) if is_stdout(path) => {
                let stdout = io::stdout();
                refuse_terminal(&stdout)?;
                return Ok(Self::Stdout(stdout));
            }
            Some(path) if path.is_dir() => path.join(default_path()),
            Some(path) => path.to_path_buf(),
            None => default_path(),
        };
        let mut options = OpenOptions::new();
        options.write(true).mode(0o600);
        let (created, opened) = match options.clone().create_new(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && force => {
                // Not through a symbolic link: another user may have created it.
                (false, options.custom_flags(libc::O_NOFOLLOW).open(&path))
            }
            opened => (true, opened),
        };
        let file = opened.map_err(|error| match (error.kind(), error.raw_os_error()) {
            (io::ErrorKind::AlreadyExists, _) => anyhow::anyhow!(
                "{} exists; choose another name, or pass --force to overwrite it",
                path.display()
            ),
            (_, Some(libc::ELOOP)) => {
                anyhow::anyhow!("{} is a symbolic link; pass the path of the file itself", path.display())
            }
            _ => anyhow::Error::new(error).context(format!("cannot create {}", path.display())),
        })?;
        // Devices and pipes keep their mode and owner.
        if file.metadata().is_ok_and(|meta| meta.is_file()) {
            // Two writers would mix their bytes. The lock ends with the process.
            if !lock(&file) {
                anyhow::bail!("{} is being written by another capture; choose another name", path.display());
            }
            file.set_permissions(Permissions::from_mode(0o600))
                .and_then(|()| give_to_caller(&file))
                .and_then(|()| file.set_len(0))
                .with_context(|| format!("cannot set mode and owner of {}", path.display()))?;
        }
        Ok(Self::File { path, file, created })
    }

    /// Truncates the file to this many bytes, and continues writing there.
    ///
    /// # Errors
    ///
    /// Truncating fails, or the output is standard output.
    pub fn truncate(&mut self, bytes: u64) -> io::Result<()> {
        match self {
            Self::File { file, .. } => {
                file.set_len(bytes)?;
                file.seek(io::SeekFrom::Start(bytes)).map(drop)
            }
            Self::Stdout(_) => Err(io::ErrorKind::NotSeekable.into()),
        }
    }

    /// Path of a file that was created for this capture, to be removed if recording cannot begin.
    pub fn created(&self) -> Option<PathBuf> {
        match self {
            Self::File { path, created: true, .. } => Some(path.clone()),
            Self::File { .. } | Self::Stdout(_) => None,
        }
    }

    /// Name of the output in messages.
    pub fn name(&self) -> String {
        match self {
            Self::File { path, .. } => path.display().to_string(),
            Self::Stdout(_) => "standard output".to_owned(),
        }
    }

    /// Whether it is a file that can be replayed later.
    pub fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }
}

/// Locks a file that is to be written; false if another process writes it. Retried for 50 ms: a reader that checks for a
/// writer holds the lock for a moment, too.
fn lock(file: &File) -> bool {
    for _ in 0..10 {
        match file.try_lock() {
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            // Where files cannot be locked, nothing can be checked.
            _ => return true,
        }
    }
    false
}

/// Refuses to write a capture to a terminal.
///
/// # Errors
/// It is one.
pub fn refuse_terminal(stdout: &impl IsTerminal) -> Result<()> {
    if stdout.is_terminal() {
        return Err(usage(
            "cannot write a capture to a terminal: it is binary; write it to a file, or pipe it into `ktape replay -`",
        ));
    }
    Ok(())
}

/// Whether the path of an output means standard output.
pub fn is_stdout(path: &Path) -> bool {
    path == Path::new("-")
}

/// Under sudo, gives the file to the user who called sudo.
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

/// Whether an error means that the reader of a pipe has closed it.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let io = cause.downcast_ref::<io::Error>().or(match cause.downcast_ref::<StreamError>() {
            Some(StreamError::Sink(io)) => Some(io),
            _ => None,
        });
        io.is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_private_and_overwritten_only_with_force() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.ktape");
        let output = Output::open(Some(&path), false).unwrap();
        assert!(output.is_file());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let error = Output::open(Some(&path), false).unwrap_err().to_string();
        assert!(error.contains("--force"), "{error}");
        std::fs::write(&path, b"old").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        // Not even with --force while it is being written.
        let error = Output::open(Some(&path), true).unwrap_err().to_string();
        assert!(error.contains("is being written by another capture; "), "{error}");
        drop(output);
        let again = Output::open(Some(&path), true).unwrap();
        assert_eq!(again.created(), None);
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (0, 0o600));
    }

    #[test]
    fn devices_keep_their_mode_and_symbolic_links_are_not_followed() {
        let before = std::fs::metadata("/dev/null").unwrap().permissions().mode();
        let output = Output::open(Some(Path::new("/dev/null")), true).unwrap();
        assert_eq!(output.created(), None);
        assert_eq!(std::fs::metadata("/dev/null").unwrap().permissions().mode(), before);
        let dir = tempfile::tempdir().unwrap();
        let (target, link) = (dir.path().join("target"), dir.path().join("link"));
        std::fs::write(&target, b"precious").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(Output::open(Some(&link), true).is_err());
        assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    }
}
