//! The iterator over TCP sockets: it finds the users of sockets that existed before the capture, and lists the connections
//! that are open.

use std::io;
use std::os::fd::BorrowedFd;

use agent_ebpf::records::net::Net;
use rustc_hash::FxHashSet;

use super::iterator::ScanProgram;

/// Runs the iterator over TCP sockets.
pub struct ConnectionScanner {
    program: ScanProgram,
    bytes: Vec<u8>,
}

impl ConnectionScanner {
    /// A scanner for a loaded iterator program.
    pub(super) fn new(program: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self { program: ScanProgram::new(program)?, bytes: Vec::new() })
    }

    /// Notes the users of all sockets, and lists the connections that are open and recorded, each once.
    ///
    /// # Errors
    /// The iterator could not be created or read.
    pub fn scan(&mut self) -> io::Result<Vec<Net>> {
        self.program.run(&mut self.bytes)?;
        let open = parse(&self.bytes);
        // Many connections are rare: their memory is freed.
        self.bytes.shrink_to(1 << 16);
        Ok(open)
    }
}

/// The sockets that were written, each once: several processes may hold the same one.
fn parse(bytes: &[u8]) -> Vec<Net> {
    let mut known = FxHashSet::default();
    let records = bytes.chunks_exact(size_of::<Net>()).map(|record| {
        // SAFETY: enough bytes for the struct, which is made of integers alone; no alignment needed.
        unsafe { record.as_ptr().cast::<Net>().read_unaligned() }
    });
    records.filter(|record| known.insert(record.sock)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_socket_is_listed_once() {
        let mut bytes = Vec::new();
        for (sock, pid) in [(7, 1), (8, 1), (7, 2)] {
            let mut record = Net { sock, ..Net::default() };
            record.head.pid = pid;
            // SAFETY: a struct of integers without padding.
            let record = unsafe {
                std::slice::from_raw_parts(std::ptr::from_ref(&record).cast::<u8>(), size_of::<Net>())
            };
            bytes.extend_from_slice(record);
        }
        // A truncated record is ignored.
        bytes.extend_from_slice(&[1; 100]);
        let open: Vec<(u64, u32)> = parse(&bytes).iter().map(|net| (net.sock, net.head.pid)).collect();
        assert_eq!(open, [(7, 1), (8, 1)]);
    }
}
