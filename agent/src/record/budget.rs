//! How large the ring buffers are, and whether there is memory for them.

use agent_ebpf::records::cpu::{SEGMENT_DATA, Segment};

use super::memory::{self, BESIDE_RINGS, Room};
use super::request::RecordError;
use crate::kernel::cpu_rings;

/// Largest ring buffer of a CPU for system calls and switches by default, in bytes.
const RING_MAX: u64 = 8 << 20;
/// Smallest one, in bytes: the largest record must fit a few times.
pub const RING_MIN: u64 = 64 << 10;
/// Largest one that can be requested, in bytes.
pub const RING_LARGEST: u64 = 1 << 30;
/// Smallest lifecycle ring buffer of a CPU, in bytes.
const LIFECYCLE_MIN: u64 = 256 << 10;
/// Bytes of each CPU's ring buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RingSizes {
    /// For system calls and switches.
    pub calls: u64,
    /// For other frequent events.
    pub events: u64,
    pub lifecycle: u64,
}

impl RingSizes {
    /// The requested size, or about 1 % of the memory in all, for this many CPUs.
    ///
    /// # Errors
    /// There is not enough memory left.
    pub fn choose(requested: Option<u64>, cpus: u64) -> Result<Self, RecordError> {
        Self::within(requested, cpus, memory::room())
    }

    /// Bytes of the ring buffers of this many CPUs.
    pub fn total(self, cpus: u64) -> u64 {
        cpus * (segments_size(self.calls) + self.events + self.lifecycle)
    }

    fn within(requested: Option<u64>, cpus: u64, room: Room) -> Result<Self, RecordError> {
        let calls = ring_size(requested, room.limit, cpus);
        let events = (calls / 2).max(RING_MIN);
        let sizes = Self { calls, events, lifecycle: (calls / 8).max(LIFECYCLE_MIN) };
        let rings = sizes.total(cpus);
        if rings + BESIDE_RINGS > room.left {
            return Err(RecordError::Memory { rings, left: room.left, cgroup: room.cgroup });
        }
        Ok(sizes)
    }
}

/// Bytes of memory that a ring buffer of segments takes.
fn segments_size(bytes: u64) -> u64 {
    bytes / SEGMENT_DATA * size_of::<Segment>() as u64
}

/// How much memory a recording with the default options takes at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryNeed {
    /// Bytes of all ring buffers.
    pub ring_buffers: u64,
    /// CPUs that have ring buffers.
    pub cpus: u64,
    /// Bytes of the recorder and of the other maps of its programs.
    pub rest: u64,
}

impl MemoryNeed {
    /// On this machine.
    ///
    /// # Errors
    /// There is not enough memory left.
    pub fn by_default() -> Result<Self, RecordError> {
        let cpus = u64::from(cpu_rings());
        let sizes = RingSizes::choose(None, cpus)?;
        Ok(Self { ring_buffers: sizes.total(cpus), cpus, rest: BESIDE_RINGS })
    }
}

/// Bytes of each CPU's ring buffer for calls: a power of two.
fn ring_size(requested: Option<u64>, memory: u64, cpus: u64) -> u64 {
    // The other ring buffers of a CPU take about as much again.
    let size = requested.unwrap_or(memory / 200 / cpus.max(1)).clamp(RING_MIN, RING_LARGEST);
    // Rounding a default up would exceed the budget.
    match requested {
        Some(_) => size.next_power_of_two(),
        None => (1 << size.ilog2()).min(RING_MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_powers_of_two_within_the_budget() {
        let gib = 1 << 30;
        // Half of 1 % of 24 GiB on two CPUs would be 64 MB each.
        assert_eq!(ring_size(None, 24 * gib, 2), 8 << 20);
        // The same of 16 GiB on 128 CPUs is 0.7 MB each.
        assert_eq!(ring_size(None, 16 * gib, 128), 512 << 10);
        assert_eq!(ring_size(None, gib / 4, 64), RING_MIN);
        assert_eq!(ring_size(Some(1), gib, 2), RING_MIN);
        assert_eq!(ring_size(Some(5 << 20), gib, 2), 8 << 20);
        assert_eq!(ring_size(Some(64 << 20), gib, 2), 64 << 20);
    }

    #[test]
    fn rings_that_exceed_what_is_left_are_refused() {
        let room = |left| Room { limit: 1 << 30, left, cgroup: Some("/c".into()) };
        let sizes = RingSizes::within(Some(1 << 20), 2, room(1 << 30)).unwrap();
        assert_eq!(sizes, RingSizes { calls: 1 << 20, events: 1 << 19, lifecycle: LIFECYCLE_MIN });
        let needed = 2 * (16 * (80 << 10) + sizes.events + sizes.lifecycle) + BESIDE_RINGS;
        assert!(RingSizes::within(Some(1 << 20), 2, room(needed)).is_ok());
        let error = RingSizes::within(Some(1 << 20), 2, room(needed - 1)).unwrap_err();
        let RecordError::Memory { rings, left, cgroup } = error else { panic!("{error}") };
        assert_eq!((rings, left, cgroup), (needed - BESIDE_RINGS, needed - 1, Some("/c".into())));
    }
}
