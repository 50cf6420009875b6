//! The files given to a command. Only those that can have matching events are opened: in a capture set of several weeks,
//! ten minutes are in one or two files.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use capture_format::{CaptureFile, FormatError, Header, StreamItem, StreamReader};
use jiff::tz::TimeZone;

use super::captures::Captures;
use super::input::{self, Capture, InputError};
use crate::text::time::{self, Span};

/// How far events may lie outside the time in which their file was written, ns. The first events of a file happened before
/// it was created, and clocks are compared only once a second.
const SLACK: i64 = 10_000_000_000;
/// Descriptors that a reader needs besides its captures.
const OTHER_DESCRIPTORS: u64 = 64;

/// The header of a file, read without opening the whole capture.
#[derive(Debug)]
struct Peek {
    header: Arc<Header>,
    /// Last modification, wall-clock ns.
    modified: i64,
}

/// A file from the arguments or from a directory among them.
#[derive(Debug)]
struct ListedFile {
    path: PathBuf,
    /// Whether it was found in a directory.
    found: bool,
    peek: Option<Peek>,
    /// First and last possible time of its events, wall-clock ns; `None` if unknown.
    range: Option<(i64, i64)>,
}

/// All files given to a command.
#[derive(Debug)]
pub struct CaptureSet {
    files: Vec<ListedFile>,
}

impl CaptureSet {
    /// The files at these paths; of a directory, the files in it that are named `*.ktape`.
    ///
    /// # Errors
    /// If a path does not exist or is not a file, or a directory has no capture.
    pub fn of(paths: &[PathBuf]) -> Result<Self, InputError> {
        let mut files = Vec::new();
        for path in paths {
            let found = path.is_dir();
            for path in input::files(std::slice::from_ref(path))? {
                files.push(ListedFile { path, found, peek: None, range: None });
            }
        }
        Ok(Self { files })
    }

    /// Whether there are several files, so that [`Self::span`] can save opening some of them.
    pub fn is_many(&self) -> bool {
        self.files.len() > 1
    }

