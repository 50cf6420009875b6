//! The JSON view: one object a line, keys as `ktape fields` names them; what an event does not have is
//! absent. Strings are escaped by the rule of [`crate::text::escape`], then by JSON's.

use events::{Kind, NO_CALL};

use crate::fields::dependency::{Dependency, dependency};
use crate::fields::format::ColumnFormat;
use crate::fields::{self, Argument, Field, FieldType, Getter, Shape, StructValue, Value, args, values};
use crate::model::{BoundColumn, Event, Rows};
use crate::text::escape::{self, Place};
use crate::text::number;
use crate::text::time::ClockWriter;

use super::subject::of_cgroup as is_of_cgroup;
use super::{TaskCache, View, event_text};

/// The largest number that every JSON reader keeps exactly.
const MAX_EXACT: i128 = 1 << 53;

/// The keys of an event, in the order of the output.
#[derive(Debug, Default)]
struct Keys {
    /// Keys before those of the thread: number, time, type, CPU.
    head: Vec<Field>,
    /// Keys that depend on the thread.
    task: Vec<Field>,
    /// Keys that depend on the cgroup.
    cgroup: Vec<Field>,
    /// Keys after those of the cgroup: duration, result.
    tail: Vec<Field>,
    /// Flags with their bits: at the end, if they are set.
    flags: Vec<(u32, &'static str)>,
    /// Last, if some text is incomplete: the names of its fields, and whether it is cut or unread.
    incomplete: Vec<Field>,
}

impl Keys {
    fn new() -> Self {
        let mut keys = Self::default();
        for field in fields::placed(|decl| decl.json) {
            match dependency(&field) {
                Dependency::Task => keys.task.push(field),
                Dependency::Cgroup => keys.cgroup.push(field),
                Dependency::Segment
                | Dependency::Table
                | Dependency::Call
                | Dependency::Files
                | Dependency::Row => {
                    if keys.task.is_empty() {
                        keys.head.push(field);
                    } else {
                        keys.tail.push(field);
                    }
                }
            }
        }
        keys.flags.extend(fields::registry().iter().filter_map(|decl| {
            if let Getter::Flag(bit) = decl.getter { Some((bit, decl.name)) } else { None }
        }));
        let marks = ["evt.cut", "evt.unread", "evt.incomplete"].into_iter();
        keys.incomplete.extend(marks.filter_map(|name| fields::lookup(name).ok()).map(|(field, _)| field));
        keys
    }
}

/// Writes events as JSON.
#[derive(Debug)]
pub struct JsonView {
    keys: Keys,
    clock: ClockWriter,
    tasks: TaskCache,
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
            keys: Keys::new(),
            clock: ClockWriter::rfc3339(),
            tasks: TaskCache::default(),
            scratch: Vec::new(),
        }
    }

    /// The syscall's arguments: each with its type, and all of them as text, which has the names of flags.
    fn args(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let call = event.call();
        let known = call.call();
        let count = known.map_or(call.args().len(), |c| c.signature.args.len());
        for position in 0..count {
            let argument = values::stored_argument(&call, position);
            let name = known.map(|known| &*known.signature.args[position].name);
            if let (Argument::Struct(value), Some(name)) = (argument, name)
                && value.has_members()
            {
                struct_members(&value, name, out);
                continue;
            }
            let value = values::raw_value(argument, &mut self.scratch);
            if value == Value::Missing {
                continue;
            }
            out.extend_from_slice(b",\"evt.arg");
            match name {
                Some(name) => {
                    out.push(b'.');
                    out.extend_from_slice(name.as_bytes());
                }
                None => {
                    out.push(b'[');
                    number::decimal(position as u64, out);
                    out.push(b']');
                }
            }
            out.extend_from_slice(b"\":");
            match argument {
                Argument::List([]) => out.extend_from_slice(b"[]"),
                Argument::List(list) => write_list(list, out),
                Argument::Addresses(bytes) => {
                    let addresses = args::each_address(bytes);
                    write_array(addresses, out, |address, out| write_value(Value::Bytes(&address), out));
                }
                Argument::Struct(value) if value.is_array() => struct_array(&value, out),
                Argument::Struct(value)
                    if !value.is_number()
                        && let Some(numbers) = value.numbers() =>
                {
                    write_array(numbers, out, |number, out| write_value(Value::Int(number), out));
                }
                _ => write_value(value, out),
            }
        }
        self.scratch.clear();
        args::write_args(&call, &mut self.scratch);
        if !self.scratch.is_empty() {
            key("evt.args", out);
            write_escaped(&self.scratch, out);
        }
    }

    /// The fields whose text is cut or could not be read, if any.
    fn incomplete(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        for field in &self.keys.incomplete {
            if let Some(list) = values::list(event, field, &mut self.scratch) {
                key(field.decl().name, out);
                write_list(list, out);
            } else if let Value::Int(1..) = values::value(event, field, &mut self.scratch) {
                key(field.decl().name, out);
                out.extend_from_slice(b"true");
            }
        }
    }

    /// The parts of a thread or an address.
    fn parts(&mut self, event: Event<'_>, column: &BoundColumn, format: &ColumnFormat, out: &mut Vec<u8>) {
        for part in format.parts {
            let value = values::stored_part(event, column.index, part, &mut self.scratch);
            if value == Value::Missing {
                continue;
            }
            column_key(event.rows, column, out);
            out.push(b'.');
            out.extend_from_slice(part.name.as_bytes());
            out.extend_from_slice(b"\":");
            write_typed(value, part.ty, &mut self.clock, out);
        }
    }

    /// The columns that only this kind has.
    fn columns(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        if event.field_owner() == Some(Kind::Stall) {
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
            // Columns that have a field of their own are not repeated.
            if column.common || (syscall && column.ty.is_some()) {
                continue;
            }
            let format = column.ty.map(ColumnFormat::of);
            if let Some(format) = &format {
                self.parts(event, column, format, out);
            }
            let value = values::stored_value(event, column.index, column.ty, &mut self.scratch);
            let is_empty = value == Value::Bytes(b"")
                && column.ty.is_some()
                && values::stored_list(event, column).is_none_or(<[u8]>::is_empty);
            if value == Value::Missing || is_empty {
                continue;
            }
            column_key(event.rows, column, out);
            out.extend_from_slice(b"\":");
            if let Some(list) = values::stored_list(event, column) {
                write_list(list, out);
                continue;
            }
            match format {
                Some(format) => write_typed(value, format.field, &mut self.clock, out),
                None => write_value(value, out),
            }
        }
    }
}

