//! Disks of guests, in sparse files.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A disk of a guest, in a sparse file.
pub struct Disk {
    /// In the guest: `/dev/disk-NAME`.
    pub(super) name: &'static str,
    bytes: u64,
    is_ext4: bool,
    rate: Option<u64>,
    kept: Option<PathBuf>,
}

impl Disk {
    /// An empty one.
    pub fn new(name: &'static str, bytes: u64) -> Self {
        Self { name, bytes, is_ext4: false, rate: None, kept: None }
    }

    /// One in this file, which outlives the guest; if it is there already, with what it holds.
    #[must_use]
    pub fn kept(mut self, file: &Path) -> Self {
        self.kept = Some(file.to_path_buf());
        self
    }

    /// With an empty ext4, of which nothing is left to be initialised in the background.
    #[must_use]
    pub fn ext4(mut self) -> Self {
        self.is_ext4 = true;
        self
    }

    /// One that takes no more bytes a second than this, as the guest sees it: the device is slow.
    #[must_use]
    pub fn slow(mut self, bytes_per_second: u64) -> Self {
        self.rate = Some(bytes_per_second);
        self
    }

    /// Make its file, unless it is there, and add it to the command that boots the guest.
    ///
    /// # Panics
    /// If the file cannot be made.
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
