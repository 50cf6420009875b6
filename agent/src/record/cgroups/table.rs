//! The table of cgroups, and which cgroup each container is identified by: some runtimes reuse ids, so a
//! container is its id together with its cgroup.

use rustc_hash::FxHashMap;

use crate::record::dictionary_rows::CachedRow;
use ktape_reader::containers::{self, Chain};

/// Whether the events of a cgroup are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Decision {
    #[default]
    Unwanted,
    /// No runtime has named its container yet: its events are recorded, and may be dropped.
    Pending,
    Wanted,
}

/// A container: its id, and its cgroup, since some runtimes reuse ids.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Instance {
    pub container: String,
    pub cgroup: u64,
}

/// A cgroup.
#[derive(Clone, Debug, Default)]
pub(super) struct Cgroup {
    /// When it was created, ns of the boot clock; 0 if before the recording.
    pub birth: u64,
    pub path: Vec<u8>,
    pub chain: Chain,
    /// The cgroup of each container of the chain.
    pub instances: Vec<u64>,
    pub decision: Decision,
    pub events: u64,
    pub row: CachedRow,
}

impl Cgroup {
    /// Whether its events are recorded, at least until it is known whether they are wanted.
    pub fn is_wanted(&self) -> bool {
        self.decision != Decision::Unwanted
    }

    /// The id of the innermost container; `None` for the host.
    pub fn container(&self) -> Option<String> {
        self.chain.innermost().map(|inner| inner.id.clone())
    }

    /// Whether it is of this container, or inside.
    pub fn is_inside(&self, instance: &Instance) -> bool {
        let mut both = self.chain.0.iter().zip(&self.instances);
        both.any(|(container, cgroup)| container.id == instance.container && *cgroup == instance.cgroup)
    }

    /// The containers of its chain.
    pub fn all_instances(&self) -> impl Iterator<Item = Instance> {
        let both = self.chain.0.iter().zip(&self.instances);
        both.map(|(container, cgroup)| Instance { container: container.id.clone(), cgroup: *cgroup })
    }
}

/// Cgroups by id.
#[derive(Debug, Default)]
pub(super) struct CgroupTable {
    known: FxHashMap<u64, Cgroup>,
    /// The cgroup of each container that runs now.
    instances: FxHashMap<String, u64>,
    /// How many cgroups were inserted.
    version: u64,
}

impl CgroupTable {
    pub fn get(&self, id: u64) -> Option<&Cgroup> {
        self.known.get(&id)
    }

    pub fn get_mut(&mut self, id: u64) -> Option<&mut Cgroup> {
        self.known.get_mut(&id)
    }

    /// The cgroup with this id, empty if there was none.
    pub fn entry(&mut self, id: u64) -> &mut Cgroup {
        self.known.entry(id).or_default()
    }

    pub fn insert(&mut self, id: u64, cgroup: Cgroup) {
        self.version += 1;
        self.known.insert(id, cgroup);
    }

    /// Changes with every cgroup that becomes known.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The counterpart of a cgroup of another hierarchy: of those with the same path, else of those of the same innermost
    /// container nearest to its root, the one that was created at about the same time. A runtime creates the cgroups of a
    /// container in all hierarchies at once, and may later use its path again.
    pub fn find(&self, path: &[u8], birth: u64) -> Option<u64> {
        let age = |cgroup: &Cgroup| cgroup.birth.abs_diff(birth);
        let same = self.iter().filter(|(_, cgroup)| cgroup.path == path);
        if let Some((id, _)) = same.min_by_key(|(_, cgroup)| age(cgroup)) {
            return Some(id);
        }
        let container = containers::identify(path).innermost()?.id.clone();
        let inside =
            self.iter().filter(|(_, c)| c.chain.innermost().is_some_and(|inner| inner.id == container));
        inside.min_by_key(|(_, cgroup)| (age(cgroup), cgroup.path.len())).map(|(id, _)| id)
    }

    pub fn remove(&mut self, id: u64) -> Option<Cgroup> {
        self.known.remove(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u64, &Cgroup)> {
        self.known.iter().map(|(id, cgroup)| (*id, cgroup))
    }

    /// Pending cgroups of this container and inside it.
    pub fn pending_in(&self, instance: &Instance) -> Vec<u64> {
        let pending = self.iter().filter(|(_, cgroup)| cgroup.decision == Decision::Pending);
        pending.filter(|(_, cgroup)| cgroup.is_inside(instance)).map(|(id, _)| id).collect()
    }

    /// Whether this is the container's own cgroup.
    pub fn is_own(&self, container: &str, id: u64) -> bool {
        self.instances.get(container) == Some(&id)
    }

    /// The cgroups of all containers that run.
    pub fn own_cgroups(&self) -> Vec<u64> {
        self.instances.values().copied().collect()
    }

    /// The cgroup was removed: containers that it identified have none any more. Returns their ids.
    pub fn disown(&mut self, id: u64) -> Vec<String> {
        let chain = self.known.get(&id).map(|cgroup| cgroup.chain.clone()).unwrap_or_default();
        let ids = chain.0.into_iter().map(|container| container.id);
        ids.filter(|container| {
            let own = self.instances.get(container) == Some(&id);
            if own {
                self.instances.remove(container);
            }
            own
        })
        .collect()
    }

    /// The cgroup of each container of a new cgroup's chain.
    pub fn instances_of(&mut self, id: u64, chain: &Chain) -> Vec<u64> {
        let ids = chain.0.iter().map(|container| container.id.clone());
        let mut instances: Vec<u64> = ids.map(|inner| *self.instances.entry(inner).or_insert(id)).collect();
        if let (Some(inner), Some(at)) = (chain.innermost(), instances.last_mut()) {
            *at = self.claim(&inner.id, id, *at);
        }
        instances
    }

    /// `id` is the container's own cgroup. If it was identified by one of a container inside, which was seen first,
    /// it takes that one's place. Returns the cgroup that it is identified by now.
    fn claim(&mut self, container: &str, id: u64, before: u64) -> u64 {
        let own = self.known.get(&before).and_then(|cgroup| cgroup.chain.innermost());
        if own.is_none_or(|own| own.id == container) {
            return before;
        }
        self.instances.insert(container.to_owned(), id);
        for cgroup in self.known.values_mut() {
            for (outer, at) in cgroup.chain.0.iter().zip(&mut cgroup.instances) {
                if outer.id == container && *at == before {
                    *at = id;
                }
            }
        }
        id
    }
}
