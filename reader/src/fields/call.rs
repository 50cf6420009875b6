//! Values of a syscall.

use events::Kind;

use super::args;
use super::decl::Field;
use super::fd::LinkStyle;
use super::format::join;
use super::numbers::write_named;
use super::structs::{MemberValue, StructValue, struct_value};
use super::value::{Value, number, optional, text};
use crate::model::{CallEvent, CallString, Calls, FileRef, calls, column};
use crate::names;
use crate::syscalls::{self, ArgType, FileArg, Member, ValueSet, sockaddr};
use crate::text::number::signed;

pub(super) fn name<'a>(calls: &'a Calls, key: u64, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    calls.write_name(key, scratch);
    Value::Bytes(scratch)
}

pub(super) fn abi<'a>(_calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    Value::Bytes(calls::abi_name(key).as_bytes())
}

pub(super) fn result<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    optional(call.result())
}

pub(super) fn failed<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    optional(call.result().map(|result| (-4095..0).contains(&result)))
}

pub(super) fn outcome<'a>(call: &CallEvent<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match call.result() {
        None => Value::Missing,
        Some(error @ -4095..0) => match names::errno_name(error.unsigned_abs() as u32) {
            Some(name) => Value::Bytes(name.as_bytes()),
            None => {
                scratch.clear();
                signed(error, scratch);
                Value::Bytes(scratch)
            }
        },
        Some(_) => Value::Bytes(b"SUCCESS"),
    }
}

/// Whether a call that opens a file does it with one of these access modes (`O_RDONLY` 0, `O_WRONLY` 1, `O_RDWR` 2); missing
/// if its flags are not recorded.
fn opens(call: &CallEvent<'_>, modes: [u64; 2]) -> Value<'static> {
    /// `O_PATH`: neither.
    const PATH_ONLY: u64 = 0o10_000_000;
    let opens_with = |flags: u64| flags & PATH_ONLY == 0 && modes.contains(&(flags & 3));
    let Some(known) = call.call() else { return Value::Missing };
    let flags = match known.name() {
        "creat" => return number(modes.contains(&1)),
        "open" | "openat" | "open_by_handle_at" => {
            let at = known.signature.args.iter().position(|arg| arg.name == "flags");
            at.and_then(|at| call.args().get(at))
        }
        "openat2" => {
            let how = known.signature.args.iter().position(|arg| arg.name == "how");
            let how = how.and_then(|at| struct_value(call, at));
            let flags = how.and_then(|how| how.values(how.member("flags")?).next());
            return optional(flags.map(|flags| opens_with(flags.value as u64)));
        }
        _ => return number(false),
    };
    optional(flags.copied().map(opens_with))
}

pub(super) fn is_open_read<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    opens(call, [0, 2])
}

pub(super) fn is_open_write<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    opens(call, [1, 2])
}

/// The number of the error, 0 for success.
pub(super) fn error_number<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    optional(call.result().map(|result| if (-4095..0).contains(&result) { -result } else { 0 }))
}

pub(super) fn args<'a>(call: &CallEvent<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    args::write_args(call, scratch);
    Value::Bytes(scratch)
}

/// The first descriptor among the arguments; of a call without one, the one that it returned, or the first one that it made.
pub(super) fn descriptor<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    let Some(known) = call.call() else { return Value::Missing };
    let position = known.signature.args.iter().position(|arg| arg.ty == ArgType::Fd);
    // A request of io_uring can have places among the ring's own files instead.
    let has = |flag: &[u8]| request_flags(call).any(|set| set == flag);
    let given = position.and_then(|position| call.args().get(position)).map(|number| *number as i64);
    let given = given.filter(|_| !has(b"fixed_file"));
    let returned = || {
        let is_one = |result: &i64| *result >= 0 && known.file_roles().returns_descriptor(call.args());
        call.result().filter(is_one).filter(|_| !has(b"direct"))
    };
    let made = || {
        let pair = struct_value(call, known.file_roles().pair()?.into())?;
        pair.numbers()?.first().map(|number| *number as i64)
    };
    match given {
        Some(given @ 0..) => number(given),
        given => optional(returned().or_else(made).or(given)),
    }
}

