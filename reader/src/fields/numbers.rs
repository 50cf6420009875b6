//! Numbers of a syscall as text: by the names of their values, or as their type has it.

use crate::names;
use crate::syscalls::{ArgType, ValueSet};
use crate::text::number;

/// Appends the name of a value that has one, or the names of its bits; returns false, and appends nothing, if it has none.
pub fn write_named(value: u64, ty: Option<ArgType>, set: Option<&ValueSet>, out: &mut Vec<u8>) -> bool {
    match (ty, set) {
        (_, Some(set)) => set.write(value, out),
        (Some(ArgType::Signal), None) => match u32::try_from(value) {
            Ok(signal @ 1..=64) => {
                out.extend_from_slice(names::signal_name(signal).as_bytes());
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Appends a value: by its name, or as its type has it. A pointer of which the target is not recorded is `_`.
pub fn write_value(ty: ArgType, set: Option<&ValueSet>, value: u64, out: &mut Vec<u8>) {
    if write_named(value, Some(ty), set, out) {
        return;
    }
    match ty {
        ArgType::Int
        | ArgType::Long
        | ArgType::Fd
        | ArgType::Dirfd
        | ArgType::Offset
        | ArgType::Pid
        | ArgType::Signal
        | ArgType::Const => number::signed(value as i64, out),
        ArgType::Uid | ArgType::Gid if value == u64::from(u32::MAX) => out.extend_from_slice(b"-1"),
        // An address: what it is for depends on another argument.
        ArgType::Ulong | ArgType::StructOrNumber if value > u64::from(u16::MAX) => number::hex(value, out),
        ArgType::Uint
        | ArgType::Ulong
        | ArgType::StructOrNumber
        | ArgType::Size
        | ArgType::Socklen
        | ArgType::Uid
        | ArgType::Gid => {
            number::decimal(value, out);
        }
        ArgType::Device => write_device(value, out),
        ArgType::Mode => number::octal(value, out),
        ArgType::Flags | ArgType::Command if value == 0 => out.push(b'0'),
        ArgType::Flags | ArgType::Command => number::hex(value, out),
        ArgType::Address if value == 0 => out.extend_from_slice(b"NULL"),
        ArgType::Address => number::hex(value, out),
        _ if ty.is_string() && value == 0 => out.extend_from_slice(b"NULL"),
        ArgType::Ptr
        | ArgType::Path
        | ArgType::Sockaddr
        | ArgType::SockaddrOut
        | ArgType::Msghdr
        | ArgType::Mmsghdr
        | ArgType::Argv
        | ArgType::String
        | ArgType::Struct
        | ArgType::StructOut
        | ArgType::StructInOut => out.push(b'_'),
    }
}

/// The number of a device with its two halves, as the kernel encodes them for programs (`new_encode_dev`).
fn write_device(value: u64, out: &mut Vec<u8>) {
    let (major, minor) =
        (value >> 8 & 0xfff | value >> 32 & !0xfff, value & 0xff | value >> 12 & 0xffff_ff00);
    out.extend_from_slice(b"makedev(");
    write_value(ArgType::Flags, None, major, out);
    out.extend_from_slice(b", ");
    write_value(ArgType::Flags, None, minor, out);
    out.push(b')');
}
