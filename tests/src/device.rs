//! Private block devices for tests: loop devices over sparse files, with mounts, freezes and throttles. Whatever could block
//! a process forever is undone when dropped, or else by a watchdog.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::ktape::disk_dir;

/// Time after which a watchdog undoes what a test left behind, seconds.
pub const WATCHDOG_SECONDS: u32 = 60;

/// Runs a program, which must succeed within 30 s, and returns its standard output.
///
/// # Panics
/// If it fails.
pub fn run(words: &[&str]) -> String {
    let out = Command::new("timeout").arg("30").args(words).stdin(Stdio::null()).output();
    let out = out.unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
    assert!(out.status.success(), "{words:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

/// Undoes something when dropped, or after `WATCHDOG_SECONDS` if the test's process is killed before.
pub struct Undo {
    script: String,
    watchdog: Child,
}

impl Undo {
    /// Starts the watchdog. The shell script `script` must tolerate running twice.
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
        // Errors are ignored: some of it may be undone already.
        let _ = Command::new("timeout")
            .args(["20", "sh", "-c", &self.script])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        // The shell and its sleep are in their own process group.
        let group = i32::try_from(self.watchdog.id()).expect("a process id");
        // SAFETY: the child has not been reaped, so its process ID cannot have been reused.
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
    /// Creates a loop device over a temporary file. With `direct`, it bypasses the page cache of the file.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn make(bytes: u64, direct: bool) -> Self {
        let dir = disk_dir();
        let mut device = Self::over(&dir.path().join("disk"), bytes, direct);
        device._dir = Some(dir);
        device
    }

    /// Like [`Self::make`], over a new file at this path.
    ///
    /// # Panics
    /// If it cannot be created.
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

    /// Path of the backing file.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// `MAJOR:MINOR`.
    ///
    /// # Panics
    /// If the device does not exist.
    pub fn number(&self) -> String {
        let text = fs::read_to_string(format!("/sys/block/{}/dev", self.name())).expect("it is in sysfs");
        text.trim().to_owned()
    }

    /// Fills the device with zeroes, so that its backing file has no holes.
    ///
    /// # Panics
    /// If that fails.
    pub fn fill(&self) {
        let bytes = fs::metadata(&self.file).expect("the file behind it").len();
        let (to, count) = (format!("of={}", self.path()), format!("count={}", bytes >> 20));
        run(&["dd", "if=/dev/zero", &to, "bs=1M", &count, "oflag=direct", "status=none"]);
    }

    /// The kernel's counters of the device.
    ///
    /// # Panics
    /// If the device does not exist.
    pub fn stat(&self) -> Stat {
        let text = fs::read_to_string(format!("/sys/block/{}/stat", self.name())).expect("it is in sysfs");
        let fields: Vec<u64> = text.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        Stat(fields.try_into().expect("17 fields, of Linux 5.5 and later"))
    }

    /// Creates an ext4 file system on the device and mounts it. Writes all tables at once, so that the kernel does not
    /// initialise them in the background.
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
    /// The fields as differences to an earlier reading.
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
    /// Time of all writes together, ms.
    pub const WRITE_MS: usize = 7;
    /// Discards completed.
    pub const DISCARDS: usize = 11;
    /// Sectors discarded.
    pub const DISCARD_SECTORS: usize = 13;
    /// Flushes of the device.
    pub const FLUSHES: usize = 15;
}

/// A mounted file system. Dropping it thaws and unmounts it.
pub struct Mount {
    _undo: Undo,
    dir: tempfile::TempDir,
}

impl Mount {
    /// Mount point.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Freezes the file system: writers block until the returned value is dropped.
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

/// Mounts an image with an existing ext4 file system.
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

/// A cgroup of the v1 `blkio` controller that limits writes to a device.
pub struct Throttle {
    dir: PathBuf,
    _undo: Undo,
}

impl Throttle {
    /// Creates the cgroup. `number` is the device's `MAJOR:MINOR`. `None` if `blkio` is not mounted as v1.
    ///
    /// # Panics
    /// If it cannot be created.
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

    /// Command line that runs a command in the cgroup.
    pub fn wrap(&self, words: &[&str]) -> Vec<String> {
        let inside = format!("echo $$ > '{}/cgroup.procs' && exec \"$@\"", self.dir.display());
        let mut all = vec!["sh".to_owned(), "-c".to_owned(), inside, "sh".to_owned()];
        all.extend(words.iter().map(|word| (*word).to_owned()));
        all
    }
}
