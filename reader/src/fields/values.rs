//! Values of fields in events, for filters and for JSON and CSV output.

use capture_format::ColumnView;
use events::{Kind, Ty};

use crate::model::{BoundColumn, CallEvent, Calls, ChunkView, Context, Event, Rows, column};

use super::call::Argument;
use super::cgroup::KnownCgroup;
use super::decl::{Field, FieldArg, Getter};
use super::fd;
use super::format::{self, ColumnFormat, Read};
use super::marks::{self, Mark};
use super::part::{Part, PartGetter};
use super::task::ThreadRows;
use super::value::{Value, number, optional};
use super::{call, cgroup as of_cgroup, event as of_event};

pub use super::call::{ArgumentKey, argument_value, raw_value, split_member, stored_argument};
pub use super::format::{IDLE, join};
pub use super::numbers::write_named;
pub use super::task::arguments;

/// The value of a field in an event. `scratch` holds text that has to be built.
pub fn value<'a>(event: Event<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    value_of_call(event.call(), field, scratch)
}

/// The same, with the columns of calls at hand.
pub(crate) fn value_of_call<'a>(call: CallEvent<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let event = call.event;
    match field.getter() {
        Getter::Header(_) | Getter::HeaderByKey(_) | Getter::Table(_) => {
            table_value(event.view, event.rows, field)
        }
        Getter::Cgroup(_) | Getter::CgroupByKey(_) | Getter::Attribute | Getter::AttributeNumber => {
            cgroup_value(event.context, event.view, event.cgroup(), field)
        }
        Getter::Task(get) => match event.task() {
            Some(task) => get(&ThreadRows::new(event.view, task), scratch),
            None => Value::Missing,
        },
        Getter::Process(get) => match event.task() {
            Some(task) => get.shown(event.view, task, field.key_position(), scratch),
            None => Value::Missing,
        },
        Getter::Duration => optional(event.duration()),
        Getter::Event(get) => get(&event),
        Getter::EventText(get) => get(&event, scratch),
        Getter::Sample(get) if event.kind() == Some(Kind::Sample) => get(&event),
        Getter::Flag(bit) => number(event.flags() & bit != 0),
        Getter::EventType if event.kind() != Some(Kind::Syscall) => of_event::kind(event.rows),
        getter @ (Getter::Call(_) | Getter::OwnCall(_) | Getter::EventType) => {
            if !getter.is_by_call(event.kind()) {
                return Value::Missing;
            }
            call_value(&event.view.binding.calls, call.key(), field, scratch)
        }
        Getter::Syscall(get) if event.is_about_call() => get(&call, scratch),
        Getter::Result(is_wanted) if event.is_about_call() && call.call().is_some_and(is_wanted) => {
            optional(call.result().filter(|result| *result >= 0))
        }
        Getter::Argument if event.is_about_call() => ArgumentKey::of(&call, field)
            .map_or(Value::Missing, |key| argument_value(key.get(&call), scratch)),
        Getter::RawArgument if event.is_about_call() => {
            ArgumentKey::of(&call, field).map_or(Value::Missing, |key| raw_value(key.get(&call), scratch))
        }
        Getter::Files(get) | Getter::RequestFiles(get) if field.getter().is_of(event.kind()) => {
            fd::shown(&call, *get, scratch)
        }
        Getter::Syscall(_)
        | Getter::Result(_)
        | Getter::Files(_)
        | Getter::RequestFiles(_)
        | Getter::Argument
        | Getter::RawArgument => Value::Missing,
        Getter::Column(kind, own) | Getter::SockAddr(kind, own) if event.field_owner() == Some(*kind) => {
            column_value(event, *own, scratch)
        }
        Getter::Stored(kind, own) if event.field_owner() == Some(*kind) => match event.column_u64(*own) {
            None | Some(0) => Value::Missing,
            Some(stored) => number(stored),
        },
        Getter::Part(kind, own, part) if event.field_owner() == Some(*kind) => {
            part_value(event, *own, part, scratch)
        }
        Getter::Sample(_)
        | Getter::Column(..)
        | Getter::Stored(..)
        | Getter::SockAddr(..)
        | Getter::Part(..) => Value::Missing,
    }
}

