//! Cgroups by id, and the containers that they belong to.

mod charged;
mod decisions;
mod retired;
mod row;
mod runtime_queue;
mod table;

#[cfg(test)]
mod tests;

use capture_format::MetadataKey;
use rustc_hash::FxHashMap;

pub use self::retired::Busy;

use self::charged::IoCgroups;
use self::decisions::Decisions;
use self::retired::Retired;
use self::runtime_queue::RuntimeQueue;
use self::table::{Cgroup, CgroupTable, Decision};
use super::chunk::ContainerUpdates;
use super::columns::Dictionaries;
use super::dictionary_rows::CachedRow;
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::runtimes::{NewContainer, RuntimeHandle};
use crate::sample::{CgroupNotifier, NewCgroup};
use ktape_reader::containers;
use ktape_reader::model::dictionaries::{PARENT_ON_HOST, Shown};

/// The last answer of [`Cgroups::wants`]: most events follow another one of the same cgroup.
#[derive(Clone, Copy, Debug)]
struct LastAnswer {
    cgroup: u64,
    wanted: bool,
}

impl LastAnswer {
    /// There is no cgroup with this id.
    const NONE: Self = Self { cgroup: u64::MAX, wanted: false };
}

/// All known cgroups.
pub struct Cgroups {
    hierarchy: Hierarchy,
    filter: ContainerFilter,
    table: CgroupTable,
    last: LastAnswer,
    /// The row that stands for all hidden cgroups.
    hidden: CachedRow,
    retired: Retired,
    decisions: Decisions,
    /// Updates since the last chunk.
    updates: ContainerUpdates,
    /// The cgroups that block I/O is charged to, if they are of another hierarchy.
    io: Option<IoCgroups>,
    /// Resolves names of containers.
    runtimes: Option<RuntimeQueue>,
    /// Samples cgroups.
    sampler: Option<CgroupNotifier>,
    /// Names and images of containers by full id, for the summary at the end.
    names: FxHashMap<String, String>,
    /// Whether the filter has let any cgroup in.
    has_matched: bool,
}

impl Cgroups {
    /// None is known yet.
    pub fn none(hierarchy: Hierarchy, filter: ContainerFilter) -> Self {
        Self {
            hierarchy,
            filter,
            table: CgroupTable::default(),
            last: LastAnswer::NONE,
            hidden: CachedRow::default(),
            retired: Retired::default(),
            decisions: Decisions::default(),
            updates: ContainerUpdates::default(),
            io: None,
            runtimes: None,
            sampler: None,
            names: FxHashMap::default(),
            has_matched: false,
        }
    }

    /// Whether the filter has let any cgroup in, or there is no filter.
    pub fn has_matched(&self) -> bool {
        self.filter.is_open() || self.has_matched
    }

