//! Cgroups that tests create.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Mount point of cgroup2, from `/proc/self/mountinfo`.
///
/// # Panics
/// If it is not mounted.
pub fn v2_root() -> PathBuf {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .find(|(_, filesystem)| filesystem.starts_with("cgroup2 "))
        .and_then(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
        .expect("cgroup2 is mounted")
}

/// Mount points of all cgroup hierarchies, v1 and v2.
///
/// # Panics
/// If `/proc` cannot be read.
pub fn roots() -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, filesystem)| filesystem.starts_with("cgroup"))
        .filter_map(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
        .collect()
}

/// Mount point of the v1 hierarchy with this controller; `None` if the controller is not in v1.
///
/// # Panics
/// If `/proc` cannot be read.
pub fn v1_root(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .filter(|(_, filesystem)| filesystem.starts_with("cgroup "))
        .find(|(_, filesystem)| {
            filesystem.rsplit(' ').next().is_some_and(|options| options.split(',').any(|o| o == controller))
        })
        .and_then(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
}

/// A cgroup. Dropping it removes its directory and the parents that were created for it.
pub struct Cgroup {
    /// Mount point of the hierarchy.
    root: PathBuf,
    path: String,
    made: Vec<PathBuf>,
}

impl Cgroup {
    /// Creates a cgroup in cgroup2. `path` is absolute, as in `/proc/PID/cgroup`.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn make(path: &str) -> Self {
        Self::make_in(v2_root(), path)
    }

    /// Creates a cgroup in the hierarchy with this mount point.
    ///
    /// # Panics
    /// If it cannot be created.
    pub fn make_in(root: PathBuf, path: &str) -> Self {
        let mut made = Vec::new();
        let mut dir = root.clone();
        for name in path.split('/').filter(|name| !name.is_empty()) {
            dir.push(name);
            match fs::create_dir(&dir) {
                Ok(()) => made.push(dir.clone()),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => panic!("cannot create {}: {error}", dir.display()),
            }
        }
        Self { root, path: path.to_owned(), made }
    }

    /// Directory in the file system.
    pub fn dir(&self) -> PathBuf {
        self.root.join(self.path.trim_start_matches('/'))
    }

    /// Path within the hierarchy.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Cgroup ID: the inode number of its directory.
    ///
    /// # Panics
    /// If it is gone.
    pub fn id(&self) -> u64 {
        fs::metadata(self.dir()).expect("the cgroup exists").ino()
    }

    /// Moves a process into this cgroup.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn attach(&self, pid: u32) {
        attach(&self.dir(), pid);
    }

    /// Moves a process to the root cgroup.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn detach(&self, pid: u32) {
        attach(&self.root, pid);
    }
}

fn attach(dir: &Path, pid: u32) {
    let file = dir.join("cgroup.procs");
    fs::write(&file, pid.to_string())
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", file.display()));
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        for dir in self.made.iter().rev() {
            remove(dir);
        }
    }
}

/// Removes a cgroup. Waits up to 2 s for its last process to exit; other errors are ignored.
pub fn remove(dir: &Path) {
    let start = Instant::now();
    while let Err(error) = fs::remove_dir(dir) {
        if error.raw_os_error() != Some(libc::EBUSY) || start.elapsed() > Duration::from_secs(2) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
