//! A series: the files of one recorder in one directory, one begun when the one before ends, also after the recorder or
//! the machine was started again. They share a UUID, and only files that carry it are ever deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use capture_format::{Header, StreamItem, StreamReader};
use jiff::Timestamp;

use crate::store::file::Segment;
use crate::store::output::Output;

/// The option of a header that says which series it belongs to.
const OPTION: &str = "series";

/// A file of the series that has ended.
#[derive(Debug)]
struct Ended {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    /// When it ended, if it did so while this recorder ran: a clock on the wall that is set must delete nothing.
    at: Option<Instant>,
    /// The same by the clock on the wall.
    modified: SystemTime,
}

/// The series that is being written.
#[derive(Debug)]
pub struct Series {
    dir: PathBuf,
    name: String,
    handle: Arc<File>,
    /// The oldest first.
    ended: Vec<Ended>,
    deleted: u64,
    /// Held as long as the series is written.
    _lock: File,
}

impl Series {
    /// The one that `path` names: a directory, or a file in it whose name without `.ktape` begins the names of its files.
    /// The header gets the UUID of the files that are there already.
    ///
    /// # Errors
    /// The directory is not there or cannot be written to, or another recorder writes the series.
    pub fn open(path: &Path, default_name: &str, header: &mut Header) -> Result<Self> {
        let (dir, name) = split(path, default_name);
        if name.contains('/') || name.is_empty() || name.starts_with('.') {
            bail!("`{name}` cannot begin the names of files");
        }
        let shown = dir.display();
        let handle = File::open(&dir).with_context(|| format!("cannot open the directory {shown}"))?;
        let lock = dir.join(format!(".{name}.lock"));
        let lock = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&lock)
            .with_context(|| format!("cannot create {}", lock.display()))?;
        if let Err(fs::TryLockError::WouldBlock) = lock.try_lock() {
            bail!(
                "another ktape writes the series `{name}` in {shown}; give this one another name, with -o {shown}/NAME.ktape"
            );
        }
        header.options.push((OPTION.to_owned(), name.clone()));
        let mut series =
            Self { dir, name, handle: Arc::new(handle), ended: Vec::new(), deleted: 0, _lock: lock };
        series
            .take_over(header)
            .with_context(|| format!("cannot read the directory {}", series.dir.display()))?;
        Ok(series)
    }

    /// Finds the files that are there already.
    fn take_over(&mut self, header: &mut Header) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let path = entry.path();
            let is_ours = path
                .file_name()
                .and_then(|name| name.to_str())
                .is_some_and(|name| name.starts_with(&format!("{}-", self.name)) && name.ends_with(".ktape"));
            if is_ours
                && let Some(old) = first_header(&path)
                && old.option(OPTION) == Some(&self.name)
                && old.host_id == header.host_id
                && let Ok(meta) = entry.metadata()
            {
                found.push((old.created, old.capture_uuid, path, meta));
            }
        }
        found.sort_by(|a, b| (a.0, &a.2).cmp(&(b.0, &b.2)));
        if let Some((_, uuid, ..)) = found.last() {
            header.capture_uuid = *uuid;
        }
        self.ended = found
            .into_iter()
            .filter(|(_, uuid, ..)| *uuid == header.capture_uuid)
            .map(|(_, _, path, meta)| Ended {
                path,
                inode: meta.ino(),
                bytes: meta.len(),
                at: None,
                modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
            .collect();
        Ok(())
    }

    /// Begins the next file. It gets its name when its header is written, with `sync` on the disk: after a power cut no
    /// file is there that is none.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn begin(&self, header: &Header, sync: bool) -> Result<Segment> {
        let new = self.dir.join(format!(".{}.new", self.name));
        // Of a recorder that was killed.
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", new.display()));
        }
        let mut segment = Segment::begin(Output::open(Some(&new), false)?, header)
            .with_context(|| format!("cannot write {}", new.display()))?;
        if let Some(file) = segment.file.as_ref().filter(|_| sync) {
            file.sync_data().with_context(|| format!("cannot bring {} to the disk", new.display()))?;
        }
        let mut now = Timestamp::now();
        let path = loop {
            let path = self.dir.join(format!("{}-{}.ktape", self.name, now.strftime("%Y%m%dT%H%M%S.%3fZ")));
            // Two in one millisecond, or a clock that was set back.
            if !path.exists() {
                break path;
            }
            now += Duration::from_millis(1);
        };
        fs::rename(&new, &path).with_context(|| format!("cannot create {}", path.display()))?;
        segment.path = Some(path);
        Ok(segment)
    }

    /// A file has ended.
    pub fn add(&mut self, path: PathBuf, bytes: u64) {
        let inode = fs::metadata(&path).map_or(0, |meta| meta.ino());
        let modified = SystemTime::now();
        self.ended.push(Ended { path, inode, bytes, at: Some(Instant::now()), modified });
    }

    /// Deletes the oldest file; false if there is none.
    pub fn delete_oldest(&mut self) -> bool {
        if self.ended.is_empty() {
            return false;
        }
        let oldest = self.ended.remove(0);
        // What has taken its name since is somebody else's.
        let is_same = fs::symlink_metadata(&oldest.path)
            .is_ok_and(|meta| (meta.ino(), meta.len()) == (oldest.inode, oldest.bytes));
        if is_same {
            match fs::remove_file(&oldest.path) {
                Ok(()) => self.deleted += 1,
                Err(error) => {
                    let path = oldest.path.display();
                    tracing::warn!("cannot delete {path}: {error}; it is left alone from now on");
                }
            }
        }
        true
    }

    /// Deletes files beyond this number, the one that is written included, and those that ended longer ago.
    pub fn trim(&mut self, files: Option<u64>, age: Option<Duration>) {
        while files.is_some_and(|files| self.ended.len() as u64 + 1 > files) && self.delete_oldest() {}
        while age.is_some_and(|age| self.ended.first().is_some_and(|oldest| oldest.age() > age))
            && self.delete_oldest()
        {}
    }

    /// Bytes of the files that have ended, each rounded up to what a disk gives.
    pub fn bytes(&self) -> u64 {
        self.ended.iter().map(|file| on_disk(file.bytes)).sum()
    }

    /// Files that have ended and are there.
    pub fn files(&self) -> u64 {
        self.ended.len() as u64
    }

    /// How many files were deleted.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory, opened.
    pub fn handle(&self) -> &Arc<File> {
        &self.handle
    }
}

