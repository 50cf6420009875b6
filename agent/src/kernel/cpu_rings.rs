//! The CPUs' own ring buffers: memory that the programs write and the agent maps, see [`agent_ebpf::records::cpu`].

use std::mem::offset_of;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use agent_ebpf::records::cpu::{
    Cpu, RECORD_MAX, SEGMENT_DATA, SEGMENT_SHIFT, Segment, live, next, shape, word,
};
use aya::maps::{Map, MapData};

use super::config::Rings;
use super::error::LoadError;
use super::object::Object;
use super::ring_buffer::{Mapping, page_size};

/// The maps of all CPUs, mapped.
struct Shared {
    cpus: Mapping,
    segments: Mapping,
    /// Possible CPUs.
    count: u32,
    /// Segments of each ring: a power of two.
    ring_segments: u32,
    /// Rings.
    rings: u32,
}

// SAFETY: shared memory, which is only read and written through atomics, and records that the kernel side has published.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    /// A field of a CPU's state. The CPU is below `count`.
    fn field(&self, cpu: u32, offset: usize) -> *mut u8 {
        assert!(cpu < self.count, "a CPU that is possible");
        // SAFETY: inside the mapping, which has `count` states.
        unsafe { self.cpus.start().add(cpu as usize * size_of::<Cpu>() + offset) }
    }

    fn word(&self, cpu: u32, offset: usize) -> &AtomicU64 {
        // SAFETY: an aligned u64 of a state, in a mapping that lives as long as `self`.
        unsafe { AtomicU64::from_ptr(self.field(cpu, offset).cast()) }
    }

    fn half(&self, cpu: u32, offset: usize) -> &AtomicU32 {
        // SAFETY: an aligned u32 of a state, as above.
        unsafe { AtomicU32::from_ptr(self.field(cpu, offset).cast()) }
    }

    /// Where a position of the ring that begins with this segment is.
    fn at(&self, first: u32, position: u64) -> *const u8 {
        let segment = first + ((position >> SEGMENT_SHIFT) as u32 & (self.ring_segments - 1));
        assert!(segment < self.rings * self.ring_segments, "a segment of the map");
        let offset = (position & (SEGMENT_DATA - 1)) as usize;
        // SAFETY: inside the mapping, which has these segments.
        unsafe { self.segments.start().add(segment as usize * size_of::<Segment>() + offset) }
    }

    /// The first segment of a CPU's ring, if it has one.
    fn first_segment(&self, cpu: u32) -> Option<u32> {
        let has_ring = self.half(cpu, offset_of!(Cpu, has_ring)).load(Ordering::Acquire) != 0;
        has_ring.then(|| self.half(cpu, offset_of!(Cpu, first)).load(Ordering::Relaxed))
    }
}

/// What the agent writes to the state of all CPUs, and reads of it.
#[derive(Clone)]
pub struct CpuStates(Arc<Shared>);

impl std::fmt::Debug for CpuStates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuStates").field("count", &self.0.count).finish_non_exhaustive()
    }
}

/// A call that a CPU's thread was in when the hooks were detached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenCall {
    /// The CPU.
    pub cpu: u32,
    /// When it was entered, ns of the boot clock.
    pub start: u64,
    /// [`events::syscall_key`].
    pub key: u32,
    /// Its record, as far as it was written at the entry.
    pub draft: Vec<u8>,
}

impl CpuStates {
    /// Which threads are recorded is to be decided again.
    pub fn recheck(&self) {
        for cpu in 0..self.0.count {
            self.0.word(cpu, offset_of!(Cpu, recheck)).store(1, Ordering::Release);
        }
    }

    /// Sets boot clock minus monotonic clock, ns.
    pub fn set_offset(&self, offset: u64) {
        for cpu in 0..self.0.count {
            self.0.word(cpu, offset_of!(Cpu, offset)).store(offset, Ordering::Relaxed);
        }
    }

