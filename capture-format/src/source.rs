//! A source of bytes that several threads may read from.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    sync::{Mutex, PoisonError},
};

use crate::{
    block::{BlockHeader, HEADER_LEN},
    error::FormatError,
};

pub(crate) trait ReadSeek: Read + Seek + Send {}
impl<T: Read + Seek + Send> ReadSeek for T {}

/// A source of bytes that several threads may read from.
pub(crate) enum Source {
    #[cfg(unix)]
    File(File),
    Shared(Mutex<Box<dyn ReadSeek>>),
}

impl Source {
    pub(crate) fn from_file(file: File) -> Self {
        #[cfg(unix)]
        return Self::File(file);
        #[cfg(not(unix))]
        return Self::Shared(Mutex::new(Box::new(file)));
    }

    pub(crate) fn len(&self) -> io::Result<u64> {
        match self {
            #[cfg(unix)]
            Self::File(file) => file.metadata().map(|m| m.len()),
            Self::Shared(reader) => {
                reader.lock().unwrap_or_else(PoisonError::into_inner).seek(SeekFrom::End(0))
            }
        }
    }

    /// Fills the buffer; returns fewer bytes only at the end of the file.
    pub(crate) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, FormatError> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_some(offset + done as u64, &mut buffer[done..]) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(FormatError::io("read the capture")(e)),
            }
        }
        Ok(done)
    }

    fn read_some(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            #[cfg(unix)]
            Self::File(file) => std::os::unix::fs::FileExt::read_at(file, buffer, offset),
            Self::Shared(reader) => {
                let mut reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
                reader.seek(SeekFrom::Start(offset))?;
                reader.read(buffer)
            }
        }
    }

    /// Exactly these bytes.
    pub(crate) fn bytes(&self, offset: u64, len: usize, what: &'static str) -> Result<Vec<u8>, FormatError> {
        let mut buffer = vec![0; len];
        let found = self.read_at(offset, &mut buffer)? as u64;
        if found < len as u64 {
            return Err(FormatError::Truncated { offset, what, expected: len as u64, found });
        }
        Ok(buffer)
    }

    /// The header of the block at `offset`, which must end before `end`.
    pub(crate) fn block_header(&self, offset: u64, end: u64) -> Result<BlockHeader, FormatError> {
        let mut bytes = [0; HEADER_LEN];
        let expected = HEADER_LEN as u64;
        let room = end.saturating_sub(offset);
        let found = (self.read_at(offset, &mut bytes)? as u64).min(room);
        if found < expected {
            return Err(FormatError::Truncated { offset, what: "a block header", expected, found });
        }
        let header = BlockHeader::parse(&bytes, offset)?;
        if header.len() > room {
            return Err(FormatError::Truncated {
                offset,
                what: "a block",
                expected: header.len(),
                found: room,
            });
        }
        Ok(header)
    }

    /// The checked summary of a block.
    pub(crate) fn summary(&self, offset: u64, header: &BlockHeader) -> Result<Vec<u8>, FormatError> {
        let at = offset + HEADER_LEN as u64;
        let summary = self.bytes(at, header.summary_len, "a summary")?;
        header.check_summary(at, &summary)?;
        Ok(summary)
    }

    /// The checked body of a block.
    pub(crate) fn body(&self, offset: u64, header: &BlockHeader) -> Result<Vec<u8>, FormatError> {
        let at = offset + (HEADER_LEN + header.summary_len) as u64;
        let body = self.bytes(at, header.body_len, "a body")?;
        header.check_body(at, &body)?;
        Ok(body)
    }
}
