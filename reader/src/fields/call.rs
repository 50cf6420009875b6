//! Values of a syscall.

use super::args;
use super::value::{Value, number, optional, text};
use crate::model::{CallEvent, CallString, Calls, calls};
use crate::names;
use crate::syscalls::{self, Arg, ArgType, sockaddr};
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

pub(super) fn args<'a>(call: &CallEvent<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    args::write_args(call, scratch);
    Value::Bytes(scratch)
}

/// The first descriptor among the arguments.
pub(super) fn descriptor<'a>(call: &CallEvent<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    first(call, |arg| arg.ty == ArgType::Fd, scratch)
}

/// The first path or address among the arguments, not other strings such as names of attributes or file systems.
pub(super) fn file<'a>(call: &CallEvent<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    first(call, |arg| arg.ty == ArgType::Path || args::is_address(arg.ty), scratch)
}

/// The argument with this name.
pub(super) fn argument_named<'a>(call: &CallEvent<'a>, name: &str, scratch: &'a mut Vec<u8>) -> Value<'a> {
    first(call, |arg| arg.name == name, scratch)
}

/// The first argument that `wanted` accepts.
fn first<'a>(call: &CallEvent<'a>, wanted: impl Fn(&Arg) -> bool, scratch: &'a mut Vec<u8>) -> Value<'a> {
    match call.call().and_then(|call| call.signature.args.iter().position(wanted)) {
        Some(position) => argument(call, position, scratch),
        None => Value::Missing,
    }
}

/// One argument of a call, by its position from 0.
pub fn argument<'a>(call: &CallEvent<'a>, position: usize, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let values = call.args();
    let Some(known) = call.call() else { return optional(values.get(position).copied()) };
    let Some(arg) = known.signature.args.get(position) else { return Value::Missing };
    if let Some(Some(slot)) = known.strings.get(position) {
        let CallString::Read { bytes, .. } = call.string(*slot, position) else {
            return Value::Missing;
        };
        if !args::is_address(arg.ty) {
            return Value::Bytes(bytes);
        }
        scratch.clear();
        sockaddr::format(bytes, scratch);
        return text(scratch);
    }
    match values.get(position) {
        Some(value) if syscalls::kept(arg.ty) && arg.ty.is_signed() => number(*value as i64),
        Some(value) if syscalls::kept(arg.ty) => number(*value),
        _ => Value::Missing,
    }
}
