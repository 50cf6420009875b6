//! The table of column types: one row for each, with the type of the field, how a stored value is read, how text
//! output writes it, and its parts. JSON output follows from the type of the field.

use events::flags;
use events::{NO_CALL, Ty, UNKNOWN, UNKNOWN_SIGNED, task_state};

use super::field_type::FieldType;
use super::part::{self, Part};
use super::task::{ThreadRows, arguments, thread_name};
use super::value::{Value, nonzero, number, text};
use super::words;
use crate::model::Event;
use crate::names;
use crate::syscalls::sockaddr;
use crate::text::number::decimal;

/// Name of a CPU's idle thread.
pub const IDLE: &[u8] = b"idle";

/// How text output writes a value. Missing values and empty text are not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextStyle {
    /// `name=value`: a number in decimal, text in quotes.
    Plain,
    /// `name=value`: a number in decimal, text without quotes.
    Word,
    /// `name=1.5ms`.
    Duration,
    /// `name=1.77`: a number that is stored in hundredths.
    Hundredths,
    /// `name=1.5MiB`.
    Size,
    /// The name alone, if the value is not 0.
    Flag,
    /// `name=comm(pid/tid)@container`.
    Thread,
}

/// How a stored value is read.
#[derive(Clone, Copy, Debug)]
pub(super) enum Read {
    /// An unsigned number.
    U64(for<'a> fn(&Event<'a>, u64, &'a mut Vec<u8>) -> Value<'a>),
    /// A signed number.
    I64(for<'a> fn(&Event<'a>, i64) -> Value<'a>),
    /// Bytes.
    Bytes(for<'a> fn(&'a [u8], &'a mut Vec<u8>) -> Value<'a>),
    /// A row of a dictionary.
    Row(for<'a> fn(&Event<'a>, u32, &'a mut Vec<u8>) -> Value<'a>),
    /// What only the row's syscall gives a meaning: not a field of its own.
    OfCall,
}

/// How the reader shows a column type.
#[derive(Clone, Copy, Debug)]
pub struct ColumnFormat {
    /// The type of the field that a column of this type is.
    pub field: FieldType,
    /// How text output writes a value.
    pub text: TextStyle,
    /// The parts of a value that are fields of their own.
    pub parts: &'static [Part],
    pub(super) read: Read,
}

impl ColumnFormat {
    /// The format of a column type. Has no wildcard arm, so that the compiler reports a forgotten type.
    pub const fn of(ty: Ty) -> Self {
        use FieldType::{Bool, Duration, Number, Size, Text, Time, Unsigned};
        use Read::{Bytes, I64, OfCall, Row, U64};
        use TextStyle::{Flag, Plain, Word};
        match ty {
            Ty::Time => row(Time, U64(time), Plain),
            Ty::Duration => row(Duration, U64(duration), TextStyle::Duration),
            Ty::Cpu => row(Unsigned, U64(unsigned), Plain),
            Ty::Flags => row(Unsigned, U64(unsigned), Plain),
            Ty::Pid => row(Unsigned, U64(id), Plain),
            Ty::Uid => row(Unsigned, U64(unsigned), Plain),
            Ty::U64 => row(Unsigned, U64(unsigned), Plain),
            Ty::I64 => row(Number, I64(signed), Plain),
            Ty::Bool => row(Bool, U64(unsigned), Flag),
            Ty::Syscall => row(FieldType::Call, U64(syscall), Plain),
            Ty::SyscallResult => row(Number, I64(result), Plain),
            Ty::SyscallArgs => row(Text, OfCall, Plain),
            Ty::SyscallStrings => row(Text, OfCall, Plain),
            Ty::Signal => row(FieldType::Signal, U64(signal), Word),
            Ty::Kind => row(FieldType::Kind, U64(kind), Plain),
            Ty::Path => row(Text, Bytes(bytes), Plain),
            Ty::Args => row(Text, Bytes(args), Plain),
            Ty::Text => row(Text, Bytes(word), Word),
            Ty::Task => row(Text, Row(task), TextStyle::Thread).parts(part::THREAD),
            Ty::Cgroup => row(Text, Row(cgroup), Plain).parts(part::CGROUP),
            Ty::File => row(Text, OfCall, Plain),
            Ty::MaybeDuration => row(Duration, U64(maybe), TextStyle::Duration),
            Ty::MaybeU64 => row(Unsigned, U64(maybe), Plain),
            Ty::MaybeI64 => row(Number, I64(maybe_signed), Plain),
            Ty::Size => row(Size, U64(maybe), TextStyle::Size),
            Ty::TaskState => row(FieldType::OneOf(&words::TASK_STATES), U64(state), Word),
            Ty::Errno => row(FieldType::Errno, U64(errno), Word),
            Ty::Device => row(Text, U64(device), Word),
            Ty::SockAddr => row(FieldType::SockAddr, Bytes(address), Word).parts(part::ADDRESS),
            Ty::MaybeHundredths => row(FieldType::Hundredths, U64(maybe), TextStyle::Hundredths),
            Ty::Stack => row(Text, Bytes(stack), Word),
        }
    }

