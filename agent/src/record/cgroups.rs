//! Cgroups by id, and the containers that they belong to.

mod verdicts;

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use capture_format::MetadataKey;

use self::verdicts::Verdict;
use super::columns::{Dictionaries, cgroup as c};
use super::processes::{CachedRow, Shown};
use super::sink::Along;
use crate::clock::boot_ns;
use crate::containers::ContainerFilter;
use crate::containers::Hierarchy;
use crate::runtimes::{NewContainer, RuntimeHandle};
use crate::sample::News;
use ktape_reader::containers::{self, Chain, OTHER};

/// How many removed cgroups stay known, for late events.
const GRAVEYARD: usize = 4096;
/// Containers that could not be asked for at once, at most.
const UNASKED: usize = 65_536;

#[derive(Clone, Debug, Default)]
struct Cgroup {
    birth: u64,
    path: Vec<u8>,
    chain: Chain,
    /// Of each container of the chain, the cgroup that it is told apart by.
    instances: Vec<u64>,
    verdict: Verdict,
    events: u64,
    row: CachedRow,
}

impl Cgroup {
    fn is_wanted(&self) -> bool {
        self.verdict != Verdict::No
    }
}

/// The events of one container, or of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The full id of the innermost container; `None` for the host.
    pub container: Option<String>,
    /// How many events.
    pub events: u64,
}

/// All cgroups that are known.
pub struct Cgroups {
    hierarchy: Hierarchy,
    filter: ContainerFilter,
    known: FxHashMap<u64, Cgroup>,
    dead: VecDeque<u64>,
    // The last one asked for: most events follow another one of the same cgroup.
    last: (u64, bool),
    gone: FxHashMap<Option<String>, u64>,
    /// Who samples them.
    news: Option<News>,
    /// Who knows the names of containers, and the boot id of this kernel.
    asker: Option<(RuntimeHandle, [u8; 16])>,
    unasked: VecDeque<NewContainer>,
    /// The cgroup of a container that is there now: some runtimes give an id again.
    instances: FxHashMap<String, u64>,
    /// Containers of which a runtime told, or for which time is up: whether they are wanted.
    judged: FxHashMap<(String, u64), bool>,
    /// Cgroups in the order in which they were undecided, with the chunk and the moment.
    undecided: VecDeque<(u64, u64, u64)>,
    /// Whether that was decided of any, since the last chunk was handed over.
    decided: bool,
    /// Whether any of them was, since the chunk at hand was begun.
    any_undecided: bool,
    /// The number of the chunk at hand.
    chunk: u64,
    /// Cgroups that turned out to be unwanted.
    unwanted: Vec<u64>,
    /// What goes along with the chunk at hand.
    along: Along,
}

impl Cgroups {
    /// None is known yet.
    pub fn none(hierarchy: Hierarchy, filter: ContainerFilter) -> Self {
        Self {
            hierarchy,
            filter,
            known: FxHashMap::default(),
            dead: VecDeque::new(),
            last: (u64::MAX, false),
            gone: FxHashMap::default(),
            news: None,
            asker: None,
            unasked: VecDeque::new(),
            instances: FxHashMap::default(),
            judged: FxHashMap::default(),
            undecided: VecDeque::new(),
            decided: false,
            any_undecided: false,
            chunk: 0,
            unwanted: Vec::new(),
            along: Along::default(),
        }
    }

