//! The blocks of a file, read without the crate; shared with the fuzz targets.

#![allow(dead_code, missing_docs, reason = "each user needs a part of it")]

/// A block: its place and length in bytes, and its kind.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    pub at: usize,
    pub kind: u16,
    pub len: usize,
}

/// All blocks of intact bytes, as docs/format.md describes them.
pub fn blocks(bytes: &[u8]) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let number = |from: usize, len: usize| {
            bytes[at + from..at + from + len].iter().rev().fold(0usize, |n, &b| n << 8 | b as usize)
        };
        let len = 40 + number(16, 4) + number(20, 8);
        blocks.push(Block { at, kind: number(10, 2) as u16, len });
        at += len;
    }
    blocks
}

/// Corrects the checksums of the block at `at`.
pub fn fix_checksums(bytes: &mut [u8], at: usize, len: usize) {
    let summary_len =
        u32::from_le_bytes([bytes[at + 16], bytes[at + 17], bytes[at + 18], bytes[at + 19]]) as usize;
    let body = at + 40 + summary_len;
    let crc = crc32fast::hash(&bytes[at + 40..body]).to_le_bytes();
    bytes[at + 28..at + 32].copy_from_slice(&crc);
    let crc = crc32fast::hash(&bytes[body..at + len]).to_le_bytes();
    bytes[at + 32..at + 36].copy_from_slice(&crc);
    let crc = crc32fast::hash(&bytes[at..at + 36]).to_le_bytes();
    bytes[at + 36..at + 40].copy_from_slice(&crc);
}

/// The block with the content of its first frame changed, and lengths and checksums corrected: in a chunk two varints and the
/// frame, in others a u32 and the frame. Unchanged if it has no such frame.
pub fn repacked(block: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    repack(block, change).unwrap_or_else(|| block.to_vec())
}

fn repack(block: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Option<Vec<u8>> {
    let is_chunk = block.get(10..12)? == [2, 0];
    let summary_len = u32::from_le_bytes(block.get(16..20)?.try_into().ok()?) as usize;
    let (head, body) = block.split_at_checked(summary_len.checked_add(40)?)?;
    let (frame, rest) = if is_chunk {
        let mut at = 0;
        varint(body, &mut at)?;
        let packed = usize::try_from(varint(body, &mut at)?).ok()?;
        body.get(at..)?.split_at_checked(packed)?
    } else {
        (body.get(4..)?, &[][..])
    };
    let mut raw = zstd::bulk::decompress(frame, 32 << 20).ok()?;
    change(&mut raw);
    let packed = zstd::bulk::compress(&raw, 1).ok()?;
    let mut body = Vec::new();
    if is_chunk {
        put(&mut body, raw.len() as u64);
        put(&mut body, packed.len() as u64);
    } else {
        body.extend_from_slice(&(raw.len() as u32).to_le_bytes());
    }
    body.extend_from_slice(&packed);
    body.extend_from_slice(rest);
    let mut block = head.to_vec();
    block[20..28].copy_from_slice(&(body.len() as u64).to_le_bytes());
    block.extend_from_slice(&body);
    let len = block.len();
    fix_checksums(&mut block, 0, len);
    Some(block)
}

fn varint(bytes: &[u8], at: &mut usize) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = *bytes.get(*at)?;
        *at += 1;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
