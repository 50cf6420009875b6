//! Unreadable parts of captures, reported in one line. Everything else is read.

use std::path::{Path, PathBuf};

use capture_format::{Damage, FormatError};

use crate::text::escape::{Place, escaped};
use crate::text::units::size_text;

/// Most chunks to list, since a file may claim any number.
const LISTED: usize = 1000;

/// A chunk that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct UnreadableChunk {
    path: PathBuf,
    bytes: u64,
    cause: String,
    /// For people: the file and the cause.
    text: String,
}

/// All damage found while reading.
#[derive(Debug, Default)]
pub struct Damaged {
    places: u64,
    bytes: u64,
    files: Vec<PathBuf>,
    /// Description of the first one.
    first: Option<String>,
    /// The first [`LISTED`] unreadable chunks.
    chunks: Vec<UnreadableChunk>,
    chunk_count: u64,
    /// Files whose last block is incomplete, with the bytes of that block that exist.
    cut: Vec<(PathBuf, u64)>,
}

impl Damaged {
    /// Adds the damage found when a file of `bytes` bytes was opened. A cut end does not count as damage.
    pub fn add(&mut self, path: &Path, bytes: u64, damage: &[Damage]) {
        for one in damage {
            if one.is_cut_end(bytes) {
                self.cut.push((path.to_path_buf(), one.len));
            } else {
                self.note(path, one.len, &one.to_string());
            }
        }
    }

    /// Adds an unreadable chunk of `bytes` bytes.
    pub fn chunk(&mut self, path: &Path, bytes: u64, cause: &FormatError) {
        let cause = cause.to_string();
        let text = format!("{}: {cause}", path.display());
        self.add_chunk(&UnreadableChunk { path: path.to_path_buf(), bytes, cause, text });
    }

    fn add_chunk(&mut self, chunk: &UnreadableChunk) {
        self.note(&chunk.path, chunk.bytes, &chunk.cause);
        self.chunk_count += 1;
        if self.chunks.len() < LISTED {
            self.chunks.push(chunk.clone());
        }
    }

    /// Adds the unreadable chunks of another pass over the same captures that are not known yet.
    pub fn add_pass(&mut self, other: &Self) {
        let new: Vec<_> = other.chunks.iter().filter(|chunk| !self.chunks.contains(chunk)).collect();
        new.into_iter().for_each(|chunk| self.add_chunk(chunk));
    }

    /// Number of unreadable chunks.
    pub fn chunks(&self) -> u64 {
        self.chunk_count
    }

    /// File and cause of each unreadable chunk, at most 1,000.
    pub fn of_chunks(&self) -> impl Iterator<Item = &str> {
        self.chunks.iter().map(|chunk| chunk.text.as_str())
    }

    fn note(&mut self, path: &Path, bytes: u64, what: &str) {
        self.places += 1;
        self.bytes = self.bytes.saturating_add(bytes);
        if !self.files.iter().any(|file| file == path) {
            self.files.push(path.to_path_buf());
        }
        let word = |text: &[u8]| escaped(text, Place::Free).into_owned();
        self.first.get_or_insert_with(|| {
            format!("{}: {}", word(path.as_os_str().as_encoded_bytes()), word(what.as_bytes()))
        });
    }

    /// A message for the user if a file ends in the middle of a block.
    pub fn cut(&self) -> Option<String> {
        let (path, bytes) = self.cut.first()?;
        let path = escaped(path.as_os_str().as_encoded_bytes(), Place::Free);
        let others = match self.cut.len() {
            1 => String::new(),
            2 => " and 1 other".to_owned(),
            more => format!(" and {} others", more - 1),
        };
        Some(format!(
            "{path}{others} ends in the middle of a chunk, after {} of it: the recorder died or is still writing, or the file was cut",
            size_text(*bytes)
        ))
    }

    /// Whether there is no damage.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// A message for the user if there is damage.
    pub fn warning(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let what = match (self.places, self.files.len()) {
            (1, _) => "1 unreadable place".to_owned(),
            (places, 1) => format!("{places} unreadable places"),
            (places, files) => format!("{places} unreadable places in {files} files"),
        };
        let more = if self.places > 1 { "; the first: " } else { ": " };
        Some(format!(
            "DAMAGE: skipped {what} ({}){more}{first} (`ktape check` lists all)",
            size_text(self.bytes)
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_all_of_it() {
        let mut damaged = Damaged::default();
        assert_eq!(damaged.warning(), None);
        let cause = || FormatError::Truncated { offset: 7, what: "a block", expected: 9, found: 8 };
        damaged.add(Path::new("a"), 2000, &[Damage { offset: 7, len: 1024, cause: cause() }]);
        let first = "a: bytes 7 to 1031 are unreadable: at byte 7: a block is cut: 8 bytes of 9";
        assert_eq!(
            damaged.warning().unwrap(),
            format!("DAMAGE: skipped 1 unreadable place (1.0 KiB): {first} (`ktape check` lists all)")
        );
        damaged.chunk(Path::new("b\x1b"), 1024, &cause());
        damaged.add(Path::new("c"), 1031, &[Damage { offset: 7, len: 1024, cause: cause() }]);
        assert!(damaged.cut().unwrap().starts_with("c ends in the middle of a chunk, after 1.0 KiB of it: "));
        let warning = damaged.warning().unwrap();
        assert!(
            warning.starts_with("DAMAGE: skipped 2 unreadable places in 2 files (2.0 KiB); "),
            "{warning}"
        );
        assert!(warning.contains(&format!("; the first: {first}")), "{warning}");
    }

    #[test]
    fn a_chunk_that_two_passes_find_counts_once() {
        let cause = |offset| FormatError::Truncated { offset, what: "a block", expected: 9, found: 8 };
        let (mut first, mut second) = (Damaged::default(), Damaged::default());
        first.chunk(Path::new("a"), 100, &cause(1));
        first.chunk(Path::new("a"), 100, &cause(2));
        second.chunk(Path::new("a"), 100, &cause(2));
        second.add_pass(&first);
        assert_eq!((second.chunks(), second.of_chunks().count()), (2, 2));
        assert!(second.warning().unwrap().contains("2 unreadable places (200 B)"));
    }
}