    /// Opens the files that can have events between two times (wall-clock ns), at least one file.
    ///
    /// # Errors
    /// If a file from the arguments cannot be read. Of files in a directory, those deleted meanwhile are ignored, and those
    /// that are not captures are listed in [`Captures::unreadable`].
    pub fn open(&self, from: Option<i64>, to: Option<i64>) -> Result<Captures, InputError> {
        let matters = |file: &&ListedFile| {
            file.range.is_none_or(|(first, last)| {
                from.is_none_or(|from| last >= from) && to.is_none_or(|to| first <= to)
            })
        };
        let mut wanted: Vec<&ListedFile> = self.files.iter().filter(matters).collect();
        if wanted.is_empty() {
            wanted.extend(self.files.first());
        }
        allow_descriptors(wanted.len() as u64);
        let (mut captures, mut unreadable) = (Vec::new(), Vec::new());
        for file in wanted {
            match open(&file.path) {
                Ok(capture) => captures.push(capture),
                Err(error) if !file.found => return Err(error),
                Err(InputError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => unreadable.push(error),
            }
        }
        if captures.is_empty()
            && let Some(error) = unreadable.pop()
        {
            return Err(error);
        }
        Ok(Captures::with_unreadable(captures, unreadable))
    }

    /// The time span of all files, from their headers and the end of the newest file of each capture. Afterwards,
    /// [`Self::open`] opens only files that can have matching events.
    ///
    /// # Errors
    /// If a file from the arguments cannot be read.
    pub fn span(&mut self, zone: Option<TimeZone>) -> Result<Span, InputError> {
        for file in &mut self.files {
            match peek(&file.path) {
                Ok(peek) => file.peek = peek,
                Err(error) if !file.found => return Err(error),
                Err(_) => {}
            }
        }
        self.find_ranges();
        let headers = || self.files.iter().filter_map(|file| file.peek.as_ref()).map(|peek| &peek.header);
        let start = headers().map(|header| header.created).min().unwrap_or(0);
        let mut newest: HashMap<[u8; 16], &ListedFile> = HashMap::new();
        for file in &self.files {
            let Some(peek) = &file.peek else { continue };
            let last = newest.entry(peek.header.capture_uuid).or_insert(file);
            if last.peek.as_ref().is_some_and(|other| other.header.created <= peek.header.created) {
                *last = file;
            }
        }
        let ends = newest.values().filter_map(|file| open(&file.path).ok());
        let end = ends.filter_map(|capture| input::span(&[capture], None).end).max().unwrap_or(start);
        let zone = zone.or_else(|| headers().next().map(|h| time::host_zone(&h.time_zone, h.utc_offset)));
        Ok(Span { start, end: Some(end.max(start)), zone: zone.unwrap_or(TimeZone::UTC) })
    }

    /// The events of a file lie between its start and either the start of the next file or its last modification. If the
    /// clock was set in between, the range stays unknown and the file is always opened.
    fn find_ranges(&mut self) {
        let mut order: Vec<usize> = (0..self.files.len()).filter(|i| self.files[*i].peek.is_some()).collect();
        let of = |files: &[ListedFile], i: usize| {
            let peek = files[i].peek.as_ref().expect("files without a header were filtered out");
            let header = &peek.header;
            (header.capture_uuid, header.created, header.boot_id, header.wall_offset, peek.modified)
        };
        // By boot time: file names follow the wall clock, which may have been set.
        order.sort_by_key(|i| {
            let (uuid, created, boot, offset, _) = of(&self.files, *i);
            (uuid, boot, created - offset)
        });
        for (at, i) in order.iter().enumerate() {
            let (uuid, created, boot, offset, modified) = of(&self.files, *i);
            let next = order.get(at + 1).map(|next| of(&self.files, *next));
            let next = next.filter(|next| next.0 == uuid && next.2 == boot);
            let is_set = |other: i64| (other - offset).abs() > SLACK / 10;
            let last = modified.max(next.map_or(i64::MIN, |next| next.1));
            if next.is_some_and(|next| is_set(next.3)) || last < created {
                continue;
            }
            self.files[*i].range = Some((created - SLACK, last.saturating_add(SLACK)));
        }
    }
}

/// The input of a command.
#[derive(Debug)]
pub enum Input {
    /// Files, in any number.
    Files(CaptureSet),
    /// Standard input (`-`).
    Pipe,
}

impl Input {
    /// Finds the files at these paths; of a directory, the files in it that are named `*.ktape`. `-` is standard input.
    ///
    /// # Errors
    /// If one of them cannot be read.
    pub fn open(paths: &[PathBuf]) -> Result<Self, InputError> {
        if paths.iter().any(|p| p == Path::new("-")) {
            return if paths.len() == 1 { Ok(Self::Pipe) } else { Err(InputError::PipeWithFiles) };
        }
        Ok(Self::Files(CaptureSet::of(paths)?))
    }
}

impl Captures {
    /// Opens files; of a directory, the files in it that are named `*.ktape`.
    ///
    /// # Errors
    /// If a file does not exist or is not a capture. Files in a directory that are not captures are listed in
    /// [`Self::unreadable`] instead.
    pub fn open<P: AsRef<Path>>(paths: &[P]) -> Result<Self, InputError> {
        let paths: Vec<PathBuf> = paths.iter().map(|path| path.as_ref().to_path_buf()).collect();
        CaptureSet::of(&paths)?.open(None, None)
    }
}

/// The header at the start of a file; `None` if the file starts with anything else.
fn peek(path: &Path) -> Result<Option<Peek>, InputError> {
    input::regular(path)?;
    let fail = |source| InputError::Io { path: path.to_path_buf(), error: source };
    let file = File::open(path).map_err(fail)?;
    let modified = file.metadata().and_then(|meta| meta.modified()).map_err(fail)?;
    let modified = modified.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos() as i64);
    match StreamReader::new(file).next_item() {
        Ok(Some(StreamItem::Header(header))) => Ok(Some(Peek { header: bare(&header), modified })),
        _ => Ok(None),
    }
}

/// The header without the parts that take much memory.
fn bare(header: &Header) -> Arc<Header> {
    Arc::new(Header {
        capture_uuid: header.capture_uuid,
        boot_id: header.boot_id,
        created: header.created,
        wall_offset: header.wall_offset,
        time_zone: header.time_zone.clone(),
        utc_offset: header.utc_offset,
        ..Header::default()
    })
}

