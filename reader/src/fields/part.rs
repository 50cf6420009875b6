//! The parts of values that name something: a thread's ids, a socket's address and port.

use std::ptr;

use super::field_type::FieldType;
use super::value::{Value, number};
use super::{cgroup, task};
use crate::model::Event;
use crate::syscalls::sockaddr::SockAddr;

/// A part of the value of a column: the field `KIND.COLUMN.PART`.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// The name that follows the column's.
    pub name: &'static str,
    /// The type of its values.
    pub ty: FieldType,
    /// What it holds, in one line.
    pub doc: &'static str,
    pub(super) get: PartGetter,
}

/// How to get a part of a value.
#[derive(Clone, Copy, Debug)]
pub(super) enum PartGetter {
    /// From a row of the dictionary that the column refers to.
    Row(for<'a> fn(&Event<'a>, u32, &'a mut Vec<u8>) -> Value<'a>),
    /// From the column's bytes.
    Bytes(for<'a> fn(&'a [u8], &'a mut Vec<u8>) -> Value<'a>),
}

impl PartialEq for Part {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self, other) || self.name == other.name
    }
}

impl Eq for Part {}

/// The parts of a thread.
pub(super) const THREAD: &[Part] = &[
    Part {
        name: "pid",
        ty: FieldType::Unsigned,
        doc: "the process id of that thread",
        get: PartGetter::Row(|event, task, scratch| id(event, task, task::pid, scratch)),
    },
    Part {
        name: "tid",
        ty: FieldType::Unsigned,
        doc: "the thread id of that thread",
        get: PartGetter::Row(|event, task, scratch| id(event, task, task::tid, scratch)),
    },
    Part {
        name: "container",
        ty: FieldType::Text,
        doc: "the container of that thread, as container.id",
        get: PartGetter::Row(|event, task, _| {
            let cgroup = cgroup::KnownCgroup::new(event.context, event.view, event.view.cgroup_of(task));
            cgroup.map_or(Value::Missing, |cgroup| cgroup::container_id(&cgroup))
        }),
    },
];

/// The parts of a cgroup.
pub(super) const CGROUP: &[Part] = &[Part {
    name: "container",
    ty: FieldType::Text,
    doc: "the container of that cgroup, as container.id",
    get: PartGetter::Row(|event, row, _| {
        let cgroup = cgroup::KnownCgroup::new(event.context, event.view, Some(row));
        cgroup.map_or(Value::Missing, |cgroup| cgroup::container_id(&cgroup))
    }),
}];

/// The parts of a socket address.
pub(super) const ADDRESS: &[Part] = &[
    Part {
        name: "ip",
        ty: FieldType::Address,
        doc: "the IP address alone; compares with 10.0.0.5, ::1, 10.0.0.0/8",
        get: PartGetter::Bytes(|bytes, scratch| match SockAddr::parse(bytes) {
            Some(SockAddr::Inet { ip, .. }) => {
                scratch.clear();
                scratch.extend_from_slice(ip.to_string().as_bytes());
                Value::Bytes(scratch)
            }
            _ => Value::Missing,
        }),
    },
    Part {
        name: "port",
        ty: FieldType::Port,
        doc: "the port alone",
        get: PartGetter::Bytes(|bytes, _| match SockAddr::parse(bytes) {
            Some(SockAddr::Inet { port, .. }) => number(port),
            _ => Value::Missing,
        }),
    },
];

/// An id of a thread; 0 for the idle one, which is known though its ids are 0.
fn id<'a>(
    event: &Event<'a>,
    row: u32,
    get: for<'t> fn(&task::ThreadRows<'t>, &'t mut Vec<u8>) -> Value<'t>,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    if event.is_idle(row) {
        return number(0);
    }
    get(&task::ThreadRows::new(event.view, row), scratch)
}
