//! A file: found, indexed, every chunk read and every column decoded; then the same as a stream.

#![no_main]

use std::io::Cursor;

use capture_format::{CaptureFile, StreamItem, StreamReader};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ktape_fuzz::mutate_capture(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    if let Ok(file) = CaptureFile::from_reader(Cursor::new(data.to_vec())) {
        for entry in file.chunks() {
            if let Ok(chunk) = file.read_chunk(entry) {
                let _ = chunk.verify();
            }
        }
    }
    let mut reader = StreamReader::new(data);
    while let Ok(Some(item)) = reader.next_item() {
        if let StreamItem::Chunk(chunk) = item {
            let _ = chunk.verify();
        }
    }
});
