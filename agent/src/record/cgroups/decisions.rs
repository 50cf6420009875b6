//! Which cgroups are wanted: by their path, or by what a runtime reports of their containers.

use std::collections::VecDeque;

use capture_format::MetadataRecord;
use rustc_hash::FxHashMap;

use super::table::{Cgroup, CgroupTable, Decision, Instance};
use super::{Cgroups, LastAnswer};
use crate::clock::boot_ns;
use crate::containers::ContainerFilter;
use crate::runtimes::ContainerInfo;
use ktape_reader::containers::Chain;
use ktape_reader::model::attribute_names as names;

/// How long a runtime has to name a container that may be wanted, ns.
pub(super) const NAMING_TIMEOUT: u64 = 10_000_000_000;

/// Containers whose names are kept for the summary at the end.
const NAMES_MAX: usize = 8192;

/// A cgroup that is pending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PendingCgroup {
    pub cgroup: u64,
    /// The chunk at hand when it appeared.
    pub chunk: u64,
    /// When it appeared, ns of the boot clock.
    pub since: u64,
}

/// What decided about a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DecidedBy {
    Runtime,
    Timeout,
}

/// Decisions so far, and pending cgroups.
#[derive(Debug)]
pub(super) struct Decisions {
    /// Whether a container is wanted, for those that were named or whose deadline has passed.
    made: FxHashMap<Instance, bool>,
    /// In order of appearance; some may have been decided since.
    pending: VecDeque<PendingCgroup>,
    /// Cgroups that turned out to be unwanted.
    unwanted: Vec<u64>,
    /// Something was decided since the last chunk was handed over.
    changed: bool,
    /// The number of the chunk at hand.
    chunk: u64,
    /// A cgroup was pending at some time since that chunk was begun.
    chunk_has_pending: bool,
    /// The time of the drain's round, ns of the boot clock.
    now: u64,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            made: FxHashMap::default(),
            pending: VecDeque::new(),
            unwanted: Vec::new(),
            changed: false,
            chunk: 0,
            chunk_has_pending: false,
            now: boot_ns(),
        }
    }
}

impl Decisions {
    /// Whether a cgroup with this chain is wanted, as far as that is known.
    pub fn decide(&self, filter: &ContainerFilter, chain: &Chain, instances: &[u64]) -> Decision {
        if filter.is_open() || filter.wants_by_id(chain) {
            return Decision::Wanted;
        }
        if chain.is_host() || !filter.needs_names() {
            return Decision::Unwanted;
        }
        let made = || {
            chain.0.iter().zip(instances).map(|(container, cgroup)| {
                self.made.get(&Instance { container: container.id.clone(), cgroup: *cgroup }).copied()
            })
        };
        if made().any(|made| made == Some(true)) {
            Decision::Wanted
        } else if made().any(|made| made.is_none()) {
            Decision::Pending
        } else {
            Decision::Unwanted
        }
    }

    pub fn add_pending(&mut self, cgroup: u64) {
        self.pending.push_back(PendingCgroup { cgroup, chunk: self.chunk, since: self.now });
        self.chunk_has_pending = true;
    }

    /// The cgroup that has been pending longest.
    pub fn oldest_pending(&mut self, table: &CgroupTable) -> Option<PendingCgroup> {
        while let Some(oldest) = self.pending.front().copied() {
            if table.get(oldest.cgroup).is_some_and(|cgroup| cgroup.decision == Decision::Pending) {
                return Some(oldest);
            }
            self.pending.pop_front();
        }
        None
    }

    /// Whether it was decided about this container.
    fn is_made(&self, instance: &Instance) -> bool {
        self.made.contains_key(instance)
    }

    fn make(&mut self, instance: Instance, wanted: bool) {
        self.made.insert(instance, wanted);
        self.changed = true;
    }

    /// Whether no runtime has named the container of this cgroup in time.
    fn is_overdue(&self, pending: &PendingCgroup) -> bool {
        self.now.saturating_sub(pending.since) >= NAMING_TIMEOUT
    }

