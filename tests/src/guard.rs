//! Exclusive use of the machine by tests on the real kernel.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

use crate::run;

/// Held by a test that needs root. Tests that record the whole machine run one at a time, in however many threads and
/// processes, and none beside one that uses only a CPU.
pub struct Guard {
    /// The lock lives as long as its file is open.
    _lock: File,
}

impl Guard {
    /// Wait until no other test uses the machine.
    ///
    /// # Panics
    /// If not root, or if the lock file cannot be opened.
    pub fn exclusive() -> Self {
        Self::lock(libc::LOCK_EX)
    }

    /// Wait until no test has the machine for itself: for a virtual machine, which only uses a CPU.
    ///
    /// # Panics
    /// As [`Self::exclusive`].
    pub fn shared() -> Self {
        Self::lock(libc::LOCK_SH)
    }

    fn lock(operation: i32) -> Self {
        assert!(run::is_root(), "this test needs root: sudo -E cargo xtask test");
        let file = env::temp_dir().join("ktape-tests.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", file.display()));
        // SAFETY: the descriptor is open as long as `lock`.
        let locked = unsafe { libc::flock(lock.as_raw_fd(), operation) };
        assert_eq!(locked, 0, "cannot lock {}: {}", file.display(), std::io::Error::last_os_error());
        Self { _lock: lock }
    }
}
