//! An iterator program that is run again and again, from any thread.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// `BPF_LINK_CREATE` of bpf(2).
const LINK_CREATE: libc::c_int = 28;
/// `BPF_ITER_CREATE` of bpf(2).
const ITER_CREATE: libc::c_int = 33;
/// `BPF_TRACE_ITER`.
const TRACE_ITER: u32 = 28;

#[repr(C)]
struct LinkAttr {
    program: u32,
    target: u32,
    attach_type: u32,
    flags: u32,
    info: u64,
    info_len: u32,
    reserved: u32,
}

#[repr(C)]
struct IterAttr {
    link: u32,
    flags: u32,
}

/// A loaded iterator program.
pub(super) struct ScanProgram {
    link: OwnedFd,
}

impl ScanProgram {
    /// Attaches a loaded program.
    pub fn new(program: BorrowedFd<'_>) -> io::Result<Self> {
        let mut attr = LinkAttr {
            program: program.as_raw_fd() as u32,
            target: 0,
            attach_type: TRACE_ITER,
            flags: 0,
            info: 0,
            info_len: 0,
            reserved: 0,
        };
        // SAFETY: the attribute has the layout that the command expects, without pointers.
        let link = unsafe { bpf(LINK_CREATE, &mut attr) }?;
        Ok(Self { link })
    }

    /// Runs the program to its end; `bytes` is what it wrote.
    pub fn run(&self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut attr = IterAttr { link: self.link.as_raw_fd() as u32, flags: 0 };
        // SAFETY: the attribute has the layout that the command expects, without pointers.
        let mut file = File::from(unsafe { bpf(ITER_CREATE, &mut attr) }?);
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

/// Runs a command of bpf(2) that returns a file descriptor.
///
/// # Safety
///
/// `attr` is what the command expects.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: by contract; the kernel reads `size_of::<T>()` bytes.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nothing else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}
