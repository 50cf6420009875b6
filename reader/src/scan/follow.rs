//! A capture that is still being written, read as it grows.
//!
//! A recorder holds a lock on the file that it writes (`session/output.rs`) and, for a series, on a file beside it: so it is
//! known whether more can come, also after a recorder that was killed.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::input::{self, InputError};

/// How often it is looked whether there is more. A recorder writes once a second.
const LOOK: Duration = Duration::from_millis(50);
/// How long the next file of a series may take to appear.
const NEXT: Duration = Duration::from_secs(2);

/// The bytes of one file, then of those that are begun after it in the same directory, as they are written.
#[derive(Debug)]
pub struct Follower {
    file: File,
    path: PathBuf,
    /// Whether it is one of a series: the next file goes on where this one ends.
    series: bool,
}

impl Follower {
    /// A file, or the newest one of a directory and all that come after it.
    ///
    /// # Errors
    /// It cannot be read, or the directory has no capture.
    pub fn open(path: &Path) -> Result<Self, InputError> {
        let series = path.is_dir();
        let path = input::files(&[path.to_path_buf()])?.pop().unwrap_or_else(|| path.to_path_buf());
        input::regular(&path)?;
        let file =
            File::open(&path).map_err(|source| InputError::Io { path: path.clone(), error: source })?;
        Ok(Self { file, path, series })
    }

    /// The file that is read now.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Goes on to the next file of the directory, if there will be one.
    fn next(&mut self) -> io::Result<bool> {
        let Some(dir) = self.path.parent().map(Path::to_path_buf).filter(|_| self.series) else {
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
            // The writer of a series needs a moment between two files.
            if began.elapsed() > NEXT {
                return Ok(false);
            }
            std::thread::sleep(LOOK);
        }
    }
}

/// Whether somebody still writes to a file. Where files cannot be locked, nobody does.
fn is_written(file: &File) -> bool {
    match file.try_lock_shared() {
        Ok(()) => {
            // Taken only for this moment; closing the file would give it back as well.
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
            // In this order: what is written before the writer goes is still read.
            let written = is_written(&self.file);
            let read = self.file.read(buffer)?;
            if read > 0 || buffer.is_empty() {
                return Ok(read);
            }
            if written {
                std::thread::sleep(LOOK);
            } else if !self.next()? {
                return Ok(0);
            }
        }
    }
}
