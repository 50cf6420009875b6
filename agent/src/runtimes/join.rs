//! Brings together what runtimes tell and what cgroups were seen: either may come first.

use std::collections::VecDeque;
use std::sync::mpsc;

use capture_format::MetadataKey;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::facts::Facts;
use super::{Newcomer, Protocol, Told};
use crate::clock::{boot_ns, wall_offset};
use ktape_reader::containers::{Runtime, is_name};
use ktape_reader::model::attribute_names as names;

/// Containers that are remembered, of each kind: known by a runtime, and seen as a cgroup.
const REMEMBERED: usize = 8192;
/// What is known by runtimes, bytes, at most: the container that was told of first is forgotten first.
const KNOWN: usize = 16 << 20;
/// Questions to one runtime that may wait.
const ASKS: usize = 4096;

/// A question to a runtime.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The full id of the container.
    pub id: String,
}

/// A container whose cgroup was seen.
#[derive(Debug)]
struct Seen {
    keys: Vec<MetadataKey>,
    runtime: Runtime,
    /// Whether a runtime has told of it in full.
    answered: bool,
    /// Its cgroup is gone, and it is asked for its exit code.
    gone: bool,
    /// When its cgroup was made, and that of the one that had its name before, ns since 1970.
    born: Option<i64>,
    before: Option<i64>,
}

impl Seen {
    /// Whether these are facts of this container, not of another one that has or had its name: a runtime notes a container
    /// before it makes its cgroup. One that was there already when another cgroup had the name is this one, started
    /// again, if the runtime knew it after this cgroup was made; else it may be gone since.
    fn fits(&self, facts: &Facts, asked: Asked) -> bool {
        let created = facts.get(names::CREATED).and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let created = created.and_then(|at| i64::try_from(at.as_nanosecond()).ok());
        let (Some(created), Some(born)) = (created, self.born) else { return true };
        created <= born && (self.before.is_none_or(|before| created > before) || asked.0 >= born)
    }
}

/// When a runtime was asked for what it tells, ns since 1970.
#[derive(Clone, Copy, Debug)]
pub struct Asked(i64);

impl Asked {
    /// It tells by itself, or that was long ago.
    pub const BEFORE: Self = Self(i64::MIN);

    /// It is asked now.
    pub fn now() -> Self {
        Self(boot_ns().cast_signed().saturating_add(wall_offset()))
    }
}

/// Both sides.
#[derive(Debug)]
pub struct Join {
    facts: Bounded<Facts>,
    /// What they take.
    bytes: usize,
    seen: Bounded<Seen>,
    /// What was told of the life of containers whose cgroup was not seen yet: since when, ns since 1970.
    ahead: Bounded<(i64, Facts)>,
    sources: Vec<(Protocol, Sender<Ask>)>,
    out: mpsc::Sender<Told>,
}

impl Join {
    /// Nothing is known; what becomes known of containers goes to `out`.
    pub fn new(out: mpsc::Sender<Told>) -> Self {
        Self {
            facts: Bounded::new(),
            bytes: 0,
            seen: Bounded::new(),
            ahead: Bounded::new(),
            sources: Vec::new(),
            out,
        }
    }

    /// A runtime that can be asked: the questions to it.
    pub fn source(&mut self, protocol: Protocol) -> Receiver<Ask> {
        let (sender, asks) = channel(ASKS);
        self.sources.push((protocol, sender));
        asks
    }

