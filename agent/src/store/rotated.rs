//! Rotated files: the files of one recorder in one directory. The next one begins when the one before ends, also after
//! a restart of the recorder or of the machine. They share a UUID, and only files that carry it are ever deleted.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use capture_format::{Header, StreamItem, StreamReader};
use jiff::Timestamp;

use super::file::SegmentFile;
use super::file_system::{FileSystem, Mounted};
use super::output::Output;

/// The option of a header that holds the name which rotated files share.
const OPTION: &str = "series";

/// A rotated file that has ended.
#[derive(Debug)]
struct EndedFile {
    path: PathBuf,
    inode: u64,
    bytes: u64,
    /// When it ended, if that was during this run: setting the wall clock must delete nothing.
    at: Option<Instant>,
    /// The same by the wall clock.
    modified: SystemTime,
}

impl EndedFile {
    /// Time since its end.
    fn age(&self) -> Duration {
        match self.at {
            Some(at) => at.elapsed(),
            None => self.modified.elapsed().unwrap_or_default(),
        }
    }

    /// Whether its path still leads to it, and not to another file.
    fn is_in_place(&self) -> bool {
        fs::symlink_metadata(&self.path)
            .is_ok_and(|meta| (meta.ino(), meta.len()) == (self.inode, self.bytes))
    }
}

/// A file of an earlier run, and what decides whether it belongs to this one.
struct FoundFile {
    created: i64,
    uuid: [u8; 16],
    path: PathBuf,
    meta: fs::Metadata,
}

/// The rotated files of this capture.
pub struct RotatedFiles {
    dir: PathBuf,
    name: String,
    handle: Arc<File>,
    file_system: Arc<dyn FileSystem>,
    /// Oldest first.
    ended: Vec<EndedFile>,
    deleted: u64,
    /// Held until the capture ends; readers that follow see by it that there is a recorder.
    _lock: File,
}

impl RotatedFiles {
    /// Opens the directory `path`, or that of the file `path`; all file names then begin with its name without `.ktape`.
    /// Files of an earlier run with this name are continued: the header gets their UUID.
    ///
    /// # Errors
    /// The directory does not exist or is not writable, or another recorder writes under this name.
    pub fn open(path: &Path, default_name: &str, header: &mut Header) -> Result<Self> {
        Self::open_on(path, default_name, header, Arc::new(Mounted))
    }

