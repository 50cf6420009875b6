//! A capture that is still being written, read as it grows.
//!
//! A recorder holds a lock on the file that it writes and, for rotated files, on a file in the same directory
//! (`agent/src/store/output.rs`). The lock shows whether more data can come, even after the recorder was killed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::input::{self, InputError};

/// Interval between checks for new data. A recorder writes once a second.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Longest wait for the next rotated file.
const NEXT_FILE_TIMEOUT: Duration = Duration::from_secs(2);

/// The bytes of a growing file, followed by those of the rotated files that come after it in its directory.
#[derive(Debug)]
pub struct Follower {
    file: File,
    path: PathBuf,
    /// Whether later files in the directory continue this one.
    rotated: bool,
    /// Ends the wait for more when it is set.
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// Follows a file, or the newest file of a directory and all later ones.
    ///
    /// # Errors
    /// If it cannot be read, or the directory has no capture.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let rotated = path.is_dir();
        let path = input::files(&[path.to_path_buf()])?.pop().unwrap_or_else(|| path.to_path_buf());
        input::regular(&path)?;
        let file =
            File::open(&path).map_err(|source| InputError::Io { path: path.clone(), error: source })?;
        Ok(Self { file, path, rotated, stop: Arc::default() })
    }

    /// The same; ends when there is nothing more to read and `stop` is set.
    #[must_use]
    pub fn until(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop, ..self }
    }

    /// The file being read.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the next file of the directory; false if none appears in time.
    fn next(&mut self) -> io::Result<bool> {
        let Some(dir) = self.path.parent().map(Path::to_path_buf).filter(|_| self.rotated) else {
            return Ok(false);
        };
        let began = Instant::now();
        loop {
            let mut later: Vec<PathBuf> = fs::read_dir(&dir)?
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|e| e == "ktape") && *path > self.path)
                .collect();
            later.sort();
            if let Some(next) = later.into_iter().next() {
                self.file = File::open(&next)?;
                self.path = next;
                return Ok(true);
            }
            // The writer takes a moment between two files.
            if began.elapsed() > NEXT_FILE_TIMEOUT || self.stop.load(Ordering::Relaxed) {
                return Ok(false);
            }
            std::thread::sleep(POLL_INTERVAL);
        }
    }
}

/// Whether a recorder holds the lock on a file. False on file systems without locks.
fn is_written(file: &File) -> bool {
    match file.try_lock_shared() {
        Ok(()) => {
            // Released at once, since the lock was only a test.
            let _ = file.unlock();
            false
        }
        Err(fs::TryLockError::WouldBlock) => true,
        Err(fs::TryLockError::Error(_)) => false,
    }
}

impl Read for Follower {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            // Checked before reading, so that data written just before the recorder exits is still read.
            let written = is_written(&self.file);
            let read = self.file.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if self.stop.load(Ordering::Relaxed) {
                return Ok(0);
            }
            if written {
                std::thread::sleep(POLL_INTERVAL);
            } else if !self.next()? {
                return Ok(0);
            }
        }
    }
}
