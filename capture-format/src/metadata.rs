//! What becomes known of a cgroup after its events were written: names, images, labels.

use std::{collections::HashMap, sync::Arc};

use crate::derive::{Decode, Encode};

/// The identity of a cgroup across hosts and boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct MetadataKey {
    /// The boot id of the kernel.
    pub boot_id: [u8; 16],
    /// The cgroup's id, unique among the cgroups that exist at one time.
    pub cgroup: u64,
    /// Creation of the cgroup in ns of the boot clock; 0 if it existed before the capture.
    pub birth: u64,
}

/// Metadata of a cgroup, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MetadataRecord {
    /// The cgroup.
    pub key: MetadataKey,
    /// Pairs of name and value. A later value of the same name replaces the earlier one.
    pub values: Vec<(String, String)>,
}

impl MetadataRecord {
    /// Bytes that it takes in a block before compression.
    pub(crate) fn bytes(&self) -> usize {
        40 + self.values.iter().map(|(name, value)| name.len() + value.len() + 16).sum::<usize>()
    }
}

/// A name and its value.
type Named = (Arc<str>, Arc<str>);

/// Memory of an entry without its strings, at most: key and list in a map that is half full, and the counters of the strings.
const ENTRY_BYTES: usize = 2 * (size_of::<MetadataKey>() + size_of::<Vec<Named>>());
const VALUE_BYTES: usize = 2 * size_of::<Named>() + 4 * size_of::<usize>();

/// The metadata of a file by cgroup. A name that was written late holds for earlier events, too.
#[derive(Clone, Debug, Default)]
pub struct MetadataIndex {
    records: HashMap<MetadataKey, Vec<Named>>,
}

impl MetadataIndex {
    /// Adds a record.
    pub fn add(&mut self, record: &MetadataRecord) {
        self.add_counted(record);
    }

    /// Adds a record; how many bytes of memory it takes in addition, approximately.
    pub(crate) fn add_counted(&mut self, record: &MetadataRecord) -> usize {
        let mut grown = if self.records.contains_key(&record.key) { 0 } else { ENTRY_BYTES };
        let values = self.records.entry(record.key).or_default();
        for (name, value) in &record.values {
            match values.iter_mut().find(|(n, _)| **n == **name) {
                Some((_, old)) if **old == **value => {}
                Some((_, old)) => {
                    grown += value.len();
                    *old = value.as_str().into();
                }
                None => {
                    grown += VALUE_BYTES + name.len() + value.len();
                    values.push((name.as_str().into(), value.as_str().into()));
                }
            }
        }
        grown
    }

    /// Removes what is known of a cgroup.
    pub fn remove(&mut self, key: &MetadataKey) {
        self.records.remove(key);
    }

    /// Adds the content of another index; its values replace earlier ones of the same name.
    pub fn merge(&mut self, other: &Self) {
        for (key, values) in &other.records {
            let known = self.records.entry(*key).or_default();
            for (name, value) in values {
                match known.iter_mut().find(|(n, _)| n == name) {
                    Some((_, old)) => *old = Arc::clone(value),
                    None => known.push((Arc::clone(name), Arc::clone(value))),
                }
            }
        }
    }

    /// The value of a name for a cgroup.
    pub fn get(&self, key: &MetadataKey, name: &str) -> Option<&str> {
        self.records.get(key)?.iter().find(|(n, _)| **n == *name).map(|(_, v)| &**v)
    }

    /// All pairs of name and value of a cgroup.
    pub fn values(&self, key: &MetadataKey) -> impl Iterator<Item = (&str, &str)> {
        self.records.get(key).into_iter().flatten().map(|(n, v)| (&**n, &**v))
    }

    /// All cgroups with metadata, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &MetadataKey> {
        self.records.keys()
    }

    /// Whether there is no metadata.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
