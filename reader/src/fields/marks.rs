//! Which text of an event is incomplete: cut, because it was longer than what is recorded, or not read, because it was in
//! memory that could not be read. No output shows such text as if it were whole.

use events::{Kind, flags};

use super::call::split_member;
use super::decl::{Field, Getter, Key};
use super::fd;
use super::value::{Value, number};
use crate::model::{CallString, Event, column};
use crate::syscalls::argument_name;

pub use super::value::Mark;

/// A column whose text has bits in the flags of its event.
struct MarkedColumn {
    kind: Kind,
    name: &'static str,
    /// This version's index ([`column()`]).
    own: u16,
    /// Which of the two pairs of bits.
    slot: u8,
}

const fn marked(kind: Kind, name: &'static str, slot: u8) -> MarkedColumn {
    MarkedColumn { kind, name, own: column(kind, name), slot }
}

const COLUMNS: [MarkedColumn; 5] = [
    marked(Kind::Exec, "path", 0),
    marked(Kind::Exec, "args", 1),
    marked(Kind::CgroupMkdir, "cgroup", 0),
    marked(Kind::CgroupRmdir, "cgroup", 0),
    marked(Kind::CgroupAttach, "cgroup", 0),
];

const ANY: u32 = flags::STR0_UNREAD | flags::STR0_CUT | flags::STR1_UNREAD | flags::STR1_CUT;

/// What the bits of a slot say.
fn of_slot(bits: u32, slot: u8) -> Mark {
    let (unread, cut) = match slot {
        0 => (flags::STR0_UNREAD, flags::STR0_CUT),
        _ => (flags::STR1_UNREAD, flags::STR1_CUT),
    };
    if bits & unread != 0 {
        Mark::Unread
    } else if bits & cut != 0 {
        Mark::Cut
    } else {
        Mark::Whole
    }
}

/// The text of a column of the event's kind, by this version's index ([`column()`]).
pub fn of_column(event: &Event<'_>, own: u16) -> Mark {
    let bits = event.flags();
    if bits & ANY == 0 {
        return Mark::Whole;
    }
    let marked = COLUMNS.iter().find(|column| event.field_owner() == Some(column.kind) && column.own == own);
    marked.map_or(Mark::Whole, |column| of_slot(bits, column.slot))
}

/// The text of a column of the file's table.
pub(crate) fn of_stored(event: &Event<'_>, stored: u16) -> Mark {
    if event.flags() & ANY == 0 {
        return Mark::Whole;
    }
    let own =
        COLUMNS.iter().map(|column| column.own).find(|own| event.rows.event.known(*own) == Some(stored));
    own.map_or(Mark::Whole, |own| of_column(event, own))
}

/// The text of a field. Of all arguments at once ([`super::args`]), the marks are part of the text.
pub fn of_field(event: &Event<'_>, field: &Field) -> Mark {
    if let Some(mark) = field.decl().mark {
        return mark(event);
    }
    match field.getter() {
        Getter::Argument | Getter::RawArgument => match &field.key {
            Key::Name(name) => {
                let name = argument_name(split_member(name).0);
                argument(event, |_, arg| arg == name)
            }
            Key::Position(position) => argument(event, |at, _| at == usize::from(*position)),
            Key::None => Mark::Whole,
        },
        Getter::Column(kind, own) if event.field_owner() == Some(*kind) => of_column(event, *own),
        Getter::Process(of) => match event.task() {
            Some(task) if of.is_cut(event.view, task, field.key_position()) => Mark::Cut,
            _ => Mark::Whole,
        },
        Getter::Header(_)
        | Getter::HeaderByKey(_)
        | Getter::Table(_)
        | Getter::Cgroup(_)
        | Getter::CgroupByKey(_)
        | Getter::Attribute
        | Getter::AttributeNumber
        | Getter::Task(_)
        | Getter::Call(_)
        | Getter::OwnCall(_)
        | Getter::EventType
        | Getter::Duration
        | Getter::Event(_)
        | Getter::EventText(_)
        | Getter::Sample(_)
        | Getter::Flag(_)
        | Getter::Syscall(_)
        | Getter::Result(_)
        | Getter::Files(_)
        | Getter::RequestFiles(_)
        | Getter::Column(..)
        | Getter::Stored(..)
        | Getter::SockAddr(..)
        | Getter::Part(..) => Mark::Whole,
    }
}

/// The first argument that `wanted` accepts, by position and name.
fn argument(event: &Event<'_>, wanted: impl Fn(usize, &str) -> bool) -> Mark {
    if !event.is_about_call() || event.flags() & ANY == 0 {
        return Mark::Whole;
    }
    let call = event.call();
    let Some(known) = call.call() else { return Mark::Whole };
    let args = known.signature.args.iter().enumerate();
    let Some((position, _)) = { args }.find(|(at, arg)| wanted(*at, &arg.name)) else {
        return Mark::Whole;
    };
    known.strings[position].map_or(Mark::Whole, |slot| of_string(call.string(slot, position)))
}

fn of_string(string: CallString<'_>) -> Mark {
    match string {
        CallString::Null | CallString::NotRecorded | CallString::Read { cut: false, .. } => Mark::Whole,
        CallString::Unread => Mark::Unread,
        CallString::Read { cut: true, .. } => Mark::Cut,
    }
}

/// Calls `found` with the name of each field whose text is incomplete.
fn each(event: &Event<'_>, mut found: impl FnMut(&[&str], Mark)) {
    let bits = event.flags();
    if bits & ANY == 0 {
        return;
    }
    if event.is_about_call() {
        let call = event.call();
        let Some(known) = call.call() else { return };
        for (position, arg) in known.signature.args.iter().enumerate() {
            let slot = known.strings.get(position).copied().flatten();
            match slot.map_or(Mark::Whole, |slot| of_string(call.string(slot, position))) {
                Mark::Whole => {}
                mark => found(&["evt.arg.", &arg.name], mark),
            }
        }
        match fd::name_mark(event) {
            Mark::Whole => {}
            mark => found(&["fd.name"], mark),
        }
        return;
    }
    for MarkedColumn { kind, name, slot, .. } in COLUMNS {
        if event.field_owner() == Some(kind) {
            match of_slot(bits, slot) {
                Mark::Whole => {}
                mark => found(&[kind.decl().name, ".", name], mark),
            }
        }
    }
}

fn has(event: &Event<'_>, wanted: Mark) -> bool {
    let mut is_there = false;
    each(event, |_, mark| is_there |= mark == wanted);
    is_there
}

/// Whether some text of the event is cut.
pub(super) fn is_cut<'a>(event: &Event<'a>) -> Value<'a> {
    number(has(event, Mark::Cut))
}

/// Whether some text of the event could not be read.
pub(super) fn is_unread<'a>(event: &Event<'a>) -> Value<'a> {
    number(has(event, Mark::Unread))
}

/// Writes the names of the fields whose text is incomplete, each with a NUL; false if there are none.
fn write_names(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    out.clear();
    each(event, |name, _| {
        name.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
        out.push(0);
    });
    !out.is_empty()
}

/// The names of the fields whose text is incomplete, each with a NUL.
pub(super) fn names<'a>(event: &Event<'a>, scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    write_names(event, scratch).then_some(scratch)
}

/// The same, joined by spaces.
pub(super) fn joined_names<'a>(event: &Event<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if !write_names(event, scratch) {
        return Value::Missing;
    }
    scratch.pop();
    scratch.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Value::Bytes(scratch)
}
