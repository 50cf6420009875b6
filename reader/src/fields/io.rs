//! What kind of work a syscall does: fields that sysdig has for it.

use super::value::{Value, number, optional};
use crate::model::{Call, CallEvent, Calls, Event};

/// Which way bytes go between a descriptor and the process, or two descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Read,
    Write,
    Both,
}

/// The direction of a call by its name, and whether its result is a number of bytes.
fn direction(name: &str) -> Option<(Direction, bool)> {
    let direction = match name {
        "read"
        | "pread64"
        | "readv"
        | "preadv"
        | "preadv2"
        | "recv"
        | "recvfrom"
        | "recvmsg"
        | "mq_timedreceive"
        | "mq_timedreceive_time64"
        | "getdents"
        | "getdents64" => Direction::Read,
        "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2" | "send" | "sendto" | "sendmsg"
        | "vmsplice" => Direction::Write,
        "sendfile" | "sendfile64" | "splice" | "tee" | "copy_file_range" => Direction::Both,
        // Their results are numbers of messages, or only whether it was sent.
        "recvmmsg" | "recvmmsg_time64" => return Some((Direction::Read, false)),
        "sendmmsg" | "mq_timedsend" | "mq_timedsend_time64" => return Some((Direction::Write, false)),
        _ => return None,
    };
    Some((direction, true))
}

fn of(calls: &Calls, key: u64) -> Option<Direction> {
    Some(direction(calls.get(key)?.name())?.0)
}

pub(super) fn is_io<'a>(calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(of(calls, key).is_some())
}

pub(super) fn is_read<'a>(calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(matches!(of(calls, key), Some(Direction::Read | Direction::Both)))
}

pub(super) fn is_write<'a>(calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(matches!(of(calls, key), Some(Direction::Write | Direction::Both)))
}

pub(super) fn io_direction<'a>(calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    match of(calls, key) {
        Some(Direction::Read) => Value::Bytes(b"r"),
        Some(Direction::Write) => Value::Bytes(b"w"),
        Some(Direction::Both) | None => Value::Missing,
    }
}

pub(super) fn is_wait<'a>(calls: &'a Calls, key: u64, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    number(waits(calls, key))
}

fn waits(calls: &Calls, key: u64) -> bool {
    calls.get(key).is_some_and(|call| call.is_wait)
}

pub(super) fn wait_latency<'a>(call: &CallEvent<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    let duration = call.event.duration().filter(|_| waits(&call.event.view.binding.calls, call.key()));
    optional(duration)
}

/// Whether the result of a call is the number of bytes that it transferred.
pub(super) fn counts_bytes(call: &Call) -> bool {
    direction(call.name()).is_some_and(|(_, in_bytes)| in_bytes)
}

pub(super) fn count<'a>(_event: &Event<'a>) -> Value<'a> {
    number(1u64)
}

pub(super) fn error_count<'a>(event: &Event<'a>) -> Value<'a> {
    if !event.is_about_call() {
        return number(0u64);
    }
    number(event.call().result().is_some_and(|result| (-4095..0).contains(&result)))
}
