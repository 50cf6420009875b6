//! The JSON view: one object a line, keys as `ktape fields` names them; what an event does not have is
//! absent. Strings are escaped by the rule of [`crate::text::escape`], then by JSON's.

use events::{Kind, NO_CALL, Ty};

use crate::fields::{Field, Value, values};
use crate::fields::{MARKS, Part, args};
use crate::model::{BoundColumn, Event, Rows, column as schema_column};
use crate::text::escape::{self, Place};
use crate::text::number;
use crate::text::time::ClockWriter;

use super::text::of_cgroup as is_of_cgroup;
use super::{TaskCache, View, event_text};

/// The largest number that every JSON reader keeps exactly.
const MAX_EXACT: i128 = 1 << 53;

/// What is known of an event's thread.
const OF_TASK: [(&str, Field); 8] = [
    ("proc.name", Field::ProcName),
    ("proc.pid", Field::ProcPid),
    ("proc.ppid", Field::ProcPpid),
    ("proc.exepath", Field::ProcExePath),
    ("thread.name", Field::ThreadName),
    ("thread.tid", Field::ThreadTid),
    ("user.uid", Field::UserUid),
    ("user.name", Field::UserName),
];

/// What is known of an event's cgroup.
fn of_cgroup() -> [(&'static str, Field); 8] {
    let named = |name: &'static str| (name, Field::Metadata(name.to_owned()));
    [
        ("container.id", Field::ContainerId),
        ("container.full_id", Field::ContainerFullId),
        named("container.name"),
        ("container.type", Field::ContainerType),
        named("container.image"),
        ("k8s.pod.uid", Field::PodUid),
        ("cgroup.id", Field::CgroupId),
        ("cgroup.path", Field::CgroupPath),
    ]
}

/// Writes events as JSON.
#[derive(Debug)]
pub struct JsonView {
    clock: ClockWriter,
    tasks: TaskCache,
    of_cgroup: [(&'static str, Field); 8],
    scratch: Vec<u8>,
}

impl Default for JsonView {
    fn default() -> Self {
        Self::new()
    }
}

impl JsonView {
    /// A view; times are UTC.
    pub fn new() -> Self {
        Self {
            clock: ClockWriter::rfc3339(),
            tasks: TaskCache::default(),
            of_cgroup: of_cgroup(),
            scratch: Vec::new(),
        }
    }

    /// The syscall's own fields.
    fn call(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        const FIELDS: [(&str, Field); 5] = [
            ("syscall.abi", Field::Abi),
            ("evt.latency", Field::Latency),
            ("evt.res", Field::Result),
            ("evt.rawres", Field::RawResult),
            ("evt.failed", Field::Failed),
        ];
        for (name, field) in &FIELDS {
            let value = values::value(event, field, &mut self.scratch);
            match (field, value) {
                (Field::Failed, Value::Int(failed)) => key_bool(name, failed != 0, out),
                _ => key_value(name, value, out),
            }
        }
        let call = event.call();
        let known = call.call();
        let count = known.map_or(call.args().len(), |c| c.signature.args.len());
        for position in 0..count {
            let value = values::argument(&call, position, &mut self.scratch);
            if value == Value::Missing {
                continue;
            }
            out.extend_from_slice(b",\"evt.arg");
            match known {
                Some(known) => {
                    out.push(b'.');
                    out.extend_from_slice(known.signature.args[position].name.as_bytes());
                }
                None => {
                    out.push(b'[');
                    number::decimal(position as u64, out);
                    out.push(b']');
                }
            }
            out.extend_from_slice(b"\":");
            write_value(value, out);
        }
    }

    /// What a thread or an address consists of.
    fn parts(&mut self, event: Event<'_>, column: &BoundColumn, out: &mut Vec<u8>) {
        let (Some(kind), Some(ty)) = (event.kind(), column.ty) else { return };
        for part in Part::of(ty) {
            let own = schema_column(kind, &column.name);
            let value = values::part_value(event, own, *part, &mut self.scratch);
            if value == Value::Missing {
                continue;
            }
            column_key(event.rows, column, out);
            out.push(b'.');
            out.extend_from_slice(part.name().as_bytes());
            out.extend_from_slice(b"\":");
            write_value(value, out);
        }
    }

    /// The columns that only this kind has.
    fn columns(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if event.kind() == Some(Kind::Stall) {
            let call = event.call();
            let key = call.key();
            if key != u64::from(NO_CALL) {
                self.scratch.clear();
                args::write_args(&call, &mut self.scratch);
                key_value("stall.args", Value::Bytes(&self.scratch), out);
            }
        }
        let syscall = event.kind() == Some(Kind::Syscall);
        for column in &event.rows.event.columns {
            // What has a field of its own is not said twice.
            if column.common || (syscall && column.ty.is_some()) {
                continue;
            }
            self.parts(event, column, out);
            let value = values::stored_value(event, column.index, column.ty, &mut self.scratch);
            let is_empty = value == Value::Bytes(b"") && column.ty.is_some();
            if value == Value::Missing || is_empty {
                continue;
            }
            column_key(event.rows, column, out);
            out.extend_from_slice(b"\":");
            match (column.ty, value) {
                (Some(Ty::Bool), Value::Int(value)) => {
                    out.extend_from_slice(if value != 0 { b"true" } else { b"false" });
                }
                (Some(Ty::Time), Value::Int(ns)) => {
                    out.push(b'"');
                    self.clock.write(ns as i64, out);
                    out.push(b'"');
                }
                _ => write_value(value, out),
            }
        }
    }
}

impl View for JsonView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let start = event.start();
        out.extend_from_slice(b"{\"evt.num\":");
        number::decimal(event.number(), out);
        out.extend_from_slice(b",\"evt.time\":\"");
        self.clock.write(start, out);
        out.push(b'"');
        key_value("evt.rawtime", Value::Int(i128::from(start)), out);
        key_value("evt.category", Value::Bytes(event.rows.event.name.as_bytes()), out);
        let name = values::value(event, &Field::Type, &mut self.scratch);
        key_value("evt.type", name, out);
        if let Some(cpu) = event.cpu() {
            key_value("evt.cpu", Value::Int(i128::from(cpu)), out);
        }
        let fields = &self.of_cgroup;
        let scratch = &mut self.scratch;
        match event.task() {
            Some(task) if !is_of_cgroup(event.kind()) => {
                let piece = self.tasks.get(event.view, task, |out| {
                    for (name, field) in &OF_TASK {
                        key_value(name, values::task_value(event.view, task, field, scratch), out);
                    }
                    for (name, field) in fields {
                        key_value(
                            name,
                            values::cgroup_value(
                                event.context,
                                event.view,
                                event.view.cgroup_of(task),
                                field,
                            ),
                            out,
                        );
                    }
                });
                out.extend_from_slice(piece);
            }
            _ => {
                let cgroup = event.cgroup();
                for (name, field) in fields {
                    key_value(name, values::cgroup_value(event.context, event.view, cgroup, field), out);
                }
            }
        }
        if event.kind() == Some(Kind::Syscall) {
            self.call(event, out);
        } else {
            let lasted = values::value(event, &Field::Latency, &mut self.scratch);
            key_value("evt.latency", lasted, out);
        }
        self.columns(event, out);
        let bits = event.flags();
        for (bit, name, _) in MARKS {
            if bits & bit != 0 {
                key_bool(name, true, out);
            }
        }
        out.extend_from_slice(b"}\n");
    }
}

/// The name of a column, up to where a part of it may follow. The file gave it: it may be anything.
fn column_key(rows: &Rows<'_>, column: &BoundColumn, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    json_text(rows.event.name.as_bytes(), out);
    out.push(b'.');
    json_text(column.name.as_bytes(), out);
}

/// A name of ours.
fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn key_bool(name: &str, value: bool, out: &mut Vec<u8>) {
    key(name, out);
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn key_value(name: &str, value: Value<'_>, out: &mut Vec<u8>) {
    if value != Value::Missing {
        key(name, out);
        write_value(value, out);
    }
}

fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Missing => out.extend_from_slice(b"null"),
        Value::Int(value) if value.abs() <= MAX_EXACT => event_text::write_int(value, out),
        Value::Int(value) => {
            out.push(b'"');
            event_text::write_int(value, out);
            out.push(b'"');
        }
        Value::Bytes(bytes) => {
            out.push(b'"');
            json_text(bytes, out);
            out.push(b'"');
        }
    }
}

/// Appends the inside of a JSON string.
fn json_text(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    escape::escape(bytes, Place::Free, out);
    // What the rule leaves is printable; only these two mean something to JSON.
    if out[start..].iter().any(|b| matches!(b, b'"' | b'\\')) {
        let escaped = out.split_off(start);
        for byte in escaped {
            if matches!(byte, b'"' | b'\\') {
                out.push(b'\\');
            }
            out.push(byte);
        }
    }
}
