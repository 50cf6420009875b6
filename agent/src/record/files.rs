//! What descriptors stand for, as the kernel side defines it, and their rows in the chunk's file dictionary.

use capture_format::StrId;

use super::columns::{Dictionaries, file as f};
use super::dictionary_rows::CachedRow;

/// The files that are known.
#[derive(Debug, Default)]
pub struct Files {
    /// The row that stands for all unknown ones.
    unknown: CachedRow,
}

impl Files {
    /// The row of what the kernel side calls by this number; 0 is nothing.
    #[inline]
    pub fn row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let _ = id;
        self.unknown_row(chunk)
    }

    fn unknown_row(&mut self, chunk: &mut Dictionaries<'_>) -> u32 {
        if let Some(row) = self.unknown.of(chunk.number) {
            return row;
        }
        let row = write(chunk, [StrId::default(); 5], [0; 5]);
        self.unknown = CachedRow { chunk: chunk.number, row };
        row
    }
}

/// Writes a row: type, path, addresses and protocol; device, inode, whether deleted, whether cut, process of the peer.
fn write(chunk: &mut Dictionaries<'_>, strings: [StrId; 5], numbers: [u64; 5]) -> u32 {
    let table = chunk.builder.table_at(chunk.index.file);
    for (column, string) in [f::TYPE, f::PATH, f::LOCAL, f::REMOTE, f::PROTO].into_iter().zip(strings) {
        table.push_bytes(column, string);
    }
    for (column, number) in [f::DEV, f::INO, f::DELETED, f::CUT, f::PEER_PID].into_iter().zip(numbers) {
        table.push_u64(column, number);
    }
    table.end_row()
}
