//! The store on a disk that fills up, fails or is slow, without root.

mod full;
mod limits;
mod rotation;
mod sync;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use capture_format::{
    CaptureFile, EncodeOptions, EncodedBlock, Encoder, Header, MetadataKey, MetadataRecord,
};
use events::Kind;
use ktape_reader::model::event_table;
use ktape_reader::model::testing::{TestChunk, header, openat};
use tempfile::TempDir;

use super::file_system::{FileSystem, Reserve, Space};
use super::limits::{MinFree, StoreLimits};
use super::output::Output;
use super::rotated::RotatedFiles;
use super::writer::{Store, StoreOutput, StoreSettings};
use crate::containers::Hierarchy;
use crate::record::{Destination, End, Progress};

/// Bytes of each string in a chunk: random, so that they stay as many in the file.
const STRING: usize = 4000;
/// Bytes that the small disk sets aside as a reserve.
const RESERVE: u64 = 64 << 10;

/// A disk of limited size: what is in one directory, and a reserve.
struct SmallDisk {
    dir: PathBuf,
    capacity: AtomicU64,
    reserved: Arc<AtomicU64>,
    /// The errno of every write, unless it is 0.
    write_errno: AtomicI32,
    /// The errno of every fsync, unless it is 0.
    sync_errno: AtomicI32,
    /// Inodes of files and directories that were synced.
    synced: Mutex<BTreeSet<u64>>,
    can_reserve: AtomicBool,
}

impl SmallDisk {
    fn new(dir: &Path, capacity: u64) -> Arc<Self> {
        Arc::new(Self {
            dir: dir.to_path_buf(),
            capacity: capacity.into(),
            reserved: Arc::default(),
            write_errno: AtomicI32::new(0),
            sync_errno: AtomicI32::new(0),
            synced: Mutex::default(),
            can_reserve: AtomicBool::new(true),
        })
    }

    fn free(&self) -> u64 {
        let files = fs::read_dir(&self.dir).unwrap().flatten();
        let used: u64 = files.filter_map(|file| Some(file.metadata().ok()?.len())).sum();
        let used = used + self.reserved.load(Ordering::Relaxed);
        self.capacity.load(Ordering::Relaxed).saturating_sub(used)
    }
}

fn errno(errno: &AtomicI32) -> io::Result<()> {
    match errno.load(Ordering::Relaxed) {
        0 => Ok(()),
        errno => Err(io::Error::from_raw_os_error(errno)),
    }
}

/// Gives the reserve back when dropped.
struct Reserved(Arc<AtomicU64>);

impl Drop for Reserved {
    fn drop(&mut self) {
        self.0.store(0, Ordering::Relaxed);
    }
}

impl FileSystem for SmallDisk {
    fn space(&self, _: &File) -> io::Result<Space> {
        Ok(Space { total: self.capacity.load(Ordering::Relaxed), free: self.free() })
    }

    /// As a disk does: what fits is written, then there is no space.
    fn write(&self, file: &mut File, bytes: &[u8]) -> io::Result<usize> {
        errno(&self.write_errno)?;
        let fits = bytes.len().min(self.free() as usize);
        if fits == 0 {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        file.write(&bytes[..fits])
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        errno(&self.sync_errno)?;
        self.synced.lock().unwrap().insert(file.metadata()?.ino());
        Ok(())
    }

    fn reserve(&self, _: &Path) -> Option<Reserve> {
        if !self.can_reserve.load(Ordering::Relaxed) {
            return None;
        }
        self.reserved.store(RESERVE, Ordering::Relaxed);
        Some(Reserve::holding(Reserved(self.reserved.clone())))
    }
}

/// A store in a directory of its own.
struct Fixture {
    dir: TempDir,
    disk: Arc<SmallDisk>,
    progress: Arc<Progress>,
    header: Header,
    random: u64,
    time: u64,
}

impl Fixture {
    fn new(capacity: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let disk = SmallDisk::new(dir.path(), capacity);
        Self { dir, disk, progress: Arc::default(), header: header(1), random: 1, time: 1_000_000_000 }
    }

    fn settings(&self, limits: StoreLimits) -> StoreSettings {
        let hierarchy = Hierarchy {
            name: "v2".to_owned(),
            subsys: None,
            number: 0,
            mount: "/sys/fs/cgroup".into(),
            root: b"/".to_vec(),
            initial_namespace: true,
            hybrid: false,
        };
        StoreSettings::new(limits, hierarchy, 1).on(self.disk.clone())
    }

