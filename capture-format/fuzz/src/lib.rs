//! What the targets share: a mutator that knows blocks, so that what it changes is behind right checksums.

#[path = "../../tests/support/blocks.rs"]
pub mod blocks;

use blocks::{fix_checksums, repacked};

/// Complete blocks from the start of the data: place and length.
fn whole_blocks(data: &[u8]) -> Vec<(usize, usize)> {
    let mut all = Vec::new();
    let mut at = 0;
    while let Some(header) = data.get(at..at + 40) {
        if header[..8] != *b"\xf5ktape\r\n" {
            break;
        }
        let number = |from: usize, len: usize| {
            header[from..from + len].iter().rev().fold(0u64, |n, byte| n << 8 | u64::from(*byte))
        };
        let len = 40u64.saturating_add(number(16, 4)).saturating_add(number(20, 8));
        let Some(end) = usize::try_from(len).ok().and_then(|len| at.checked_add(len)) else { break };
        if end > data.len() {
            break;
        }
        all.push((at, end - at));
        at = end;
    }
    all
}

/// Changes the data within its capacity, mostly inside of a block that stays one; the new length.
pub fn mutate_capture(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let all = whole_blocks(&data[..size]);
    let turn = seed % 8;
    if all.is_empty() || turn == 0 {
        return libfuzzer_sys::fuzzer_mutate(data, size, max_size);
    }
    let (at, len) = all[(seed >> 3) as usize % all.len()];
    let block = data[at..at + len].to_vec();
    let changed = match turn {
        // What is inside of the first frame.
        1..=4 => repacked(&block, |raw| {
            let size = raw.len();
            raw.resize(size + 64, 0);
            let most = raw.len();
            let size = libfuzzer_sys::fuzzer_mutate(raw, size, most);
            raw.truncate(size);
        }),
        // Summary and frames as they are stored, with the same length.
        5 | 6 => {
            let mut block = block;
            let (_, content) = block.split_at_mut(40);
            let (size, most) = (content.len(), content.len());
            if size > 0 {
                let _ = libfuzzer_sys::fuzzer_mutate(content, size, most);
                fix_checksums(&mut block, 0, len);
            }
            block
        }
        // The block twice, or not at all.
        _ if seed & 8 == 0 => [&block[..], &block].concat(),
        _ => Vec::new(),
    };
    let rest = data[at + len..size].to_vec();
    let new = [&data[..at], &changed, &rest].concat();
    if new.len() > max_size {
        return size;
    }
    data[..new.len()].copy_from_slice(&new);
    new.len()
}
