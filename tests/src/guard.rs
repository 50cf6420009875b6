//! A machine-wide lock for tests on the real kernel.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use crate::run;

/// A lock that tests hold, across threads and processes. A test that records the whole machine holds it exclusively; a test
/// that only uses CPU time shares it.
pub struct Guard {
    /// Closing the file releases the lock.
    _lock: File,
}

impl Guard {
    /// Waits until no other test holds the lock.
    ///
    /// # Panics
    /// If not root, or if the lock file cannot be opened.
    pub fn exclusive() -> Self {
        Self::lock(libc::LOCK_EX)
    }

    /// Waits until no test holds the lock exclusively. For virtual machines, which only use CPU time.
    ///
    /// # Panics
    /// As [`Self::exclusive`].
    pub fn shared() -> Self {
        Self::lock(libc::LOCK_SH)
    }

    fn lock(operation: i32) -> Self {
        assert!(run::is_root(), "this test requires root: run sudo -E cargo xtask test");
        let file = env::temp_dir().join("ktape-tests.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", file.display()));
        // SAFETY: `lock` keeps the descriptor open.
        let locked = unsafe { libc::flock(lock.as_raw_fd(), operation) };
        assert_eq!(locked, 0, "cannot lock {}: {}", file.display(), std::io::Error::last_os_error());
        Self { _lock: lock }
    }
}