/// The flags of a request of io_uring; a syscall has none.
fn request_flags<'a>(call: &CallEvent<'a>) -> impl Iterator<Item = &'a [u8]> {
    let is_request = call.event.kind() == Some(Kind::Uring);
    let flags = || call.event.column_bytes(const { column(Kind::Uring, "sqe_flags") });
    is_request.then(flags).flatten().unwrap_or_default().split(|byte| *byte == b'|')
}

/// An argument as it is stored.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// It was not recorded, or the call has no such argument.
    Missing,
    /// A number.
    Number {
        /// The number.
        value: i128,
        /// Its type, if a signature has it.
        ty: Option<ArgType>,
        /// The names of its values, if they have names.
        set: Option<&'static ValueSet>,
    },
    /// A descriptor.
    Descriptor {
        /// Its number.
        number: i64,
        /// Its type: also of a directory, which may be `AT_FDCWD`.
        ty: ArgType,
        /// What it stands for.
        file: Option<FileRef<'a>>,
    },
    /// A string.
    Text(&'a [u8]),
    /// A `struct sockaddr`.
    Address(&'a [u8]),
    /// The addresses of several messages ([`sockaddr::addresses`]).
    Addresses(&'a [u8]),
    /// Strings, each with its NUL.
    List(&'a [u8]),
    /// A structure, or an array of them.
    Struct(StructValue<'a>),
    /// A member of a structure, or of each in an array.
    Member(StructValue<'a>, &'static Member),
}

impl Argument<'_> {
    /// The numbers that it consists of, if it is made of numbers.
    pub fn numbers(&self) -> Option<Vec<i128>> {
        match self {
            Self::Struct(value) => value.numbers(),
            Self::Member(value, member) => Some(value.values(member).map(|number| number.value).collect()),
            _ => None,
        }
    }

    /// Whether it is always one number.
    pub fn is_number(&self) -> bool {
        match self {
            Self::Number { .. } | Self::Descriptor { .. } => true,
            Self::Struct(value) => value.is_number(),
            Self::Member(value, _) => value.has_members(),
            Self::Missing | Self::Text(_) | Self::Address(_) | Self::Addresses(_) | Self::List(_) => false,
        }
    }
}

/// One argument of a call, by its position from 0, as it is stored.
pub fn stored_argument<'a>(call: &CallEvent<'a>, position: usize) -> Argument<'a> {
    let values = call.args();
    let Some(known) = call.call() else {
        return values.get(position).map_or(Argument::Missing, |value| Argument::Number {
            value: (*value).into(),
            ty: None,
            set: None,
        });
    };
    let Some(arg) = known.signature.args.get(position) else { return Argument::Missing };
    if position >= known.meanings().count(known.signature.args.len(), values) {
        return Argument::Missing;
    }
    let is_struct = arg.ty.is_struct() && known.meanings().is_struct(values);
    let is_number = arg.ty == ArgType::StructOrNumber && !is_struct;
    if arg.ty.is_struct() && !is_struct && !is_number {
        return Argument::Missing;
    }
    if is_struct {
        return match struct_value(call, position) {
            Some(value) => value.text().map_or(Argument::Struct(value), Argument::Text),
            None => Argument::Missing,
        };
    }
    if let Some(Some(slot)) = known.strings.get(position)
        && !is_number
    {
        return match call.string(*slot, position) {
            CallString::Read { bytes, .. } if args::is_address(arg.ty) => Argument::Address(bytes),
            CallString::Read { bytes, .. } if arg.ty == ArgType::Argv => Argument::List(bytes),
            CallString::Read { bytes: b"", .. } if arg.ty == ArgType::Mmsghdr => Argument::Missing,
            CallString::Read { bytes, .. } if arg.ty == ArgType::Mmsghdr => Argument::Addresses(bytes),
            CallString::Read { bytes, .. } => Argument::Text(bytes),
            CallString::Null | CallString::Unread | CallString::NotRecorded => Argument::Missing,
        };
    }
    let (Some(value), true) = (values.get(position), syscalls::kept(arg.ty)) else {
        return Argument::Missing;
    };
    if let ArgType::Fd | ArgType::Dirfd = arg.ty {
        let file = match known.file_roles().args.get(position) {
            Some(FileArg::Descriptor(slot) | FileArg::Directory(slot)) => call.file_ref(*slot),
            _ => None,
        };
        return Argument::Descriptor { number: *value as i64, ty: arg.ty, file };
    }
    Argument::Number {
        value: if arg.ty.is_signed() { i128::from(*value as i64) } else { (*value).into() },
        ty: Some(arg.ty),
        set: known.meanings().set(position, values),
    }
}

/// What a field's key stands for: an argument, or a member of one.
#[derive(Clone, Copy, Debug)]
pub struct ArgumentKey<'f> {
    /// The position of the argument.
    position: usize,
    /// The name of the member.
    member: Option<&'f str>,
}

