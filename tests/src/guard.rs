//! Who may run a test on the real kernel, and when.

use std::env;
use std::fs::{File, OpenOptions};
use std::os::fd::AsRawFd;

/// Held by a test that needs root. No two tests that use the whole machine run at a time, in however many threads and
/// processes, and none beside one that uses a part of it.
pub struct Guard {
    /// The lock lives as long as its file is open.
    _lock: File,
}

impl Guard {
    /// Wait for the whole machine; `None` if not root.
    ///
    /// # Panics
    /// With `CI` set, if not root; and if the lock file cannot be opened.
    pub fn take() -> Option<Self> {
        Self::lock(libc::LOCK_EX)
    }

    /// Wait for a processor, for a virtual machine; `None` if not root.
    ///
    /// # Panics
    /// As [`Self::take`].
    pub fn share() -> Option<Self> {
        Self::lock(libc::LOCK_SH)
    }

    fn lock(how: i32) -> Option<Self> {
        if !is_root() {
            assert!(!is_ci(), "CI has to run this test as root");
            eprintln!("\n*** SKIPPED: this test needs root: sudo -E cargo xtask test ***\n");
            return None;
        }
        let file = env::temp_dir().join("ktape-tests.lock");
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&file)
            .unwrap_or_else(|error| panic!("cannot open {}: {error}", file.display()));
        // SAFETY: the descriptor is open as long as `lock`.
        let locked = unsafe { libc::flock(lock.as_raw_fd(), how) };
        assert_eq!(locked, 0, "cannot lock {}: {}", file.display(), std::io::Error::last_os_error());
        Some(Self { _lock: lock })
    }
}

/// Whether the effective user is root.
pub fn is_root() -> bool {
    // SAFETY: geteuid has no preconditions.
    unsafe { libc::geteuid() == 0 }
}

/// Whether an automatic build runs this.
pub fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "0" && ci != "false")
}
