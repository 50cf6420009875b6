//! The processes that read the recorder's output, for the programs in the kernel.

use agent_ebpf::config::reader;
use aya::maps::{HashMap, MapData};

use super::cpu_rings::CpuStates;

/// Excluded processes. Dropping this changes nothing.
#[derive(Debug)]
pub struct ReaderSet(Option<(HashMap<MapData, u32, u32>, CpuStates)>);

impl ReaderSet {
    pub(super) fn new(map: HashMap<MapData, u32, u32>, cpus: CpuStates) -> Self {
        Self(Some((map, cpus)))
    }

    /// One without programs, for tests.
    #[cfg(test)]
    pub fn none() -> Self {
        Self(None)
    }

    /// Events of this process are not recorded from here on, nor are those of its later `children`.
    pub fn exclude(&mut self, pid: u32, children: bool) {
        let bits = reader::EXCLUDED | if children { reader::CHILDREN } else { 0 };
        if let Some((map, cpus)) = &mut self.0 {
            if let Err(error) = map.insert(pid, bits, 0) {
                tracing::warn!(%error, pid, "cannot exclude a process that reads the output");
            }
            cpus.recheck();
        }
    }

    /// Events of this process are recorded again.
    pub fn include(&mut self, pid: u32) {
        if let Some((map, cpus)) = &mut self.0 {
            // It may never have had room.
            let _ = map.remove(&pid);
            cpus.recheck();
        }
    }
}
