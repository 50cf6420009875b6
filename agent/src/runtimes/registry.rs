//! Matches the attributes that runtimes report with the cgroups that were seen. Either can come first.

use std::collections::VecDeque;
use std::sync::mpsc;

use capture_format::MetadataKey;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::attributes::Attributes;
use super::{ContainerInfo, NewContainer, Protocol};
use crate::clock::{boot_ns, wall_offset};
use ktape_reader::containers::{Runtime, is_name};
use ktape_reader::model::attribute_names as names;

/// Containers in each map of the registry, at most.
const CONTAINERS_MAX: usize = 8192;
/// Bytes of all attributes, at most; beyond that, those that were reported first are dropped.
const ATTRIBUTE_BYTES_MAX: usize = 16 << 20;
/// Lookups that may be queued for one runtime.
const LOOKUPS_MAX: usize = 4096;

/// A container to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    /// The full id of the container.
    pub id: String,
}

/// A container whose cgroup was seen.
#[derive(Debug)]
struct SeenContainer {
    keys: Vec<MetadataKey>,
    runtime: Runtime,
    /// Whether a runtime has reported all its attributes.
    answered: bool,
    /// Its cgroup was removed, and CRI was queried for its exit code.
    gone: bool,
    /// When its cgroup was created, ns since 1970.
    born: Option<i64>,
    /// When the cgroup of the previous container with the same name was created, ns since 1970.
    before: Option<i64>,
}

impl SeenContainer {
    /// Whether these are attributes of this container, not of another one with the same name. A runtime registers a
    /// container before it creates its cgroup, so a later one is another container. One that was registered before the
    /// previous cgroup with this name is this container, restarted, if the answer is newer than this cgroup; otherwise it
    /// may be one that was removed in the meantime.
    fn fits(&self, attributes: &Attributes, requested: RequestTime) -> bool {
        let created = attributes.get(names::CREATED).and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let created = created.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
        let (Some(created), Some(born)) = (created, self.born) else { return true };
        created <= born && (self.before.is_none_or(|before| created > before) || requested.0 >= born)
    }
}

/// When the request of an answer was sent, ns since 1970.
#[derive(Clone, Copy, Debug)]
pub struct RequestTime(i64);

impl RequestTime {
    /// No request (an event), or one of unknown age.
    pub const UNKNOWN: Self = Self(i64::MIN);

    /// The time of a request that is sent now.
    pub fn now() -> Self {
        Self(boot_ns().cast_signed().saturating_add(wall_offset()))
    }
}

/// Containers by id: their attributes, and their cgroups.
#[derive(Debug)]
pub struct ContainerRegistry {
    attributes: BoundedMap<Attributes>,
    /// The size of `attributes`, bytes.
    bytes: usize,
    seen: BoundedMap<SeenContainer>,
    /// Start and exit of containers whose cgroup was not seen yet, with the time of the first event, ns since 1970.
    ahead: BoundedMap<(i64, Attributes)>,
    runtimes: Vec<(Protocol, Sender<Lookup>)>,
    out: mpsc::Sender<ContainerInfo>,
}

impl ContainerRegistry {
    /// An empty registry. Attributes of containers with a known cgroup are sent to `out`.
    pub fn new(out: mpsc::Sender<ContainerInfo>) -> Self {
        Self {
            attributes: BoundedMap::new(),
            bytes: 0,
            seen: BoundedMap::new(),
            ahead: BoundedMap::new(),
            runtimes: Vec::new(),
            out,
        }
    }

    /// Adds a runtime; returns the lookups that it has to make.
    pub fn add_runtime(&mut self, protocol: Protocol) -> Receiver<Lookup> {
        let (sender, lookups) = channel(LOOKUPS_MAX);
        self.runtimes.push((protocol, sender));
        lookups
    }

