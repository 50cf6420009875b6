//! Blocks, of which a file consists: a fixed header, a summary, a body, each with its checksum.

use crate::{
    error::FormatError,
    limits::{MAX_BODY, MAX_SUMMARY},
};

/// The version of the format: major in the high byte, minor in the low byte. A reader of version 0.x reads only 0.x.
pub(crate) const FORMAT_VERSION: u16 = 0x0002;
/// The oldest version that is read: all of what it has is in this one too.
const FIRST_VERSION: u16 = 0x0001;

/// The first bytes of every block. The first one is not valid at the start of text in common encodings; the line ends reveal
/// a transfer that converted the file as text.
pub(crate) const MAGIC: [u8; 8] = *b"\xf5ktape\r\n";
/// Bytes of a block header.
pub(crate) const HEADER_LEN: usize = 40;
/// Bytes of a trailer's summary.
pub(crate) const TRAILER_SUMMARY: usize = 16;
/// Bytes of a whole trailer.
pub(crate) const TRAILER_LEN: usize = HEADER_LEN + TRAILER_SUMMARY;

/// The kind of a block. Numbers are never reused; a reader skips unknown ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockKind {
    Header,
    Chunk,
    Metadata,
    Index,
    Trailer,
    Unknown(u16),
}

impl BlockKind {
    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Header => 1,
            Self::Chunk => 2,
            Self::Metadata => 3,
            Self::Index => 4,
            Self::Trailer => 5,
            Self::Unknown(number) => number,
        }
    }

    fn from_number(number: u16) -> Self {
        match number {
            1 => Self::Header,
            2 => Self::Chunk,
            3 => Self::Metadata,
            4 => Self::Index,
            5 => Self::Trailer,
            _ => Self::Unknown(number),
        }
    }
}

/// A block header whose checksum was right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BlockHeader {
    pub(crate) version: u16,
    pub(crate) kind: BlockKind,
    /// The segment that the block belongs to.
    pub(crate) tag: u32,
    pub(crate) summary_len: usize,
    pub(crate) body_len: usize,
    pub(crate) summary_crc: u32,
    pub(crate) body_crc: u32,
}

// Offsets of the fields.
const AT_VERSION: usize = 8;
const AT_KIND: usize = 10;
const AT_TAG: usize = 12;
const AT_SUMMARY_LEN: usize = 16;
const AT_BODY_LEN: usize = 20;
const AT_SUMMARY_CRC: usize = 28;
const AT_BODY_CRC: usize = 32;
const AT_HEADER_CRC: usize = 36;