    /// The same on a given file system.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(super) fn open_on(
        path: &Path,
        default_name: &str,
        header: &mut Header,
        file_system: Arc<dyn FileSystem>,
    ) -> Result<Self> {
        let (dir, name) = split(path, default_name);
        if name.contains('/') || name.is_empty() || name.starts_with('.') {
            bail!(
                "`{name}` cannot begin file names: it is empty, or begins with a dot; pass -o {}/NAME.ktape",
                dir.display()
            );
        }
        let handle =
            File::open(&dir).with_context(|| format!("cannot open the directory {}", dir.display()))?;
        let lock = lock(&dir, &name)?;
        header.options.push((OPTION.to_owned(), name.clone()));
        let mut files = Self {
            dir,
            name,
            handle: Arc::new(handle),
            file_system,
            ended: Vec::new(),
            deleted: 0,
            _lock: lock,
        };
        files
            .take_over(header)
            .with_context(|| format!("cannot read the directory {}", files.dir.display()))?;
        Ok(files)
    }

    /// Continues the files of the last run: those with the name and host of `header` and the UUID of the newest one.
    fn take_over(&mut self, header: &mut Header) -> io::Result<()> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.dir)?.flatten() {
            let path = entry.path();
            if self.is_own_name(&path)
                && let Some(old) = first_header(&path)
                && old.option(OPTION) == Some(&self.name)
                && old.host_id == header.host_id
                && let Ok(meta) = entry.metadata()
            {
                found.push(FoundFile { created: old.created, uuid: old.capture_uuid, path, meta });
            }
        }
        found.sort_by(|a, b| (a.created, &a.path).cmp(&(b.created, &b.path)));
        if let Some(newest) = found.last() {
            header.capture_uuid = newest.uuid;
        }
        let own = found.into_iter().filter(|file| file.uuid == header.capture_uuid);
        self.ended = own
            .map(|FoundFile { path, meta, .. }| EndedFile {
                path,
                inode: meta.ino(),
                bytes: meta.len(),
                at: None,
                modified: meta.modified().unwrap_or(SystemTime::UNIX_EPOCH),
            })
            .collect();
        Ok(())
    }

    fn is_own_name(&self, path: &Path) -> bool {
        let name = path.file_name().and_then(|name| name.to_str());
        let rest = name.and_then(|name| name.strip_prefix(&*self.name)).unwrap_or_default();
        rest.starts_with('-') && rest.ends_with(".ktape")
    }

    /// Begins the next file. It gets its name once its header is written, with `sync` on the disk: a power failure
    /// leaves no file that is not a capture.
    ///
    /// # Errors
    /// The file cannot be created or written.
    pub fn begin(&self, header: &Header, sync: bool) -> Result<SegmentFile> {
        let new = self.dir.join(format!(".{}.new", self.name));
        // Left by a recorder that was killed.
        if let Err(error) = fs::remove_file(&new)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("cannot remove {}", new.display()));
        }
        let mut segment = SegmentFile::begin(Output::open(Some(&new), false)?, header, &self.file_system)
            .with_context(|| format!("cannot write {}", new.display()))?;
        if let Some(file) = segment.file.as_ref().filter(|_| sync) {
            self.file_system.sync(file).with_context(|| format!("cannot sync {}", new.display()))?;
        }
        let path = self.next_path();
        fs::rename(&new, &path).with_context(|| format!("cannot create {}", path.display()))?;
        segment.path = Some(path);
        Ok(segment)
    }

    /// A path that no file has: name and time, UTC.
    fn next_path(&self) -> PathBuf {
        let mut now = Timestamp::now();
        loop {
            let path = self.dir.join(format!("{}-{}.ktape", self.name, now.strftime("%Y%m%dT%H%M%S.%3fZ")));
            if !path.exists() {
                return path;
            }
            // Two files in one millisecond, or a clock that was set back.
            now += Duration::from_millis(1);
        }
    }

    /// Adds a file that has ended, `bytes` long.
    pub fn add(&mut self, path: PathBuf, bytes: u64) {
        let inode = fs::metadata(&path).map_or(0, |meta| meta.ino());
        let modified = SystemTime::now();
        self.ended.push(EndedFile { path, inode, bytes, at: Some(Instant::now()), modified });
    }

    /// Deletes the oldest file that has ended; false if there is none. Another file that has taken its name is left
    /// alone.
    pub fn delete_oldest(&mut self) -> bool {
        if self.ended.is_empty() {
            return false;
        }
        let oldest = self.ended.remove(0);
        if oldest.is_in_place() {
            match fs::remove_file(&oldest.path) {
                Ok(()) => self.deleted += 1,
                Err(error) => {
                    let path = oldest.path.display();
                    tracing::warn!(
                        "cannot delete {path}: {error}; it stays, and no longer counts towards --keep and --max-size"
                    );
                }
            }
        }
        true
    }

    /// Applies `--keep`: at most `files` files, the current one included, and none that ended longer than `age` ago.
    pub fn trim(&mut self, files: Option<u64>, age: Option<Duration>) {
        while files.is_some_and(|files| self.ended.len() as u64 + 1 > files) && self.delete_oldest() {}
        while age.is_some_and(|age| self.ended.first().is_some_and(|oldest| oldest.age() > age))
            && self.delete_oldest()
        {}
    }

    /// Bytes that the ended files take on disk.
    pub fn bytes(&self) -> u64 {
        self.ended.iter().map(|file| on_disk(file.bytes)).sum()
    }

    /// Number of ended files.
    pub fn files(&self) -> u64 {
        self.ended.len() as u64
    }

    /// Number of files deleted in this run.
    pub fn deleted(&self) -> u64 {
        self.deleted
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The open directory, for free space and fsync.
    pub fn handle(&self) -> &Arc<File> {
        &self.handle
    }
}

