//! Events lost in the kernel, as differences of its counters.

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
pub struct EventLoss {
    /// The CPU that the hook ran on; `None` if the kernel does not report it.
    pub cpu: Option<u16>,
    /// `None` for events of several kinds.
    pub kind: Option<Kind>,
    /// The cgroup of the thread; `None` if it is not known any more.
    pub cgroup: Option<u64>,
    /// The stage that lost them.
    pub stage: &'static str,
    /// Number of events.
    pub count: u64,
}

/// The loss counters of the programs, with the values that were reported before.
pub struct LossCounters {
    map: PerCpuHashMap<MapData, PodLossKey, u64>,
    reported: FxHashMap<(LossKey, u16), u64>,
    /// Missed runs, by program.
    reported_missed: FxHashMap<&'static str, u64>,
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
        Self { map, reported: FxHashMap::default(), reported_missed: FxHashMap::default() }
    }

    /// Losses that the programs counted since the last call.
    pub(super) fn take(&mut self) -> Vec<EventLoss> {
        let mut lost = Vec::new();
        let keys: Vec<PodLossKey> = self.map.keys().flatten().collect();
        for key in keys {
            let Ok(values) = self.map.get(&key, 0) else { continue };
            for (cpu, &count) in values.iter().enumerate() {
                if count == 0 {
                    continue;
                }
                let reported = self.reported.entry((key.0, cpu as u16)).or_insert(0);
                let new = count - *reported;
                *reported = count;
                if new > 0
                    && let Some(kind) = Kind::from_number(key.0.kind)
                {
                    lost.push(EventLoss {
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

    /// Adds the losses by runs of a program that the kernel has skipped since the last call; `count` is the total of
    /// such runs that lost an event.
    pub(super) fn take_missed(
        &mut self,
        name: &'static str,
        kind: Kind,
        count: u64,
        lost: &mut Vec<EventLoss>,
    ) {
        let reported = self.reported_missed.entry(name).or_insert(0);
        let new = count.saturating_sub(*reported);
        *reported = count.max(*reported);
        if new > 0 {
            lost.push(EventLoss {
                cpu: None,
                kind: Some(kind),
                cgroup: None,
                stage: "recursion",
                count: new,
            });
        }
    }
}
