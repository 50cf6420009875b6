//! `--container`: a name, or a prefix of an id that fits one container alone.

use std::collections::{BTreeSet, HashSet};

use capture_format::MetadataKey;

use crate::model::ContainerSelector;
use crate::model::{CgroupRow, ContainerNames};
use crate::text::escape::{Place, escaped};

/// How many candidates an error lists.
const LISTED: usize = 10;

/// More than one container fits.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("container `{wanted}` is ambiguous: {}", .candidates.join(", "))]
pub struct Ambiguous {
    /// What was asked for.
    pub wanted: String,
    /// The ids that fit.
    pub candidates: Vec<String>,
}

/// The containers that captures mention.
#[derive(Clone, Debug, Default)]
pub struct KnownContainers {
    ids: BTreeSet<Vec<u8>>,
}

impl KnownContainers {
    /// Adds the containers of a chain (ids joined by `>`); whether there was a new one.
    pub fn add_chain(&mut self, chain: &[u8]) -> bool {
        let mut new = false;
        for id in elements(chain) {
            if !self.ids.contains(id) {
                new |= self.ids.insert(id.to_vec());
            }
        }
        new
    }

    /// The ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = &[u8]> {
        self.ids.iter().map(Vec::as_slice)
    }

    /// The ids that `wanted` stands for: the one that it is, else those that it begins.
    ///
    /// # Errors
    /// If it begins several.
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

/// The containers that a question is about.
#[derive(Clone, Debug, Default)]
pub struct Containers {
    wanted: Vec<ContainerSelector>,
    ids: BTreeSet<Vec<u8>>,
    /// Cgroups of other containers that had one of these ids before or after.
    others: HashSet<MetadataKey>,
    unknown: Vec<String>,
}

impl Containers {
    /// Those that are meant by one of these, once [`Self::resolve`] has found them.
    pub fn new(wanted: Vec<ContainerSelector>) -> Self {
        let unknown = wanted.iter().map(ToString::to_string).collect();
        Self { unknown, wanted, ids: BTreeSet::new(), others: HashSet::new() }
    }

    /// Finds the containers among those that are known. To be repeated when more become known.
    ///
    /// # Errors
    /// If a prefix fits several. Several containers with one name are all meant.
    pub fn resolve(&mut self, known: &KnownContainers, names: &ContainerNames) -> Result<(), Ambiguous> {
        self.ids.clear();
        self.others.clear();
        self.unknown.clear();
        for wanted in &self.wanted {
            let named = names.containers().filter(|(key, _)| names.is_meant(key, wanted) == Some(true));
            let named: BTreeSet<Vec<u8>> = named.map(|(_, id)| id.to_vec()).collect();
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

    /// What fits no container.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }

    /// Whether a cgroup belongs to one of the containers.
    pub fn match_cgroup(&self, boot_id: [u8; 16], cgroup: &CgroupRow<'_>) -> bool {
        let key = MetadataKey { boot_id, cgroup: cgroup.id, birth: cgroup.birth };
        let is_other = !self.others.is_empty() && self.others.contains(&key);
        elements(cgroup.chain).any(|id| self.ids.contains(id) && !(is_other && id == cgroup.container))
    }

    /// Whether a chain (ids joined by `>`) may have one of the containers: one with the id of one.
    pub fn match_chain(&self, chain: &[u8]) -> bool {
        elements(chain).any(|id| self.ids.contains(id))
    }
}

/// The ids of a chain.
pub fn elements(chain: &[u8]) -> impl Iterator<Item = &[u8]> {
    chain.split(|b| *b == b'>').filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests;
