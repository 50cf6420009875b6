//! Directories of cgroup v1 controllers, with their limits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup;

/// Where a v1 controller is mounted, if it is.
///
/// # Panics
/// If `/proc` cannot be read.
pub fn root(controller: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("/proc is mounted");
    mounts
        .lines()
        .filter_map(|line| line.split_once(" - "))
        .find(|(_, what)| {
            let mut words = what.split(' ');
            words.next() == Some("cgroup")
                && words.next_back().is_some_and(|options| options.split(',').any(|o| o == controller))
        })
        .and_then(|(mount, _)| mount.split(' ').nth(4))
        .map(PathBuf::from)
}

/// A directory of one v1 controller, removed when dropped.
pub struct Group(PathBuf);

impl Group {
    /// Make it; `name` is one component.
    ///
    /// # Panics
    /// If the controller is not mounted as v1, or the kernel refuses.
    pub fn make(controller: &str, name: &str) -> Self {
        let root = root(controller).unwrap_or_else(|| panic!("no v1 hierarchy has {controller}"));
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("cannot make {}: {error}", dir.display()));
        Self(dir)
    }

    /// Write one of its files.
    ///
    /// # Panics
    /// If the kernel refuses.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.0.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Read one of its files.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn get(&self, file: &str) -> String {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())).trim().to_owned()
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        cgroup::remove(&self.0);
    }
}