    /// Adds a container whose cgroup was seen, and queues lookups for it.
    pub fn container_started(&mut self, container: NewContainer) {
        let NewContainer { key, id, runtime } = container;
        let born = (key.birth != 0).then(|| key.birth.cast_signed().saturating_add(wall_offset()));
        let mut old = None;
        if is_name(id.as_bytes()) {
            // A name can be reused: the previous container is gone.
            old = self.seen.remove(&id);
        }
        let before = old.as_ref().and_then(|old| old.born);
        let new = SeenContainer { keys: vec![key], runtime, answered: false, gone: false, born, before };
        let is_of_new = |attributes: &Attributes| {
            new.fits(attributes, RequestTime::UNKNOWN)
                && (old.is_none() || attributes.get(names::CREATED).is_some())
        };
        if is_name(id.as_bytes()) && self.attributes.get(&id).is_some_and(|attributes| !is_of_new(attributes))
        {
            self.forget(&id);
        }
        if self.seen.get(&id).is_some_and(|seen| !seen.keys.contains(&key)) {
            self.restarted(&id);
        }
        if let Some(attributes) = self.attributes.get(&id) {
            send(&self.out, key, &id, attributes);
        }
        match self.seen.get_mut(&id) {
            Some(seen) => {
                seen.keys.push(key);
                (seen.answered, seen.gone) = (false, false);
            }
            None => {
                self.seen.insert(id.clone(), new);
            }
        }
        if let Some((at, attributes)) = self.ahead.remove(&id)
            && born.is_none_or(|born| at >= born)
        {
            self.update(&id, &attributes, false, RequestTime::UNKNOWN);
        }
        for (_, sender) in self.runtimes.iter().filter(|(protocol, _)| protocol.knows(runtime)) {
            // If the queue is full, the next listing of all containers takes the place of the lookup.
            let _ = sender.try_send(Lookup { id: id.clone() });
        }
    }

    /// Removes the pid and exit code of a container that has a new cgroup, as after a restart: they belong to the old
    /// one.
    fn restarted(&mut self, id: &str) {
        let Some(attributes) = self.attributes.get_mut(id) else { return };
        let before = attributes.bytes();
        attributes.remove(names::PID);
        attributes.remove(names::EXIT_CODE);
        self.bytes = self.bytes.saturating_sub(before - attributes.bytes());
        if attributes.get(names::NAME).is_some()
            && let Some(seen) = self.seen.get_mut(id)
        {
            seen.keys.clear();
        }
    }

    /// Whether a container's name is known, and with it what decides about it.
    pub fn has_name(&self, id: &str) -> bool {
        self.attributes.get(id).is_some_and(|attributes| attributes.get(names::NAME).is_some())
    }

    /// Adds attributes that a runtime reports; `in_full` if it reports all attributes that it has.
    pub fn update(&mut self, id: &str, attributes: &Attributes, in_full: bool, requested: RequestTime) {
        if is_name(id.as_bytes()) {
            match self.seen.get(id) {
                Some(seen) if !seen.fits(attributes, requested) => return,
                Some(_) => {}
                // The newest container with this name is the one whose cgroup will appear.
                None => self.forget(id),
            }
        }
        let before = self.attributes.get(id).map_or(0, Attributes::bytes);
        let changed = match self.attributes.get_mut(id) {
            Some(known) => known.merge(attributes),
            None => {
                let mut known = Attributes::default();
                known.set(names::FULL_ID, id);
                known.merge(attributes);
                let gone = self.attributes.insert(id.to_owned(), known);
                self.bytes = self.bytes.saturating_sub(gone.map_or(0, |gone| gone.bytes()));
                true
            }
        };
        self.bytes += self.attributes.get(id).map_or(0, Attributes::bytes);
        self.bytes = self.bytes.saturating_sub(before);
        while self.bytes > ATTRIBUTE_BYTES_MAX
            && let Some(oldest) = self.attributes.order.front().cloned()
            && oldest != id
        {
            self.forget(&oldest);
        }
        if let Some(seen) = self.seen.get_mut(id) {
            let has_code = || {
                self.attributes.get(id).is_some_and(|attributes| attributes.get(names::EXIT_CODE).is_some())
            };
            seen.answered |= in_full && (!seen.gone || has_code());
            if changed && let Some(attributes) = self.attributes.get(id) {
                for key in &seen.keys {
                    send(&self.out, *key, id, attributes);
                }
            }
        }
    }