    /// Scans the mounted hierarchy.
    pub fn scan(hierarchy: Hierarchy, filter: ContainerFilter) -> Self {
        let mut cgroups = Self::none(hierarchy, filter);
        if !cgroups.hierarchy.is_whole() {
            tracing::warn!(
                "only a part of the cgroups can be seen: events of containers that are there already may be shown as the \
                 host's; in a container, ktape needs the host's cgroups (--cgroupns=host, -v /:/host:ro)"
            );
        }
        match cgroups.hierarchy.scan() {
            Ok(found) => {
                for (id, path) in found {
                    cgroups.insert(id, 0, path);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot list the cgroups; they are known only as they appear");
            }
        }
        cgroups
    }

    fn insert(&mut self, id: u64, birth: u64, path: Vec<u8>) -> bool {
        let chain = containers::identify(&path);
        let ids = chain.0.iter().map(|container| container.id.clone());
        let mut instances: Vec<u64> = ids.map(|inner| *self.instances.entry(inner).or_insert(id)).collect();
        if let (Some(inner), Some(at)) = (chain.innermost(), instances.last_mut()) {
            self.found_own(&inner.id, id, at);
        }
        let verdict = self.judge(&chain, &instances);
        match verdict {
            Verdict::Undecided => {
                self.undecided.push_back((id, self.chunk, boot_ns()));
                self.any_undecided = true;
            }
            Verdict::Yes if self.filter.needs_names() => self.along.accepted.push(id),
            Verdict::Yes | Verdict::No => {}
        }
        self.known.insert(id, Cgroup { birth, path, chain, instances, verdict, ..Cgroup::default() });
        self.last = (u64::MAX, false);
        self.ask(id);
        verdict != Verdict::No
    }

    /// Asks for the container whose own cgroup this is.
    fn ask(&mut self, id: u64) {
        let Some((asker, boot_id)) = &self.asker else { return };
        let Some(cgroup) = self.known.get(&id) else { return };
        let Some(inner) = cgroup.chain.innermost() else { return };
        if self.instances.get(&inner.id) != Some(&id) {
            return;
        }
        let key = MetadataKey { boot_id: *boot_id, cgroup: id, birth: cgroup.birth };
        let container = NewContainer { key, id: inner.id.clone(), runtime: inner.runtime };
        if let Err(container) = asker.resolve(container)
            && self.unasked.len() < UNASKED
        {
            self.unasked.push_back(container);
        }
    }

    /// From here on the runtimes are asked for containers: first those that are there.
    pub fn ask_with(&mut self, asker: RuntimeHandle, boot_id: [u8; 16]) {
        self.asker = Some((asker, boot_id));
        let own: Vec<u64> = self.instances.values().copied().collect();
        own.into_iter().for_each(|id| self.ask(id));
    }

    /// No more is asked.
    pub fn ask_no_more(&mut self) {
        self.asker = None;
    }

    /// Cgroups that turned out to be unwanted since the last call.
    pub fn take_unwanted(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.unwanted)
    }

    /// Whether anything has to go along with the chunk at hand, even an empty one.
    pub fn has_news(&self) -> bool {
        self.decided || !self.along.names.is_empty()
    }

    /// What goes along with the chunk at hand, which is handed over now.
    pub fn take_along(&mut self) -> Along {
        let oldest = self.oldest_undecided().map(|(_, chunk, _)| chunk);
        let mut along = std::mem::take(&mut self.along);
        self.decided = false;
        along.chunk = self.chunk;
        along.undecided = self.any_undecided;
        along.undecided_since = oldest;
        along
    }

    /// The chunk was not taken: this goes along with a later one.
    pub fn give_back(&mut self, along: Along) {
        let newer = std::mem::replace(&mut self.along, along);
        self.along.names.extend(newer.names);
        self.along.accepted.extend(newer.accepted);
        self.along.rejected.extend(newer.rejected);
        self.along.forgotten.extend(newer.forgotten);
    }

    /// The rows that follow go to this chunk.
    pub fn next_chunk(&mut self, number: u64) {
        self.chunk = number;
        self.any_undecided = self.oldest_undecided().is_some();
    }

    /// A cgroup was created. Returns whether it is wanted.
    pub fn mkdir(&mut self, id: u64, time: u64, path: &[u8]) -> bool {
        let wanted = self.insert(id, time, path.to_vec());
        if let Some(news) = &self.news
            && wanted
        {
            news.made(id, path);
        }
        wanted
    }

    /// New cgroups are told to the sampler from here on.
    pub fn tell(&mut self, news: News) {
        self.news = Some(news);
    }

    /// Cgroups may have been made or removed without a word.
    pub fn missed(&self) {
        if let Some(news) = &self.news {
            news.missed();
        }
    }

    /// A cgroup was removed. It stays known for late events. Returns whether it was wanted by a filter.
    pub fn rmdir(&mut self, id: u64) -> bool {
        self.dead.push_back(id);
        if self.dead.len() > GRAVEYARD
            && let Some(id) = self.dead.pop_front()
            && let Some(cgroup) = self.known.remove(&id)
        {
            *self.gone.entry(container_of(&cgroup)).or_default() += cgroup.events;
            self.fold_gone();
            self.forget(id, &cgroup);
        }
        // Another one may have its name.
        for container in self.known.get(&id).map(|cgroup| &*cgroup.chain.0).unwrap_or_default() {
            if self.instances.get(&container.id) == Some(&id) {
                self.instances.remove(&container.id);
                if let Some((asker, _)) = &self.asker {
                    asker.removed(container.id.clone());
                }
            }
        }
        !self.filter.is_open() && self.known.get(&id).is_some_and(Cgroup::is_wanted)
    }

    /// Nothing more comes of this cgroup: what is known of its container need not be repeated.
    fn forget(&mut self, id: u64, cgroup: &Cgroup) {
        if cgroup.chain.is_host() {
            return;
        }
        for container in &cgroup.chain.0 {
            self.judged.remove(&(container.id.clone(), id));
        }
        let boot_id = self.asker.as_ref().map_or([0; 16], |(_, boot_id)| *boot_id);
        self.along.forgotten.push(MetadataKey { boot_id, cgroup: id, birth: cgroup.birth });
    }