    /// A container's cgroup was seen.
    pub fn appear(&mut self, newcomer: Newcomer) {
        let Newcomer { key, id, runtime } = newcomer;
        let born = (key.birth != 0).then(|| key.birth.cast_signed().saturating_add(wall_offset()));
        let mut old = None;
        if is_name(id.as_bytes()) {
            // Another one has the name now.
            old = self.seen.remove(&id);
        }
        let before = old.as_ref().and_then(|old| old.born);
        let new = Seen { keys: vec![key], runtime, answered: false, gone: false, born, before };
        let is_of_new = |facts: &Facts| {
            new.fits(facts, Asked::BEFORE) && (old.is_none() || facts.get(names::CREATED).is_some())
        };
        if is_name(id.as_bytes()) && self.facts.get(&id).is_some_and(|facts| !is_of_new(facts)) {
            self.forget(&id);
        }
        if self.seen.get(&id).is_some_and(|seen| !seen.keys.contains(&key)) {
            self.start_again(&id);
        }
        if let Some(facts) = self.facts.get(&id) {
            send(&self.out, key, &id, facts);
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
        if let Some((at, facts)) = self.ahead.remove(&id)
            && born.is_none_or(|born| at >= born)
        {
            self.learn(&id, &facts, false, Asked::BEFORE);
        }
        for (_, sender) in self.sources.iter().filter(|(protocol, _)| protocol.knows(runtime)) {
            // One that is not taken is asked for again when the runtime is there.
            let _ = sender.try_send(Ask { id: id.clone() });
        }
    }

    /// A container has a new cgroup: what was told of its life so far is of the old one alone, and nothing else will be.
    fn start_again(&mut self, id: &str) {
        let Some(facts) = self.facts.get_mut(id) else { return };
        let before = facts.bytes();
        facts.remove(names::PID);
        facts.remove(names::EXIT_CODE);
        self.bytes = self.bytes.saturating_sub(before - facts.bytes());
        if facts.get(names::NAME).is_some()
            && let Some(seen) = self.seen.get_mut(id)
        {
            seen.keys.clear();
        }
    }

    /// A runtime tells of a container; `in_full` if there is nothing more to ask for now.
    pub fn learn(&mut self, id: &str, facts: &Facts, in_full: bool, asked: Asked) {
        if is_name(id.as_bytes()) {
            match self.seen.get(id) {
                Some(seen) if !seen.fits(facts, asked) => return,
                Some(_) => {}
                // The newest is the one that will appear.
                None => self.forget(id),
            }
        }
        let before = self.facts.get(id).map_or(0, Facts::bytes);
        let changed = match self.facts.get_mut(id) {
            Some(known) => known.merge(facts),
            None => {
                let mut known = Facts::default();
                known.set(names::FULL_ID, id);
                known.merge(facts);
                let gone = self.facts.insert(id.to_owned(), known);
                self.bytes = self.bytes.saturating_sub(gone.map_or(0, |gone| gone.bytes()));
                true
            }
        };
        self.bytes += self.facts.get(id).map_or(0, Facts::bytes);
        self.bytes = self.bytes.saturating_sub(before);
        while self.bytes > KNOWN
            && let Some(oldest) = self.facts.order.front().cloned()
            && oldest != id
        {
            self.forget(&oldest);
        }
        if let Some(seen) = self.seen.get_mut(id) {
            let has_code = || self.facts.get(id).is_some_and(|facts| facts.get(names::EXIT_CODE).is_some());
            seen.answered |= in_full && (!seen.gone || has_code());
            if changed && let Some(facts) = self.facts.get(id) {
                for key in &seen.keys {
                    send(&self.out, *key, id, facts);
                }
            }
        }
    }

    /// A runtime tells of a moment in the life of a container, ns since 1970: of the one that had the id then, whose
    /// cgroup may be seen later.
    pub fn learn_at(&mut self, id: &str, facts: &Facts, at: i64) {
        let has_ended = self.facts.get(id).is_some_and(|known| known.get(names::EXIT_CODE).is_some());
        if !has_ended && self.seen.get(id).is_some_and(|seen| seen.born.is_none_or(|born| born <= at)) {
            self.learn(id, facts, false, Asked::BEFORE);
            return;
        }
        // A life begins with its first process, and ends with its exit code.
        let begins = facts.get(names::PID).is_some();
        match self.ahead.get_mut(id) {
            Some((_, known)) if !begins && known.get(names::EXIT_CODE).is_none() => {
                known.merge(facts);
            }
            _ => {
                self.ahead.remove(id);
                self.ahead.insert(id.to_owned(), (at, facts.clone()));
            }
        }
    }

    /// The cgroup of a container was removed: CRI is asked how it ended.
    pub fn gone(&mut self, id: &str) {
        let known = |name: &str| self.facts.get(id).is_some_and(|facts| facts.get(name).is_some());
        let Some(seen) = self.seen.map.get_mut(id) else { return };
        if known(names::EXIT_CODE) || known(names::POD_SANDBOX) {
            return;
        }
        for (protocol, sender) in &self.sources {
            if *protocol == Protocol::Cri && protocol.knows(seen.runtime) {
                (seen.answered, seen.gone) = (false, true);
                let _ = sender.try_send(Ask { id: id.to_owned() });
            }
        }
    }

    fn forget(&mut self, id: &str) {
        self.bytes = self.bytes.saturating_sub(self.facts.get(id).map_or(0, Facts::bytes));
        self.facts.remove(id);
    }

    /// Whether the container's cgroup was seen and nobody has told all of it.
    pub fn is_open(&self, id: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| !seen.answered)
    }

    /// The containers that a runtime of this kind can be asked for.
    pub fn open(&self, protocol: Protocol) -> Vec<Ask> {
        let all = self.seen.map.iter();
        let open = all.filter(|(_, seen)| !seen.answered && !seen.gone && protocol.knows(seen.runtime));
        open.map(|(id, _)| Ask { id: id.clone() }).collect()
    }

    /// Whether anything that was asked for may still be answered.
    pub fn is_waiting(&self) -> bool {
        self.seen.map.values().any(|seen| {
            !seen.answered
                && !seen.gone
                && self.sources.iter().any(|(protocol, _)| protocol.knows(seen.runtime))
        })
    }
}

fn send(out: &mpsc::Sender<Told>, key: MetadataKey, id: &str, facts: &Facts) {
    let values = facts.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    // Nobody listens any more at the very end.
    let _ = out.send(Told { key, id: id.to_owned(), values });
}

/// By container id; when there are too many, the one that came first goes.
#[derive(Debug)]
struct Bounded<T> {
    map: FxHashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Bounded<T> {
    fn new() -> Self {
        Self { map: FxHashMap::default(), order: VecDeque::new() }
    }

    fn get(&self, id: &str) -> Option<&T> {
        self.map.get(id)
    }

    fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        self.map.get_mut(id)
    }

    /// Adds one; the one that had to go for it.
    fn insert(&mut self, id: String, value: T) -> Option<T> {
        if self.map.insert(id.clone(), value).is_some() {
            return None;
        }
        self.order.push_back(id);
        let oldest = if self.order.len() > REMEMBERED { self.order.pop_front() } else { None };
        self.map.remove(&oldest?)
    }

    fn remove(&mut self, id: &str) -> Option<T> {
        let removed = self.map.remove(id)?;
        self.order.retain(|known| known != id);
        Some(removed)
    }
}