    /// Whether a column of this type is a field.
    pub const fn is_field(&self) -> bool {
        match self.read {
            Read::U64(_) | Read::I64(_) | Read::Bytes(_) | Read::Row(_) => true,
            Read::OfCall => false,
        }
    }

    const fn parts(self, parts: &'static [Part]) -> Self {
        Self { parts, ..self }
    }
}

const fn row(field: FieldType, read: Read, text: TextStyle) -> ColumnFormat {
    ColumnFormat { field, text, parts: &[], read }
}

pub(super) fn unsigned<'a>(_event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(value)
}

/// The id of a process or thread; 0 stands for one that is unknown or hidden.
fn id<'a>(_event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    nonzero(value)
}

pub(super) fn signed<'a>(_event: &Event<'a>, value: i64) -> Value<'a> {
    number(value)
}

pub(super) fn bytes<'a>(bytes: &'a [u8], _scratch: &'a mut Vec<u8>) -> Value<'a> {
    Value::Bytes(bytes)
}

/// Text, which a column of a kind has only if it is not empty.
fn word<'a>(bytes: &'a [u8], _scratch: &'a mut Vec<u8>) -> Value<'a> {
    text(bytes)
}

pub(super) fn dictionary_row<'a>(_event: &Event<'a>, row: u32, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(row)
}

fn maybe<'a>(_event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == UNKNOWN { Value::Missing } else { number(value) }
}

fn maybe_signed<'a>(_event: &Event<'a>, value: i64) -> Value<'a> {
    if value == UNKNOWN_SIGNED { Value::Missing } else { number(value) }
}

/// Converts boot clock to wall clock.
fn time<'a>(event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(event.view.wall(value))
}

fn duration<'a>(event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    if event.flags() & flags::START_UNKNOWN != 0 { Value::Missing } else { number(value) }
}

fn syscall<'a>(event: &Event<'a>, value: u64, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == u64::from(NO_CALL) {
        return Value::Missing;
    }
    event.view.binding.calls.write_name(value, scratch);
    Value::Bytes(scratch)
}

fn result<'a>(event: &Event<'a>, value: i64) -> Value<'a> {
    if event.flags() & (flags::UNFINISHED | flags::NO_RESULT) != 0 { Value::Missing } else { number(value) }
}

fn signal<'a>(_event: &Event<'a>, value: u64, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == 0 {
        return Value::Missing;
    }
    scratch.extend_from_slice(names::signal_name(u32::try_from(value).unwrap_or(u32::MAX)).as_bytes());
    Value::Bytes(scratch)
}

fn kind<'a>(event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == 0 {
        return Value::Missing;
    }
    match event.view.binding.events.iter().find(|table| u64::from(table.id.0) == value) {
        Some(table) => Value::Bytes(table.name.as_bytes()),
        None => number(value),
    }
}

fn state<'a>(_event: &Event<'a>, value: u64, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let letter = usize::try_from(value).ok().and_then(|at| task_state::LETTERS.get(at));
    scratch.push(letter.copied().unwrap_or(b'?'));
    Value::Bytes(scratch)
}

fn errno<'a>(_event: &Event<'a>, value: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == 0 {
        return Value::Missing;
    }
    match names::errno_name(u32::try_from(value).unwrap_or(0)) {
        Some(name) => Value::Bytes(name.as_bytes()),
        None => number(value),
    }
}

/// `major:minor`.
fn device<'a>(_event: &Event<'a>, value: u64, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if value == UNKNOWN {
        return Value::Missing;
    }
    decimal(value >> 20, scratch);
    scratch.push(b':');
    decimal(value & 0xf_ffff, scratch);
    Value::Bytes(scratch)
}

/// Arguments, joined by spaces.
fn args<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Value<'a> {
    join(bytes, b' ', scratch);
    Value::Bytes(scratch)
}

/// Lines, joined by `;`.
fn stack<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Value<'a> {
    join(bytes, b';', scratch);
    text(scratch)
}

/// Appends strings that are each followed by a NUL, with `separator` between them.
pub fn join(bytes: &[u8], separator: u8, out: &mut Vec<u8>) {
    for (i, part) in arguments(bytes).enumerate() {
        if i > 0 {
            out.push(separator);
        }
        out.extend_from_slice(part);
    }
}

fn address<'a>(bytes: &'a [u8], scratch: &'a mut Vec<u8>) -> Value<'a> {
    sockaddr::format(bytes, scratch);
    if bytes.is_empty() { Value::Missing } else { text(scratch) }
}

/// The thread's name.
fn task<'a>(event: &Event<'a>, row: u32, scratch: &'a mut Vec<u8>) -> Value<'a> {
    if event.is_idle(row) {
        return Value::Bytes(IDLE);
    }
    thread_name(&ThreadRows::new(event.view, row), scratch)
}

/// The cgroup's path.
fn cgroup<'a>(event: &Event<'a>, row: u32, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    let cgroup = event.view.cgroup(row);
    if cgroup.is_known() { text(cgroup.path) } else { Value::Missing }
}