/// Bytes that a file of this size takes on disk: whole pages.
pub fn on_disk(bytes: u64) -> u64 {
    bytes.next_multiple_of(4096)
}

/// Takes the lock of the name; it ends with the process.
fn lock(dir: &Path, name: &str) -> Result<File> {
    let path = dir.join(format!(".{name}.lock"));
    let file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    if let Err(fs::TryLockError::WouldBlock) = file.try_lock() {
        let dir = dir.display();
        bail!("another ktape writes `{name}` in {dir}; choose another name with -o {dir}/NAME.ktape");
    }
    Ok(file)
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

/// The header that a file begins with; `None` if it is not a capture.
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

    fn write(files: &mut RotatedFiles, header: &Header) -> PathBuf {
        let mut segment = files.begin(header, true).unwrap();
        segment.end().unwrap();
        let path = segment.path.clone().unwrap();
        files.add(path.clone(), segment.bytes());
        path
    }

    fn there(paths: &[PathBuf]) -> Vec<bool> {
        paths.iter().map(|path| path.exists()).collect()
    }

    #[test]
    fn directory_and_name_follow_from_the_output_option() {
        let dir = tempfile::tempdir().unwrap();
        let path = |text: &str| PathBuf::from(text);
        assert_eq!(split(dir.path(), "d"), (dir.path().to_path_buf(), "d".to_owned()));
        assert_eq!(split(&path("/none/"), "d"), (path("/none/"), "d".to_owned()));
        assert_eq!(split(&path("a/web.ktape"), "d"), (path("a"), "web".to_owned()));
        assert_eq!(split(&path("web"), "d"), (path("."), "web".to_owned()));
    }

    #[test]
    fn a_directory_or_name_that_cannot_be_used_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let error = |path: &Path| {
            let opened = RotatedFiles::open(path, "x", &mut header(1));
            opened.err().map(|error| format!("{error:#}")).unwrap()
        };
        let hidden = error(&dir.path().join(".hidden"));
        assert!(hidden.starts_with("`.hidden` cannot begin file names"), "{hidden}");
        let missing = error(&dir.path().join("none/web.ktape"));
        assert!(missing.starts_with("cannot open the directory"), "{missing}");
    }

    #[test]
    fn a_name_has_one_writer() {
        let dir = tempfile::tempdir().unwrap();
        let first = RotatedFiles::open(dir.path(), "x", &mut header(1)).unwrap();
        let error = RotatedFiles::open(dir.path(), "x", &mut header(9)).err().unwrap().to_string();
        assert!(error.starts_with("another ktape writes `x` in "), "{error}");
        assert!(RotatedFiles::open(dir.path(), "y", &mut header(9)).is_ok());
        drop(first);
        assert!(RotatedFiles::open(dir.path(), "x", &mut header(9)).is_ok());
    }

    #[test]
    fn a_restart_continues_own_files_and_deletes_no_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = header(1);
        let mut files = RotatedFiles::open(dir.path(), "x", &mut first).unwrap();
        let own: Vec<PathBuf> = (0..3).map(|_| write(&mut files, &first)).collect();
        drop(files);

        // Rotated files with the same prefix, a single capture, one of another host, and a file that is not a capture.
        let mut longer = header(2);
        let mut other = RotatedFiles::open(dir.path(), "x-y", &mut longer).unwrap();
        let mut foreign = vec![write(&mut other, &longer)];
        for (name, header) in
            [("x-1.ktape", header(1)), ("x-2.ktape", Header { host_id: "g".into(), ..first.clone() })]
        {
            let path = dir.path().join(name);
            let output = Output::open(Some(&path), false).unwrap();
            let file_system: Arc<dyn FileSystem> = Arc::new(Mounted);
            SegmentFile::begin(output, &header, &file_system).unwrap().end().unwrap();
            foreign.push(path);
        }
        foreign.push(dir.path().join("x-3.ktape"));
        fs::write(&foreign[3], b"mine").unwrap();
        foreign.push(dir.path().join("x-4.ktape"));
        fs::create_dir(&foreign[4]).unwrap();

        let mut again = header(7);
        let mut files = RotatedFiles::open(dir.path(), "x", &mut again).unwrap();
        assert_eq!(again.capture_uuid, [1; 16]);
        assert_eq!(files.files(), 3);
        files.trim(Some(2), None);
        assert_eq!(there(&own), [false, false, true]);
        // Another file under the name of one that is to be deleted.
        fs::remove_file(&own[2]).unwrap();
        fs::write(&own[2], b"someone else's").unwrap();
        while files.delete_oldest() {}
        assert!(own[2].exists());
        assert_eq!(files.deleted(), 2);
        assert_eq!(there(&foreign), [true; 5]);
    }

    #[test]
    fn files_that_ended_too_long_ago_are_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = header(1);
        let mut files = RotatedFiles::open(dir.path(), "x", &mut first).unwrap();
        let own: Vec<PathBuf> = (0..3).map(|_| write(&mut files, &first)).collect();
        files.trim(None, Some(Duration::from_secs(3600)));
        assert_eq!(there(&own), [true; 3]);
        drop(files);
        let day = SystemTime::now() - Duration::from_secs(86_400);
        for path in &own[..2] {
            File::options().write(true).open(path).unwrap().set_modified(day).unwrap();
        }
        // Files of an earlier run end when they were written last, by the wall clock.
        let mut files = RotatedFiles::open(dir.path(), "x", &mut header(7)).unwrap();
        files.trim(None, Some(Duration::from_secs(3600)));
        assert_eq!(there(&own), [false, false, true]);
        assert_eq!((files.files(), files.deleted()), (1, 2));
        // The age of this run's files follows the boot clock, which cannot be set.
        let own = write(&mut files, &first);
        File::options().write(true).open(&own).unwrap().set_modified(day).unwrap();
        files.trim(None, Some(Duration::from_secs(3600)));
        assert!(own.exists());
        files.trim(None, Some(Duration::ZERO));
        assert!(!own.exists());
    }

    #[test]
    fn a_file_gets_its_name_with_its_header_and_never_that_of_another() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = header(1);
        let files = RotatedFiles::open(dir.path(), "x", &mut first).unwrap();
        // Left by a recorder that was killed.
        fs::write(dir.path().join(".x.new"), b"half a header").unwrap();
        let paths: Vec<PathBuf> =
            (0..20).map(|_| files.begin(&first, false).unwrap().path.unwrap()).collect();
        assert!(!dir.path().join(".x.new").exists());
        assert_eq!(paths.iter().collect::<std::collections::BTreeSet<_>>().len(), 20);
        for path in &paths {
            assert_eq!(first_header(path).unwrap().capture_uuid, [1; 16], "{}", path.display());
        }
        // What cannot be removed is an error, not an overwritten file.
        fs::create_dir(dir.path().join(".x.new")).unwrap();
        let error = files.begin(&first, false).err().unwrap().to_string();
        assert!(error.starts_with("cannot remove "), "{error}");
    }

    #[test]
    fn sizes_are_rounded_up_to_pages() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = header(1);
        let mut files = RotatedFiles::open(dir.path(), "x", &mut first).unwrap();
        assert_eq!((files.bytes(), files.dir()), (0, dir.path()));
        files.add(dir.path().join("a"), 1);
        files.add(dir.path().join("b"), 4097);
        assert_eq!(files.bytes(), 3 * 4096);
        // Files that are gone count as deleted by someone else.
        assert!(files.delete_oldest() && files.delete_oldest() && !files.delete_oldest());
        assert_eq!((files.bytes(), files.deleted()), (0, 0));
    }
}