fn u16_at(bytes: &[u8; HEADER_LEN], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

fn u32_at(bytes: &[u8; HEADER_LEN], at: usize) -> u32 {
    u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

impl BlockHeader {
    /// Checks the header of the block at `offset`, except its version: the layout of block headers is the same in all versions,
    /// so that readers can skip blocks of other versions and do not mistake them for damage.
    pub(crate) fn parse(bytes: &[u8; HEADER_LEN], offset: u64) -> Result<Self, FormatError> {
        if bytes[..8] != MAGIC {
            let found = u64::from(u32_at(bytes, 0)) | u64::from(u32_at(bytes, 4)) << 32;
            return Err(FormatError::Magic { offset, expected: u64::from_le_bytes(MAGIC), found });
        }
        let crc = crc32fast::hash(&bytes[..AT_HEADER_CRC]);
        check_crc(offset, "a block header", u32_at(bytes, AT_HEADER_CRC), crc)?;
        let summary_len = u32_at(bytes, AT_SUMMARY_LEN);
        FormatError::limit(offset, "length of a summary", summary_len.into(), MAX_SUMMARY as u64)?;
        let body_len =
            u64::from(u32_at(bytes, AT_BODY_LEN)) | u64::from(u32_at(bytes, AT_BODY_LEN + 4)) << 32;
        FormatError::limit(offset, "length of a body", body_len, MAX_BODY as u64)?;
        Ok(Self {
            version: u16_at(bytes, AT_VERSION),
            kind: BlockKind::from_number(u16_at(bytes, AT_KIND)),
            tag: u32_at(bytes, AT_TAG),
            summary_len: summary_len as usize,
            body_len: body_len as usize,
            summary_crc: u32_at(bytes, AT_SUMMARY_CRC),
            body_crc: u32_at(bytes, AT_BODY_CRC),
        })
    }

    /// Whether this reader may read the rest of the block.
    pub(crate) fn check_version(&self, offset: u64) -> Result<(), FormatError> {
        if (FIRST_VERSION..=FORMAT_VERSION).contains(&self.version) {
            return Ok(());
        }
        Err(FormatError::Version { offset, expected: FORMAT_VERSION, found: self.version })
    }

    pub(crate) fn check_kind(&self, offset: u64, expected: BlockKind) -> Result<(), FormatError> {
        if self.kind == expected {
            return Ok(());
        }
        Err(FormatError::invalid(offset, "kind of a block", expected.number(), self.kind.number().into()))
    }

    pub(crate) fn check_tag(&self, offset: u64, expected: u32) -> Result<(), FormatError> {
        if self.tag == expected {
            return Ok(());
        }
        Err(FormatError::invalid(offset, "segment tag of a block", expected, self.tag.into()))
    }

    /// Bytes of the whole block.
    pub(crate) fn len(&self) -> u64 {
        (HEADER_LEN + self.summary_len + self.body_len) as u64
    }

    /// Checks the summary of the block at `offset`.
    pub(crate) fn check_summary(&self, offset: u64, summary: &[u8]) -> Result<(), FormatError> {
        check_crc(offset, "a summary", self.summary_crc, crc32fast::hash(summary))
    }

    /// Checks the body of the block at `offset`.
    pub(crate) fn check_body(&self, offset: u64, body: &[u8]) -> Result<(), FormatError> {
        check_crc(offset, "a body", self.body_crc, crc32fast::hash(body))
    }
}

fn check_crc(offset: u64, part: &'static str, expected: u32, found: u32) -> Result<(), FormatError> {
    if expected == found { Ok(()) } else { Err(FormatError::Checksum { offset, part, expected, found }) }
}

/// The bytes of a block, still without its tag: see [`seal`].
pub(crate) fn build(kind: BlockKind, summary: &[u8], body: &[&[u8]]) -> Vec<u8> {
    let body_len: usize = body.iter().map(|part| part.len()).sum();
    let mut crc = crc32fast::Hasher::new();
    body.iter().for_each(|part| crc.update(part));
    let mut block = Vec::with_capacity(HEADER_LEN + summary.len() + body_len);
    block.extend_from_slice(&MAGIC);
    block.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    block.extend_from_slice(&kind.number().to_le_bytes());
    block.extend_from_slice(&0u32.to_le_bytes());
    block.extend_from_slice(&(summary.len() as u32).to_le_bytes());
    block.extend_from_slice(&(body_len as u64).to_le_bytes());
    block.extend_from_slice(&crc32fast::hash(summary).to_le_bytes());
    block.extend_from_slice(&crc.finalize().to_le_bytes());
    block.extend_from_slice(&0u32.to_le_bytes());
    block.extend_from_slice(summary);
    body.iter().for_each(|part| block.extend_from_slice(part));
    block
}

/// Assigns a built block to the segment with this tag.
pub(crate) fn seal(block: &mut [u8], tag: u32) {
    block[AT_TAG..AT_TAG + 4].copy_from_slice(&tag.to_le_bytes());
    let crc = crc32fast::hash(&block[..AT_HEADER_CRC]);
    block[AT_HEADER_CRC..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
}

/// The first position at or after `from` at which the magic begins, or at which the bytes end with a beginning of it.
pub(crate) fn find_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let mut at = from;
    while at < bytes.len() {
        at += bytes[at..].iter().position(|&b| b == MAGIC[0])?;
        let there = &bytes[at..bytes.len().min(at + MAGIC.len())];
        if MAGIC.starts_with(there) {
            return Some(at);
        }
        at += 1;
    }
    None
}

#[cfg(test)]
mod tests;