impl Ended {
    fn age(&self) -> Duration {
        match self.at {
            Some(at) => at.elapsed(),
            None => self.modified.elapsed().unwrap_or_default(),
        }
    }
}

/// What a file of this size takes on a disk: whole pages.
pub fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}

/// The directory, and how the names of the files in it begin.
fn split(path: &Path, default_name: &str) -> (PathBuf, String) {
    let is_dir = path.is_dir() || path.as_os_str().as_encoded_bytes().ends_with(b"/");
    if is_dir {
        return (path.to_path_buf(), default_name.to_owned());
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let name = name.strip_suffix(".ktape").unwrap_or(&name).to_owned();
    (dir.to_path_buf(), name)
}

/// The header that a file begins with.
fn first_header(path: &Path) -> Option<Arc<Header>> {
    let file = File::open(path).ok().filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))?;
    match StreamReader::new(file).next_item() {
        Ok(Some(StreamItem::Header(header))) => Some(header),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(uuid: u8) -> Header {
        Header { capture_uuid: [uuid; 16], host_id: "h".to_owned(), ..Header::default() }
    }

    fn write(series: &mut Series, header: &Header) -> PathBuf {
        let mut segment = series.begin(header, true).unwrap();
        segment.end().unwrap();
        let path = segment.path.clone().unwrap();
        series.add(path.clone(), segment.bytes());
        path
    }

    #[test]
    fn names_follow_from_what_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(split(dir.path(), "d"), (dir.path().to_path_buf(), "d".to_owned()));
        assert_eq!(split(&path("/none/"), "d"), (path("/none/"), "d".to_owned()));
        assert_eq!(split(&path("a/web.ktape"), "d"), (path("a"), "web".to_owned()));
        assert_eq!(split(&path("web"), "d"), (path("."), "web".to_owned()));
    }

    #[test]
    fn a_series_goes_on_and_deletes_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = header(1);
        let mut series = Series::open(dir.path(), "x", &mut first).unwrap();
        let error = Series::open(dir.path(), "x", &mut header(9)).unwrap_err().to_string();
        assert!(error.contains("another ktape writes the series `x`"), "{error}");
        let own: Vec<PathBuf> = (0..3).map(|_| write(&mut series, &first)).collect();
        drop(series);

        // Another series whose name begins alike, a capture that is no series, one of another host, and no capture.
        let mut longer = header(2);
        let mut other = Series::open(dir.path(), "x-y", &mut longer).unwrap();
        let mut foreign = vec![write(&mut other, &longer)];
        for (name, header) in
            [("x-1.ktape", header(1)), ("x-2.ktape", Header { host_id: "g".into(), ..first.clone() })]
        {
            let path = dir.path().join(name);
            let mut segment = Segment::begin(Output::open(Some(&path), false).unwrap(), &header).unwrap();
            segment.end().unwrap();
            foreign.push(path);
        }
        foreign.push(dir.path().join("x-3.ktape"));
        fs::write(&foreign[3], b"mine").unwrap();

        let mut again = header(7);
        let mut series = Series::open(dir.path(), "x", &mut again).unwrap();
        assert_eq!(again.capture_uuid, [1; 16]);
        assert_eq!(series.files(), 3);
        series.trim(Some(2), None);
        assert_eq!(own.iter().map(|path| path.exists()).collect::<Vec<_>>(), [false, false, true]);
        // A stranger under the name of a file that is to go.
        fs::remove_file(&own[2]).unwrap();
        fs::write(&own[2], b"a stranger's").unwrap();
        while series.delete_oldest() {}
        assert!(own[2].exists());
        assert_eq!(series.deleted(), 2);
        assert!(foreign.iter().all(|path| path.exists()));
    }
}