    fn single_path(&self) -> PathBuf {
        self.dir.path().join("x.ktape")
    }

    /// A store with one file.
    fn single(&self, limits: StoreLimits) -> anyhow::Result<Box<Store>> {
        let output = Output::open(Some(&self.single_path()), false)?;
        let output = StoreOutput::Single(Box::new(output));
        Store::begin(output, self.settings(limits), self.header.clone(), &self.progress).map(Box::new)
    }

    /// A store with rotated files.
    fn rotated(&mut self, limits: StoreLimits) -> anyhow::Result<Box<Store>> {
        let files = RotatedFiles::open_on(self.dir.path(), "x", &mut self.header, self.disk.clone())?;
        let output = StoreOutput::Rotated(Box::new(files));
        Store::begin(output, self.settings(limits), self.header.clone(), &self.progress).map(Box::new)
    }

    /// A chunk of this many calls, about [`STRING`] bytes each, 1 ms apart.
    fn chunk(&mut self, calls: usize) -> EncodedBlock {
        let mut chunk = TestChunk::new(&self.header);
        let host = chunk.cgroup(1, "/system.slice/sshd.service", &[]);
        let task = chunk.task(100, 100, "dd", host);
        for _ in 0..calls {
            let path: Vec<u8> = (0..STRING).map(|_| self.next_byte()).collect();
            self.time += 1_000_000;
            chunk.call(self.time, task, &openat(&path, 3));
        }
        Encoder::new(EncodeOptions::default()).unwrap().encode(&chunk.builder).unwrap()
    }

    /// The high byte of a linear congruential generator.
    fn next_byte(&mut self) -> u8 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 56) as u8
    }

    /// Paths of all captures, oldest first.
    fn files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|ext| ext == "ktape")).collect();
        files.sort();
        files
    }

    fn count(counter: &AtomicU64) -> u64 {
        counter.load(Ordering::Relaxed)
    }
}

/// No limits.
fn unlimited() -> StoreLimits {
    StoreLimits { min_free: MinFree::Bytes(0), ..StoreLimits::default() }
}

/// A loss record: kind (`None`: any), stage, count, and from when to when, boot ns.
#[derive(Clone, Debug, PartialEq, Eq)]
struct LossRecord {
    kind: Option<Kind>,
    stage: String,
    count: u64,
    from: u64,
    to: u64,
}

/// What a file holds.
#[derive(Debug, Default)]
struct Contents {
    calls: usize,
    losses: Vec<LossRecord>,
    /// Cgroups with metadata.
    named: Vec<u64>,
    uuid: [u8; 16],
}

/// Reads a file, which must not be damaged.
fn read(path: &Path) -> Contents {
    let file = CaptureFile::open(path).unwrap();
    assert!(file.damage().is_empty(), "{:?}", file.damage());
    assert_eq!(file.segments().len(), 1);
    let mut contents = Contents { uuid: file.segments()[0].header.capture_uuid, ..Contents::default() };
    for entry in file.chunks() {
        let chunk = file.read_chunk(entry).unwrap();
        contents.calls += chunk.table(event_table(Kind::Syscall)).map_or(0, |table| table.rows());
        let Some(losses) = chunk.table(event_table(Kind::Loss)) else { continue };
        for row in 0..losses.rows() {
            let number = |column| losses.u64(column).unwrap()[row];
            contents.losses.push(LossRecord {
                kind: Kind::from_number(number(5) as u8),
                stage: String::from_utf8(chunk.str(losses.bytes(6).unwrap()[row]).to_vec()).unwrap(),
                count: number(8),
                from: number(4),
                to: number(0),
            });
        }
    }
    contents.named = file.metadata().keys().map(|key| key.cgroup).collect();
    contents.named.sort_unstable();
    contents
}

/// A metadata record of about `bytes` bytes.
fn named(cgroup: u64, bytes: usize) -> MetadataRecord {
    let values = vec![("container.name".to_owned(), "x".repeat(bytes))];
    MetadataRecord { key: MetadataKey { boot_id: [1; 16], cgroup, birth: 0 }, values }
}
