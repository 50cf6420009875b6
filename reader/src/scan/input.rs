//! The inputs of a command: files, directories of files, or standard input.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use capture_format::{CaptureFile, FormatError};
use jiff::tz::TimeZone;

use crate::filter::prune;
use crate::model::{Binding, ContainerNames};
use crate::text::time::{self, Span};

use super::container_match::KnownContainers;

/// Why an input cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// The file does not exist or cannot be read.
    #[error("cannot open {}: {}", .path.display(), reason(.error))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The reason. It is part of the message and hence not a source of the error.
        error: io::Error,
    },
    /// The file is not a capture.
    #[error("cannot read {}: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        source: FormatError,
    },
    /// A directory without captures.
    #[error("there is no file named *.ktape in {}", .0.display())]
    EmptyDirectory(PathBuf),
    /// A device, a pipe or a socket, which may be endless and cannot be read twice.
    #[error("{} is not a file but a {what}", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
        /// The type of the path, and how to read it instead.
        what: &'static str,
    },
    /// Standard input together with files.
    #[error("standard input (-) cannot be combined with files")]
    PipeWithFiles,
}

/// The reason why a file cannot be opened, without the system's error number.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// An open capture file.
#[derive(Debug)]
pub struct Capture {
    /// Where it is.
    pub path: PathBuf,
    /// Its content.
    pub file: CaptureFile,
    /// One for each segment.
    pub bindings: Vec<Arc<Binding>>,
}

impl Capture {
    /// A capture from an open file; messages call it `path`.
    pub fn new(path: impl Into<PathBuf>, file: CaptureFile) -> Self {
        let segments = file.segments().iter();
        let bindings = segments.map(|s| Arc::new(Binding::new(Arc::clone(&s.header)))).collect();
        Self { path: path.into(), file, bindings }
    }
}

/// Checks that the path is a regular file; anything else may be endless.
///
/// # Errors
/// If it does not exist or is not a regular file.
pub fn regular(path: &Path) -> Result<(), InputError> {
    let meta = std::fs::metadata(path)
        .map_err(|source| InputError::Io { path: path.to_path_buf(), error: source })?;
    let kind = meta.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_fifo() {
        "pipe: read it with `ktape replay - <PIPE`"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_socket() {
        "socket"
    } else {
        "device"
    };
    Err(InputError::NotAFile { path: path.to_path_buf(), what })
}

/// The endings of captures that were compressed. They cannot be read, but are not passed over in silence.
const COMPRESSED: [&str; 6] = ["gz", "zst", "xz", "bz2", "lz4", "zip"];

/// Whether a file of a directory is a capture by its name, compressed or not.
fn is_capture(path: &Path) -> bool {
    let Some(ending) = path.extension() else { return false };
    let is_compressed = COMPRESSED.iter().any(|compressed| ending == *compressed);
    ending == "ktape"
        || is_compressed
            && path.file_stem().is_some_and(|stem| Path::new(stem).extension().is_some_and(|e| e == "ktape"))
}

/// The files at these paths: of a directory, the files in it that are named `*.ktape`, or `*.ktape.gz` and the like.
///
/// # Errors
/// If one does not exist, or a directory has no capture.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, InputError> {
    let mut all = Vec::new();
    for path in paths {
        let fail = |source| InputError::Io { path: path.clone(), error: source };
        if !std::fs::metadata(path).map_err(fail)?.is_dir() {
            all.push(path.clone());
            continue;
        }
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(fail)? {
            let entry = entry.map_err(fail)?.path();
            if is_capture(&entry) {
                found.push(entry);
            }
        }
        if found.is_empty() {
            return Err(InputError::EmptyDirectory(path.clone()));
        }
        found.sort();
        all.append(&mut found);
    }
    Ok(all)
}

/// The time span of all captures, with `zone` or else the zone of the first capture's host.
pub fn span(captures: &[Capture], zone: Option<TimeZone>) -> Span {
    let headers = || captures.iter().flat_map(|c| c.file.segments()).map(|s| &s.header);
    let start = headers().map(|h| h.created).min().unwrap_or(0);
    let ends = captures.iter().flat_map(|c| c.file.chunks()).map(|c| {
        let summary = &c.summary;
        (summary.end_max as i64).saturating_add(summary.wall_offset)
    });
    let end = ends.max().map(|end| end.max(start));
    let zone = zone.or_else(|| headers().next().map(|h| time::host_zone(&h.time_zone, h.utc_offset)));
    Span { start, end: Some(end.unwrap_or(start)), zone: zone.unwrap_or(TimeZone::UTC) }
}

/// The container names of all captures.
pub fn names(captures: &[Capture]) -> ContainerNames {
    let mut names = ContainerNames::default();
    captures.iter().for_each(|c| names.merge(c.file.metadata()));
    names
}

/// The containers in the summaries of all chunks. If a chunk has too many for its summary, its dictionary is
/// read instead.
pub fn known_containers(captures: &[Capture]) -> KnownContainers {
    let mut known = KnownContainers::default();
    for capture in captures {
        for entry in capture.file.chunks() {
            let binding = &capture.bindings[entry.segment];
            match prune::chains(binding, &entry.summary) {
                capture_format::SummaryValues::Kept(values) => {
                    for (value, _) in values {
                        if let capture_format::SummaryValue::Bytes(chain) = value {
                            known.add_chain(chain);
                        }
                    }
                }
                _ => {
                    // A damaged chunk is reported when its events are read.
                    let Ok(chunk) = capture.file.read_chunk(entry) else { continue };
                    let Ok(view) = crate::model::ChunkView::open(&chunk, binding) else { continue };
                    for row in 0..view.cgroup_rows() as u32 {
                        known.add_chain(view.cgroup(row).chain);
                    }
                }
            }
        }
    }
    known
}
