//! Values of a cgroup, of the container that it belongs to, and of a chain of containers.

use capture_format::{Header, MetadataKey};

use super::field_type::FieldType;
use super::value::{Value, nonzero, number, text};
use crate::containers;
use crate::model::{CgroupRow, ChunkView, ContainerNames, Context, attribute_names, short_id};
use crate::text::{glob, number as decimal};

/// Value of container fields for processes of the host.
const HOST: &[u8] = b"host";

/// An identified cgroup.
#[derive(Clone, Copy, Debug)]
pub struct KnownCgroup<'a> {
    names: &'a ContainerNames,
    header: &'a Header,
    row: CgroupRow<'a>,
}

impl<'a> KnownCgroup<'a> {
    /// The cgroup in a row of the chunk's dictionary; `None` if it is unknown. A hidden one is
    /// not: it belongs to another container.
    pub(super) fn new(context: &Context<'a>, view: &ChunkView<'a>, row: Option<u32>) -> Option<Self> {
        let row = view.cgroup(row?);
        (row.is_known() || row.is_hidden()).then(|| Self {
            names: context.names,
            header: &view.binding.header,
            row,
        })
    }

    fn is_host(&self) -> bool {
        self.row.container.is_empty()
    }

    fn or_host(&self, bytes: &'a [u8]) -> Value<'a> {
        Value::Bytes(if self.is_host() { HOST } else { bytes })
    }

    /// An attribute of the container, by a name of [`attribute_names`].
    pub(super) fn attribute(&self, name: &str) -> Value<'a> {
        if self.is_host() {
            return Value::Missing;
        }
        let key = MetadataKey { boot_id: self.header.boot_id, cgroup: self.row.id, birth: self.row.birth };
        let found = self.names.get(&key, self.row.container, name);
        found.map_or(Value::Missing, |value| Value::Bytes(value.as_bytes()))
    }
}

/// The number that an attribute stands for: also a time, as ns since 1970, and `true` and `false`.
pub(super) fn attribute_number(text: &[u8], ty: FieldType) -> Value<'static> {
    let Ok(text) = std::str::from_utf8(text) else { return Value::Missing };
    match ty {
        FieldType::Time => {
            let time = text.parse::<jiff::Timestamp>();
            time.map_or(Value::Missing, |time| Value::Int(time.as_nanosecond()))
        }
        FieldType::Bool => text.parse::<bool>().map_or(Value::Missing, number),
        _ => decimal::parse(text).map_or(Value::Missing, Value::Int),
    }
}

pub(super) fn container_id<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    cgroup.or_host(short_id(cgroup.row.container))
}

pub(super) fn container_full_id<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    cgroup.or_host(cgroup.row.container)
}

pub(super) fn container_type<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    let reported = match cgroup.attribute(attribute_names::TYPE) {
        Value::Bytes(reported) => Some(reported),
        Value::Missing | Value::Int(_) => None,
    };
    cgroup.or_host(containers::type_of(cgroup.row.runtime, reported))
}

pub(super) fn container_chain<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    text(cgroup.row.chain)
}

pub(super) fn container_name<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    if cgroup.is_host() {
        return Value::Bytes(HOST);
    }
    match cgroup.attribute(attribute_names::NAME) {
        // LXC, nspawn and `ctr` identify a container by its name alone.
        Value::Missing if containers::is_name(cgroup.row.container) => Value::Bytes(cgroup.row.container),
        value => value,
    }
}

/// The parts of an image's name: `registry/repository:tag@digest`.
struct Image<'a> {
    repository: &'a [u8],
    tag: Option<&'a [u8]>,
    digest: Option<&'a [u8]>,
}

impl<'a> Image<'a> {
    fn parse(name: &'a [u8]) -> Self {
        let split = |text: &'a [u8], at: Option<usize>| match at {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        let (name, digest) = split(name, name.iter().position(|byte| *byte == b'@'));
        // The registry may have a port.
        let path = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
        let (repository, tag) =
            split(name, name[path..].iter().position(|byte| *byte == b':').map(|at| path + at));
        Self { repository, tag, digest }
    }
}