impl<'f> ArgumentKey<'f> {
    /// What the key of a field stands for in a call; `None` if the call has no such argument.
    pub fn of(call: &CallEvent<'_>, field: &'f Field) -> Option<Self> {
        if let Some(position) = field.key_position() {
            return Some(Self { position: position.into(), member: None });
        }
        let (name, member) = split_member(field.key_name()?);
        let name = syscalls::argument_name(name);
        let position = call.call()?.signature.args.iter().position(|arg| arg.name == name)?;
        Some(Self { position, member })
    }

    /// The argument or member.
    pub fn get<'a>(&self, call: &CallEvent<'a>) -> Argument<'a> {
        match (stored_argument(call, self.position), self.member) {
            (argument, None) => argument,
            (Argument::Struct(value), Some(name)) => {
                value.member(name).map_or(Argument::Missing, |member| match member.text(value.bytes) {
                    Some(text) => Argument::Text(text),
                    None => Argument::Member(value, member),
                })
            }
            (_, Some(_)) => Argument::Missing,
        }
    }
}

/// The name of an argument, and that of the member after it: `how.flags`.
pub fn split_member(key: &str) -> (&str, Option<&str>) {
    key.split_once('.').map_or((key, None), |(name, member)| (name, Some(member)))
}

/// An argument as a number if it is one.
pub fn raw_value<'a>(argument: Argument<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match argument {
        Argument::Number { value, .. } => Value::Int(value),
        Argument::Descriptor { number: value, .. } => number(value),
        Argument::Struct(_) | Argument::Member(..) if argument.is_number() => {
            argument.numbers().and_then(|numbers| numbers.first().copied()).map_or(Value::Missing, Value::Int)
        }
        other => argument_value(other, scratch),
    }
}

/// An argument. A number whose bits or values have names is written with them, a descriptor with what it stands for.
pub fn argument_value<'a>(argument: Argument<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match argument {
        Argument::Missing => Value::Missing,
        Argument::Number { value, ty, set } => {
            scratch.clear();
            if write_named(value as u64, ty, set, scratch) {
                Value::Bytes(scratch)
            } else {
                Value::Int(value)
            }
        }
        Argument::Descriptor { number: value, ty, file } => {
            scratch.clear();
            if args::write_descriptor((value, ty), file.and_then(FileRef::file), LinkStyle::Plain, scratch) {
                Value::Bytes(scratch)
            } else {
                number(value)
            }
        }
        Argument::Text(bytes) => Value::Bytes(bytes),
        Argument::Address(bytes) => {
            scratch.clear();
            sockaddr::format(bytes, scratch);
            text(scratch)
        }
        Argument::Addresses(bytes) => {
            scratch.clear();
            args::write_addresses(bytes, false, scratch);
            Value::Bytes(scratch)
        }
        Argument::List(bytes) => {
            scratch.clear();
            join(bytes, b' ', scratch);
            Value::Bytes(scratch)
        }
        Argument::Struct(value) => {
            scratch.clear();
            value.write(scratch);
            Value::Bytes(scratch)
        }
        Argument::Member(value, member) => {
            scratch.clear();
            let mut only = None;
            for (i, MemberValue { value, ty, set }) in value.values(member).enumerate() {
                if i > 0 {
                    scratch.push(b' ');
                }
                only = Some(value).filter(|_| i == 0);
                if write_named(value as u64, Some(ty), set, scratch) {
                    only = None;
                } else {
                    signed(value as i64, scratch);
                }
            }
            match only {
                Some(value) if !scratch.is_empty() => Value::Int(value),
                _ if scratch.is_empty() => Value::Missing,
                _ => Value::Bytes(scratch),
            }
        }
    }
}
