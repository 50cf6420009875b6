//! Finds the containers that `--container` and filters name: the host, by name, pattern of names, attribute or unambiguous
//! prefix of the id.

use std::collections::{BTreeSet, HashSet};

use capture_format::MetadataKey;

use crate::containers::OTHER;
use crate::model::ContainerSelector;
use crate::model::{CgroupRow, ContainerNames};
use crate::text::escape::{Place, escaped};

/// Most candidates that an error lists.
const LISTED: usize = 10;

/// A prefix that fits more than one container.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("container `{wanted}` is ambiguous: {}", .candidates.join(", "))]
pub struct Ambiguous {
    /// The prefix.
    pub wanted: String,
    /// The ids that begin with it.
    pub candidates: Vec<String>,
}

/// The containers that occur in captures.
#[derive(Clone, Debug, Default)]
pub struct KnownContainers {
    ids: BTreeSet<Vec<u8>>,
}

impl KnownContainers {
    /// Adds the containers of a chain (ids joined by `>`); returns whether one was new.
    pub fn add_chain(&mut self, chain: &[u8]) -> bool {
        let mut new = false;
        for id in elements(chain) {
            if !self.ids.contains(id) {
                new |= self.ids.insert(id.to_vec());
            }
        }
        new
    }

    /// The ids, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().map(Vec::as_slice)
    }

    /// The id that equals `wanted`, or else the only one that begins with it.
    ///
    /// # Errors
    /// If several ids begin with it.
    pub fn by_prefix(&self, wanted: &[u8]) -> Result<Option<&[u8]>, Ambiguous> {
        if let Some(id) = self.ids.get(wanted) {
            return Ok(Some(id));
        }
        if wanted.is_empty() {
            return Ok(None);
        }
        let fitting: Vec<&[u8]> = self
            .ids
            .range(wanted.to_vec()..)
            .take_while(|id| id.starts_with(wanted))
            .take(LISTED + 1)
            .map(Vec::as_slice)
            .collect();
        if fitting.len() < 2 {
            return Ok(fitting.first().copied());
        }
        let mut candidates: Vec<String> =
            fitting.iter().take(LISTED).map(|id| escaped(id, Place::Free).into_owned()).collect();
        if fitting.len() > LISTED {
            candidates.push("...".to_owned());
        }
        Err(Ambiguous { wanted: escaped(wanted, Place::Free).into_owned(), candidates })
    }
}

/// The containers that a query selects.
#[derive(Clone, Debug, Default)]
pub struct Containers {
    wanted: Vec<ContainerSelector>,
    ids: BTreeSet<Vec<u8>>,
    /// Whether the host is selected: what runs in no container.
    host: bool,
    /// Cgroups of other containers that had one of these ids before or after.
    others: HashSet<MetadataKey>,
    unknown: Vec<String>,
}

impl Containers {
    /// The containers that any of the selectors matches; [`Self::resolve`] has to find them.
    pub fn new(wanted: Vec<ContainerSelector>) -> Self {
        let host = wanted.contains(&ContainerSelector::Host);
        let unknown = wanted.iter().filter(|wanted| **wanted != ContainerSelector::Host);
        let unknown = unknown.map(ToString::to_string).collect();
        Self { unknown, wanted, host, ids: BTreeSet::new(), others: HashSet::new() }
    }

    /// Finds the containers among the known ones. Call it again when more become known.
    ///
    /// # Errors
    /// If a prefix fits several containers. If several have the same name, all are selected.
    pub fn resolve(&mut self, known: &KnownContainers, names: &ContainerNames) -> Result<(), Ambiguous> {
        self.ids.clear();
        self.others.clear();
        self.unknown.clear();
        for wanted in self.wanted.iter().filter(|wanted| **wanted != ContainerSelector::Host) {
            let named = names.containers().filter(|(key, _)| names.is_meant(key, wanted) == Some(true));
            let mut named: BTreeSet<Vec<u8>> = named.map(|(_, id)| id.to_vec()).collect();
            if let ContainerSelector::Pattern(_) = wanted {
                let fits = |id: &&[u8]| std::str::from_utf8(id).is_ok_and(|id| wanted.matches_id(id));
                named.extend(known.ids().filter(fits).map(<[u8]>::to_vec));
            }
            if !named.is_empty() {
                self.ids.extend(named);
                continue;
            }
            let found = match wanted {
                ContainerSelector::Word(word) => known.by_prefix(word.as_bytes())?,
                _ => None,
            };
            match found {
                Some(id) => {
                    self.ids.insert(id.to_vec());
                }
                None => self.unknown.push(wanted.to_string()),
            }
        }
        for (key, id) in names.containers().filter(|(_, id)| self.ids.contains(*id)) {
            let is_other = |wanted: &ContainerSelector| match wanted {
                ContainerSelector::Word(word) if id.starts_with(word.as_bytes()) => false,
                wanted => names.is_meant(key, wanted) == Some(false),
            };
            if self.wanted.iter().all(is_other) {
                self.others.insert(*key);
            }
        }
        Ok(())
    }

    /// Selectors that match no container.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether a cgroup belongs to a selected container.
    pub fn match_cgroup(&self, boot_id: [u8; 16], cgroup: &CgroupRow<'_>) -> bool {
        if cgroup.chain.is_empty() {
            return self.host && cgroup.is_known();
        }
        let key = MetadataKey { boot_id, cgroup: cgroup.id, birth: cgroup.birth };
        let is_other = !self.others.is_empty() && self.others.contains(&key);
        elements(cgroup.chain).any(|id| self.ids.contains(id) && !(is_other && id == cgroup.container))
    }

    /// Whether this is the cgroup of another container that had one of the ids before or after.
    pub fn is_other(&self, key: &MetadataKey) -> bool {
        self.others.contains(key)
    }

    /// Whether a chain (ids joined by `>`) contains the id of a selected container. The host's chain is empty.
    pub fn match_chain(&self, chain: &[u8]) -> bool {
        if chain.is_empty() {
            return self.host;
        }
        elements(chain).any(|id| self.ids.contains(id))
    }
}

/// The ids of a chain; a hidden chain has none.
pub fn elements(chain: &[u8]) -> impl Iterator<Item = &[u8]> {
    chain.split(|b| *b == b'>').filter(|id| !id.is_empty() && *id != OTHER.as_bytes())
}

#[cfg(test)]
mod tests;
