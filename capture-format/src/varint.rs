//! Variable-length numbers, and a cursor that never reads past the end.

use crate::error::FormatError;

/// Appends a varint: seven bits per byte, lowest first, the top bit set in all bytes except the last.
pub(crate) fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Maps numbers near zero of either sign to small numbers.
pub(crate) fn zigzag(value: u64) -> u64 {
    (value << 1) ^ (((value as i64) >> 63) as u64)
}

pub(crate) fn unzigzag(value: u64) -> u64 {
    (value >> 1) ^ (value & 1).wrapping_neg()
}

/// Reads from bytes; `offset` is the place that errors report.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
    offset: u64,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { rest: bytes, offset }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub(crate) fn byte(&mut self) -> Result<u8, FormatError> {
        let (&byte, rest) = self.rest.split_first().ok_or_else(|| self.truncated(1))?;
        self.rest = rest;
        Ok(byte)
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], FormatError> {
        let (bytes, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.truncated(len as u64))?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(crate) fn varint(&mut self, what: &'static str) -> Result<u64, FormatError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            if shift == 63 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(FormatError::invalid(self.offset, what, "at most 64 bits", value))
    }

    /// A varint of at most `limit`.
    pub(crate) fn count(&mut self, what: &'static str, limit: usize) -> Result<usize, FormatError> {
        let count = self.varint(what)?;
        FormatError::limit(self.offset, what, count, limit as u64)?;
        Ok(count as usize)
    }

    /// Fails if bytes are left.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), FormatError> {
        if self.rest.is_empty() {
            return Ok(());
        }
        let found = format!("{} bytes", self.rest.len());
        Err(FormatError::malformed(self.offset, what, "nothing after its end", found))
    }

    fn truncated(&self, expected: u64) -> FormatError {
        let found = self.rest.len() as u64;
        FormatError::TooShort { offset: self.offset, what: "encoded data", expected, found }
    }
}
