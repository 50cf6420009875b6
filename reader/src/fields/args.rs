//! The arguments of a syscall as text, in the style of strace: strings in quotes, followed by `...` if truncated; `?` for a
//! string that could not be read; `NULL`; descriptors in decimal, followed by what they stand for
//! (`3</etc/hosts>`); flags and enumerations by name, modes in octal. Bits
//! without a name are hexadecimal. A pointer whose target is not recorded is `_`.

use super::fd::{LinkStyle, write_link};
use super::numbers::write_value;
use super::structs::struct_value;
use super::task::arguments;
use crate::model::{CallEvent, CallString, FileRow};
use crate::syscalls::sockaddr::{self, SockAddr};
use crate::syscalls::{ArgType, Extent, FileArg, Form, Stated};
use crate::text::paint::{Paint, Style};
use crate::text::{escape, number};

/// `AT_FDCWD`: paths are relative to the working directory.
const AT_FDCWD: i64 = -100;

/// Appends the arguments of a call, separated by `, `.
pub fn write_args(call: &CallEvent<'_>, out: &mut Vec<u8>) {
    write_painted_args(call, Paint::Plain, out);
}

/// The same, coloured if wanted.
pub fn write_painted_args(call: &CallEvent<'_>, paint: Paint, out: &mut Vec<u8>) {
    let values = call.args();
    let Some(known) = call.call() else {
        for (i, value) in values.iter().enumerate() {
            separate(i, out);
            number::hex(*value, out);
        }
        return;
    };
    let count = known.meanings().count(known.signature.args.len(), values);
    for (i, arg) in known.signature.args.iter().enumerate().take(count) {
        separate(i, out);
        if let Some(Some(slot)) = known.strings.get(i) {
            let string = call.string(*slot, i);
            if arg.ty == ArgType::StructOrNumber && !known.meanings().is_struct(values) {
                let value = values.get(i).copied().unwrap_or(0);
                write_value(ArgType::Ulong, known.meanings().set(i, values), value, out);
            } else if arg.ty.is_struct() && !known.meanings().is_struct(values) {
                out.extend_from_slice(if matches!(string, CallString::Null) { b"NULL" } else { b"_" });
            } else if arg.ty.is_struct() {
                write_struct(call, i, paint, out);
            } else if matches!(string, CallString::Read { .. })
                && (arg.ty == ArgType::Path || is_address(arg.ty))
            {
                paint.write(Style::File, out, |out| write_string(arg.ty, string, out));
            } else {
                write_string(arg.ty, string, out);
            }
        } else {
            match values.get(i) {
                Some(value) if matches!(arg.ty, ArgType::Fd | ArgType::Dirfd) => {
                    let file = match known.file_roles().args[i] {
                        FileArg::Descriptor(slot) | FileArg::Directory(slot) => call.file(slot),
                        FileArg::None | FileArg::Path(_) | FileArg::Pair => None,
                    };
                    write_descriptor((*value as i64, arg.ty), file, LinkStyle::Escaped(paint), out);
                }
                Some(room) if arg.ty == ArgType::Socklen => write_room(call, i, *room, out),
                Some(value) => write_value(arg.ty, known.meanings().set(i, values), *value, out),
                None => out.push(b'_'),
            }
        }
    }
}

/// A structure, or an array of them. Two descriptors that the call has made have their names.
fn write_struct(call: &CallEvent<'_>, position: usize, paint: Paint, out: &mut Vec<u8>) {
    let string =
        call.call().and_then(|known| known.strings[position]).map(|slot| call.string(slot, position));
    match string {
        Some(CallString::Read { bytes: [_, ..], uncertain, .. }) => {
            let Some(value) = struct_value(call, position) else {
                out.push(b'_');
                return;
            };
            let pair = call.call().and_then(|known| known.file_roles().pair());
            if pair == Some(position as u8)
                && let Some(numbers) = value.numbers()
            {
                out.push(b'[');
                for (i, number) in numbers.into_iter().enumerate() {
                    separate(i, out);
                    let file = call.file(i as u8);
                    write_descriptor((number as i64, ArgType::Fd), file, LinkStyle::Escaped(paint), out);
                }
                out.push(b']');
            } else {
                value.write(out);
            }
            if uncertain {
                out.push(b'~');
            }
        }
        Some(CallString::Null) => out.extend_from_slice(b"NULL"),
        Some(CallString::Unread) => out.push(b'?'),
        // As many elements as the result or an argument states: none.
        Some(CallString::Read { .. }) if is_empty_array(call, position) => out.extend_from_slice(b"[]"),
        // What the call fills in, if it has not.
        Some(CallString::Read { .. } | CallString::NotRecorded) | None => out.push(b'_'),
    }
}

/// The room for a socket address, which is the argument before it, and its length if that is another number: `[128 => 16]`.
fn write_room(call: &CallEvent<'_>, position: usize, room: u64, out: &mut Vec<u8>) {
    let before = position.checked_sub(1).and_then(|before| call.string_argument(before as u8));
    let filled = call.result().is_some_and(|result| result >= 0);
    let len = match before {
        Some(CallString::Null) => return out.extend_from_slice(b"NULL"),
        _ if room >= u64::from(u32::MAX) => return out.push(b'_'),
        Some(CallString::Read { bytes, cut: false, .. }) if filled => bytes.len() as u64,
        _ => room,
    };
    out.push(b'[');
    number::decimal(room, out);
    if len != room {
        out.extend_from_slice(b" => ");
        number::decimal(len, out);
    }
    out.push(b']');
}

