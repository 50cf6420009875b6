//! Calls as text: system calls, and requests of io_uring.

use events::{Kind, flags};

use crate::fields::{LinkStyle, args, write_link};
use crate::model::{CallEvent, Event, calls, column};
use crate::names;
use crate::text::paint::{Paint, Style};
use crate::text::{escape, number, units};

/// Appends a system call with its arguments, its result and its duration.
pub(super) fn write_call(event: Event<'_>, paint: Paint, out: &mut Vec<u8>) {
    let call = event.call();
    let key = call.key();
    paint.write(Style::Name, out, |out| call.write_name(out));
    out.push(b'(');
    args::write_painted_args(&call, paint, out);
    out.push(b')');
    write_end(&call, paint, out);
    if event.flags() & flags::SECCOMP != 0 {
        out.extend_from_slice(b" [by seccomp]");
    }
    if key >> 16 != 0 {
        out.extend_from_slice(b" [");
        out.extend_from_slice(calls::abi_name(key).as_bytes());
        out.push(b']');
    }
}

/// Appends a request of io_uring after a space: the operation with the arguments of the system call that does the same. One
/// without such a call has at most a file.
pub(super) fn write_request(event: Event<'_>, paint: Paint, out: &mut Vec<u8>) {
    let call = event.call();
    let text = |own: u16| event.column_bytes(own).unwrap_or_default();
    out.push(b' ');
    let name = text(const { column(Kind::Uring, "opcode") });
    paint.write(Style::Name, out, |out| escape::escape(name, escape::Place::Word, out));
    out.push(b'(');
    args::write_painted_args(&call, paint, out);
    if call.call().is_none()
        && let Some(file) = call.file(0)
    {
        write_link(&file, LinkStyle::Escaped(paint), out);
    }
    out.push(b')');
    write_end(&call, paint, out);
    let words = text(const { column(Kind::Uring, "sqe_flags") });
    if !words.is_empty() {
        out.push(b' ');
        escape::escape(words, escape::Place::Word, out);
    }
    if event.column_u64(const { column(Kind::Uring, "more") }) == Some(1) {
        out.extend_from_slice(b" more");
    }
    out.extend_from_slice(b" user_data=");
    number::hex(event.column_u64(const { column(Kind::Uring, "user_data") }).unwrap_or(0), out);
}

/// The result of a call, and how long it took.
fn write_end(call: &CallEvent<'_>, paint: Paint, out: &mut Vec<u8>) {
    let event = call.event;
    out.extend_from_slice(b" = ");
    let bits = event.flags();
    let lasted = event.duration();
    match call.result() {
        None => out.push(b'?'),
        Some(error @ -4095..0) => match names::errno_name(error.unsigned_abs() as u32) {
            Some(name) => paint.write(Style::Failure, out, |out| {
                out.extend_from_slice(b"-1 ");
                out.extend_from_slice(name.as_bytes());
            }),
            None => paint.write(Style::Failure, out, |out| number::signed(error, out)),
        },
        // Addresses: nothing else is that large.
        Some(result) if result > i64::from(u32::MAX) || result < 0 => number::hex(result as u64, out),
        Some(result) => number::signed(result, out),
    }
    args::write_result(call, paint, out);
    if bits & flags::UNFINISHED != 0 {
        out.extend_from_slice(b" <unfinished");
        match lasted {
            Some(ns) => {
                out.push(b' ');
                units::write_duration(ns, out);
            }
            None => out.extend_from_slice(b", start unknown"),
        }
        if bits & flags::KILLED != 0 {
            out.extend_from_slice(b", killed");
        }
        if bits & flags::AT_END != 0 {
            out.extend_from_slice(b", capture ended");
        }
        out.push(b'>');
    } else if bits & flags::NO_RESULT == 0 {
        match lasted {
            Some(ns) => {
                out.extend_from_slice(b" <");
                units::write_duration(ns, out);
                out.push(b'>');
            }
            None => out.extend_from_slice(b" <start unknown>"),
        }
    }
}
