//! How much memory this process can use: the machine's, or what the limits of its cgroups leave. The kernel kills
//! a process that exceeds a limit, and ring buffers are charged to the process that creates them.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::containers::Hierarchy;

/// What the recorder needs beside its ring buffers, in bytes: its own memory, and the programs' other maps.
pub(super) const BESIDE_RINGS: u64 = 48 << 20;

/// From this size on, a block of the allocator is a mapping of its own, which is gone when it is freed. The allocator's own
/// threshold grows with what is freed; after an overload it would keep the recorder's largest buffers.
#[cfg(target_env = "gnu")]
const OWN_MAPPING: libc::c_int = 256 << 10;

/// Makes the allocator return large buffers to the system once they are freed.
pub(super) fn return_large_buffers() {
    #[cfg(target_env = "gnu")]
    // SAFETY: takes integers.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, OWN_MAPPING);
    }
}

/// Memory that may still be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// Bytes in all.
    pub limit: u64,
    /// Bytes that are left; file caches count as free, as the kernel can reclaim them.
    pub left: u64,
    /// The cgroup whose limit it is; `None` if it is the machine's memory.
    pub cgroup: Option<PathBuf>,
}

/// The names of a hierarchy's files.
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// The lines of `memory.stat` with what can be reclaimed.
    cache: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cache: ["total_inactive_file ", "total_active_file "],
};
const V2: Files =
    Files { limit: "memory.max", usage: "memory.current", cache: ["inactive_file ", "active_file "] };

/// The memory that this process may use now, by the tightest limit.
pub fn room() -> Room {
    let all = machine();
    let whole = Room { limit: all, left: all, cgroup: None };
    let own = fs::read("/proc/self/cgroup").unwrap_or_default();
    ["memory", "v2"]
        .into_iter()
        .filter_map(|name| {
            let hierarchy = Hierarchy::named(name).ok()?;
            let path = path_in(&own, &hierarchy)?;
            Some(tightest(&hierarchy.mount, &path, if name == "v2" { &V2 } else { &V1 }))
        })
        .flatten()
        .chain([whole])
        .min_by_key(|room| room.left)
        .expect("the machine's is always there")
}

/// Bytes of memory of this machine.
fn machine() -> u64 {
    // SAFETY: sysconf takes no pointers.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    pages.max(0) as u64 * size.max(0) as u64
}

/// The path below the mount point of a process with these lines in `/proc/PID/cgroup`.
fn path_in(lines: &[u8], hierarchy: &Hierarchy) -> Option<PathBuf> {
    let controller = hierarchy.subsys.as_deref().unwrap_or_default();
    let path = lines.split(|byte| *byte == b'\n').find_map(|line| {
        let mut parts = line.splitn(3, |byte| *byte == b':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        controllers.split(|byte| *byte == b',').any(|name| name == controller.as_bytes()).then_some(path)
    })?;
    let path = Path::new(std::ffi::OsStr::from_bytes(path));
    let root = Path::new(std::ffi::OsStr::from_bytes(&hierarchy.root));
    path.strip_prefix(root).ok().map(Path::to_path_buf)
}

/// The limit of a cgroup and its ancestors that leaves the least.
fn tightest(mount: &Path, path: &Path, files: &Files) -> Option<Room> {
    path.ancestors().filter_map(|path| of(&mount.join(path), files)).min_by_key(|room| room.left)
}

/// A cgroup's own limit, if it has one.
fn of(dir: &Path, files: &Files) -> Option<Room> {
    let number = |name: &str| fs::read_to_string(dir.join(name)).ok()?.trim().parse::<u64>().ok();
    // No limit: "max" in v2, which is no number, and a very large number in v1.
    let limit = number(files.limit).filter(|limit| *limit < 1 << 62)?;
    let stat = fs::read_to_string(dir.join("memory.stat")).unwrap_or_default();
    let cache: u64 = stat
        .lines()
        .filter_map(|line| files.cache.iter().find_map(|key| line.strip_prefix(key)?.parse::<u64>().ok()))
        .sum();
    let used = number(files.usage)?.saturating_sub(cache);
    Some(Room { limit, left: limit.saturating_sub(used), cgroup: Some(dir.to_path_buf()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_limit_counts_and_caches_are_free() {
        let mount = tempfile::tempdir().unwrap();
        let inner = mount.path().join("outer/inner");
        fs::create_dir_all(&inner).unwrap();
        let write = |dir: &Path, limit: &str, used: &str, stat: &str| {
            fs::write(dir.join("memory.max"), limit).unwrap();
            fs::write(dir.join("memory.current"), used).unwrap();
            fs::write(dir.join("memory.stat"), stat).unwrap();
        };
        write(&inner, "max\n", "5\n", "");
        write(&mount.path().join("outer"), "1000\n", "900\n", "anon 1\ninactive_file 500\nactive_file 100\n");
        let room = tightest(mount.path(), Path::new("outer/inner"), &V2).unwrap();
        assert_eq!(room, Room { limit: 1000, left: 700, cgroup: Some(mount.path().join("outer")) });
        write(&inner, "200\n", "5\n", "");
        let room = tightest(mount.path(), Path::new("outer/inner"), &V2).unwrap();
        assert_eq!((room.limit, room.left, room.cgroup), (200, 195, Some(inner)));
        assert_eq!(tightest(mount.path(), Path::new(""), &V2), None);
    }

    #[test]
    fn a_process_is_found_in_the_hierarchy_of_the_controller() {
        let hierarchy = |name: &str, root: &str| Hierarchy {
            name: name.to_owned(),
            subsys: (name != "v2").then(|| name.to_owned()),
            number: 0,
            mount: PathBuf::from("/m"),
            root: root.as_bytes().to_vec(),
            initial_namespace: true,
            hybrid: true,
        };
        let lines = b"4:cpu,memory:/a/b:c\n0::/x\n";
        let path = |name, root| path_in(lines, &hierarchy(name, root));
        assert_eq!(path("memory", "/"), Some(PathBuf::from("a/b:c")));
        assert_eq!(path("memory", "/a"), Some(PathBuf::from("b:c")));
        assert_eq!(path("v2", "/"), Some(PathBuf::from("x")));
        assert_eq!(path("pids", "/"), None);
    }
}