fn part<'a>(cgroup: &KnownCgroup<'a>, get: impl Fn(Image<'a>) -> Option<&'a [u8]>) -> Value<'a> {
    match cgroup.attribute(attribute_names::IMAGE) {
        Value::Bytes(name) => get(Image::parse(name)).map_or(Value::Missing, Value::Bytes),
        Value::Missing | Value::Int(_) => Value::Missing,
    }
}

pub(super) fn image_repository<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    part(cgroup, |image| Some(image.repository))
}

pub(super) fn image_tag<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    part(cgroup, |image| image.tag)
}

pub(super) fn image_digest<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    part(cgroup, |image| image.digest)
}

/// Value of the fields of one mount if the container has no such mount, as in Falco's rules.
const NO_MOUNT: &[u8] = b"N/A";

/// A mount, as runtimes' metadata has it: [`attribute_names::MOUNT`].
struct Mount<'a> {
    whole: &'a [u8],
    source: &'a [u8],
    destination: &'a [u8],
    mode: &'a [u8],
    is_writable: &'a [u8],
    propagation: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(whole: &'a [u8]) -> Option<Self> {
        let mut parts = whole.rsplitn(4, |byte| *byte == b':');
        let mut next = || parts.next();
        let (propagation, is_writable, mode, paths) = (next()?, next()?, next()?, next()?);
        // A path in the container is absolute.
        let colon = paths.windows(2).rposition(|bytes| bytes == b":/")?;
        Some(Self {
            whole,
            source: &paths[..colon],
            destination: &paths[colon + 1..],
            mode,
            is_writable,
            propagation,
        })
    }
}

/// The first mount that the key of a field names: by its number, or by a path, which can be a glob.
fn mount<'a>(
    cgroup: &KnownCgroup<'a>,
    key: &str,
    named_by: impl Fn(&Mount<'a>) -> &'a [u8],
    get: impl Fn(&Mount<'a>) -> &'a [u8],
) -> Value<'a> {
    let at = |number: usize| match cgroup.attribute(&format!("{}[{number}]", attribute_names::MOUNT)) {
        Value::Bytes(whole) => Some(whole),
        Value::Missing | Value::Int(_) => None,
    };
    let found = match key.parse() {
        Ok(number) => at(number).and_then(Mount::parse),
        Err(_) => (0..)
            .map_while(at)
            .filter_map(Mount::parse)
            .find(|mount| glob::matches(key.as_bytes(), named_by(mount))),
    };
    Value::Bytes(found.map_or(NO_MOUNT, |mount| get(&mount)))
}

pub(super) fn whole_mount<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.source, |mount| mount.whole)
}

pub(super) fn mount_source<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.destination, |mount| mount.source)
}

pub(super) fn mount_destination<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.source, |mount| mount.destination)
}

pub(super) fn mount_mode<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.source, |mount| mount.mode)
}

pub(super) fn mount_is_writable<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.source, |mount| mount.is_writable)
}

pub(super) fn mount_propagation<'a>(cgroup: &KnownCgroup<'a>, key: &str) -> Value<'a> {
    mount(cgroup, key, |mount| mount.source, |mount| mount.propagation)
}

pub(super) fn pod_uid<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    text(cgroup.row.pod_uid)
}

pub(super) fn id<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    nonzero(cgroup.row.id)
}

pub(super) fn path<'a>(cgroup: &KnownCgroup<'a>) -> Value<'a> {
    text(cgroup.row.path)
}

/// `container.id` of an event in the containers `chain`.
pub(super) fn id_in_chain(chain: &[u8]) -> Value<'_> {
    Value::Bytes(if chain.is_empty() { HOST } else { short_id(innermost(chain)) })
}

/// `container.full_id` of an event in the containers `chain`.
pub(super) fn full_id_in_chain(chain: &[u8]) -> Value<'_> {
    Value::Bytes(if chain.is_empty() { HOST } else { innermost(chain) })
}

/// `container.chain` of an event in the containers `chain`.
pub(super) fn whole_chain(chain: &[u8]) -> Value<'_> {
    text(chain)
}

fn innermost(chain: &[u8]) -> &[u8] {
    chain.rsplit(|b| *b == b'>').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