impl View for JsonView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        let line = out.len();
        for field in &self.keys.head {
            key_field(event, field, (&mut self.clock, &mut self.scratch), out);
        }
        // Every key comes after a comma; the first one opens the object.
        match out.get_mut(line) {
            Some(first) => *first = b'{',
            None => out.push(b'{'),
        }
        let (keys, scratch) = (&self.keys, &mut self.scratch);
        match event.task() {
            Some(task) if !is_of_cgroup(event.kind()) => {
                let piece = self.tasks.get(event.view, task, |out| {
                    for field in &keys.task {
                        of_task(event, task, field, scratch, out);
                    }
                    of_cgroup(event, event.view.cgroup_of(task), &keys.cgroup, out);
                });
                out.extend_from_slice(piece);
            }
            _ => of_cgroup(event, event.cgroup(), &keys.cgroup, out),
        }
        for field in &self.keys.tail {
            key_field(event, field, (&mut self.clock, &mut self.scratch), out);
        }
        if event.is_about_call() {
            self.args(event, out);
        }
        self.columns(event, out);
        let bits = event.flags();
        for (bit, name) in &self.keys.flags {
            if bits & bit != 0 {
                key(name, out);
                out.extend_from_slice(b"true");
            }
        }
        self.incomplete(event, out);
        out.extend_from_slice(b"}\n");
    }
}

/// A key that depends on the thread. A boolean is present only if it is true, as flags are.
fn of_task(event: Event<'_>, task: u32, field: &Field, scratch: &mut Vec<u8>, out: &mut Vec<u8>) {
    let decl = field.decl();
    if decl.list.is_some() {
        if let Some(list) = values::list(event, field, scratch) {
            key(decl.name, out);
            write_list(list, out);
        }
        return;
    }
    match (decl.ty, values::task_value(event.view, task, field, scratch)) {
        (FieldType::Bool, Value::Int(1..)) => {
            key(decl.name, out);
            out.extend_from_slice(b"true");
        }
        (FieldType::Bool, _) => {}
        (_, value) => key_value(decl.name, value, out),
    }
}

/// The keys that depend on a cgroup.
fn of_cgroup(event: Event<'_>, cgroup: Option<u32>, fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        key_value(field.decl().name, values::cgroup_value(event.context, event.view, cgroup, field), out);
    }
}

