//! Block devices of the tests: loops over sparse files, without other users, and what is mounted, frozen or throttled
//! there. Whatever could leave a process waiting for ever is undone when dropped, and by a watchdog if that does not happen.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ktape::disk_dir;

/// After how many seconds a watchdog undoes what a test has left.
const WATCHDOG_SECONDS: u32 = 60;

/// Runs a program that has to succeed, within half a minute; gives its stdout.
///
/// # Panics
/// If it fails.
pub fn run(words: &[&str]) -> String {
    let out = Command::new("timeout").arg("30").args(words).stdin(Stdio::null()).output();
    let out = out.unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
    assert!(out.status.success(), "{words:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Undoes something when dropped, or after a minute if the test's process does not live to do it.
pub struct Undo {
    script: String,
    watchdog: Child,
}

impl Undo {
    /// By this shell script, which may run twice.
    ///
    /// # Panics
    /// If the watchdog does not start.
    pub fn by(script: &str) -> Self {
        let later = format!("sleep {WATCHDOG_SECONDS}; {script}");
        let watchdog = Command::new("setsid")
            .args(["sh", "-c", &later])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("setsid starts");
        Self { script: script.to_owned(), watchdog }
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        // It undoes what it can; what is gone already is no failure.
        let _ = Command::new("timeout")
            .args(["20", "sh", "-c", &self.script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // The shell and its sleep are a group of their own.
        let group = i32::try_from(self.watchdog.id()).expect("a process id");
        // SAFETY: the child has not been waited for, so that its id is its own.
        unsafe { libc::kill(-group, libc::SIGKILL) };
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
    }
}

/// A loop device over a sparse file on a real disk.
pub struct Loop {
    path: PathBuf,
    file: PathBuf,
    _undo: Undo,
    _dir: Option<tempfile::TempDir>,
}

impl Loop {
    /// One of this size. With `direct` the file is read and written without the page cache.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn make(bytes: u64, direct: bool) -> Self {
        let dir = disk_dir();
        let mut device = Self::over(&dir.path().join("disk"), bytes, direct);
        device._dir = Some(dir);
        device
    }

    /// The same over a new file of this name.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn over(file: &Path, bytes: u64, direct: bool) -> Self {
        fs::File::create(file).and_then(|file| file.set_len(bytes)).expect("a sparse file");
        let name = file.to_string_lossy().into_owned();
        let undo = Undo::by(&format!(
            "losetup -n -O NAME -j '{name}' | while read -r dev; do losetup -d \"$dev\"; done"
        ));
        let direct = if direct { "--direct-io=on" } else { "--direct-io=off" };
        let path = run(&["losetup", "-f", "-P", "--show", direct, &name]);
        Self { path: path.into(), file: file.to_path_buf(), _undo: undo, _dir: None }
    }

    /// `/dev/loopN`.
    pub fn path(&self) -> &str {
        self.path.to_str().expect("a plain path")
    }

    /// `loopN`.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|name| name.to_str()).expect("a plain name")
    }

    /// The file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `major:minor`.
    ///
    /// # Panics
    /// If it is gone.
    pub fn number(&self) -> String {
        let text = fs::read_to_string(format!("/sys/block/{}/dev", self.name())).expect("it is in sysfs");
        text.trim().to_owned()
    }

    /// Writes all of it, so that the file behind it has no holes.
    ///
    /// # Panics
    /// If that fails.
    pub fn fill(&self) {
        let bytes = fs::metadata(&self.file).expect("the file behind it").len();
        let (to, count) = (format!("of={}", self.path()), format!("count={}", bytes >> 20));
        run(&["dd", "if=/dev/zero", &to, "bs=1M", &count, "oflag=direct", "status=none"]);
    }

    /// What the kernel has counted.
    ///
    /// # Panics
    /// If it is gone.
    pub fn stat(&self) -> Stat {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name())).expect("it is in sysfs");
        let fields: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        Stat(fields.try_into().expect("17 fields, of Linux 5.5 and later"))
    }

    /// Makes an ext4 on it and mounts it. All of its tables are written at once, so that nothing is written later.
    ///
    /// # Panics
    /// If that fails.
    pub fn mount(&self) -> Mount {
        run(&["mkfs.ext4", "-q", "-E", "lazy_itable_init=0,lazy_journal_init=0", self.path()]);
        let dir = tempfile::tempdir().expect("a directory");
        let at = dir.path().to_string_lossy().into_owned();
        let undo = Undo::by(&format!("fsfreeze -u '{at}'; umount -l '{at}'"));
        run(&["mount", "-t", "ext4", "-o", "noatime,no_prefetch_block_bitmaps", self.path(), &at]);
        Mount { _undo: undo, dir }
    }
}

