//! The header of a segment, before its first chunk.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    codec,
    derive::{Decode, Encode},
    error::FormatError,
    schema::{Schema, TableSchema},
};

/// Names of numeric values, as on the recording host, such as the numbers and signatures of syscalls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Vocabulary {
    /// What kind of values it names, such as "syscall".
    pub name: String,
    /// Pairs of value and text, in any order.
    pub entries: Vec<(u64, String)>,
}

/// The header of a segment: one run of a recorder on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The identity of the capture, shared by all rotated files of a capture set.
    pub capture_uuid: [u8; 16],
    /// Host name.
    pub host: String,
    /// The host's machine-id, as text.
    pub host_id: String,
    /// Release and version of the kernel.
    pub kernel: String,
    /// The architecture, as in `uname -m`.
    pub arch: String,
    /// The boot id of the kernel.
    pub boot_id: [u8; 16],
    /// Start of the segment, in ns of the wall clock since 1970-01-01 UTC.
    pub created: i64,
    /// Wall clock minus boot clock at that moment, in ns.
    pub wall_offset: i64,
    /// IANA name of the host's time zone, empty if unknown.
    pub time_zone: String,
    /// The host's offset from UTC at that moment, in seconds east.
    pub utc_offset: i32,
    /// Version of the recorder.
    pub agent_version: String,
    /// Arguments of the recorder.
    pub command_line: Vec<Vec<u8>>,
    /// Labels that the user gave the capture.
    pub labels: Vec<(String, String)>,
    /// Whether values after well-known secret flags are masked in recorded command lines.
    pub secrets_masked: bool,
    /// What was recorded, as pairs of option and value.
    pub options: Vec<(String, String)>,
    /// Names of values. Headers that are read one after the other share equal ones.
    pub vocabularies: Arc<Vec<Vocabulary>>,
    /// The tables and columns of the chunks. Shared in the same way.
    pub schema: Arc<Schema>,
}

impl Header {
    /// The vocabulary with this name.
    pub fn vocabulary(&self, name: &str) -> Option<&Vocabulary> {
        self.vocabularies.iter().find(|v| v.name == name)
    }

    /// The value of the option with this name.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// The number in each block of a segment that says which header it belongs to.
    pub(crate) fn tag(&self) -> u32 {
        crc32fast::hash(&self.capture_uuid)
    }

    /// Memory that a header of `raw` encoded bytes takes, approximately.
    pub(crate) fn memory(&self, raw: usize) -> usize {
        size_of::<Self>() + raw + self.schema.lookup_bytes()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let stored = StoredHeader {
            capture_uuid: self.capture_uuid,
            host: self.host.clone(),
            host_id: self.host_id.clone(),
            kernel: self.kernel.clone(),
            arch: self.arch.clone(),
            boot_id: self.boot_id,
            created: self.created,
            wall_offset: self.wall_offset,
            time_zone: self.time_zone.clone(),
            utc_offset: self.utc_offset,
            agent_version: self.agent_version.clone(),
            command_line: self.command_line.clone(),
            labels: self.labels.clone(),
            secrets_masked: self.secrets_masked,
            options: self.options.clone(),
            vocabularies: self.vocabularies.to_vec(),
            tables: self.schema.tables().to_vec(),
        };
        codec::encode("header", &stored)
    }

    pub(crate) fn decode(offset: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let stored: StoredHeader = codec::decode(offset, "header", bytes)?;
        let schema = Schema::new(stored.tables).map_err(|e| e.in_header(offset))?;
        let (schema, vocabularies) = shared(schema, stored.vocabularies);
        Ok(Self {
            capture_uuid: stored.capture_uuid,
            host: stored.host,
            host_id: stored.host_id,
            kernel: stored.kernel,
            arch: stored.arch,
            boot_id: stored.boot_id,
            created: stored.created,
            wall_offset: stored.wall_offset,
            time_zone: stored.time_zone,
            utc_offset: stored.utc_offset,
            agent_version: stored.agent_version,
            command_line: stored.command_line,
            labels: stored.labels,
            secrets_masked: stored.secrets_masked,
            options: stored.options,
            vocabularies,
            schema,
        })
    }
}

/// The schema and vocabularies read last, if still in use.
static LAST: Mutex<(Weak<Schema>, Weak<Vec<Vocabulary>>)> = Mutex::new((Weak::new(), Weak::new()));

/// Makes the rotated files of a capture set share one schema in memory.
fn shared(schema: Schema, vocabularies: Vec<Vocabulary>) -> (Arc<Schema>, Arc<Vec<Vocabulary>>) {
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let schema = same(&last.0, schema);
    let vocabularies = same(&last.1, vocabularies);
    *last = (Arc::downgrade(&schema), Arc::downgrade(&vocabularies));
    (schema, vocabularies)
}

fn same<T: PartialEq>(last: &Weak<T>, value: T) -> Arc<T> {
    last.upgrade().filter(|last| **last == value).unwrap_or_else(|| Arc::new(value))
}

/// The header as it is stored. Fields are only ever appended.
#[derive(Encode, Decode)]
struct StoredHeader {
    capture_uuid: [u8; 16],
    host: String,
    host_id: String,
    kernel: String,
    arch: String,
    boot_id: [u8; 16],
    created: i64,
    wall_offset: i64,
    time_zone: String,
    utc_offset: i32,
    agent_version: String,
    command_line: Vec<Vec<u8>>,
    labels: Vec<(String, String)>,
    secrets_masked: bool,
    options: Vec<(String, String)>,
    vocabularies: Vec<Vocabulary>,
    tables: Vec<TableSchema>,
}
