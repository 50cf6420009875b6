//! What becomes known of a cgroup after its events were written: names, images, labels.

use std::{collections::HashMap, sync::Arc};

use crate::codec::{Decode, Encode};

/// The identity of a cgroup across hosts and boots.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Encode, Decode)]
pub struct MetadataKey {
    /// The boot id of the kernel.
    pub boot_id: [u8; 16],
    /// The cgroup's id, unique among the cgroups that exist at one time.
    pub cgroup: u64,
    /// When the cgroup was created, in ns of the boot clock; 0 if before the capture.
    pub birth: u64,
}

/// What is known of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub struct MetadataRecord {
    /// Which cgroup.
    pub key: MetadataKey,
    /// Names and values; a name told again replaces the earlier value.
    pub values: Vec<(String, String)>,
}

/// A name and its value.
type Named = (Arc<str>, Arc<str>);

/// The metadata of a file, joined by key: a name that was written late names earlier events too.
#[derive(Clone, Debug, Default)]
pub struct MetadataIndex {
    records: HashMap<MetadataKey, Vec<Named>>,
}

impl MetadataIndex {
    /// Adds what a record tells.
    pub fn add(&mut self, record: &MetadataRecord) {
        let values = self.records.entry(record.key).or_default();
        for (name, value) in &record.values {
            match values.iter_mut().find(|(n, _)| **n == **name) {
                Some((_, old)) if **old == **value => {}
                Some((_, old)) => *old = value.as_str().into(),
                None => values.push((name.as_str().into(), value.as_str().into())),
            }
        }
    }

    /// Forgets a cgroup.
    pub fn remove(&mut self, key: &MetadataKey) {
        self.records.remove(key);
    }

    /// Adds what another index tells.
    pub fn merge(&mut self, other: &Self) {
        for (key, values) in &other.records {
            let values = values.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect();
            self.add(&MetadataRecord { key: *key, values });
        }
    }

    /// The value of a name for a cgroup.
    pub fn get(&self, key: &MetadataKey, name: &str) -> Option<&str> {
        self.records.get(key)?.iter().find(|(n, _)| **n == *name).map(|(_, v)| &**v)
    }

    /// All that is known of a cgroup, as name and value.
    pub fn values(&self, key: &MetadataKey) -> impl Iterator<Item = (&str, &str)> {
        self.records.get(key).into_iter().flatten().map(|(n, v)| (&**n, &**v))
    }

    /// All cgroups of which something is known, in no order.
    pub fn keys(&self) -> impl Iterator<Item = &MetadataKey> {
        self.records.keys()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }
}
