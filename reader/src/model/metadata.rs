//! What the runtimes reported about containers, joined to the cgroups of events. A record's values are named
//! like the filter fields that show them (`container.name`, `container.label[KEY]`, ...).

use capture_format::{MetadataIndex, MetadataKey, MetadataRecord};
use rustc_hash::FxHashMap;

use super::ContainerSelector;

/// The attribute that holds the container's full id. Through it, the attributes of a container's own cgroup also apply
/// to the cgroups inside.
pub const FULL_ID: &str = "container.full_id";
/// The attribute that holds the container's name.
pub const NAME: &str = "container.name";

/// Metadata of one or several captures.
#[derive(Clone, Debug, Default)]
pub struct ContainerNames {
    index: MetadataIndex,
    by_container: FxHashMap<([u8; 16], Vec<u8>), MetadataKey>,
}

impl ContainerNames {
    /// Adds the metadata of a capture.
    pub fn merge(&mut self, other: &MetadataIndex) {
        self.index.merge(other);
        other.keys().for_each(|key| self.note_container(*key));
    }

    /// Adds the attributes of one record.
    pub fn add(&mut self, record: &MetadataRecord) {
        self.index.add(record);
        self.note_container(record.key);
    }

    fn note_container(&mut self, key: MetadataKey) {
        if let Some(id) = self.index.get(&key, FULL_ID) {
            // Some runtimes reuse ids: the last container has it.
            let last = self.by_container.entry((key.boot_id, id.as_bytes().to_vec())).or_insert(key);
            *last = std::cmp::max_by_key(*last, key, |key| key.birth);
        }
    }

    /// Forgets a cgroup, and its container's attributes.
    pub fn forget(&mut self, key: &MetadataKey) {
        if let Some(id) = self.index.get(key, FULL_ID) {
            let container = (key.boot_id, id.as_bytes().to_vec());
            // The name may belong to another cgroup by now.
            if self.by_container.get(&container) == Some(key) {
                self.by_container.remove(&container);
            }
        }
        self.index.remove(key);
    }

    /// A value of a cgroup, or else of the container (by full id) that it belongs to.
    pub fn get(&self, key: &MetadataKey, container: &[u8], name: &str) -> Option<&str> {
        if self.index.is_empty() {
            return None;
        }
        if let Some(value) = self.index.get(key, name) {
            return Some(value);
        }
        self.of_container(key.boot_id, container, name)
    }

    /// A value of a container by its full id.
    pub fn of_container(&self, boot_id: [u8; 16], container: &[u8], name: &str) -> Option<&str> {
        if container.is_empty() || self.by_container.is_empty() {
            return None;
        }
        let key = self.by_container.get(&(boot_id, container.to_vec()))?;
        self.index.get(key, name)
    }

    /// The cgroup that identifies a container, by its full id; the last one if several had it.
    pub fn last_of(&self, boot_id: [u8; 16], container: &[u8]) -> Option<&MetadataKey> {
        self.by_container.get(&(boot_id, container.to_vec()))
    }

    /// All attributes of a cgroup.
    pub fn all_of(&self, key: &MetadataKey) -> impl Iterator<Item = (&str, &str)> {
        self.index.values(key)
    }

    /// A value of a cgroup alone.
    pub fn of_cgroup(&self, key: &MetadataKey, name: &str) -> Option<&str> {
        self.index.get(key, name)
    }

    /// Each cgroup that identifies a container, with the container's full id.
    pub fn containers(&self) -> impl Iterator<Item = (&MetadataKey, &[u8])> {
        self.index.keys().filter_map(|key| Some((key, self.index.get(key, FULL_ID)?.as_bytes())))
    }

    /// Whether the container of this cgroup is selected; `None` if too few of its attributes are known.
    pub fn is_meant(&self, key: &MetadataKey, wanted: &ContainerSelector) -> Option<bool> {
        let is_meant = wanted.matches(|name| self.index.get(key, name));
        (is_meant || self.index.get(key, NAME).is_some()).then_some(is_meant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_forgotten_takes_no_other_name_along() {
        let key = |cgroup| MetadataKey { boot_id: [1; 16], cgroup, birth: 0 };
        let record = |cgroup, name: &str| MetadataRecord {
            key: key(cgroup),
            values: vec![(FULL_ID.to_owned(), "redis".to_owned()), (NAME.to_owned(), name.to_owned())],
        };
        let mut names = ContainerNames::default();
        names.add(&record(1, "old"));
        names.add(&record(2, "new"));
        assert_eq!(names.get(&key(1), b"redis", NAME), Some("old"));
        names.forget(&key(1));
        // The id belongs to the other container by now.
        assert_eq!(names.get(&key(1), b"redis", NAME), Some("new"));
        names.forget(&key(2));
        assert_eq!(names.of_container([1; 16], b"redis", NAME), None);
        assert!(names.index.is_empty() && names.by_container.is_empty());
    }
}