/// Whether a call has an array with as many elements as its result or another argument states, and that is none.
fn is_empty_array(call: &CallEvent<'_>, position: usize) -> bool {
    let ty = call.call().and_then(|known| known.structs[position]);
    let argument = |at: usize| call.args().get(at).is_some_and(|stated| *stated == 0);
    match ty.map(|ty| ty.extent) {
        Some(Extent::ElementsOf(Stated::Result)) => call.result() == Some(0),
        Some(_) if ty.is_some_and(|ty| ty.form == Form::Members) => false,
        Some(Extent::ElementsOf(stated) | Extent::BytesOf(stated) | Extent::BitsOf(stated)) => match stated {
            Stated::After => argument(position + 1),
            Stated::Before => position.checked_sub(1).is_some_and(argument),
            Stated::First => argument(0),
            Stated::Second => argument(1),
            Stated::AtAfter | Stated::Result => false,
        },
        Some(Extent::Elements(_)) | None => false,
    }
}

/// Appends what the descriptor stands for that a call returned: `</etc/hosts>`.
pub fn write_result(call: &CallEvent<'_>, paint: Paint, out: &mut Vec<u8>) {
    let Some(known) = call.call() else { return };
    let roles = known.file_roles();
    if roles.returns_descriptor(call.args())
        && call.result().is_some_and(|result| result >= 0)
        && let Some(file) = roles.result_slot().and_then(|slot| call.file(slot))
    {
        write_link(&file, LinkStyle::Escaped(paint), out);
    }
}

/// Appends a descriptor and what it stands for, `AT_FDCWD` by name. Returns whether that is more than its number.
pub(super) fn write_descriptor(
    (number, ty): (i64, ArgType),
    file: Option<FileRow<'_>>,
    style: LinkStyle,
    out: &mut Vec<u8>,
) -> bool {
    let is_directory = ty == ArgType::Dirfd && number == AT_FDCWD;
    if is_directory {
        out.extend_from_slice(b"AT_FDCWD");
    } else {
        number::signed(number, out);
    }
    if let Some(file) = &file {
        write_link(file, style, out);
    }
    is_directory || file.is_some()
}

fn separate(position: usize, out: &mut Vec<u8>) {
    if position > 0 {
        out.extend_from_slice(b", ");
    }
}

fn write_string(ty: ArgType, string: CallString<'_>, out: &mut Vec<u8>) {
    match string {
        CallString::Null => out.extend_from_slice(b"NULL"),
        CallString::Unread => out.push(b'?'),
        CallString::NotRecorded => out.push(b'_'),
        CallString::Read { bytes, cut, .. } if ty == ArgType::Argv => write_list(bytes, cut, out),
        CallString::Read { bytes: b"", cut: false, .. } if ty == ArgType::Mmsghdr => out.push(b'_'),
        CallString::Read { bytes, cut, uncertain } => {
            if ty == ArgType::Mmsghdr {
                write_addresses(bytes, cut, out);
            } else {
                if is_address(ty) {
                    write_address(bytes, cut, out);
                } else {
                    escape::quote(bytes, out);
                }
                if cut {
                    out.extend_from_slice(b"...");
                }
            }
            if uncertain {
                out.push(b'~');
            }
        }
    }
}

/// Strings that are each followed by a NUL.
fn write_list(bytes: &[u8], cut: bool, out: &mut Vec<u8>) {
    out.push(b'[');
    if !bytes.is_empty() {
        for (i, arg) in arguments(bytes).enumerate() {
            separate(i, out);
            escape::quote(arg, out);
        }
    }
    if cut {
        out.extend_from_slice(b"...");
    }
    out.push(b']');
}

/// Whether arguments of this type are recorded as a socket address.
pub fn is_address(ty: ArgType) -> bool {
    matches!(ty, ArgType::Sockaddr | ArgType::SockaddrOut | ArgType::Msghdr)
}

/// The addresses of several messages as text; empty for a message without an address.
pub fn each_address(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    sockaddr::addresses(bytes).map(|address| {
        let mut text = Vec::new();
        if !address.is_empty() {
            write_address(address, false, &mut text);
        }
        text
    })
}

/// The addresses of several messages; `_` stands for one without an address.
pub(super) fn write_addresses(bytes: &[u8], cut: bool, out: &mut Vec<u8>) {
    out.push(b'[');
    for (i, address) in sockaddr::addresses(bytes).enumerate() {
        separate(i, out);
        write_address(address, false, out);
    }
    out.extend_from_slice(if cut { b"...]" } else { b"]" });
}

fn write_address(bytes: &[u8], cut: bool, out: &mut Vec<u8>) {
    match SockAddr::parse(bytes) {
        None if cut => {}
        None => out.push(b'_'),
        Some(SockAddr::UnixPath(path)) => escape::quote(path, out),
        Some(SockAddr::UnixAbstract(name)) => {
            out.push(b'@');
            escape::quote(name, out);
        }
        Some(address) => address.format(out),
    }
}
