//! Where the host's files are, as seen from here: at their places, or, in a container, below a directory.

use std::path::{Path, PathBuf};

/// The root of the host's file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostRoot(PathBuf);

impl Default for HostRoot {
    fn default() -> Self {
        Self("/".into())
    }
}

impl HostRoot {
    /// The host's root is this directory.
    pub fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Whether it is this process's own.
    pub fn is_own(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where a file of the host (an absolute path) is to be found.
    pub fn path(&self, of_host: impl AsRef<Path>) -> PathBuf {
        let of_host = of_host.as_ref();
        self.0.join(of_host.strip_prefix("/").unwrap_or(of_host))
    }

    /// The host's table of mounts.
    pub fn mounts(&self) -> &'static Path {
        // Process 1 of the host's pid namespace, which recording needs anyway.
        Path::new(if self.is_own() { "/proc/self/mountinfo" } else { "/proc/1/mountinfo" })
    }

    /// The host's time zone by name, from the link `/etc/localtime` that systemd and others maintain.
    pub fn time_zone(&self) -> jiff::tz::TimeZone {
        let own = jiff::tz::TimeZone::system;
        if self.is_own() {
            return own();
        }
        // The link leads out of the directory, so that it is not followed.
        let link = std::fs::read_link(self.path("/etc/localtime")).unwrap_or_default();
        let link = link.to_string_lossy();
        let name = link.split_once("zoneinfo/").map(|(_, name)| name);
        name.and_then(|name| jiff::tz::TimeZone::get(name).ok()).unwrap_or_else(own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_host_are_below_its_root() {
        let own = HostRoot::default();
        assert!(own.is_own());
        assert_eq!(own.path("/etc/passwd"), Path::new("/etc/passwd"));
        let other = HostRoot::at(Path::new("/host"));
        assert_eq!(other.path("/etc/passwd"), Path::new("/host/etc/passwd"));
        assert_eq!(other.path("/"), Path::new("/host"));
        assert_eq!(other.mounts(), Path::new("/proc/1/mountinfo"));
    }

    #[test]
    fn its_time_zone_is_the_hosts() {
        let dir = tempfile::tempdir().unwrap();
        let host = HostRoot::at(dir.path());
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("../usr/share/zoneinfo/Asia/Tokyo", dir.path().join("etc/localtime"))
            .unwrap();
        assert_eq!(host.time_zone().iana_name(), Some("Asia/Tokyo"));
    }
}
