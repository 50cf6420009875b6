//! The cgroup file systems of this machine: which hierarchy identifies containers, and which cgroups it has.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::PathBuf;

use super::choice::{self, Missing};

#[cfg(test)]
mod tests;

/// The v1 hierarchies that can identify containers, in order of preference: every runtime uses `pids`, then `memory`.
const PREFERRED: [&str; 5] = ["pids", "memory", "cpu", "cpuset", "name=systemd"];
/// Inode number of the initial cgroup namespace (`PROC_CGROUP_INIT_INO`).
const INITIAL_NAMESPACE: u64 = 0xefff_fffb;
/// Cgroups that a scan returns, at most.
const CGROUPS_MAX: usize = 1 << 20;

/// A mounted cgroup hierarchy. Its ids identify cgroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hierarchy {
    /// `v2`, or the v1 controller or name by which it was chosen (`pids`, `name=systemd`).
    pub name: String,
    /// The v1 controller that leads to the cgroup in `css_set.subsys`; `None` for v2, and for a v1 hierarchy without
    /// controllers.
    pub subsys: Option<String>,
    /// The kernel's number of the hierarchy: 0 for v2, otherwise column 2 of `/proc/cgroups`.
    pub number: u32,
    /// The mount point.
    pub mount: PathBuf,
    /// The cgroup at the mount point: `/`, unless only a part of the hierarchy is mounted.
    pub root: Vec<u8>,
    /// Whether this process is in the initial cgroup namespace. If not, paths from [`Self::scan`] start
    /// at the namespace's root, while paths in kernel events start at the real root.
    pub initial_namespace: bool,
    /// Whether both v1 and v2 hierarchies are mounted.
    pub hybrid: bool,
}

/// Errors of finding a hierarchy.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HierarchyError {
    /// A file of `/proc` could not be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// No cgroup file system is mounted.
    #[error("no cgroup hierarchy is mounted: mount one (mount -t cgroup2 none /sys/fs/cgroup)")]
    NoneMounted,
    /// The requested hierarchy is not mounted.
    #[error("the cgroup hierarchy {name:?} is not mounted; mounted hierarchies: {mounted}")]
    NotMounted {
        /// The requested hierarchy.
        name: String,
        /// The names of the mounted hierarchies.
        mounted: String,
    },
}

/// A cgroup line of mountinfo.
#[derive(Debug)]
struct Mount {
    id: u64,
    v2: bool,
    root: Vec<u8>,
    point: PathBuf,
    options: Vec<String>,
}

impl Hierarchy {
    /// The hierarchy that identifies containers: v2 if it is mounted, otherwise the first of the v1 controllers pids,
    /// memory, cpu, cpuset and the named hierarchy of systemd.
    ///
    /// v2 also works if both are mounted: systemd and runc (1.0 and later) create their cgroups in all hierarchies. Older
    /// runtimes know v1 alone: if v2 lacks containers, a v1 hierarchy that has all of them is chosen, and if there is
    /// none, a warning names those that are not identified.
    ///
    /// # Errors
    /// `/proc` cannot be read, or no cgroup file system is mounted.
    pub fn detect() -> Result<Self, HierarchyError> {
        let machine = Machine::read()?;
        let mounted: Vec<Self> =
            std::iter::once("v2").chain(PREFERRED).filter_map(|name| machine.hierarchy(name)).collect();
        let Some(first) = mounted.first() else { return Err(HierarchyError::NoneMounted) };
        if !first.hybrid {
            return Ok(first.clone());
        }
        let (chosen, missing) = choice::choose(mounted.iter().filter(|one| one.identifies()));
        if let Some(missing) = missing {
            tracing::warn!("{missing}");
        }
        Ok(chosen.unwrap_or(first).clone())
    }

    /// Containers that another mounted hierarchy has now and this one has not; `None` if there are none, or if this
    /// is the only kind.
    pub fn missing(&self) -> Option<Missing> {
        if !self.hybrid {
            return None;
        }
        let machine = Machine::read().ok()?;
        let others = PREFERRED.iter().chain(&["v2"]).filter_map(|name| machine.hierarchy(name));
        let others: Vec<Self> =
            others.filter(|other| other.identifies() && other.name != self.name).collect();
        choice::missing(self, others.iter())
    }

    /// The hierarchy in which block I/O is charged, if that is another one: v1's `blkio` where it is mounted, otherwise v2.
    pub fn of_block_io(&self) -> Option<Self> {
        let machine = Machine::read().ok()?;
        let found = ["blkio", "v2"].into_iter().find_map(|name| machine.hierarchy(name))?;
        (found.number != self.number).then_some(found)
    }

