//! Samples of mounted file systems. `statfs` blocks if a server does not answer, so it is called on other threads.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use events::UNKNOWN;
use rustc_hash::FxHashMap;

use super::cgroup::REPORT_INTERVAL;
use super::file::{lines, read_lines};
use crate::agent_events::FsSample;
use crate::clock::boot_ns;
use crate::containers::unescape;
use crate::host_root::HostRoot;

/// How long `statfs` may take before the file system counts as hung, ns.
const HUNG_AFTER: u64 = 1_000_000_000;
/// Hung file systems, at most; beyond that, none is queried any more.
const HUNG_MAX: usize = 8;
/// Stack size of a thread that only calls `statfs`, bytes.
const STACK: usize = 128 << 10;
/// Types of file systems without a device that store files on other machines or in user space.
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

/// The file systems to sample: those with a device or on a network, each once, at the mount that shows most of it.
pub(super) fn mounts(mountinfo: &[u8]) -> Vec<Mount> {
    let mut found: Vec<(bool, Mount)> = Vec::new();
    let mut places: FxHashMap<Vec<u8>, usize> = FxHashMap::default();
    for line in lines(mountinfo) {
        let fields: Vec<&[u8]> = line.split(|&b| b == b' ').collect();
        // Optional fields end at a single dash.
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
            // Prefers a mount of the whole file system to one of a directory or file, and a shorter path.
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

/// The row of a mount, by `statfs`.
fn statfs(mount: &Mount, host: &HostRoot) -> FsSample {
    let mut row = FsSample {
        mount: mount.point.clone(),
        fs_type: mount.fs_type.clone(),
        source: mount.source.clone(),
        ..FsSample::unknown(0)
    };
    let path = host.path(OsStr::from_bytes(&mount.point));
    if let Ok(path) = CString::new(path.into_os_string().into_vec()) {
        // SAFETY: a C struct of integers, for which all zeroes are valid.
        let mut stat: libc::statvfs64 = unsafe { std::mem::zeroed() };
        // SAFETY: the path ends with a NUL and `stat` is large enough.
        let done = unsafe { libc::statvfs64(path.as_ptr(), &raw mut stat) };
        // Some file systems have no size, or show it only to some users; some have no fixed number of files.
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

/// A thread that calls `statfs`.
struct StatfsThread {
    requests: Sender<Mount>,
    answers: Receiver<FsSample>,
    /// Set to end the thread after its current call.
    retired: Arc<AtomicBool>,
    /// Requests without an answer; the first one is in progress.
    waiting: VecDeque<Mount>,
    /// When the first request began, or later, boot ns.
    since: u64,
}

impl StatfsThread {
    fn start(host: &HostRoot) -> std::io::Result<Self> {
        let host = host.clone();
        let (requests, received) = channel::<Mount>();
        let (answer, answers) = channel();
        let retired = Arc::new(AtomicBool::new(false));
        let is_retired = retired.clone();
        std::thread::Builder::new().name("ktape-statfs".to_owned()).stack_size(STACK).spawn(move || {
            for mount in received {
                if is_retired.load(Ordering::Relaxed) || answer.send(statfs(&mount, &host)).is_err() {
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
    thread: Option<StatfsThread>,
    /// Retired threads that are blocked in `statfs`.
    hung: Vec<StatfsThread>,
    /// Answers that are not sent yet, by super block.
    ready: Vec<(Vec<u8>, FsSample)>,
    /// The last row of each super block.
    reported: FxHashMap<Vec<u8>, FsSample>,
    text: Vec<u8>,
}

impl FileSystems {
    /// The file systems of the host with this root.
    pub(super) fn new(host: &HostRoot) -> Self {
        let mut all = Self {
            host: host.clone(),
            table: File::open(host.mounts()).ok(),
            mounts: Vec::new(),
            thread: None,
            hung: Vec::new(),
            ready: Vec::new(),
            reported: FxHashMap::default(),
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
            self.reported.retain(|device, _| mounts.iter().any(|mount| mount.device == *device));
        }
    }

    /// Whether the mount table has changed since the last call, by poll(2): with many containers, reading it is slow.
    fn has_changed(&self) -> bool {
        let Some(table) = &self.table else { return false };
        let mut poll = libc::pollfd { fd: table.as_raw_fd(), events: libc::POLLPRI, revents: 0 };
        // SAFETY: one valid pollfd; does not wait.
        unsafe { libc::poll(&raw mut poll, 1, 0) > 0 }
    }

    /// Queries all file systems that are not hung, unless the last query is still in progress.
    pub(super) fn query(&mut self, now: u64) {
        if self.has_changed() {
            self.read_table();
        }
        if self.thread.as_ref().is_some_and(|thread| !thread.waiting.is_empty())
            || self.hung.len() >= HUNG_MAX
        {
            return;
        }
        if self.thread.is_none() {
            match StatfsThread::start(&self.host) {
                Ok(thread) => self.thread = Some(thread),
                Err(error) => tracing::debug!(%error, "cannot start the thread that samples file systems"),
            }
        }
        let hung = &self.hung;
        let Some(thread) = &mut self.thread else { return };
        thread.since = now;
        for mount in &self.mounts {
            let is_hung =
                hung.iter().any(|thread| thread.waiting.front().is_some_and(|m| m.device == mount.device));
            if !is_hung && thread.requests.send(mount.clone()).is_ok() {
                thread.waiting.push_back(mount.clone());
            }
        }
    }

    /// Takes the answers that have arrived. Returns whether more are expected.
    fn collect(&mut self, now: u64) -> bool {
        for thread in self.thread.iter_mut().chain(&mut self.hung) {
            while let Ok(row) = thread.answers.try_recv() {
                thread.since = now;
                if let Some(mount) = thread.waiting.pop_front() {
                    self.ready.push((mount.device, row));
                }
            }
        }
        self.thread.as_ref().is_some_and(|thread| !thread.waiting.is_empty())
    }

    /// The rows of file systems that have changed, and of each every [`REPORT_INTERVAL`]; with `always`, of all. The rows
    /// of hung file systems have only names.
    pub(super) fn rows(&mut self, now: u64, always: bool) -> Vec<FsSample> {
        self.collect(now);
        let mut rows = std::mem::take(&mut self.ready);
        self.hung.retain(|thread| !thread.waiting.is_empty());
        if let Some(mut thread) = self
            .thread
            .take_if(|thread| !thread.waiting.is_empty() && now.saturating_sub(thread.since) >= HUNG_AFTER)
        {
            // Another thread queries the others again.
            thread.retired.store(true, Ordering::Relaxed);
            thread.waiting.truncate(1);
            self.hung.push(thread);
        }
        for mount in self.hung.iter().filter_map(|thread| thread.waiting.front()) {
            let row = FsSample {
                mount: mount.point.clone(),
                fs_type: mount.fs_type.clone(),
                source: mount.source.clone(),
                ..FsSample::unknown(now)
            };
            rows.push((mount.device.clone(), row));
        }
        rows.retain(|(device, row)| {
            let same = self.reported.get(device).is_some_and(|reported| {
                FsSample { time: row.time, ..reported.clone() } == *row
                    && row.time.saturating_sub(reported.time) < REPORT_INTERVAL
            });
            if !same || always {
                self.reported.insert(device.clone(), row.clone());
            }
            !same || always
        });
        rows.into_iter().map(|(_, row)| row).collect()
    }

    /// The rows of all file systems, after waiting for answers, at most until the timeout.
    pub(super) fn settle(&mut self, timeout: Duration) -> Vec<FsSample> {
        let deadline = boot_ns() + timeout.as_nanos() as u64;
        while self.collect(boot_ns()) && boot_ns() < deadline {
            std::thread::sleep(Duration::from_millis(1));
        }
        self.rows(boot_ns(), true)
    }
}
