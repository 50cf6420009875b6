//! The reading end of one BPF ring buffer.
//!
//! Unlike a consumer that takes one record after another, this one can look at the first record
//! and leave it there: rings are merged by time where they lie, without copying.
//! Layout (`kernel/bpf/ringbuf.c`): a page with the consumer position, a page with the producer
//! position, then the data, mapped twice in a row so that no record is split.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const RECORD_HEADER: u64 = 8;

/// Bytes of a page.
pub fn page_size() -> u32 {
    // SAFETY: a constant question.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u32 }
}

/// A memory mapping that is undone when dropped.
struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    fn new(fd: BorrowedFd<'_>, len: usize, offset: usize, prot: i32) -> io::Result<Self> {
        // SAFETY: a new mapping chosen by the kernel; it aliases nothing of ours.
        let at = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                prot,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                offset as libc::off_t,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Self { at: at.cast(), len })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and nobody holds a reference into it any more.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// One ring.
pub struct Ring {
    consumer: Mapping,
    producer: Mapping,
    size: u64,
    /// Where the next record to be looked at starts.
    position: u64,
    /// The producer position when it was last read: no need to touch that cache line before.
    seen: u64,
    /// The consumer position as the kernel knows it.
    released: u64,
}

// SAFETY: the mappings belong to this value alone; the kernel's side is synchronised through
// atomics.
unsafe impl Send for Ring {}

impl Ring {
    /// Maps a ring of `size` bytes (a power of two).
    ///
    /// # Errors
    ///
    /// The map is not a ring buffer of that size, or there is no memory.
    pub fn new(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = page_size() as usize;
        let consumer = Mapping::new(fd, page, 0, libc::PROT_READ | libc::PROT_WRITE)?;
        let producer = Mapping::new(fd, page + 2 * size as usize, page, libc::PROT_READ)?;
        let mut ring = Self { consumer, producer, size: u64::from(size), position: 0, seen: 0, released: 0 };
        ring.position = ring.consumer_position().load(Ordering::Relaxed);
        ring.seen = ring.position;
        ring.released = ring.position;
        Ok(ring)
    }

    fn consumer_position(&self) -> &AtomicU64 {
        // SAFETY: page-aligned, mapped read-write, shared with the kernel as an unsigned long.
        unsafe { AtomicU64::from_ptr(self.consumer.at.cast()) }
    }

    fn producer_position(&self) -> u64 {
        // SAFETY: page-aligned and mapped; only ever read, as the mapping is read-only.
        unsafe { (*self.producer.at.cast::<AtomicU64>()).load(Ordering::Acquire) }
    }

    fn data(&self) -> *const u8 {
        // SAFETY: data follows the producer page inside the same mapping.
        unsafe { self.producer.at.add(self.producer.len - 2 * self.size as usize) }
    }

    /// The first record, if the kernel has finished it. It stays until [`Self::advance`].
    #[inline]
    pub fn peek(&mut self) -> Option<&[u8]> {
        loop {
            if self.position == self.seen {
                self.seen = self.producer_position();
                if self.position == self.seen {
                    return None;
                }
            }
            // SAFETY: below the producer position, so a record header lies there; 8-byte aligned.
            let (header, start) = unsafe {
                let start = self.data().add((self.position & (self.size - 1)) as usize);
                ((*start.cast::<AtomicU32>()).load(Ordering::Acquire), start)
            };
            if header & BUSY != 0 {
                return None;
            }
            let len = header & !(BUSY | DISCARD);
            if header & DISCARD != 0 {
                self.position += record_size(len);
                continue;
            }
            // SAFETY: the data is mapped twice in a row, so that a record of at most `size` bytes
            // never wraps; the kernel does not write to it before the consumer position passes.
            return Some(unsafe {
                std::slice::from_raw_parts(start.add(RECORD_HEADER as usize), len as usize)
            });
        }
    }

    /// Passes over the record that [`Self::peek`] returned, `len` bytes long. Its room goes back
    /// to the kernel with the next [`Self::release`].
    #[inline]
    pub fn advance(&mut self, len: usize) {
        self.position += record_size(len as u32);
    }

    /// Gives the room of all passed records back to the kernel.
    #[inline]
    pub fn release(&mut self) {
        if self.released != self.position {
            self.consumer_position().store(self.position, Ordering::Release);
            self.released = self.position;
        }
    }

    /// Bytes that are passed but not given back.
    #[inline]
    pub fn unreleased(&self) -> u64 {
        self.position - self.released
    }

    /// Bytes waiting to be read.
    pub fn backlog(&self) -> u64 {
        self.producer_position() - self.position
    }

    /// Size of the ring in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

fn record_size(len: u32) -> u64 {
    (u64::from(len) + RECORD_HEADER).next_multiple_of(8)
}