    /// Adds attributes from an event that a runtime reports, of the container that had the id at the time `at`, ns since
    /// 1970. Its cgroup may be seen later.
    pub fn update_at(&mut self, id: &str, attributes: &Attributes, at: i64) {
        let has_ended = self.attributes.get(id).is_some_and(|known| known.get(names::EXIT_CODE).is_some());
        if !has_ended && self.seen.get(id).is_some_and(|seen| seen.born.is_none_or(|born| born <= at)) {
            self.update(id, attributes, false, RequestTime::UNKNOWN);
            return;
        }
        // A run begins with the first process, and ends with the exit code.
        let begins = attributes.get(names::PID).is_some();
        match self.ahead.get_mut(id) {
            Some((_, known)) if !begins && known.get(names::EXIT_CODE).is_none() => {
                known.merge(attributes);
            }
            _ => {
                self.ahead.remove(id);
                self.ahead.insert(id.to_owned(), (at, attributes.clone()));
            }
        }
    }

    /// Queries CRI for the exit code of a container whose cgroup was removed.
    pub fn container_removed(&mut self, id: &str) {
        let known =
            |name: &str| self.attributes.get(id).is_some_and(|attributes| attributes.get(name).is_some());
        let Some(seen) = self.seen.map.get_mut(id) else { return };
        if known(names::EXIT_CODE) || known(names::POD_SANDBOX) {
            return;
        }
        for (protocol, sender) in &self.runtimes {
            if *protocol == Protocol::Cri && protocol.knows(seen.runtime) {
                (seen.answered, seen.gone) = (false, true);
                let _ = sender.try_send(Lookup { id: id.to_owned() });
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.bytes = self.bytes.saturating_sub(self.attributes.get(id).map_or(0, Attributes::bytes));
        self.attributes.remove(id);
    }

    /// Whether the container's cgroup was seen and no runtime has reported all its attributes yet.
    pub fn is_pending(&self, id: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| !seen.answered)
    }

    /// Pending containers that a runtime with this protocol may have.
    pub fn pending(&self, protocol: Protocol) -> Vec<Lookup> {
        let all = self.seen.map.iter();
        let open = all.filter(|(_, seen)| !seen.answered && !seen.gone && protocol.knows(seen.runtime));
        open.map(|(id, _)| Lookup { id: id.clone() }).collect()
    }

    /// Whether answers to pending lookups may still come.
    pub fn is_waiting(&self) -> bool {
        self.seen.map.values().any(|seen| {
            !seen.answered
                && !seen.gone
                && self.runtimes.iter().any(|(protocol, _)| protocol.knows(seen.runtime))
        })
    }
}

fn send(out: &mpsc::Sender<ContainerInfo>, key: MetadataKey, id: &str, attributes: &Attributes) {
    let values = attributes.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // The receiver may be gone during shutdown.
    let _ = out.send(ContainerInfo { key, id: id.to_owned(), values });
}

/// A map by container id, with at most [`CONTAINERS_MAX`] entries: beyond that, the oldest entry is removed.
#[derive(Debug)]
struct BoundedMap<T> {
    map: FxHashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> BoundedMap<T> {
    fn new() -> Self {
        Self { map: FxHashMap::default(), order: VecDeque::new() }
    }

    fn get(&self, id: &str) -> Option<&T> {
        self.map.get(id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.map.get_mut(id)
    }

    /// Adds or replaces a value; returns the oldest one if it was removed to make space.
    fn insert(&mut self, id: String, value: T) -> Option<T> {
        if self.map.insert(id.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(id);
        let oldest = if self.order.len() > CONTAINERS_MAX { self.order.pop_front() } else { None };
        self.map.remove(&oldest?)
    }

    fn remove(&mut self, id: &str) -> Option<T> {
        let removed = self.map.remove(id)?;
        self.order.retain(|known| known != id);
        Some(removed)
    }
}
