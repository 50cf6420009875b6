//! Cgroups of v1 controllers, with their limits.

use std::fs;
use std::path::{Path, PathBuf};

use crate::cgroup;

/// Mount point of a v1 controller; `None` if it is not mounted.
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

/// A cgroup of one v1 controller. Dropping it removes its directory.
pub struct Group(PathBuf);

impl Group {
    /// Creates it below the controller's root; `name` is one path component.
    ///
    /// # Panics
    /// If the controller is not mounted as v1, or the cgroup cannot be created.
    pub fn make(controller: &str, name: &str) -> Self {
        let root =
            root(controller).unwrap_or_else(|| panic!("no v1 hierarchy has the controller {controller}"));
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("cannot create {}: {error}", dir.display()));
        Self(dir)
    }

    /// Writes a value to one of its files.
    ///
    /// # Panics
    /// If the kernel rejects the value.
    pub fn set(&self, file: &str, value: &str) {
        let path = self.0.join(file);
        fs::write(&path, value).unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
    }

    /// Reads one of its files.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn get(&self, file: &str) -> String {
        let path = self.0.join(file);
        let text = fs::read_to_string(&path);
        text.unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display())).trim().to_owned()
    }

    /// Directory in the file system.
    pub fn dir(&self) -> &Path {
        &self.0
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        cgroup::remove(&self.0);
    }
}