    /// Whether the programs in the kernel can find a task's cgroup in it.
    fn identifies(&self) -> bool {
        self.number == 0 || self.subsys.is_some()
    }

    /// A hierarchy by name: `v2`, a v1 controller, or `name=systemd`.
    ///
    /// # Errors
    /// `/proc` cannot be read, or the hierarchy is not mounted.
    pub fn named(name: &str) -> Result<Self, HierarchyError> {
        let machine = Machine::read()?;
        machine.hierarchy(name).ok_or_else(|| HierarchyError::NotMounted {
            name: name.to_owned(),
            mounted: machine.names().join(", "),
        })
    }

    /// Whether [`Self::scan`] sees all cgroups, with the same paths as in kernel events.
    pub fn is_whole(&self) -> bool {
        self.initial_namespace && self.root == b"/"
    }

    /// All cgroups: the id (the directory's inode number is the kernel's id) and the path from the hierarchy's root.
    /// Parents come before children. Cgroups that are removed during the scan may be missing.
    ///
    /// # Errors
    /// The mount point cannot be read.
    pub fn scan(&self) -> io::Result<Vec<(u64, Vec<u8>)>> {
        let root = fs::symlink_metadata(&self.mount)?;
        let mut found = vec![(root.ino(), self.root.clone())];
        let mut pending = vec![(self.mount.clone(), self.root.clone())];
        let mut first = true;
        while let Some((directory, path)) = pending.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(e) if first => return Err(e),
                Err(_) => continue,
            };
            first = false;
            for entry in entries.flatten() {
                // The type is part of the entry, without another system call; symbolic links are not followed.
                if !entry.file_type().is_ok_and(|ty| ty.is_dir()) {
                    continue;
                }
                if found.len() >= CGROUPS_MAX {
                    return Ok(found);
                }
                let mut child = path.clone();
                if child.last() != Some(&b'/') {
                    child.push(b'/');
                }
                child.extend_from_slice(entry.file_name().as_bytes());
                found.push((entry.ino(), child.clone()));
                pending.push((entry.path(), child));
            }
        }
        Ok(found)
    }

    /// The number of processes in the cgroup with this path (as [`Self::scan`] returns it), without its descendants; 0 if
    /// it does not exist any more.
    pub fn processes(&self, path: &[u8]) -> u64 {
        let inside = path.strip_prefix(self.root.as_slice()).unwrap_or(path);
        let inside = OsStr::from_bytes(inside.strip_prefix(b"/").unwrap_or(inside));
        let procs = fs::read(self.mount.join(inside).join("cgroup.procs"));
        procs.map_or(0, |text| text.iter().filter(|b| **b == b'\n').count() as u64)
    }

    /// The path of a cgroup from the hierarchy's root, by its id.
    ///
    /// # Errors
    /// There is no such cgroup (`ESTALE` if it was removed), or the process lacks `CAP_DAC_READ_SEARCH`.
    pub fn path_of(&self, id: u64) -> io::Result<Vec<u8>> {
        let mount = File::open(&self.mount)?;
        let directory = open_by_id(&mount, id)?;
        let link = fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd()))?;
        let Ok(inside) = link.strip_prefix(&self.mount) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the cgroup is outside of the mount"));
        };
        let mut path = self.root.clone();
        if !inside.as_os_str().is_empty() {
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.extend_from_slice(inside.as_os_str().as_bytes());
        }
        match path.strip_suffix(b" (deleted)") {
            // A name can also end with this; then the cgroup exists.
            Some(_) if fs::symlink_metadata(&link).is_err() => {
                Err(io::Error::from_raw_os_error(libc::ESTALE))
            }
            _ => Ok(path),
        }
    }
}

/// `struct file_handle` of kernfs (`FILEID_KERNFS`).
#[repr(C)]
struct KernfsHandle {
    bytes: u32,
    kind: i32,
    id: [u8; 8],
}

fn open_by_id(mount: &File, id: u64) -> io::Result<OwnedFd> {
    const FILEID_KERNFS: i32 = 0xfe;
    let mut handle = KernfsHandle { bytes: 8, kind: FILEID_KERNFS, id: id.to_ne_bytes() };
    // SAFETY: the handle has the layout of `struct file_handle` with 8 bytes of `f_handle`, as its first field
    // states, and outlives the call; the descriptor is open.
    let fd = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_raw_fd(),
            &raw mut handle,
            libc::O_PATH | libc::O_CLOEXEC | libc::O_DIRECTORY,
        )
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

