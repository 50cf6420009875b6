//! The consumer of one BPF ring buffer.
//!
//! It can look at the first record without removing it, so that ring buffers are merged by time in place, without
//! copying.
//! Layout (`kernel/bpf/ringbuf.c`): a page with the consumer position, a page with the producer
//! position, then the data. It can be mapped twice in a row, so that no record is split, but then its memory is counted twice
//! for the process; here the few records that are split are put together in a buffer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

const BUSY: u32 = 1 << 31;
const DISCARD: u32 = 1 << 30;
const RECORD_HEADER: u64 = 8;

/// The page size, bytes.
pub fn page_size() -> u32 {
    // SAFETY: takes a constant and no pointers.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as u32 }
}

/// A memory mapping; unmapped when dropped.
pub(super) struct Mapping {
    at: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes from `offset` on, shared.
    pub(super) fn new(fd: BorrowedFd<'_>, len: usize, offset: usize, prot: i32) -> io::Result<Self> {
        // SAFETY: a new mapping at an address that the kernel chooses; it aliases nothing.
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

impl Mapping {
    /// Where it starts.
    pub(super) fn start(&self) -> *mut u8 {
        self.at
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped in `new`, and no reference into it is left.
        unsafe { libc::munmap(self.at.cast(), self.len) };
    }
}

/// One ring buffer.
pub struct RingBuffer {
    consumer: Mapping,
    producer: Mapping,
    size: u64,
    /// Where the next record starts.
    position: u64,
    /// The producer position when it was last read; its cache line is not read again until the position gets there.
    seen: u64,
    /// The consumer position as the kernel knows it.
    released: u64,
    /// The first record, if the end of the data splits it.
    whole: Vec<u8>,
}

// SAFETY: the mappings belong to this value alone; the kernel's side is synchronized through atomics.
unsafe impl Send for RingBuffer {}

impl RingBuffer {
    /// Maps a ring buffer of `size` bytes (a power of two).
    ///
    /// # Errors
    ///
    /// The map is not a ring buffer of that size, or memory is exhausted.
    pub fn new(fd: BorrowedFd<'_>, size: u32) -> io::Result<Self> {
        let page = page_size() as usize;
        let consumer = Mapping::new(fd, page, 0, libc::PROT_READ | libc::PROT_WRITE)?;
        let producer = Mapping::new(fd, page + size as usize, page, libc::PROT_READ)?;
        let size = u64::from(size);
        let mut ring =
            Self { consumer, producer, size, position: 0, seen: 0, released: 0, whole: Vec::new() };
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
        // SAFETY: page-aligned and mapped; the mapping is read-only, and nothing here writes to it.
        unsafe { (*self.producer.at.cast::<AtomicU64>()).load(Ordering::Acquire) }
    }

    fn data(&self) -> *const u8 {
        // SAFETY: data follows the producer page inside the same mapping.
        unsafe { self.producer.at.add(self.producer.len - self.size as usize) }
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
            // SAFETY: below the producer position, so there is a record header, aligned to 8 bytes.
            let header = unsafe {
                let start = self.data().add((self.position & (self.size - 1)) as usize);
                (*start.cast::<AtomicU32>()).load(Ordering::Acquire)
            };
            if header & BUSY != 0 {
                return None;
            }
            let len = header & !(BUSY | DISCARD);
            if header & DISCARD != 0 {
                self.position += record_size(len);
                continue;
            }
            let len = len as usize;
            let first = (self.position + RECORD_HEADER) & (self.size - 1);
            // SAFETY: below the size. The kernel does not write to a record until the consumer position has passed it.
            let first = unsafe { self.data().add(first as usize) };
            // SAFETY: inside the mapping, or one byte after it.
            let to_end = unsafe { self.data().add(self.size as usize).offset_from(first) } as usize;
            if len <= to_end {
                // SAFETY: a finished record that ends before the data does.
                return Some(unsafe { std::slice::from_raw_parts(first, len) });
            }
            // SAFETY: the two parts of a finished record that is shorter than the data.
            let parts = unsafe {
                [
                    std::slice::from_raw_parts(first, to_end),
                    std::slice::from_raw_parts(self.data(), len - to_end),
                ]
            };
            self.whole.clear();
            parts.iter().for_each(|part| self.whole.extend_from_slice(part));
            return Some(&self.whole);
        }
    }

    /// Passes over the record that [`Self::peek`] returned, `len` bytes long. Its space returns to
    /// the kernel with the next [`Self::release`].
    #[inline]
    pub fn advance(&mut self, len: usize) {
        self.position += record_size(len as u32);
    }

    /// Returns the space of all passed records to the kernel.
    #[inline]
    pub fn release(&mut self) {
        if self.released != self.position {
            self.consumer_position().store(self.position, Ordering::Release);
            self.released = self.position;
        }
    }

    /// Bytes that are passed but not returned to the kernel.
    #[inline]
    pub fn unreleased(&self) -> u64 {
        self.position - self.released
    }

    /// Bytes that wait to be read.
    pub fn backlog(&self) -> u64 {
        self.producer_position() - self.position
    }

    /// Size, bytes.
    pub fn size(&self) -> u64 {
        self.size
    }
}

fn record_size(len: u32) -> u64 {
    (u64::from(len) + RECORD_HEADER).next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, FromRawFd};
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_record_that_the_end_of_the_data_splits_is_put_together() {
        // SAFETY: a name with its NUL; the descriptor is new.
        let file = unsafe { File::from_raw_fd(libc::memfd_create(c"ring".as_ptr(), 0)) };
        let page = u64::from(page_size());
        // Consumer page, producer page, one page of data.
        file.set_len(3 * page).unwrap();
        let write = |at: u64, bytes: &[u8]| file.write_all_at(bytes, at).unwrap();
        let mut ring = RingBuffer::new(file.as_fd(), page_size()).unwrap();
        let first = page - 96;
        write(2 * page, &(first as u32 - 8).to_ne_bytes());
        write(page, &first.to_ne_bytes());
        assert_eq!(ring.peek().unwrap().len() as u64, first - 8);
        ring.advance(first as usize - 8);
        ring.release();
        // 88 bytes of the second one are before the end, 112 at the start.
        let second: Vec<u8> = (0..200).collect();
        write(2 * page + first, &200u32.to_ne_bytes());
        write(2 * page + first + 8, &second[..88]);
        write(2 * page, &second[88..]);
        write(page, &(first + 208).to_ne_bytes());
        assert_eq!(ring.peek(), Some(&second[..]));
        ring.advance(200);
        assert_eq!(ring.peek(), None);
        assert_eq!(ring.backlog(), 0);
    }
}