    /// Has the programs define all files again.
    pub fn renew_files(&self) {
        for cpu in 0..self.0.count {
            self.0.word(cpu, offset_of!(Cpu, renewed)).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The calls whose threads have not left their CPU since the entry. True once all hooks are detached.
    pub fn open_calls(&self) -> Vec<OpenCall> {
        (0..self.0.count).filter_map(|cpu| self.open_call(cpu)).collect()
    }

    fn open_call(&self, cpu: u32) -> Option<OpenCall> {
        let first = self.0.first_segment(cpu)?;
        let state = self.0.half(cpu, offset_of!(Cpu, live)).load(Ordering::Relaxed);
        if !matches!(state, live::READY | live::PARTIAL | live::SHARED) {
            return None;
        }
        let load = |offset| self.0.word(cpu, offset).load(Ordering::Relaxed);
        let own_shape = self.0.half(cpu, offset_of!(Cpu, shape)).load(Ordering::Relaxed);
        let len = (shape::words(own_shape) as usize * 8).min(RECORD_MAX as usize);
        let start = self.0.at(first, load(offset_of!(Cpu, head)));
        // SAFETY: a segment has room for the longest record after any offset, and the programs are detached.
        let mut draft = unsafe { std::slice::from_raw_parts(start, len) }.to_vec();
        draft[8 * word::SHAPE..8 * word::RESULT].copy_from_slice(&(u64::from(own_shape) << 32).to_ne_bytes());
        Some(OpenCall {
            cpu,
            start: load(offset_of!(Cpu, start)),
            key: self.0.half(cpu, offset_of!(Cpu, key)).load(Ordering::Relaxed),
            draft,
        })
    }
}

/// The consumer of one CPU's ring.
pub struct CpuRing {
    shared: Arc<Shared>,
    cpu: u32,
    /// The first segment; `None` as long as the CPU has no ring.
    first: Option<u32>,
    /// Where the next record starts.
    position: u64,
    /// The head when it was last read.
    seen: u64,
    /// The position that the programs know.
    released: u64,
}

impl CpuRing {
    /// The CPU.
    pub fn cpu(&self) -> u32 {
        self.cpu
    }

    fn head(&self) -> u64 {
        self.shared.word(self.cpu, offset_of!(Cpu, head)).load(Ordering::Acquire)
    }

    /// The first record. It stays until [`Self::advance`].
    #[inline]
    pub fn peek(&mut self) -> Option<&[u8]> {
        if self.position == self.seen {
            self.seen = self.head();
            if self.position == self.seen {
                return None;
            }
        }
        let first = match self.first {
            Some(first) => first,
            None => {
                self.first = self.shared.first_segment(self.cpu);
                self.first?
            }
        };
        let start = self.shared.at(first, self.position);
        // SAFETY: below the head, so a record starts here, which is complete and has at least two words.
        let words = unsafe { start.cast::<u64>().add(word::SHAPE).read() } >> 32;
        let len = (shape::words(words as u32) as usize * 8).clamp(8 * word::RESULT, RECORD_MAX as usize);
        // SAFETY: a segment has room for the longest record after any offset; no program writes here until the tail has
        // passed.
        Some(unsafe { std::slice::from_raw_parts(start, len) })
    }

    /// Passes over the record that [`Self::peek`] returned, `len` bytes long.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        self.position = next(self.position, len as u64);
    }

    /// Returns the space of all passed records to the programs.
    #[inline]
    pub fn release(&mut self) {
        if self.released != self.position {
            let tail = self.shared.word(self.cpu, offset_of!(Cpu, tail));
            tail.store(self.position, Ordering::Release);
            self.released = self.position;
        }
    }

    /// Bytes that are passed but not returned.
    #[inline]
    pub fn unreleased(&self) -> u64 {
        self.position - self.released
    }

    /// Bytes that wait to be read.
    pub fn backlog(&self) -> u64 {
        self.head() - self.position
    }

    /// Size, bytes.
    pub fn size(&self) -> u64 {
        u64::from(self.shared.ring_segments) << SEGMENT_SHIFT
    }
}

/// Maps the rings of `count` CPUs.
pub(super) fn map(
    object: &Object,
    count: u32,
    counts: Rings,
) -> Result<(CpuStates, Vec<CpuRing>), LoadError> {
    let Rings { of_cpus: rings, segments: ring_segments, .. } = counts;
    let cpus = map_array(object, "CPUS", count as usize * size_of::<Cpu>())?;
    let segments = map_array(object, "SEGMENTS", (rings * ring_segments) as usize * size_of::<Segment>())?;
    let shared = Arc::new(Shared { cpus, segments, count, ring_segments, rings });
    for cpu in 0..count {
        shared.word(cpu, offset_of!(Cpu, number)).store(u64::from(cpu), Ordering::Relaxed);
    }
    let rings = (0..count)
        .map(|cpu| CpuRing { shared: shared.clone(), cpu, first: None, position: 0, seen: 0, released: 0 })
        .collect();
    Ok((CpuStates(shared), rings))
}

/// Maps the values of an array, for reading and writing.
fn map_array(object: &Object, name: &'static str, len: usize) -> Result<Mapping, LoadError> {
    let Some(Map::Array(map)) = object.map(name) else { return Err(LoadError::Missing(name)) };
    let map: &MapData = map;
    let fd: BorrowedFd<'_> = map.fd().as_fd();
    let len = len.next_multiple_of(page_size() as usize);
    Mapping::new(fd, len, 0, libc::PROT_READ | libc::PROT_WRITE)
        .map_err(|source| LoadError::Io { what: "map a ring buffer", source })
}

/// The number of segments of a ring that holds at least `bytes` bytes: a power of two.
pub fn segments(bytes: u64) -> u32 {
    u32::try_from(bytes.div_ceil(SEGMENT_DATA)).unwrap_or(1 << 14).next_power_of_two()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_ends_in_the_slack_is_followed_by_the_next_segment() {
        assert_eq!(next(0, 24), 24);
        assert_eq!(next(SEGMENT_DATA - 24, 24), SEGMENT_DATA);
        assert_eq!(next(SEGMENT_DATA - 8, RECORD_MAX), SEGMENT_DATA);
        assert_eq!(next(7 * SEGMENT_DATA + 16, 48), 7 * SEGMENT_DATA + 64);
    }

    #[test]
    fn a_ring_has_a_power_of_two_of_segments() {
        assert_eq!([1, 64 << 10, (64 << 10) + 1, 8 << 20].map(segments), [1, 1, 2, 128]);
        assert_eq!(segments(9 << 20), 256);
    }
}
