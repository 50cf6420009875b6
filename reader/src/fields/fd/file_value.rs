//! A value that a field gets from the files of a call.

use std::io::Write;
use std::net::IpAddr;

use crate::fields::value::Value;
use crate::model::CallEvent;
use crate::syscalls::sockaddr::SockAddr;

/// A value of a field that depends on the files of a call: its descriptors, paths and socket addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileValue<'a> {
    /// A number.
    Number(i128),
    /// Text.
    Text(&'a [u8]),
    /// The address of a socket.
    Address(SockAddr<'a>),
    /// The address of a host.
    Ip(IpAddr),
}

/// Calls its argument with each value that a call has, the one that is shown first, until that returns true. Returns
/// whether it did.
pub type FileGetter = fn(&CallEvent<'_>, &mut dyn FnMut(FileValue<'_>) -> bool) -> bool;

impl FileValue<'_> {
    /// The value as it is shown, written to `scratch` if it is text.
    pub fn show(self, scratch: &mut Vec<u8>) -> Value<'_> {
        scratch.clear();
        match self {
            Self::Number(number) => return Value::Int(number),
            Self::Text(text) => scratch.extend_from_slice(text),
            Self::Address(address) => address.format(scratch),
            // Writing to a `Vec` cannot fail.
            Self::Ip(ip) => _ = write!(scratch, "{ip}"),
        }
        Value::Bytes(scratch)
    }
}

/// The value of a field that is shown: the first one.
pub fn shown<'a>(call: &CallEvent<'a>, get: FileGetter, scratch: &'a mut Vec<u8>) -> Value<'a> {
    let mut number = None;
    let is_there = get(call, &mut |value| {
        if let Value::Int(value) = value.show(scratch) {
            number = Some(value);
        }
        true
    });
    match (is_there, number) {
        (false, _) => Value::Missing,
        (true, Some(number)) => Value::Int(number),
        (true, None) => Value::Bytes(scratch),
    }
}
