//! What is known of containers that may still have events: each file of a series begins with it.

use capture_format::{MetadataKey, MetadataRecord};
use rustc_hash::FxHashMap;

/// How much is kept, bytes: some hundred thousand names, or thousands of containers with all their labels.
const BYTES: usize = 16 << 20;

/// Records by cgroup.
#[derive(Debug, Default)]
pub struct Names {
    records: FxHashMap<MetadataKey, MetadataRecord>,
    bytes: usize,
}

impl Names {
    /// Keeps what a record tells: each tells all that is known. Beyond the limit new containers are not repeated.
    pub fn add(&mut self, record: &MetadataRecord) {
        let bytes = size(record);
        if self.bytes + bytes <= BYTES {
            self.bytes += bytes;
            if let Some(old) = self.records.insert(record.key, record.clone()) {
                self.bytes -= size(&old);
            }
        }
    }

    /// Nothing more will come of it.
    pub fn forget(&mut self, key: &MetadataKey) {
        if let Some(old) = self.records.remove(key) {
            self.bytes -= size(&old);
        }
    }

    /// All of them, in the order of their cgroups.
    pub fn all(&self) -> Vec<MetadataRecord> {
        let mut all: Vec<MetadataRecord> = self.records.values().cloned().collect();
        all.sort_by_key(|record| record.key);
        all
    }
}

/// Bytes that a record takes, about.
pub fn size(record: &MetadataRecord) -> usize {
    let values = record.values.iter();
    64 + values.map(|(name, value)| 48 + name.len() + value.len()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(cgroup: u64, value: &str) -> MetadataRecord {
        let key = MetadataKey { boot_id: [0; 16], cgroup, birth: 0 };
        MetadataRecord { key, values: vec![("container.name".to_owned(), value.to_owned())] }
    }

    #[test]
    fn what_is_repeated_is_bounded_and_forgotten() {
        let mut names = Names::default();
        names.add(&record(2, "old"));
        names.add(&record(2, "new"));
        names.add(&record(1, "other"));
        assert_eq!(names.all(), [record(1, "other"), record(2, "new")]);
        names.forget(&record(1, "").key);
        names.forget(&record(9, "").key);
        assert_eq!(names.all(), [record(2, "new")]);
        for cgroup in 10..200 {
            names.add(&record(cgroup, &"x".repeat(100_000)));
        }
        assert!((150..170).contains(&names.all().len()), "{}", names.all().len());
        for cgroup in 1..200 {
            names.forget(&record(cgroup, "").key);
        }
        assert_eq!((names.all().len(), names.bytes), (0, 0));
    }
}
