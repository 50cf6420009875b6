//! What a segment says about itself before its first chunk.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{
    codec::{self, Decode, Encode},
    error::FormatError,
    schema::{Schema, TableSchema},
};

/// Names of the values of some column, as the recording host knew them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Encode, Decode)]
pub struct Vocabulary {
    /// What the values are.
    pub name: String,
    /// Value and text, in any order.
    pub entries: Vec<(u64, String)>,
}

/// The header of a segment: one run of a recorder on one host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The identity of the capture; all files of a rotated series share it.
    pub capture_uuid: [u8; 16],
    /// The host's name.
    pub host: String,
    /// The host's own id (machine-id), as text.
    pub host_id: String,
    /// The kernel's release and version.
    pub kernel: String,
    /// The machine, as in `uname -m`.
    pub arch: String,
    /// The boot id of the kernel.
    pub boot_id: [u8; 16],
    /// When the segment was begun, in ns of the wall clock since 1970 (UTC).
    pub created: i64,
    /// Wall clock minus boot clock at that moment, in ns.
    pub wall_offset: i64,
    /// The host's time zone, by its IANA name; empty if unknown.
    pub time_zone: String,
    /// The host's distance from UTC at that moment, in seconds east.
    pub utc_offset: i32,
    /// The version of the program that wrote it.
    pub agent_version: String,
    /// Its command line.
    pub command_line: Vec<Vec<u8>>,
    /// The user's labels.
    pub labels: Vec<(String, String)>,
    /// Whether values after well-known secret flags were masked in arguments.
    pub secrets_masked: bool,
    /// What the capture was asked to record.
    pub options: Vec<(String, String)>,
    /// Names of values; shared by headers that were read one after the other and have the same.
    pub vocabularies: Arc<Vec<Vocabulary>>,
    /// The tables; shared likewise.
    pub schema: Arc<Schema>,
}

impl Header {
    /// The vocabulary of this name.
    pub fn vocabulary(&self, name: &str) -> Option<&Vocabulary> {
        self.vocabularies.iter().find(|v| v.name == name)
    }

    /// The value of an option.
    pub fn option(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(k, _)| k == name).map(|(_, v)| v.as_str())
    }

    /// The number that marks each block of a segment as belonging to this header.
    pub(crate) fn tag(&self) -> u32 {
        crc32fast::hash(&self.capture_uuid)
    }

    /// Memory that a header of `raw` encoded bytes takes, approximately.
    pub(crate) fn memory(&self, raw: usize) -> usize {
        size_of::<Self>() + raw + self.schema.lookup_bytes()
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, FormatError> {
        let wire = Wire {
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
        codec::encode("header", &wire)
    }

    pub(crate) fn decode(offset: u64, bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = codec::decode(offset, "header", bytes)?;
        let schema = Schema::new(wire.tables).map_err(|e| e.in_header(offset))?;
        let (schema, vocabularies) = shared(schema, wire.vocabularies);
        Ok(Self {
            capture_uuid: wire.capture_uuid,
            host: wire.host,
            host_id: wire.host_id,
            kernel: wire.kernel,
            arch: wire.arch,
            boot_id: wire.boot_id,
            created: wire.created,
            wall_offset: wire.wall_offset,
            time_zone: wire.time_zone,
            utc_offset: wire.utc_offset,
            agent_version: wire.agent_version,
            command_line: wire.command_line,
            labels: wire.labels,
            secrets_masked: wire.secrets_masked,
            options: wire.options,
            vocabularies,
            schema,
        })
    }
}

/// The last ones that were read, if somebody still has them.
static LAST: Mutex<(Weak<Schema>, Weak<Vec<Vocabulary>>)> = Mutex::new((Weak::new(), Weak::new()));

/// What all files of a series have in common takes memory once.
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
struct Wire {
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