/// `/sys/block/NAME/stat`, as documented in the kernel's `Documentation/block/stat.rst`.
#[derive(Clone, Copy, Debug)]
pub struct Stat([u64; 17]);

impl Stat {
    /// The fields in their order, as differences to an earlier reading.
    pub fn since(&self, before: &Self) -> [u64; 17] {
        std::array::from_fn(|i| self.0[i].wrapping_sub(before.0[i]))
    }
}

/// Field numbers of [`Stat`].
pub mod stat {
    /// Reads completed.
    pub const READS: usize = 0;
    /// Sectors read.
    pub const READ_SECTORS: usize = 2;
    /// Writes completed.
    pub const WRITES: usize = 4;
    /// Writes merged into others.
    pub const WRITE_MERGES: usize = 5;
    /// Sectors written.
    pub const WRITE_SECTORS: usize = 6;
    /// Discards completed.
    pub const DISCARDS: usize = 11;
    /// Sectors discarded.
    pub const DISCARD_SECTORS: usize = 13;
    /// Flushes of the device.
    pub const FLUSHES: usize = 15;
}

/// A mounted file system; thawed and unmounted when dropped.
pub struct Mount {
    _undo: Undo,
    dir: tempfile::TempDir,
}

impl Mount {
    /// Where.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Freezes it: whoever writes waits until the guard is dropped.
    ///
    /// # Panics
    /// If that fails.
    pub fn freeze(&self) -> Undo {
        let at = self.dir.path().to_string_lossy().into_owned();
        let undo = Undo::by(&format!("fsfreeze -u '{at}'"));
        run(&["fsfreeze", "-f", &at]);
        undo
    }
}

/// Mounts the ext4 in an image, as it was left.
///
/// # Panics
/// If that fails.
pub fn mount_image(image: &Path) -> Mount {
    let dir = tempfile::tempdir().expect("a directory");
    let at = dir.path().to_string_lossy().into_owned();
    let undo = Undo::by(&format!("umount -l '{at}'"));
    run(&["mount", "-t", "ext4", "-o", "loop", &image.to_string_lossy(), &at]);
    Mount { _undo: undo, dir }
}

/// A limit of bytes a second on writes to a device, for a new cgroup of the v1 `blkio` controller.
pub struct Throttle {
    dir: PathBuf,
    _undo: Undo,
}

impl Throttle {
    /// `None` if there is no such hierarchy.
    ///
    /// # Panics
    /// If it cannot be made.
    pub fn make(name: &str, number: &str, bytes_per_second: u64) -> Option<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
        let mount = mounts.lines().find(|line| {
            line.split_once(" - ").is_some_and(|(_, fs)| {
                fs.starts_with("cgroup ")
                    && fs.split(' ').next_back().is_some_and(|o| o.split(',').any(|w| w == "blkio"))
            })
        })?;
        let dir = Path::new(mount.split(' ').nth(4)?).join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&dir).expect("a cgroup can be made");
        let at = dir.to_string_lossy().into_owned();
        let undo =
            Undo::by(&format!("echo '{number} 0' > '{at}/blkio.throttle.write_bps_device'; rmdir '{at}'"));
        fs::write(dir.join("blkio.throttle.write_bps_device"), format!("{number} {bytes_per_second}"))
            .expect("a limit can be set");
        Some(Self { dir, _undo: undo })
    }

    /// A shell command that runs another one inside.
    pub fn wrap(&self, words: &[&str]) -> Vec<String> {
        let inside = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.dir.display());
        let mut all = vec!["sh".to_owned(), "-c".to_owned(), inside, "sh".to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }
}
