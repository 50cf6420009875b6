//! An iterator program that is run again and again, from any thread.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::bpf;

/// A loaded iterator program.
pub(super) struct ScanProgram {
    link: OwnedFd,
}

impl ScanProgram {
    /// Attaches a loaded program.
    pub fn new(program: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { link: bpf::link_iterator(program)? })
    }

    /// Starts a run of the program; what it writes is read from the file.
    pub fn start(&self) -> io::Result<File> {
        bpf::create_iterator(self.link.as_fd()).map(File::from)
    }

    /// Runs the program to its end; `bytes` is what it wrote.
    pub fn run(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut file = self.start()?;
        bytes.clear();
        let mut buffer = [0; 8192];
        loop {
            match file.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => bytes.extend_from_slice(&buffer[..n]),
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
