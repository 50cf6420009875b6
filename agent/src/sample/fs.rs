//! The rows of mounted file systems. `statfs` of a server that does not answer waits, so threads of their own ask.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use events::UNKNOWN;
use rustc_hash::FxHashMap;

use super::cgroup::RETELL;
use super::file::{lines, read_lines};
use crate::agent_events::FsSample;
use crate::clock::boot_ns;
use crate::containers::unescape;
use crate::host_root::HostRoot;

/// From when on a file system does not answer, ns.
const HUNG: u64 = 1_000_000_000;
/// So many may not answer; then nothing more is asked.
const MAX_HUNG: usize = 8;
/// Stack of a thread that only asks, in bytes.
const STACK: usize = 128 << 10;
/// Types without a device that hold files on other machines or in user space.
const OTHER_TYPES: [&str; 17] = [
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "ceph",
    "9p",
    "virtiofs",
    "fuse",
    "glusterfs",
    "lustre",
    "gpfs",
    "beegfs",
    "afs",
    "ocfs2",
    "zfs",
    "bcachefs",
];

/// A mounted file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// Its super block, as `major:minor`.
    pub(super) device: Vec<u8>,
    /// Where it is mounted.
    pub(super) point: Vec<u8>,
    pub(super) fs_type: Vec<u8>,
    pub(super) source: Vec<u8>,
}

/// The file systems worth asking: those with a device or on a network, each once, where most of it is seen.
pub(super) fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut found: Vec<(bool, Mount)> = Vec::new();
    let mut places: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
    for line in lines(mountinfo) {
        let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        // Optional fields end at a lone dash.
        let Some(dash) = fields.iter().skip(6).position(|field| *field == b"-").map(|at| at + 6) else {
            continue;
        };
        let (Some(fs_type), Some(source)) = (fields.get(dash + 1), fields.get(dash + 2)) else { continue };
        let family = fs_type.split(|&b| b == b'.').next().unwrap_or(fs_type);
        let other = OTHER_TYPES.iter().any(|known| known.as_bytes() == family);
        if !other && !source.starts_with(b"/dev/") || *fs_type == b"devtmpfs" {
            continue;
        }
        let whole = fields[3] == b"/";
        let mount = Mount {
            device: fields[2].to_vec(),
            point: unescape(fields[4]),
            fs_type: fs_type.to_vec(),
            source: unescape(source),
        };
        match places.get(&mount.device) {
            None => {
                places.insert(mount.device.clone(), found.len());
                found.push((whole, mount));
            }
            // A mount of all of it is better than one of a directory or a file, and a shorter path than a longer one.
            Some(&at) => {
                let (known_whole, known) = &found[at];
                if (!whole, mount.point.len()) < (!known_whole, known.point.len()) {
                    found[at] = (whole, mount);
                }
            }
        }
    }
    found.into_iter().map(|(_, mount)| mount).collect()
}

/// What `statfs` says, for the row of a mount.
fn ask(mount: &Mount, host: &HostRoot) -> FsSample {
    let mut row = FsSample {
        mount: mount.point.clone(),
        fs_type: mount.fs_type.clone(),
        source: mount.source.clone(),
        ..FsSample::unknown(0)
    };
    let path = host.path(OsStr::from_bytes(&mount.point));
    if let Ok(path) = CString::new(path.into_os_string().into_vec()) {
        // SAFETY: a C struct of integers, for which all zeroes is a value.
        let mut stat: libc::statvfs64 = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends with a NUL and `stat` is large enough.
        let done = unsafe { libc::statvfs64(path.as_ptr(), &raw mut stat) };
        // Some have no size, or do not tell it to everybody; some have no fixed number of files.
        if done == 0 && stat.f_blocks > 0 {
            let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize).min(UNKNOWN - 1);
            row.bytes = bytes(stat.f_blocks);
            row.bytes_free = bytes(stat.f_bfree);
            row.bytes_available = bytes(stat.f_bavail);
            if stat.f_files > 0 {
                (row.inodes, row.inodes_free) = (stat.f_files, stat.f_ffree);
            }
        }
    }
    row.time = boot_ns();
    row
}

/// A thread that asks.
struct Asker {
    requests: Sender<Mount>,
    answers: Receiver<FsSample>,
    /// It shall not ask any more.
    retired: Arc<AtomicBool>,
    /// What it was asked and has not answered, the one it is at first.
    waiting: VecDeque<Mount>,
    /// When it began with that one, or later, ns.
    since: u64,
}

impl Asker {
    fn start(host: &HostRoot) -> std::io::Result<Self> {
        let host = host.clone();
        let (requests, asked) = channel::<Mount>();
        let (answer, answers) = channel();
        let retired = Arc::new(AtomicBool::new(false));
        let told = retired.clone();
        thread::Builder::new().name("ktape-statfs".to_owned()).stack_size(STACK).spawn(move || {
            for mount in asked {
                if told.load(Ordering::Relaxed) || answer.send(ask(&mount, &host)).is_err() {
                    break;
                }
            }
        })?;
        Ok(Self { requests, answers, retired, waiting: VecDeque::new(), since: 0 })
    }
}

