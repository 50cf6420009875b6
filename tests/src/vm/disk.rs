//! Disks of guests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk of a guest, stored in a sparse file.
pub struct Disk {
    /// The guest sees it as `/dev/disk-NAME`.
    pub(super) name: &'static str,
    bytes: u64,
    is_ext4: bool,
    /// Limit in bytes per second.
    rate: Option<u64>,
    /// The file, if it outlives the guest.
    kept: Option<PathBuf>,
}

impl Disk {
    /// An empty disk of `bytes` bytes.
    pub fn new(name: &'static str, bytes: u64) -> Self {
        Self { name, bytes, is_ext4: false, rate: None, kept: None }
    }

    /// Stores the disk in this file, which outlives the guest. An existing file is used as it is.
    #[must_use]
    pub fn kept(mut self, file: &Path) -> Self {
        self.kept = Some(file.to_path_buf());
        self
    }

    /// Formats a new disk with ext4, without lazy initialisation in the background.
    #[must_use]
    pub fn ext4(mut self) -> Self {
        self.is_ext4 = true;
        self
    }

    /// Limits reads and writes together to this rate.
    #[must_use]
    pub fn slow(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Creates the file unless it exists, and adds the disk to the emulator's command line.
    ///
    /// # Panics
    /// If the file cannot be created.
    pub(super) fn add_to(&self, emulator: &mut Command, file: &Path) {
        let Self { name, .. } = self;
        let file = self.kept.as_deref().unwrap_or(file);
        let is_new = !file.exists();
        if is_new {
            File::create(file).and_then(|f| f.set_len(self.bytes)).expect("a file for a disk");
        }
        if is_new && self.is_ext4 {
            let made = Command::new("/usr/sbin/mkfs.ext4")
                .args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard"])
                .arg(file)
                .stdin(Stdio::null())
                .output()
                .expect("mkfs.ext4 starts");
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        let limit = self.rate.map(|rate| format!(",throttling.bps-total={rate}")).unwrap_or_default();
        let file = file.display();
        emulator.arg("-drive").arg(format!("file={file},format=raw,if=none,cache=unsafe,id={name}{limit}"));
        emulator.arg("-device").arg(format!("virtio-blk-pci,drive={name},serial={name}"));
    }
}