/// A key with the value of a field, if the event has one.
fn key_field(
    event: Event<'_>,
    field: &Field,
    (clock, scratch): (&mut ClockWriter, &mut Vec<u8>),
    out: &mut Vec<u8>,
) {
    let value = values::value(event, field, scratch);
    if value != Value::Missing {
        key(field.decl().name, out);
        write_typed(value, field.decl().ty, clock, out);
    }
}

/// The name of a column, up to where a part of it may follow. The file gave it: it may be anything.
fn column_key(rows: &Rows<'_>, column: &BoundColumn, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    match rows.event.field_owner() {
        Some(owner) => out.extend_from_slice(owner.decl().name.as_bytes()),
        None => json_text(rows.event.name.as_bytes(), out),
    }
    out.push(b'.');
    json_text(column.name.as_bytes(), out);
}

/// A key from a name that this crate declares, which needs no escaping.
fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn key_value(name: &str, value: Value<'_>, out: &mut Vec<u8>) {
    if value != Value::Missing {
        key(name, out);
        write_value(value, out);
    }
}

/// Appends a value in the form of its type: times as RFC 3339, booleans as `true` and `false`.
pub(super) fn write_typed(value: Value<'_>, ty: FieldType, clock: &mut ClockWriter, out: &mut Vec<u8>) {
    match (ty.shape(), value) {
        (Shape::Bool, Value::Int(value)) => {
            out.extend_from_slice(if value != 0 { b"true" } else { b"false" });
        }
        (Shape::Time, Value::Int(ns)) => {
            out.push(b'"');
            clock.write(ns as i64, out);
            out.push(b'"');
        }
        (Shape::Hundredths, Value::Int(value)) => number::hundredths(value, out),
        (
            Shape::Number
            | Shape::Hundredths
            | Shape::Duration
            | Shape::Time
            | Shape::Bool
            | Shape::Code
            | Shape::Address
            | Shape::Text
            | Shape::Any,
            value,
        ) => write_value(value, out),
    }
}

/// The members of a structure, each as a key: `evt.arg.how.flags`.
fn struct_members(value: &StructValue<'_>, name: &str, out: &mut Vec<u8>) {
    for member in value.ty.members {
        let text = member.text(value.bytes);
        let mut numbers = value.values(member).map(|number| Value::Int(number.value)).peekable();
        let Some(shown) = text.map(Value::Bytes).or_else(|| numbers.peek().copied()) else { continue };
        out.extend_from_slice(b",\"evt.arg.");
        out.extend_from_slice(name.as_bytes());
        out.push(b'.');
        out.extend_from_slice(member.name.as_bytes());
        out.extend_from_slice(b"\":");
        if member.count > 1 {
            write_array(numbers, out, write_value);
        } else {
            write_value(shown, out);
        }
    }
}

/// An array of structures, each as an object.
fn struct_array(value: &StructValue<'_>, out: &mut Vec<u8>) {
    write_array(value.ty.elements(value.bytes), out, |element, out| {
        out.push(b'{');
        for (i, member) in value.ty.members.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.push(b'"');
            out.extend_from_slice(member.name.as_bytes());
            out.extend_from_slice(b"\":");
            let number = StructValue { bytes: element, ..*value }.values(member).next();
            write_value(number.map_or(Value::Int(0), |number| Value::Int(number.value)), out);
        }
        out.push(b'}');
    });
}

fn write_array<T>(elements: impl IntoIterator<Item = T>, out: &mut Vec<u8>, write: impl Fn(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, element) in elements.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

/// Appends a list as an array of strings.
pub(super) fn write_list(list: &[u8], out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, element) in values::arguments(list).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_value(Value::Bytes(element), out);
    }
    out.push(b']');
}

pub(super) fn write_value(value: Value<'_>, out: &mut Vec<u8>) {
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

/// Appends text that is escaped already as a string.
pub(super) fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let start = out.len();
    out.extend_from_slice(text);
    escape_json(start, out);
    out.push(b'"');
}

/// Appends the inside of a JSON string.
fn json_text(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    escape::escape(bytes, Place::Free, out);
    escape_json(start, out);
}

/// Escapes what was appended from `start` on: what the rule leaves is printable, and only these two mean something to
/// JSON.
fn escape_json(start: usize, out: &mut Vec<u8>) {
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