/// The value of a field where types matter, as in JSON: flags and enumerations are numbers.
pub fn typed_value<'a>(event: Event<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if let Getter::Argument = field.getter()
        && event.is_about_call()
    {
        let call = event.call();
        return ArgumentKey::of(&call, field)
            .map_or(Value::Missing, |key| raw_value(key.get(&call), scratch));
    }
    value(event, field, scratch)
}

/// The value of a field that depends on the segment or the table; [`Value::Missing`] for another field.
pub fn table_value<'a>(view: &ChunkView<'a>, rows: &Rows<'a>, field: &Field) -> Value<'a> {
    let header = &view.binding.header;
    if let Getter::Header(get) = field.getter() {
        return get(header);
    }
    if let Getter::HeaderByKey(get) = field.getter() {
        return field.key_name().map_or(Value::Missing, |key| get(header, key));
    }
    if let Getter::Table(get) = field.getter() {
        return get(rows);
    }
    Value::Missing
}

/// The value of a field that depends on the cgroup, by the row of the cgroup dictionary; [`Value::Missing`] for
/// another field.
pub fn cgroup_value<'a>(
    context: &Context<'a>,
    view: &ChunkView<'a>,
    cgroup: Option<u32>,
    field: &Field,
) -> Value<'a> {
    let Some(cgroup) = KnownCgroup::new(context, view, cgroup) else { return Value::Missing };
    if let Getter::Cgroup(get) = field.getter() {
        return get(&cgroup);
    }
    if let Getter::CgroupByKey(get) = field.getter() {
        return field.key_name().map_or(Value::Missing, |key| get(&cgroup, key));
    }
    if let Getter::Attribute = field.getter() {
        return cgroup.attribute(field.attribute());
    }
    if let Getter::AttributeNumber = field.getter() {
        let Value::Bytes(text) = cgroup.attribute(field.attribute()) else { return Value::Missing };
        return of_cgroup::attribute_number(text, field.decl().ty);
    }
    Value::Missing
}

/// `container.name` by the row of the cgroup dictionary.
pub(crate) fn container_name<'a>(
    context: &Context<'a>,
    view: &ChunkView<'a>,
    cgroup: Option<u32>,
) -> Value<'a> {
    KnownCgroup::new(context, view, cgroup).map_or(Value::Missing, |c| of_cgroup::container_name(&c))
}

/// The value of a field that depends on the thread, by the row of the task dictionary; [`Value::Missing`] for
/// another field.
pub fn task_value<'a, 'c: 'a>(
    view: &ChunkView<'c>,
    task: u32,
    field: &Field,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    match field.getter() {
        Getter::Task(get) => get(&ThreadRows::new(view, task), scratch),
        Getter::Process(get) => get.shown(view, task, field.key_position(), scratch),
        _ => Value::Missing,
    }
}

/// The value of a field that depends on the syscall, by its number ([`events::syscall_key`]); [`Value::Missing`]
/// for another field.
pub fn call_value<'a>(calls: &'a Calls, key: u64, field: &Field, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if let Getter::Call(get) | Getter::OwnCall(get) = field.getter() {
        return get(calls, key, scratch);
    }
    if let Getter::EventType = field.getter() {
        return call::name(calls, key, scratch);
    }
    Value::Missing
}

/// The value of a column of the event's kind.
fn column_value<'a>(event: Event<'a>, own: u16, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let Some(column) = event.rows.event.known(own) else { return Value::Missing };
    if marks::of_column(&event, own) == Mark::Unread {
        return Value::Missing;
    }
    let ty = event.rows.event.columns.get(usize::from(column)).and_then(|c| c.ty);
    stored_value(event, column, ty, scratch)
}

/// Whether each value of a field is a list ([`list`]). An argument of a syscall may be one.
pub fn is_list(field: &Field) -> bool {
    let is_args = |kind: Kind, own: u16| {
        let columns = kind.decl().columns;
        columns.iter().any(|c| c.ty == Ty::Args && column(kind, c.name) == own)
    };
    if let Getter::Process(_) = field.getter() {
        return field.decl().arg == FieldArg::Generation
            && field.key_position().is_none()
            && field.decl().ty.is_text();
    }
    field.decl().list.is_some() || matches!(field.getter(), Getter::Column(kind, own) if is_args(*kind, *own))
}

