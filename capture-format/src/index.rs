//! The compressed bodies of header, metadata and index blocks, and the trailer.

use crate::{
    block::{self, BlockKind, TRAILER_SUMMARY},
    codec,
    decode::decompress,
    derive::{Decode, Encode},
    error::FormatError,
    limits::{MAX_BODY, MAX_INFO, MAX_INFO_RATIO},
    metadata::MetadataRecord,
};

/// An index: a copy of what lies between the previous index (or the header) and itself.
#[derive(Debug, Default, Encode, Decode)]
pub(crate) struct Index {
    /// Where the previous index is, from the start of the segment; 0 if there is none.
    pub(crate) previous: u64,
    /// A copy of the header, as in the header block before compression.
    pub(crate) header: Vec<u8>,
    pub(crate) chunks: Vec<IndexEntry>,
    /// A copy of all metadata since the previous index.
    pub(crate) metadata: Vec<MetadataRecord>,
}

/// The entry of a chunk in an index.
#[derive(Debug, Encode, Decode)]
pub(crate) struct IndexEntry {
    /// Where the chunk's block is, from the start of the segment.
    pub(crate) offset: u64,
    /// Bytes of the block.
    pub(crate) len: u64,
    /// The summary as in the block.
    pub(crate) summary: Vec<u8>,
}

/// The last bytes of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trailer {
    /// Bytes of the segment including the trailer.
    pub(crate) segment_len: u64,
    /// Where the last index is, from the start of the segment.
    pub(crate) index: u64,
}

impl Trailer {
    pub(crate) fn encode(self) -> [u8; TRAILER_SUMMARY] {
        let mut bytes = [0; TRAILER_SUMMARY];
        bytes[..8].copy_from_slice(&self.segment_len.to_le_bytes());
        bytes[8..].copy_from_slice(&self.index.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(offset: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let Ok(bytes) = <&[u8; TRAILER_SUMMARY]>::try_from(bytes) else {
            let found = bytes.len() as u64;
            return Err(FormatError::invalid(offset, "length of a trailer", TRAILER_SUMMARY, found));
        };
        let number = |at: usize| (0..8).fold(0, |n, i| n | u64::from(bytes[at + i]) << (8 * i));
        Ok(Self { segment_len: number(0), index: number(8) })
    }
}

/// A block whose body is the length of `raw` (u32) and `raw` as one zstd frame.
pub(crate) fn info_block(kind: BlockKind, raw: &[u8]) -> Result<Vec<u8>, FormatError> {
    FormatError::limit(None, "length of a body", raw.len() as u64, MAX_INFO as u64)?;
    // A higher level than for chunks, since these blocks are few.
    let packed = zstd::bulk::compress(raw, 9).map_err(FormatError::io("compress a body"))?;
    FormatError::limit(None, "length of a packed body", packed.len() as u64, MAX_BODY as u64)?;
    Ok(block::build(kind, &[], &[&(raw.len() as u32).to_le_bytes(), &packed]))
}

/// Decompresses the body of an [`info_block`].
pub(crate) fn info_body(offset: u64, body: &[u8]) -> Result<Vec<u8>, FormatError> {
    let Some((len, packed)) = body.split_first_chunk::<4>() else {
        let found = body.len() as u64;
        return Err(FormatError::TooShort { offset, what: "length of a body", expected: 4, found });
    };
    let raw = u32::from_le_bytes(*len);
    FormatError::limit(offset, "length of a body", raw.into(), MAX_INFO as u64)?;
    decompress(packed, raw as usize, MAX_INFO_RATIO, offset, "body")
}

pub(crate) fn encode_index(index: &Index) -> Result<Vec<u8>, FormatError> {
    info_block(BlockKind::Index, &codec::encode("index", index)?)
}

pub(crate) fn decode_index(offset: u64, body: &[u8]) -> Result<Index, FormatError> {
    codec::decode(offset, "index", &info_body(offset, body)?)
}

pub(crate) fn encode_metadata(records: &[MetadataRecord]) -> Result<Vec<u8>, FormatError> {
    info_block(BlockKind::Metadata, &codec::encode("metadata", &records.to_vec())?)
}

pub(crate) fn decode_metadata(offset: u64, body: &[u8]) -> Result<Vec<MetadataRecord>, FormatError> {
    codec::decode(offset, "metadata", &info_body(offset, body)?)
}
