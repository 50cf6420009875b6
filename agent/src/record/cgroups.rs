//! Cgroups by id, and the containers that they belong to.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::columns::{Dictionaries, cgroup as c};
use super::processes::CachedRow;
use crate::containers::{self, Chain, Hierarchy};
use crate::sample::News;

/// How many removed cgroups stay known, for late events.
const GRAVEYARD: usize = 4096;

#[derive(Clone, Debug, Default)]
struct Cgroup {
    birth: u64,
    path: Vec<u8>,
    chain: Chain,
    wanted: bool,
    events: u64,
    row: CachedRow,
}

/// Which containers are wanted: prefixes of container ids.
#[derive(Clone, Debug, Default)]
pub struct ContainerFilter {
    prefixes: Vec<String>,
}

impl ContainerFilter {
    /// Wants the containers whose id starts with one of these; everything if there is none.
    pub fn new(prefixes: Vec<String>) -> Self {
        Self { prefixes }
    }

    /// Whether everything is wanted.
    pub fn is_open(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Whether a cgroup with this chain of containers is wanted: outer includes inner.
    pub fn wants(&self, chain: &Chain) -> bool {
        self.is_open() || self.prefixes.iter().any(|prefix| chain.matches_prefix(prefix))
    }

    /// The prefixes.
    pub fn prefixes(&self) -> &[String] {
        &self.prefixes
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
        }
    }

    /// Scans the mounted hierarchy.
    pub fn scan(hierarchy: Hierarchy, filter: ContainerFilter) -> Self {
        let mut cgroups = Self::none(hierarchy, filter);
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
        let wanted = self.filter.wants(&chain);
        self.known.insert(id, Cgroup { birth, path, chain, wanted, ..Cgroup::default() });
        self.last = (u64::MAX, false);
        wanted
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
        }
        !self.filter.is_open() && self.known.get(&id).is_some_and(|cgroup| cgroup.wanted)
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
        self.known.iter().filter(|(_, cgroup)| cgroup.wanted).map(|(id, _)| *id).collect()
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
            self.last = (id, self.resolve(id).wanted);
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

    /// The row of the cgroup dictionary, written if this chunk has none yet.
    pub fn row(&mut self, chunk: &mut Dictionaries<'_>, id: u64) -> u32 {
        let hierarchy = u64::from(self.hierarchy.number);
        let number = chunk.number;
        let cgroup = self.resolve(id);
        if cgroup.row.chunk == number {
            return cgroup.row.row;
        }
        let path = chunk.builder.intern(&cgroup.path);
        let (mut container, mut runtime, mut pod) = (String::new(), "", String::new());
        if let Some(inner) = cgroup.chain.innermost() {
            container.clone_from(&inner.id);
            runtime = inner.runtime.name();
            pod = inner.pod_uid.clone().unwrap_or_default();
        }
        let container = chunk.builder.intern(container.as_bytes());
        let runtime = chunk.builder.intern(runtime.as_bytes());
        let all = chunk.builder.intern(cgroup.chain.joined().as_bytes());
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