    fn add_unwanted(&mut self, cgroup: u64) {
        self.unwanted.push(cgroup);
    }

    pub fn set_time(&mut self, now: u64) {
        self.now = now;
    }

    pub fn take_unwanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unwanted)
    }

    pub fn is_changed(&self) -> bool {
        self.changed
    }

    pub fn set_changed(&mut self) {
        self.changed = true;
    }

    pub fn begin_chunk(&mut self, number: u64, has_pending: bool) {
        self.chunk = number;
        self.chunk_has_pending = has_pending;
    }

    /// The number of the chunk that is handed over, and whether it may have events of pending cgroups.
    pub fn close_chunk(&mut self) -> (u64, bool) {
        self.changed = false;
        (self.chunk, self.chunk_has_pending)
    }

    /// The container will have no more events.
    pub fn forget(&mut self, container: &str, cgroup: u64) {
        self.made.remove(&Instance { container: container.to_owned(), cgroup });
    }
}

impl Cgroups {
    /// Sets the current time, ns of the boot clock.
    pub fn set_time(&mut self, now: u64) {
        self.decisions.set_time(now);
    }

    /// A runtime reported a container.
    pub fn learn(&mut self, info: ContainerInfo) {
        let get = |name: &str| info.values.iter().find(|(known, _)| known == name).map(|(_, v)| v.as_str());
        let instance = Instance { container: info.id.clone(), cgroup: info.key.cgroup };
        // A report of its end alone decides nothing.
        if self.filter.needs_names() && get(names::NAME).is_some() && !self.decisions.is_made(&instance) {
            let wanted = self.filter.matches(get);
            self.decide(instance, wanted, DecidedBy::Runtime);
        }
        if let Some(name) = get(names::NAME)
            && (self.names.len() < NAMES_MAX || self.names.contains_key(&info.id))
        {
            let image = get(names::IMAGE).map_or(String::new(), |image| format!(" ({image})"));
            self.names.insert(info.id.clone(), format!("{name}{image}"));
        }
        // Metadata of other containers stay out of the file, too.
        let is_wanted = |cgroup: &Cgroup| self.filter.is_open() || cgroup.decision == Decision::Wanted;
        if self.table.get(info.key.cgroup).is_none_or(is_wanted) {
            self.updates.names.push(MetadataRecord { key: info.key, values: info.values });
        }
    }

    /// Decides whether a container is wanted, and with it all cgroups that were pending for it alone.
    fn decide(&mut self, instance: Instance, wanted: bool, by: DecidedBy) {
        let open = self.table.pending_in(&instance);
        self.decisions.make(instance, wanted);
        for id in open {
            let Some(cgroup) = self.table.get_mut(id) else { continue };
            cgroup.decision = self.decisions.decide(&self.filter, &cgroup.chain, &cgroup.instances);
            match cgroup.decision {
                Decision::Wanted => {
                    self.updates.accepted.push(id);
                    self.has_matched = true;
                }
                Decision::Unwanted => {
                    self.decisions.add_unwanted(id);
                    if by == DecidedBy::Runtime {
                        self.updates.rejected.push(id);
                    }
                }
                Decision::Pending => {}
            }
        }
        self.last = LastAnswer::NONE;
    }

    /// Decides against containers that no runtime has named in time, and reports to the runtimes those that there was
    /// no room for.
    pub fn check_timeouts(&mut self) {
        while let Some(oldest) = self.decisions.oldest_pending(&self.table)
            && self.decisions.is_overdue(&oldest)
        {
            let Some(cgroup) = self.table.get(oldest.cgroup) else { break };
            for instance in cgroup.all_instances().collect::<Vec<_>>() {
                if !self.decisions.is_made(&instance) {
                    self.decide(instance, false, DecidedBy::Timeout);
                }
            }
        }
        self.check_io();
        if let Some(runtimes) = &mut self.runtimes {
            runtimes.retry();
        }
    }
}