/// All mounted file systems.
pub(super) struct FileSystems {
    host: HostRoot,
    table: Option<File>,
    mounts: Vec<Mount>,
    asker: Option<Asker>,
    /// Threads whose first question is not answered.
    hung: Vec<Asker>,
    /// Answers, with the super block that they are about.
    ready: Vec<(Vec<u8>, FsSample)>,
    told: FxHashMap<Vec<u8>, FsSample>,
    text: Vec<u8>,
}

impl FileSystems {
    /// Those of the host with this root.
    pub(super) fn new(host: &HostRoot) -> Self {
        let mut all = Self {
            host: host.clone(),
            table: File::open(host.mounts()).ok(),
            mounts: Vec::new(),
            asker: None,
            hung: Vec::new(),
            ready: Vec::new(),
            told: FxHashMap::default(),
            text: Vec::new(),
        };
        all.read_table();
        all
    }

    fn read_table(&mut self) {
        let Some(table) = &self.table else { return };
        if read_lines(table.as_raw_fd(), &mut self.text).is_ok() {
            self.mounts = mounts(&self.text);
            let mounts = &self.mounts;
            self.told.retain(|device, _| mounts.iter().any(|mount| mount.device == *device));
        }
    }

    /// The kernel says when the table has changed: it is long on a machine with many containers.
    fn has_changed(&self) -> bool {
        let Some(table) = &self.table else { return false };
        let mut poll = libc::pollfd { fd: table.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
        // SAFETY: one valid pollfd; does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }

    /// Asks for all that answer.
    pub(super) fn ask(&mut self, now: u64) {
        if self.has_changed() {
            self.read_table();
        }
        if self.asker.as_ref().is_some_and(|asker| !asker.waiting.is_empty()) || self.hung.len() >= MAX_HUNG {
            return;
        }
        if self.asker.is_none() {
            match Asker::start(&self.host) {
                Ok(asker) => self.asker = Some(asker),
                Err(error) => tracing::debug!(%error, "file systems are not asked for their room"),
            }
        }
        let hung = &self.hung;
        let Some(asker) = &mut self.asker else { return };
        asker.since = now;
        for mount in &self.mounts {
            let is_hung =
                hung.iter().any(|asker| asker.waiting.front().is_some_and(|m| m.device == mount.device));
            if !is_hung && asker.requests.send(mount.clone()).is_ok() {
                asker.waiting.push_back(mount.clone());
            }
        }
    }

    /// Takes the answers that have come. Whether one is outstanding that may still come.
    fn collect(&mut self, now: u64) -> bool {
        for asker in self.asker.iter_mut().chain(&mut self.hung) {
            while let Ok(row) = asker.answers.try_recv() {
                asker.since = now;
                if let Some(mount) = asker.waiting.pop_front() {
                    self.ready.push((mount.device, row));
                }
            }
        }
        self.asker.as_ref().is_some_and(|asker| !asker.waiting.is_empty())
    }

    /// The rows that have come, of file systems that have changed, and of each now and then; `always` of all.
    /// Those of file systems that do not answer have nothing but names.
    pub(super) fn rows(&mut self, now: u64, always: bool) -> Vec<FsSample> {
        self.collect(now);
        let mut rows = std::mem::take(&mut self.ready);
        self.hung.retain(|asker| !asker.waiting.is_empty());
        if let Some(mut asker) =
            self.asker.take_if(|asker| !asker.waiting.is_empty() && now.saturating_sub(asker.since) >= HUNG)
        {
            // The others are asked again, by another thread.
            asker.retired.store(true, Ordering::Relaxed);
            asker.waiting.truncate(1);
            self.hung.push(asker);
        }
        for mount in self.hung.iter().filter_map(|asker| asker.waiting.front()) {
            let row = FsSample {
                mount: mount.point.clone(),
                fs_type: mount.fs_type.clone(),
                source: mount.source.clone(),
                ..FsSample::unknown(now)
            };
            rows.push((mount.device.clone(), row));
        }
        rows.retain(|(device, row)| {
            let same = self.told.get(device).is_some_and(|told| {
                FsSample { time: row.time, ..told.clone() } == *row
                    && row.time.saturating_sub(told.time) < RETELL
            });
            if !same || always {
                self.told.insert(device.clone(), row.clone());
            }
            !same || always
        });
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The rows of all, after waiting a little for answers.
    pub(super) fn settle(&mut self, patience: Duration) -> Vec<FsSample> {
        let deadline = boot_ns() + patience.as_nanos() as u64;
        while self.collect(boot_ns()) && boot_ns() < deadline {
            thread::sleep(Duration::from_millis(1));
        }
        self.rows(boot_ns(), true)
    }
}