/// The elements of a field that is a list, each with a NUL; `None` if the event lacks it or it is no list. The last one
/// may lack its NUL, see [`arguments`].
pub fn list<'a>(event: Event<'a>, field: &Field, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    if let Some(get) = field.decl().list {
        return get(&event, scratch);
    }
    if let Getter::Process(get) = field.getter() {
        return get.list(event.view, event.task()?, field.key_position(), scratch);
    }
    if let Getter::Argument = field.getter()
        && event.is_about_call()
    {
        let call = event.call();
        return match ArgumentKey::of(&call, field)?.get(&call) {
            Argument::List(list) => Some(list),
            _ => None,
        };
    }
    let Getter::Column(kind, own) = field.getter() else { return None };
    if event.field_owner() != Some(*kind) {
        return None;
    }
    let column = event.rows.event.columns.get(usize::from(event.rows.event.known(*own)?))?;
    stored_list(event, column)
}

/// The elements of a column of the file's table that is a list; `None` if they could not be read, or it is none.
pub(crate) fn stored_list<'a>(event: Event<'a>, column: &BoundColumn) -> Option<&'a [u8]> {
    if column.ty != Some(Ty::Args) || marks::of_stored(&event, column.index) == Mark::Unread {
        return None;
    }
    let id = *event.rows.table.bytes(column.index).ok()?.get(event.row)?;
    Some(event.view.chunk.str(id))
}

/// A part of the value of a column of the event's kind, by this version's index ([`crate::model::column`]).
pub fn part_value<'a>(event: Event<'a>, own: u16, part: &Part, scratch: &'a mut Vec<u8>) -> Value<'a> {
    event.rows.event.known(own).map_or(Value::Missing, |column| stored_part(event, column, part, scratch))
}

/// A part of the value of a column of the file's table.
pub(crate) fn stored_part<'a>(
    event: Event<'a>,
    column: u16,
    part: &Part,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    let table = &event.rows.table;
    match part.get {
        PartGetter::Row(get) => match table.refs(column).ok().and_then(|refs| refs.get(event.row)) {
            Some(row) => get(&event, *row, scratch),
            None => Value::Missing,
        },
        PartGetter::Bytes(get) => match table.bytes(column).ok().and_then(|ids| ids.get(event.row)) {
            Some(id) => get(event.view.chunk.str(*id), scratch),
            None => Value::Missing,
        },
    }
}

/// The value of a column of the file's table, interpreted as `ty`; the stored value if that is `None`.
pub fn stored_value<'a>(
    event: Event<'a>,
    column: u16,
    ty: Option<Ty>,
    scratch: &'a mut Vec<u8>,
) -> Value<'a> {
    let Ok(values) = event.rows.table.column(column) else { return Value::Missing };
    let read = ty.map(|ty| ColumnFormat::of(ty).read);
    let row = event.row;
    scratch.clear();
    match values {
        ColumnView::U64(values) => {
            let Some(value) = values.get(row) else { return Value::Missing };
            let read = if let Some(Read::U64(read)) = read { read } else { format::unsigned };
            read(&event, *value, scratch)
        }
        ColumnView::I64(values) => {
            let Some(value) = values.get(row) else { return Value::Missing };
            let read = if let Some(Read::I64(read)) = read { read } else { format::signed };
            read(&event, *value)
        }
        ColumnView::Bytes(ids) => {
            let Some(id) = ids.get(row) else { return Value::Missing };
            let read = if let Some(Read::Bytes(read)) = read { read } else { format::bytes };
            read(event.view.chunk.str(*id), scratch)
        }
        ColumnView::Ref(_, rows) => {
            let Some(found) = rows.get(row) else { return Value::Missing };
            let read = match read {
                Some(Read::Row(read)) => read,
                Some(Read::OfCall) => return Value::Missing,
                _ => format::dictionary_row,
            };
            read(&event, *found, scratch)
        }
        ColumnView::U64List(_) | ColumnView::BytesList(_) => Value::Missing,
    }
}
