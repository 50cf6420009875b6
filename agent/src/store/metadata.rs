//! Metadata of containers that may still have events. Each rotated file begins with it, so that every file can be read
//! without the others.

use capture_format::{MetadataKey, MetadataRecord};
use rustc_hash::FxHashMap;

/// Bytes kept at most: some hundred thousand names, or thousands of containers with all their labels.
const MAX_BYTES: usize = 16 << 20;

/// The last metadata record of each cgroup.
#[derive(Debug, Default)]
pub struct RepeatedMetadata {
    records: FxHashMap<MetadataKey, MetadataRecord>,
    bytes: usize,
}

impl RepeatedMetadata {
    /// Keeps a record in place of an earlier one of the same cgroup: each holds all values that are known. Beyond
    /// 16 MiB new containers are not repeated.
    pub fn add(&mut self, record: &MetadataRecord) {
        let bytes = record_bytes(record);
        if self.bytes + bytes <= MAX_BYTES {
            self.bytes += bytes;
            if let Some(old) = self.records.insert(record.key, record.clone()) {
                self.bytes -= record_bytes(&old);
            }
        }
    }

    /// Drops the record of a cgroup that will have no more events.
    pub fn remove(&mut self, key: &MetadataKey) {
        if let Some(old) = self.records.remove(key) {
            self.bytes -= record_bytes(&old);
        }
    }

    /// All records, ordered by key.
    pub fn all(&self) -> Vec<MetadataRecord> {
        let mut all: Vec<MetadataRecord> = self.records.values().cloned().collect();
        all.sort_by_key(|record| record.key);
        all
    }
}

/// Bytes that a record takes in memory and, before compression, in the file, approximately.
pub fn record_bytes(record: &MetadataRecord) -> usize {
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
    fn the_last_record_of_a_cgroup_is_kept_until_it_is_removed() {
        let mut metadata = RepeatedMetadata::default();
        metadata.add(&record(2, "old"));
        metadata.add(&record(2, "new"));
        metadata.add(&record(1, "other"));
        assert_eq!(metadata.all(), [record(1, "other"), record(2, "new")]);
        metadata.remove(&record(1, "").key);
        metadata.remove(&record(9, "").key);
        assert_eq!(metadata.all(), [record(2, "new")]);
    }

    #[test]
    fn memory_is_bounded_and_released() {
        let mut metadata = RepeatedMetadata::default();
        for cgroup in 10..200 {
            metadata.add(&record(cgroup, &"x".repeat(100_000)));
        }
        assert_eq!(metadata.all().len(), MAX_BYTES / record_bytes(&record(0, &"x".repeat(100_000))));
        for cgroup in 1..200 {
            metadata.remove(&record(cgroup, "").key);
        }
        assert_eq!((metadata.all().len(), metadata.bytes), (0, 0));
    }
}
