//! The only module that knows the struct encoding: fixed-width little-endian integers, sequence
//! lengths as u64, enum variants as u32, no padding. `docs/format.md` writes every struct out.

pub(crate) use bincode::{Decode, Encode};

use crate::{error::FormatError, limits::MAX_INFO};

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_INFO>()
}

/// The bytes of a struct.
pub(crate) fn encode<T: Encode>(what: &'static str, value: &T) -> Result<Vec<u8>, FormatError> {
    let bytes = bincode::encode_to_vec(value, config()).map_err(|e| FormatError::Decode {
        offset: 0,
        what,
        message: e.to_string(),
    })?;
    FormatError::limit(0, what, bytes.len() as u64, MAX_INFO as u64)?;
    Ok(bytes)
}

/// A struct from its bytes. Bytes after it are ignored: a later version may append fields.
pub(crate) fn decode<T: Decode<()>>(offset: u64, what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    bincode::decode_from_slice(bytes, config()).map(|(value, _)| value).map_err(|e| FormatError::Decode {
        offset,
        what,
        message: e.to_string(),
    })
}
