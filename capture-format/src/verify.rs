//! Checks everything in a file.

use std::{fs::File, path::Path};

use crate::{
    error::{Damage, FormatError},
    file::CaptureFile,
    pipe::{StreamItem, StreamReader},
};

/// What a check found.
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

/// Reads every block of a file and every column of its chunks, and compares the indexes with them.
/// Needs memory for one chunk and the index.
///
/// # Errors
/// As [`CaptureFile::open`]; damage is no error but in the result.
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
            StreamItem::Damage(damage) => found.damage.push(damage),
            StreamItem::Chunk(chunk) => match chunk.verify() {
                Ok(()) => {
                    found.chunks += 1;
                    found.events += chunk.event_rows();
                }
                Err(cause) => {
                    let (offset, len) = chunk.place();
                    found.damage.push(Damage { offset, len, cause });
                }
            },
        }
    }
    if found.damage.is_empty() {
        compare_index(&CaptureFile::open(path)?, &mut found);
    }
    found.damage.sort_by_key(|d| d.offset);
    Ok(found)
}

/// Chunks that are fine may still be told wrongly by the index, or not at all.
fn compare_index(file: &CaptureFile, found: &mut Verified) {
    let mut indexed = 0;
    for entry in file.chunks() {
        indexed += 1;
        if let Err(cause) = file.read_chunk(entry) {
            found.damage.push(Damage { offset: entry.offset, len: entry.len, cause });
        }
    }
    // A file that grows meanwhile has more now.
    if indexed < found.chunks {
        let cause = FormatError::Invalid {
            offset: 0,
            what: "chunks in the indexes",
            expected: found.chunks.to_string(),
            found: indexed,
        };
        found.damage.push(Damage { offset: 0, len: file.bytes(), cause });
    }
}
