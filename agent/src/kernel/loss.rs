//! What was lost in the kernel, as differences of its counters.

use agent_ebpf::records::{LossKey, stage};
use aya::maps::{MapData, PerCpuHashMap};
use events::Kind;
use rustc_hash::FxHashMap;

/// A key of the loss map.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(super) struct PodLossKey(pub(super) LossKey);

// SAFETY: `LossKey` is repr(C) without padding (checked at its definition).
unsafe impl aya::Pod for PodLossKey {}

/// A number of lost events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lost {
    /// Where the hook ran; `None` if the kernel does not tell.
    pub cpu: Option<u16>,
    /// What they were; `None` if of several kinds.
    pub kind: Option<Kind>,
    /// Whose they were; `None` if that is not known any more.
    pub cgroup: Option<u64>,
    /// Where they were lost.
    pub stage: &'static str,
    /// How many.
    pub count: u64,
}

/// Remembers what was told already.
pub struct LossCounters {
    map: PerCpuHashMap<MapData, PodLossKey, u64>,
    told: FxHashMap<(LossKey, u16), u64>,
    misses: FxHashMap<&'static str, u64>,
}

fn stage_name(number: u8) -> &'static str {
    match number {
        stage::RING => "ring",
        stage::STORAGE => "storage",
        stage::MAP => "map",
        stage::SKIPPED => "recursion",
        _ => "unknown",
    }
}

impl LossCounters {
    pub(super) fn new(map: PerCpuHashMap<MapData, PodLossKey, u64>) -> Self {
        Self { map, told: FxHashMap::default(), misses: FxHashMap::default() }
    }

    /// What the programs counted since the last call.
    pub(super) fn take(&mut self) -> Vec<Lost> {
        let mut lost = Vec::new();
        let keys: Vec<PodLossKey> = self.map.keys().flatten().collect();
        for key in keys {
            let Ok(values) = self.map.get(&key, 0) else { continue };
            for (cpu, &count) in values.iter().enumerate() {
                if count == 0 {
                    continue;
                }
                let told = self.told.entry((key.0, cpu as u16)).or_insert(0);
                let new = count - *told;
                *told = count;
                if new > 0
                    && let Some(kind) = Kind::from_number(key.0.kind)
                {
                    lost.push(Lost {
                        cpu: Some(cpu as u16),
                        kind: Some(kind),
                        cgroup: (key.0.cgroup != u64::MAX).then_some(key.0.cgroup),
                        stage: stage_name(key.0.stage),
                        count: new,
                    });
                }
            }
        }
        lost
    }

    /// Runs of a program that the kernel has skipped so far, less those that nothing was lost by.
    pub(super) fn take_misses(&mut self, name: &'static str, kind: Kind, count: u64, lost: &mut Vec<Lost>) {
        let told = self.misses.entry(name).or_insert(0);
        let new = count.saturating_sub(*told);
        *told = count.max(*told);
        if new > 0 {
            lost.push(Lost { cpu: None, kind: Some(kind), cgroup: None, stage: "recursion", count: new });
        }
    }
}

/// `BPF_OBJ_GET_INFO_BY_FD` of bpf(2).
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;

#[repr(C)]
struct InfoAttr {
    fd: u32,
    len: u32,
    info: u64,
}

/// How many runs of a program the kernel has skipped as recursions (`bpf_prog_info.recursion_misses`, 5.12 and later).
pub(super) fn recursion_misses(fd: i32) -> Option<u64> {
    // SAFETY: a C struct of integers, for which all zeroes is a value.
    let mut info: aya_obj::generated::bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attr = InfoAttr { fd: fd as u32, len: size_of_val(&info) as u32, info: (&raw mut info) as u64 };
    // SAFETY: the kernel writes at most `len` bytes to `info`, which is that large.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw mut attr, size_of::<InfoAttr>()) };
    (result == 0).then_some(info.recursion_misses)
}