    /// Forgets the quietest of the containers that are gone, when there are too many to remember.
    fn fold_gone(&mut self) {
        if self.gone.len() > GRAVEYARD {
            let mut counts: Vec<u64> = self.gone.values().copied().collect();
            let middle = counts.len() / 2;
            let (_, median, _) = counts.select_nth_unstable(middle);
            let median = *median;
            let mut left = GRAVEYARD / 2;
            self.gone.retain(|_, events| {
                let keep = *events > median || (*events == median && left > 0);
                left = left.saturating_sub(usize::from(keep));
                keep
            });
        }
    }

    /// Ids of all wanted cgroups.
    pub fn wanted_ids(&self) -> Vec<u64> {
        self.known.iter().filter(|(_, cgroup)| cgroup.is_wanted()).map(|(id, _)| *id).collect()
    }

    /// Full ids of all containers.
    pub fn containers(&self) -> Vec<String> {
        let mut ids: Vec<String> =
            self.known.values().flat_map(|cgroup| cgroup.chain.0.iter().map(|c| c.id.clone())).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Whether events of this cgroup are wanted.
    #[inline]
    pub fn wants(&mut self, id: u64) -> bool {
        if self.filter.is_open() {
            return true;
        }
        if self.last.0 != id {
            self.last = (id, self.resolve(id).is_wanted());
        }
        self.last.1
    }

    /// Counts an event for the summary at the end.
    #[inline]
    pub fn count(&mut self, id: u64, events: u64) {
        self.resolve(id).events += events;
    }

    fn resolve(&mut self, id: u64) -> &mut Cgroup {
        if !self.known.contains_key(&id) {
            // Never told and not in the scan: made in between, or removed already.
            let path = self.hierarchy.path_of(id).unwrap_or_default();
            self.insert(id, 0, path);
        }
        self.known.entry(id).or_default()
    }

    /// What may be written of the processes in it.
    pub fn shown(&mut self, id: u64) -> Shown {
        if self.filter.is_open() {
            return Shown::All;
        }
        let cgroup = self.resolve(id);
        match (cgroup.is_wanted(), cgroup.chain.is_host()) {
            (true, _) => Shown::All,
            (false, true) => Shown::Name,
            (false, false) => Shown::Ids,
        }
    }

    /// The row of the cgroup dictionary, written if this chunk has none yet.
    pub fn row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let hierarchy = u64::from(self.hierarchy.number);
        let number = chunk.number;
        let cgroup = self.resolve(id);
        if cgroup.row.chunk == number {
            return cgroup.row.row;
        }
        let hidden = self.shown(id) == Shown::Ids;
        let cgroup = self.resolve(id);
        let path = chunk.builder.intern(if hidden { b"" } else { &cgroup.path });
        let (mut container, mut runtime, mut pod) = (String::new(), "", String::new());
        let mut all = cgroup.chain.joined();
        if hidden {
            container.push_str(OTHER);
            all.clone_from(&container);
        } else if let Some(inner) = cgroup.chain.innermost() {
            container.clone_from(&inner.id);
            runtime = inner.runtime.name();
            pod = inner.pod_uid.clone().unwrap_or_default();
        }
        let container = chunk.builder.intern(container.as_bytes());
        let runtime = chunk.builder.intern(runtime.as_bytes());
        let all = chunk.builder.intern(all.as_bytes());
        let pod = chunk.builder.intern(pod.as_bytes());
        let table = chunk.builder.table_at(chunk.index.cgroup);
        table.push_u64(c::ID, id);
        table.push_u64(c::BIRTH, cgroup.birth);
        table.push_u64(c::HIERARCHY, hierarchy);
        table.push_bytes(c::PATH, path);
        table.push_bytes(c::CONTAINER, container);
        table.push_bytes(c::RUNTIME, runtime);
        table.push_bytes(c::CHAIN, all);
        table.push_bytes(c::POD_UID, pod);
        cgroup.row = CachedRow { chunk: number, row: table.end_row() };
        cgroup.row.row
    }

    /// Whose events there were most of.
    pub fn busiest(&self) -> Vec<Busy> {
        let mut by_container = self.gone.clone();
        for cgroup in self.known.values().filter(|cgroup| cgroup.events > 0) {
            *by_container.entry(container_of(cgroup)).or_default() += cgroup.events;
        }
        let mut busy: Vec<Busy> =
            by_container.into_iter().map(|(container, events)| Busy { container, events }).collect();
        busy.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.container.cmp(&b.container)));
        busy
    }
}

fn container_of(cgroup: &Cgroup) -> Option<String> {
    cgroup.chain.innermost().map(|inner| inner.id.clone())
}