    /// Scans the mounted hierarchy.
    pub fn scan(hierarchy: Hierarchy, filter: ContainerFilter) -> Self {
        let mut cgroups = Self::none(hierarchy, filter);
        if !cgroups.hierarchy.is_whole() {
            tracing::warn!(
                "only a part of the cgroup hierarchy is visible: events of containers that run already may be \
                 attributed to the host; in a container, run ktape with the host's cgroups (--cgroupns=host, \
                 -v /:/host:ro)"
            );
        }
        match cgroups.hierarchy.scan() {
            Ok(found) => {
                for (id, path) in found {
                    cgroups.insert(id, 0, path);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot list the cgroups: each is known only from its first event on");
            }
        }
        cgroups
    }

    /// Adds a cgroup; returns whether its events are recorded.
    fn insert(&mut self, id: u64, birth: u64, path: Vec<u8>) -> bool {
        let chain = containers::identify(&path);
        let instances = self.table.instances_of(id, &chain);
        let decision = self.decisions.decide(&self.filter, &chain, &instances);
        match decision {
            Decision::Pending => self.decisions.add_pending(id),
            Decision::Wanted if self.filter.needs_names() => self.updates.accepted.push(id),
            Decision::Wanted | Decision::Unwanted => {}
        }
        self.has_matched |= decision == Decision::Wanted;
        self.table.insert(id, Cgroup { birth, path, chain, instances, decision, ..Cgroup::default() });
        self.last = LastAnswer::NONE;
        self.report_container(id);
        decision != Decision::Unwanted
    }

    /// Reports a container to the runtimes if this is its own cgroup.
    fn report_container(&mut self, id: u64) {
        let Some(runtimes) = &mut self.runtimes else { return };
        let Some(cgroup) = self.table.get(id) else { return };
        let Some(inner) = cgroup.chain.innermost() else { return };
        if !self.table.is_own(&inner.id, id) {
            return;
        }
        let key = MetadataKey { boot_id: runtimes.boot_id(), cgroup: id, birth: cgroup.birth };
        runtimes.started(NewContainer { key, id: inner.id.clone(), runtime: inner.runtime });
    }

    /// Reports containers to the runtimes from here on, beginning with those that already run.
    pub fn resolve_with(&mut self, runtimes: RuntimeHandle, boot_id: [u8; 16]) {
        self.runtimes = Some(RuntimeQueue::new(runtimes, boot_id));
        for id in self.table.own_cgroups() {
            self.report_container(id);
        }
    }

    /// Stops reporting containers to the runtimes.
    pub fn stop_resolving(&mut self) {
        self.runtimes = None;
    }

    /// Reports new cgroups to the sampler from here on.
    pub fn report_to(&mut self, sampler: CgroupNotifier) {
        self.sampler = Some(sampler);
    }

    /// Cgroups may have been created or removed without an event.
    pub fn missed(&self) {
        if let Some(sampler) = &self.sampler {
            sampler.missed();
        }
    }

    /// Ids of cgroups that turned out to be unwanted since the last call.
    pub fn take_unwanted(&mut self) -> Vec<u64> {
        self.decisions.take_unwanted()
    }

    /// Whether there are updates that must not wait for the next chunk with events.
    pub fn has_updates(&self) -> bool {
        self.decisions.is_changed() || !self.updates.names.is_empty()
    }

    /// The updates that go with the current chunk, which is handed over now.
    pub fn take_updates(&mut self) -> ContainerUpdates {
        let pending_since = self.decisions.oldest_pending(&self.table).map(|pending| pending.chunk);
        let updates = std::mem::take(&mut self.updates);
        let (chunk, has_pending) = self.decisions.close_chunk();
        ContainerUpdates { chunk, has_pending, pending_since, ..updates }
    }

    /// The chunk was not taken: its updates go with a later one.
    pub fn give_back(&mut self, updates: ContainerUpdates) {
        if !updates.accepted.is_empty() || !updates.rejected.is_empty() {
            self.decisions.set_changed();
        }
        let newer = std::mem::replace(&mut self.updates, updates);
        self.updates.append(newer);
    }

    /// The rows that follow go to the chunk with this number.
    pub fn next_chunk(&mut self, number: u64) {
        let has_pending = self.decisions.oldest_pending(&self.table).is_some();
        self.decisions.begin_chunk(number, has_pending);
    }

    /// A cgroup was created. Returns whether its events are recorded.
    pub fn mkdir(&mut self, id: u64, time: u64, path: &[u8]) -> bool {
        let wanted = self.insert(id, time, path.to_vec());
        if let Some(sampler) = &self.sampler
            && wanted
        {
            sampler.created(NewCgroup { id, time, path: path.to_vec() });
        }
        wanted
    }

    /// A cgroup was removed. It stays known for late events. Returns whether it is in the set of recorded cgroups.
    pub fn rmdir(&mut self, id: u64) -> bool {
        if let Some(retired) = self.retired.push(id)
            && let Some(cgroup) = self.table.remove(retired)
        {
            self.retired.add_events(cgroup.container(), cgroup.events);
            self.forget(retired, &cgroup);
        }
        // Another container may reuse its name.
        for container in self.table.disown(id) {
            if let Some(runtimes) = &self.runtimes {
                runtimes.stopped(container);
            }
        }
        !self.filter.is_open() && self.table.get(id).is_some_and(Cgroup::is_wanted)
    }

    /// This cgroup will have no more events: the metadata of its container need not be repeated.
    fn forget(&mut self, id: u64, cgroup: &Cgroup) {
        if cgroup.chain.is_host() {
            return;
        }
        for container in &cgroup.chain.0 {
            self.decisions.forget(&container.id, id);
        }
        let boot_id = self.runtimes.as_ref().map_or([0; 16], RuntimeQueue::boot_id);
        self.updates.forgotten.push(MetadataKey { boot_id, cgroup: id, birth: cgroup.birth });
    }

    /// Ids of all cgroups whose events are recorded.
    pub fn wanted_ids(&self) -> Vec<u64> {
        self.table.iter().filter(|(_, cgroup)| cgroup.is_wanted()).map(|(id, _)| id).collect()
    }

    /// Full ids of all containers, sorted.
    pub fn containers(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.table.iter().flat_map(|(_, cgroup)| cgroup.chain.0.iter().map(|c| c.id.clone())).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether all cgroups are recorded.
    pub fn is_open(&self) -> bool {
        self.filter.is_open()
    }

    /// Whether events of this cgroup are recorded.
    #[inline]
    pub fn wants(&mut self, id: u64) -> bool {
        if self.filter.is_open() {
            return true;
        }
        if self.last.cgroup != id {
            self.last = LastAnswer { cgroup: id, wanted: self.resolve(id).is_wanted() };
        }
        self.last.wanted
    }

    /// Counts events for the summary at the end.
    #[inline]
    pub fn count(&mut self, id: u64, events: u64) {
        self.resolve(id).events += events;
    }

    fn resolve(&mut self, id: u64) -> &mut Cgroup {
        if self.table.get(id).is_none() {
            // Neither scanned nor created since: it was created in between, or is removed already.
            let path = self.hierarchy.path_of(id).unwrap_or_default();
            self.insert(id, 0, path);
        }
        self.table.entry(id)
    }

    /// Whether the cgroup belongs to no container.
    pub fn is_host(&mut self, id: u64) -> bool {
        self.resolve(id).chain.is_host()
    }

    /// What may be written of the processes in it.
    pub fn shown(&mut self, id: u64) -> Shown {
        if self.filter.is_open() {
            return Shown::All;
        }
        let cgroup = self.resolve(id);
        Shown::by_container(cgroup.is_wanted(), cgroup.chain.is_host())
    }

    /// The containers of a parent in this cgroup, for the process dictionary.
    pub fn parent_chain(&mut self, id: u64) -> String {
        let chain = &self.resolve(id).chain;
        if chain.is_host() { PARENT_ON_HOST.to_owned() } else { chain.joined() }
    }

    /// The row of the cgroup dictionary, written if this chunk has none yet.
    pub fn row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        if let Some(row) = self.resolve(id).row.of(chunk.number) {
            return row;
        }
        if self.shown(id) == Shown::Nothing {
            return self.hidden_row(chunk);
        }
        let hierarchy = u64::from(self.hierarchy.number);
        let cgroup = self.resolve(id);
        cgroup.write_row(chunk, id, hierarchy)
    }

    /// The row that stands for all hidden cgroups.
    fn hidden_row(&mut self, chunk: &mut Dictionaries<'_>) -> u32 {
        if let Some(row) = self.hidden.of(chunk.number) {
            return row;
        }
        let row = row::write_hidden(chunk);
        self.hidden = CachedRow { chunk: chunk.number, row };
        row
    }

    /// Events by container, most first.
    pub fn busiest(&self) -> Vec<Busy> {
        let mut busiest = self.retired.busiest(self.table.iter().map(|(_, cgroup)| cgroup));
        for busy in &mut busiest {
            if let Some(name) = busy.container.as_ref().and_then(|id| self.names.get(id)) {
                busy.name.clone_from(name);
            }
        }
        busiest
    }
}
