//! Checks everything in a file.

use std::{fs::File, path::Path};

use crate::{
    error::{Damage, FormatError},
    file::CaptureFile,
    limits::MAX_INDEX_MEMORY,
    pipe::{StreamItem, StreamReader},
    scan::MEMORY,
};

/// The result of [`verify`].
#[derive(Debug, Default)]
pub struct Verified {
    /// Segments with a readable header.
    pub segments: u64,
    /// Segments without a trailer.
    pub unfinished: u64,
    /// Chunks whose every column is readable.
    pub chunks: u64,
    /// Rows of event tables in them.
    pub events: u64,
    /// What is unreadable, in the order of the file.
    pub damage: Vec<Damage>,
}

impl Verified {
    fn add(&mut self, damage: Damage) -> Result<(), FormatError> {
        let memory = (self.damage.len() + 1) * size_of::<Damage>();
        FormatError::limit(damage.offset, MEMORY, memory as u64, MAX_INDEX_MEMORY as u64)?;
        self.damage.push(damage);
        Ok(())
    }
}

/// Reads every block of a file and every column of its chunks, and compares the indexes with them. Takes memory for one
/// chunk and the index.
///
/// # Errors
/// As [`CaptureFile::open`]. Damage is part of the result, not an error.
pub fn verify(path: impl AsRef<Path>) -> Result<Verified, FormatError> {
    let path = path.as_ref();
    let file = File::open(path).map_err(FormatError::io("open the capture"))?;
    let mut found = Verified::default();
    let mut reader = StreamReader::new(file);
    while let Some(item) = reader.next_item()? {
        match item {
            StreamItem::Header(_) => found.segments += 1,
            StreamItem::Metadata(_) => {}
            StreamItem::End { complete } => found.unfinished += u64::from(!complete),
            StreamItem::Damage(damage) => found.add(damage)?,
            StreamItem::Chunk(chunk) => match chunk.verify() {
                Ok(()) => {
                    found.chunks += 1;
                    found.events += chunk.event_rows();
                }
                Err(cause) => {
                    let (offset, len) = chunk.place();
                    found.add(Damage { offset, len, cause })?;
                }
            },
        }
    }
    if found.damage.is_empty() {
        compare_index(&CaptureFile::open(path)?, &mut found)?;
    }
    found.damage.sort_by_key(|d| d.offset);
    Ok(found)
}

/// Intact chunks may still be missing in an index, or be described wrongly there.
fn compare_index(file: &CaptureFile, found: &mut Verified) -> Result<(), FormatError> {
    let mut indexed = 0;
    for entry in file.chunks() {
        indexed += 1;
        if let Err(cause) = file.read_chunk(entry) {
            found.add(Damage { offset: entry.offset, len: entry.len, cause })?;
        }
    }
    // A file that grows meanwhile has more now.
    if indexed < found.chunks {
        let cause = FormatError::invalid(None, "number of chunks in the indexes", found.chunks, indexed);
        found.add(Damage { offset: 0, len: file.bytes(), cause })?;
    }
    Ok(())
}
