//! What could not be read, reported in one line; everything else is read.

use std::path::{Path, PathBuf};

use capture_format::{Damage, FormatError};

use crate::text::escape::{Place, escaped};
use crate::text::units::size_text;

/// How many chunks are listed: a file may claim any number.
const LISTED: usize = 1000;

/// All damage that a replay met.
#[derive(Debug, Default)]
pub struct Damaged {
    places: u64,
    bytes: u64,
    files: Vec<PathBuf>,
    /// The first, in words.
    first: Option<String>,
    /// Chunks that could not be read, in words; the first thousand.
    chunks: Vec<String>,
    chunk_count: u64,
    /// Files whose last block is not whole, and its bytes.
    cut: Vec<(PathBuf, u64)>,
}

impl Damaged {
    /// Found when a file of so many bytes was opened. An end that is cut is no damage.
    pub fn add(&mut self, path: &Path, bytes: u64, damage: &[Damage]) {
        for one in damage {
            if one.is_cut_end(bytes) {
                self.cut.push((path.to_path_buf(), one.len));
            } else {
                self.note(path, one.len, &one.to_string());
            }
        }
    }

    /// A chunk of this many bytes could not be read.
    pub fn chunk(&mut self, path: &Path, bytes: u64, cause: &FormatError) {
        let cause = cause.to_string();
        self.note(path, bytes, &cause);
        self.chunk_count += 1;
        if self.chunks.len() < LISTED {
            self.chunks.push(format!("{}: {cause}", path.display()));
        }
    }

    /// How many chunks could not be read.
    pub fn chunks(&self) -> u64 {
        self.chunk_count
    }

    /// File and cause of each chunk that could not be read, up to the thousandth.
    pub fn of_chunks(&self) -> impl Iterator<Item = &str> {
        self.chunks.iter().map(String::as_str)
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

    /// One line for the user, if a file ends in the middle of a block.
    pub fn cut(&self) -> Option<String> {
        let (path, bytes) = self.cut.first()?;
        let path = escaped(path.as_os_str().as_encoded_bytes(), Place::Free);
        let others = match self.cut.len() {
            1 => String::new(),
            more => format!(" and {} others", more - 1),
        };
        Some(format!(
            "{path}{others} ends in the middle of a chunk, {} of it: its recorder died or still writes, or the file was cut",
            size_text(*bytes)
        ))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places == 0
    }

    /// One line for the user, if there is any.
    pub fn warning(&self) -> Option<String> {
        let first = self.first.as_ref()?;
        let where_ = match (self.places, self.files.len()) {
            (1, _) => "one place".to_owned(),
            (places, 1) => format!("{places} places"),
            (places, files) => format!("{places} places of {files} files"),
        };
        let more = if self.places > 1 { "; the first: " } else { ": " };
        Some(format!(
            "DAMAGE: {where_}, {} in all, could not be read and were passed over{more}{first} (`ktape check` lists all)",
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
            format!(
                "DAMAGE: one place, 1.0 KiB in all, could not be read and were passed over: {first} (`ktape check` lists all)"
            )
        );
        damaged.chunk(Path::new("b\x1b"), 1024, &cause());
        damaged.add(Path::new("c"), 1031, &[Damage { offset: 7, len: 1024, cause: cause() }]);
        assert!(damaged.cut().unwrap().starts_with("c ends in the middle of a chunk, 1.0 KiB of it: "));
        let warning = damaged.warning().unwrap();
        assert!(warning.starts_with("DAMAGE: 2 places of 2 files, 2.0 KiB in all"), "{warning}");
        assert!(warning.contains(&format!("; the first: {first}")), "{warning}");
    }
}