impl Mount {
    /// Whether its path leads to this mount: in a container, a runtime may have mounted something over it.
    fn is_on_top(&self) -> bool {
        use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
        match statx(CWD, &self.point, AtFlags::NO_AUTOMOUNT, StatxFlags::MNT_ID) {
            // Mount ids are reported by Linux 5.8 and later.
            Ok(found) if found.stx_mask & StatxFlags::MNT_ID.bits() != 0 => found.stx_mnt_id == self.id,
            Ok(_) => true,
            Err(_) => false,
        }
    }
}

/// The cgroup mounts and hierarchies in `/proc`.
struct Machine {
    mounts: Vec<Mount>,
    /// Whether a mount's path leads to it; replaced in tests.
    is_on_top: fn(&Mount) -> bool,
    /// Names and numbers of v1 hierarchies.
    numbers: Vec<(String, u32)>,
    initial_namespace: bool,
}

impl Machine {
    fn read() -> Result<Self, HierarchyError> {
        let read = |path| fs::read(path).map_err(|source| HierarchyError::Read { path, source });
        let mounts = parse_mounts(&read("/proc/self/mountinfo")?);
        // Missing in kernels that are built without v1; these have no v1 hierarchies either.
        let controllers = read("/proc/cgroups").unwrap_or_default();
        let own = read("/proc/self/cgroup")?;
        let namespace = fs::metadata("/proc/self/ns/cgroup");
        Ok(Self {
            mounts,
            is_on_top: Mount::is_on_top,
            numbers: parse_numbers(&controllers, &own),
            // Kernels without cgroup namespaces have only the initial one.
            initial_namespace: namespace.map_or(true, |m| m.ino() == INITIAL_NAMESPACE),
        })
    }

    fn hierarchy(&self, name: &str) -> Option<Hierarchy> {
        let v2 = name == "v2";
        let matching = |mount: &&Mount| mount.v2 == v2 && (v2 || mount.options.iter().any(|o| o == name));
        // Prefers a mount of the whole hierarchy.
        let all = || self.mounts.iter().filter(matching);
        let mount = all()
            .filter(|mount| mount.root == b"/")
            .chain(all().filter(|mount| mount.root != b"/"))
            .find(|mount| (self.is_on_top)(mount))?;
        let number = match v2 {
            true => 0,
            false => self.numbers.iter().find(|(known, _)| known == name)?.1,
        };
        Some(Hierarchy {
            name: name.to_owned(),
            subsys: (!v2 && !name.starts_with("name=")).then(|| name.to_owned()),
            number,
            mount: mount.point.clone(),
            root: mount.root.clone(),
            initial_namespace: self.initial_namespace,
            hybrid: self.mounts.iter().any(|m| m.v2) && self.mounts.iter().any(|m| !m.v2),
        })
    }

    fn names(&self) -> Vec<&str> {
        let v2 = self.mounts.iter().any(|mount| mount.v2).then_some("v2");
        let named = self.numbers.iter().map(|(name, _)| &**name);
        v2.into_iter().chain(named.filter(|name| self.hierarchy(name).is_some())).collect()
    }
}

fn parse_mounts(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|&b| b == b'\n').filter_map(parse_mount).collect()
}

fn parse_mount(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
    // Optional fields end at a single dash.
    let dash = fields.iter().skip(6).position(|field| *field == b"-")? + 6;
    let v2 = match *fields.get(dash + 1)? {
        b"cgroup2" => true,
        b"cgroup" => false,
        _ => return None,
    };
    let options = String::from_utf8_lossy(fields.get(dash + 3)?);
    Some(Mount {
        id: String::from_utf8_lossy(fields[0]).parse().ok()?,
        v2,
        root: unescape(fields[3]),
        point: PathBuf::from(OsStr::from_bytes(&unescape(fields[4]))),
        options: options.split(',').map(str::to_owned).collect(),
    })
}

/// Decodes mountinfo's octal escapes.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
    out
}

/// Numbers of v1 hierarchies: by controller from `/proc/cgroups`, and of named hierarchies from `/proc/self/cgroup`.
fn parse_numbers(controllers: &[u8], own: &[u8]) -> Vec<(String, u32)> {
    let controllers = String::from_utf8_lossy(controllers);
    let own = String::from_utf8_lossy(own);
    let attached = controllers.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let name = words.next()?;
        Some((name.to_owned(), words.next()?.parse().ok()?))
    });
    let named = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        let number = parts.next()?.parse().ok()?;
        let name = parts.next()?;
        name.starts_with("name=").then(|| (name.to_owned(), number))
    });
    attached.chain(named).filter(|&(_, number): &(String, u32)| number != 0).collect()
}
