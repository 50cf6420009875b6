//! Creates the ring buffers: an event ring buffer and a lifecycle ring buffer per CPU.

use std::os::fd::{AsFd, BorrowedFd};

use aya::maps::{MapData, MapError};

use super::bpf;
use super::cpu_rings::CpuRing;
use super::error::{LoadError, map_error};
use super::ring_buffer::{RingBuffer, page_size};

/// `BPF_MAP_TYPE_RINGBUF`.
const MAP_TYPE_RINGBUF: u32 = 27;

/// The ring buffers of a capture, indexed by CPU.
pub struct RingBuffers {
    /// The CPUs' own ring buffers: system calls and context switches.
    pub cpus: Vec<CpuRing>,
    /// Event ring buffers: all other frequent events.
    pub events: Vec<RingBuffer>,
    /// Lifecycle ring buffers.
    pub lifecycle: Vec<RingBuffer>,
}

/// Creates `count` ring buffers of at least `bytes` each, and puts them into this array, which has this name.
pub(super) fn create_ring_buffers(
    outer: &MapData,
    name: &'static str,
    count: u32,
    bytes: u32,
) -> Result<Vec<RingBuffer>, LoadError> {
    let size = bytes.next_power_of_two().max(page_size());
    let create = || {
        let definition = aya_obj::Map::new_from_params(MAP_TYPE_RINGBUF, 0, 0, size, 0);
        MapData::create(definition, "ktape_ring", None).map_err(|error| match &error {
            MapError::CreateError { io_error, .. } if io_error.raw_os_error() == Some(libc::ENOMEM) => {
                LoadError::RingMemory { bytes: size, cpus: count }
            }
            _ => map_error(name)(error),
        })
    };
    let maps = (0..count).map(|_| create()).collect::<Result<Vec<MapData>, _>>()?;
    let fds: Vec<BorrowedFd<'_>> = maps.iter().map(|map| map.fd().as_fd()).collect();
    let io = |what| move |source| LoadError::Io { what, source };
    bpf::set_maps(outer.fd().as_fd(), &fds).map_err(io("put ring buffers into their array"))?;
    let rings = fds.iter().map(|fd| RingBuffer::new(*fd, size));
    rings.collect::<Result<_, _>>().map_err(io("map a ring buffer"))
}

/// One more than the highest CPU that is online now. A CPU that comes online later shares the last ring buffer.
pub fn online_cpus() -> u32 {
    let highest = aya::util::online_cpus().ok().and_then(|cpus| cpus.into_iter().max()).unwrap_or(0);
    highest + 1
}

/// CPUs that can come online, by the highest number.
pub fn possible_cpus() -> u32 {
    aya::util::nr_cpus().ok().and_then(|count| u32::try_from(count).ok()).unwrap_or(1).max(online_cpus())
}

/// Rings for the CPUs themselves: one for each that is online, and some for those that come online later.
pub fn cpu_rings() -> u32 {
    let (online, possible) = (online_cpus(), possible_cpus());
    possible.min(online + (online / 2).max(2))
}
