//! The attributes of one container, within limits.

use std::collections::BTreeMap;
use std::fmt;

use ktape_reader::model::attribute_names as names;

/// Attributes per container, at most.
const VALUES_MAX: usize = 256;
/// Bytes of a name or value, at most; longer ones are ignored, such as a whole manifest in an annotation.
const VALUE_BYTES_MAX: usize = 4 << 10;
/// Bytes of all names and values of a container, at most.
const BYTES_MAX: usize = 64 << 10;

/// A mount of a container.
#[derive(Clone, Copy, Debug)]
pub struct Mount<'a> {
    /// The path on the host.
    pub source: &'a str,
    /// The path in the container.
    pub destination: &'a str,
    /// As the user gave it; empty if the runtime does not report it.
    pub mode: &'a str,
    /// Whether the container may write to it.
    pub is_writable: bool,
    /// How mounts below it travel, such as `rprivate`.
    pub propagation: &'a str,
}

impl fmt::Display for Mount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, mode, is_writable, propagation } = self;
        write!(f, "{source}:{destination}:{mode}:{is_writable}:{propagation}")
    }
}

/// The attributes of one container, by the name of the field that shows them. Their number and size are limited, because
/// they are untrusted input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    values: BTreeMap<String, String>,
    bytes: usize,
}

impl Attributes {
    /// Adds or replaces a value. An empty value, or one beyond the limits, is ignored.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        let old = self.values.get(&name).map_or(0, |old| name.len() + old.len());
        let bytes = self.bytes - old + name.len() + value.len();
        if value.is_empty()
            || name.len() > VALUE_BYTES_MAX
            || value.len() > VALUE_BYTES_MAX
            || bytes > BYTES_MAX
            || old == 0 && self.values.len() >= VALUES_MAX
        {
            return;
        }
        self.bytes = bytes;
        self.values.insert(name, value);
    }

    /// Removes a value.
    pub fn remove(&mut self, name: &str) {
        if let Some(old) = self.values.remove(name) {
            self.bytes -= name.len() + old.len();
        }
    }

    /// Adds or replaces a number. 0 and negative numbers are ignored; runtimes use them for no limit and no process.
    pub fn set_number(&mut self, name: &str, value: i64) {
        if value > 0 {
            self.set(name, value.to_string());
        }
    }

    /// Adds the CPU limit, in thousandths of a CPU, from a quota and a period in microseconds (0: the kernel's default of
    /// 100 ms).
    pub fn set_cpu_limit(&mut self, quota: i64, period: i64) {
        let period = if period > 0 { period } else { 100_000 };
        self.set_number(names::CPU_LIMIT, quota.saturating_mul(1000) / period);
    }

    /// Adds whether the container is privileged.
    pub fn set_privileged(&mut self, is_privileged: bool) {
        self.set(names::PRIVILEGED, is_privileged.to_string());
    }

    /// Adds the mounts of the container.
    pub fn set_mounts<'a>(&mut self, mounts: impl IntoIterator<Item = Mount<'a>>) {
        let all: Vec<String> = mounts.into_iter().map(|mount| mount.to_string()).collect();
        for (number, mount) in all.iter().enumerate() {
            self.set(format!("{}[{number}]", names::MOUNT), mount.as_str());
        }
        self.set(names::MOUNTS, all.join(","));
    }

    /// Adds attributes with keys, such as labels and annotations, as `name[key]`.
    pub fn set_all<K: AsRef<str>, V: Into<String>>(
        &mut self,
        name: &str,
        pairs: impl IntoIterator<Item = (K, V)>,
    ) {
        for (key, value) in pairs {
            self.set(format!("{name}[{}]", key.as_ref()), value);
        }
    }

    /// The value with this name.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// All names and values, ordered by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.values.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Adds all values of `other`; returns whether any is new or different.
    pub fn merge(&mut self, other: &Self) -> bool {
        let mut changed = false;
        for (name, value) in other.iter() {
            if self.get(name) != Some(value) {
                self.set(name, value);
                changed |= self.get(name) == Some(value);
            }
        }
        changed
    }

    /// Memory use, bytes, approximately.
    pub fn bytes(&self) -> usize {
        self.bytes + 64 * self.values.len()
    }

    /// Whether there are no attributes.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}
