//! The encoding of structs, decided only here: fixed-width little-endian integers, lengths of sequences as u64, enum variants
//! as u32, no padding. `docs/format.md` lists every struct.

use bincode::error::DecodeError;

use crate::{
    derive::{Decode, Encode},
    error::FormatError,
    limits::MAX_INFO,
};

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_little_endian().with_fixed_int_encoding().with_limit::<MAX_INFO>()
}

/// Encodes a struct.
pub(crate) fn encode<T: Encode>(what: &'static str, value: &T) -> Result<Vec<u8>, FormatError> {
    let bytes = bincode::encode_to_vec(value, config())
        .map_err(|e| FormatError::malformed(None, what, "a struct that can be stored", e))?;
    FormatError::limit(None, what, bytes.len() as u64, MAX_INFO as u64)?;
    Ok(bytes)
}

/// Decodes a struct. Ignores bytes after it, since a later version may append fields.
pub(crate) fn decode<T: Decode<()>>(offset: u64, what: &'static str, bytes: &[u8]) -> Result<T, FormatError> {
    decode_front(offset, what, bytes).map(|(value, _)| value)
}

/// Decodes a struct and returns the bytes after it: fields that were appended later.
pub(crate) fn decode_front<'a, T: Decode<()>>(
    offset: u64,
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(T, &'a [u8]), FormatError> {
    match bincode::decode_from_slice(bytes, config()) {
        Ok((value, len)) => Ok((value, bytes.get(len..).unwrap_or_default())),
        Err(error) => Err(refused(offset, what, bytes.len() as u64, error)),
    }
}

/// The decoder's reason, with what it expected and what it found.
fn refused(offset: u64, what: &'static str, bytes: u64, error: DecodeError) -> FormatError {
    let malformed =
        |expected: &str, found: String| FormatError::malformed(offset, what, expected, found.as_str());
    match error {
        DecodeError::UnexpectedEnd { additional } => {
            let expected = bytes.saturating_add(additional as u64);
            FormatError::TooShort { offset, what, expected, found: bytes }
        }
        DecodeError::LimitExceeded => malformed("at most 16 MiB in memory", "more".into()),
        DecodeError::InvalidBooleanValue(byte) => malformed("0 or 1 for a bool", byte.to_string()),
        DecodeError::UnexpectedVariant { type_name, found, .. } => {
            malformed("the number of a known variant", format!("{found} for {type_name}"))
        }
        DecodeError::Utf8 { inner } => {
            malformed("UTF-8 text", format!("an invalid byte after {}", inner.valid_up_to()))
        }
        DecodeError::OutsideUsizeRange(count) => {
            malformed("a count that fits into memory", count.to_string())
        }
        // The decoder's other errors are about types that no struct of the format has.
        other => malformed("a readable struct", other.to_string()),
    }
}