fn open(path: &Path) -> Result<Capture, InputError> {
    input::regular(path)?;
    let cannot = |source| match source {
        FormatError::Io { source, .. } => InputError::Io { path: path.to_path_buf(), error: source },
        source => InputError::Format { path: path.to_path_buf(), source },
    };
    let file = CaptureFile::open(path).map_err(cannot)?;
    Ok(Capture::new(path, file))
}

/// Raises the soft limit of open files if needed, since each capture keeps its file open; it is usually 1,024.
fn allow_descriptors(files: u64) {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    let needed = files + OTHER_DESCRIPTORS;
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |maximum| maximum.min(needed)));
        // If this fails, opening the files reports the error.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::testing::{self, TestChunk, WALL};
    use std::fs;
    use std::time::Duration;

    const MINUTE: i64 = 60_000_000_000;

    /// Rotated files of one minute each, with one event in the middle of each. For the numbers in `set`, the wall clock was
    /// off by the given time.
    fn rotated_files(dir: &Path, files: i64, set: std::ops::Range<i64>, by: i64) {
        for n in 0..files {
            let offset = WALL + if set.contains(&n) { by } else { 0 };
            let header = Header { created: offset + n * MINUTE, wall_offset: offset, ..testing::header(1) };
            let mut chunk = TestChunk::new(&header);
            let cgroup = chunk.cgroup(1, "/", &[]);
            let task = chunk.task(10, 10, "x", cgroup);
            chunk.call((n * MINUTE + MINUTE / 2) as u64, task, &testing::call("getppid", &[], n));
            chunk.builder.set_wall_offset(offset);
            let path = dir.join(format!("{n:04}.ktape"));
            fs::write(&path, testing::file(&header, vec![chunk], &[])).unwrap();
            let ended = Duration::from_nanos((offset + (n + 1) * MINUTE) as u64);
            File::options().write(true).open(&path).unwrap().set_modified(UNIX_EPOCH + ended).unwrap();
        }
    }

    fn names(opened: &Captures) -> Vec<i64> {
        let number = |capture: &Capture| capture.path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
        opened.files().iter().map(number).collect()
    }

    #[test]
    fn only_files_of_the_requested_time_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        rotated_files(dir.path(), 200, 0..0, 0);
        let mut listing = CaptureSet::of(&[dir.path().to_path_buf()]).unwrap();
        let span = listing.span(None).unwrap();
        assert_eq!((span.start, span.end), (WALL, Some(WALL + 199 * MINUTE + MINUTE / 2)));
        let between = |from: i64, to: i64| {
            names(&listing.open(Some(WALL + from * MINUTE), Some(WALL + to * MINUTE)).unwrap())
        };
        // The neighbouring files, too: their first or last events may lie outside the file's own minute.
        assert_eq!(between(100, 110), (99..=110).collect::<Vec<_>>());
        assert_eq!(between(500, 600), [0], "no file matches, so the first one is opened");
        assert_eq!(names(&listing.open(None, Some(WALL)).unwrap()), [0]);
    }

    #[test]
    fn files_with_a_clock_change_are_always_opened() {
        let dir = tempfile::tempdir().unwrap();
        // The clock is an hour ahead for three minutes.
        rotated_files(dir.path(), 20, 5..8, 60 * MINUTE);
        let mut listing = CaptureSet::of(&[dir.path().to_path_buf()]).unwrap();
        listing.span(None).unwrap();
        let opened = listing.open(Some(WALL + 12 * MINUTE), Some(WALL + 13 * MINUTE)).unwrap();
        // The clock may have been set while 4 and 7 were written.
        assert_eq!(names(&opened), [4, 7, 11, 12, 13]);
        let opened = listing.open(Some(WALL + 66 * MINUTE), Some(WALL + 66 * MINUTE + 1)).unwrap();
        assert_eq!(names(&opened), [4, 5, 6, 7]);
    }

    #[test]
    fn other_files_in_a_directory_are_listed_as_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        rotated_files(dir.path(), 2, 0..0, 0);
        fs::write(dir.path().join("x.ktape"), b"none").unwrap();
        let listing = CaptureSet::of(&[dir.path().to_path_buf()]).unwrap();
        let opened = listing.open(None, None).unwrap();
        assert_eq!((names(&opened), opened.unreadable().len()), (vec![0, 1], 1));
        // A file from the arguments must exist.
        let listing = CaptureSet::of(&[dir.path().join("x.ktape")]).unwrap();
        assert!(listing.open(None, None).is_err());
    }
}
