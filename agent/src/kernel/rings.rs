//! Making the rings: one for each CPU and purpose.

use std::os::fd::AsFd;

use aya::Ebpf;
use aya::maps::{ArrayOfMaps, MapData, MapError};

use super::error::{LoadError, map_error};
use super::maps::take;
use super::ring::{Ring, page_size};

/// `BPF_MAP_TYPE_RINGBUF`.
const MAP_TYPE_RINGBUF: u32 = 27;

/// The rings of a capture, by CPU.
pub struct Rings {
    /// Syscalls.
    pub flood: Vec<Ring>,
    /// Lifecycle events.
    pub lifecycle: Vec<Ring>,
}

/// One ring for each CPU, in the array of this name.
pub(super) fn make_rings(
    ebpf: &mut Ebpf,
    name: &'static str,
    count: u32,
    bytes: u32,
) -> Result<(Vec<Ring>, ArrayOfMaps<MapData, MapData>), LoadError> {
    let mut outer: ArrayOfMaps<MapData, MapData> = take(ebpf, name)?;
    let size = bytes.next_power_of_two().max(page_size());
    let mut rings = Vec::new();
    for index in 0..count {
        let definition = aya_obj::Map::new_from_params(MAP_TYPE_RINGBUF, 0, 0, size, 0);
        let map = MapData::create(definition, "ktape_ring", None).map_err(|error| match &error {
            MapError::CreateError { io_error, .. } if io_error.raw_os_error() == Some(libc::ENOMEM) => {
                LoadError::RingMemory { bytes: size, cpus: count }
            }
            _ => map_error(name)(error),
        })?;
        outer.set(index, &map, 0).map_err(map_error(name))?;
        let ring = Ring::new(map.fd().as_fd(), size)
            .map_err(|source| LoadError::Io { what: "map a ring", source })?;
        rings.push(ring);
    }
    Ok((rings, outer))
}

/// One more than the highest CPU that is online now; a CPU that comes later shares the last ring.
pub fn online_cpus() -> u32 {
    let highest = aya::util::online_cpus().ok().and_then(|cpus| cpus.into_iter().max()).unwrap_or(0);
    highest + 1
}
