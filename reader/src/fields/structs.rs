//! Structures of a syscall as text, in the style of strace.

use super::numbers::{write_named, write_value};
use crate::model::{CallEvent, CallString};
use crate::names;
use crate::syscalls::{Arch, ArgType, Form, Member, StructType, ValueSet, value_sets};
use crate::text::{escape, number};

/// A structure that was read.
#[derive(Clone, Copy, Debug)]
pub struct StructValue<'a> {
    /// What it is.
    pub ty: &'static StructType,
    /// Its bytes, as many as were read.
    pub bytes: &'a [u8],
    /// There are more.
    pub is_cut: bool,
    /// Where it was recorded.
    pub arch: Arch,
    /// Of the value of a socket option: which one.
    pub option: Option<SocketOption>,
}

/// An option of a socket whose value is not just a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// The number of an error.
    Error,
    /// A `struct timeval`.
    Time,
    /// A `struct linger`.
    Linger,
    /// The name of a network interface.
    Interface,
    /// A `struct ucred`.
    Credentials,
    /// Anything else.
    Other,
}

impl SocketOption {
    /// The option that the arguments of `setsockopt` and `getsockopt` name (`include/uapi/asm-generic/socket.h`).
    pub fn of(args: &[u64]) -> Self {
        const SOL_SOCKET: u64 = 1;
        match args {
            [_, SOL_SOCKET, 4, ..] => Self::Error,
            [_, SOL_SOCKET, 20 | 21 | 66 | 67, ..] => Self::Time,
            [_, SOL_SOCKET, 13, ..] => Self::Linger,
            [_, SOL_SOCKET, 25, ..] => Self::Interface,
            [_, SOL_SOCKET, 17, ..] => Self::Credentials,
            _ => Self::Other,
        }
    }
}

/// The structure that is the argument at a position; `None` if it is none, or was not read or filled in.
pub(super) fn struct_value<'a>(call: &CallEvent<'a>, position: usize) -> Option<StructValue<'a>> {
    let known = call.call()?;
    let ty = (*known.structs.get(position)?)?;
    match call.string((*known.strings.get(position)?)?, position) {
        CallString::Read { bytes: bytes @ [_, ..], cut, .. } => {
            let bytes = if has_half(call, ty) { bytes.get(..HALF).unwrap_or(bytes) } else { bytes };
            let is_option = ty.form == Form::SocketOption;
            let option = is_option.then(|| SocketOption::of(call.args()));
            Some(StructValue { ty, bytes, is_cut: cut, arch: known.arch, option })
        }
        _ => None,
    }
}

/// Bytes of capabilities of `_LINUX_CAPABILITY_VERSION_1`: the lower 32 bits of each set.
const HALF: usize = 12;

/// Whether capabilities have only their lower halves, by the header before them (capget(2)).
fn has_half(call: &CallEvent<'_>, ty: &StructType) -> bool {
    const VERSION_1: u64 = 0x1998_0330;
    let version = || {
        let header = struct_value(call, 0)?;
        header.member("version")?.of(header.bytes)
    };
    ty.name == "cap_data" && version() == Some(VERSION_1)
}

/// A number in a structure.
#[derive(Clone, Copy, Debug)]
pub struct MemberValue {
    /// The number, with the sign that its type has.
    pub value: i128,
    /// Its type.
    pub ty: ArgType,
    /// The names of its values, if they have names.
    pub set: Option<&'static ValueSet>,
}

impl<'a> StructValue<'a> {
    /// Whether it is one structure that has members.
    pub fn has_members(&self) -> bool {
        self.ty.form == Form::Members
    }

    /// Whether it is an array of structures.
    pub fn is_array(&self) -> bool {
        self.ty.form == Form::Array
    }

    /// Whether it is shown as one number.
    pub fn is_number(&self) -> bool {
        match self.ty.form {
            Form::WaitStatus => true,
            Form::SocketOption => self.bytes.len() == 4,
            Form::Numbers => self.ty.elements(self.bytes).count() == 1,
            Form::Members | Form::Array | Form::Bits | Form::Signals | Form::Text => false,
        }
    }

    /// What it is if it is a text.
    pub fn text(&self) -> Option<&'a [u8]> {
        let is_text = self.ty.form == Form::Text;
        if is_text { self.bytes.split(|byte| *byte == 0).next() } else { None }
    }

    /// The member with this name.
    pub fn member(&self, name: &str) -> Option<&'static Member> {
        self.ty.members.iter().find(|member| member.name == name)
    }

    /// The values of a member: one, or one for each element.
    pub fn values(&self, member: &'static Member) -> impl Iterator<Item = MemberValue> + use<'a> {
        let set = set_of(member, self.arch);
        let (of, ty, is_signed) = (self.ty, member.ty, member.ty.is_signed());
        let value_of = move |value: u64| MemberValue {
            value: if is_signed { i128::from(value as i64) } else { value.into() },
            ty,
            set,
        };
        self.ty.elements(self.bytes).flat_map(move |element| of.values(member, element).map(value_of))
    }

    /// The numbers that it consists of; `None` if it has members with names.
    pub fn numbers(&self) -> Option<Vec<i128>> {
        match self.ty.form {
            Form::Numbers | Form::WaitStatus => {}
            Form::SocketOption if self.bytes.len() == 4 => {}
            Form::Bits => return Some(bits(self.bytes).map(i128::from).collect()),
            Form::Members | Form::Array | Form::Signals | Form::SocketOption | Form::Text => return None,
        }
        let member = self.ty.members.first()?;
        Some(self.values(member).map(|number| number.value).collect())
    }

    /// Appends it as text.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self.ty.form {
            Form::Members => self.write_members(self.bytes, out),
            Form::Array => self.write_list(b", ", out, |element, out| self.write_members(element, out)),
            Form::Numbers => self.write_list(b", ", out, |element, out| {
                let member = &self.ty.members[0];
                write_member(member, member.of(element).unwrap_or(0), self.arch, out);
            }),
            Form::Bits => {
                out.push(b'[');
                for (i, bit) in bits(self.bytes).enumerate() {
                    separate(i, b" ", out);
                    number::decimal(bit, out);
                }
                out.extend_from_slice(if self.is_cut { b"...]" } else { b"]" });
            }
            Form::Signals => write_signals(self.ty.members[0].of(self.bytes).unwrap_or(0), out),
            Form::WaitStatus => write_wait_status(self.ty.members[0].of(self.bytes).unwrap_or(0) as u32, out),
            Form::SocketOption => self.write_option(out),
            Form::Text => escape::quote(self.text().unwrap_or_default(), out),
        }
    }

    fn write_list(&self, separator: &[u8], out: &mut Vec<u8>, write: impl Fn(&[u8], &mut Vec<u8>)) {
        out.push(b'[');
        for (i, element) in self.ty.elements(self.bytes).enumerate() {
            separate(i, separator, out);
            write(element, out);
        }
        out.extend_from_slice(if self.is_cut { b"...]" } else { b"]" });
    }

    /// The members of an element; those of an inner structure in brackets of their own.
    fn write_members(&self, element: &[u8], out: &mut Vec<u8>) {
        out.push(b'{');
        let mut inner = "";
        for (at, member) in self.ty.members.iter().enumerate() {
            let text = member.text(element);
            let mut values = self.ty.values(member, element).peekable();
            // Only a device has the number of one.
            let is_absent = member.name == "st_rdev" && values.peek() == Some(&0);
            if text.is_none() && values.peek().is_none() || is_absent {
                continue;
            }
            let (prefix, name) = member.name.split_once('.').unwrap_or(("", member.name));
            if prefix != inner && !inner.is_empty() {
                out.push(b'}');
            }
            separate(at, b", ", out);
            if prefix != inner && !prefix.is_empty() {
                out.extend_from_slice(prefix.as_bytes());
                out.extend_from_slice(b"={");
            }
            inner = prefix;
            out.extend_from_slice(name.as_bytes());
            out.push(b'=');
            if let Some(text) = text {
                escape::quote(text, out);
                continue;
            }
            let is_list = member.count > 1;
            if is_list {
                out.push(b'[');
            }
            for (i, value) in values.enumerate() {
                separate(i, b", ", out);
                if self.is_signal(member, element) {
                    out.extend_from_slice(names::signal_name(value as u32).as_bytes());
                } else {
                    write_member(member, value, self.arch, out);
                }
            }
            if is_list {
                out.push(b']');
            }
        }
        if !inner.is_empty() {
            out.push(b'}');
        }
        out.push(b'}');
    }

    /// Whether it is the status of a child that a signal has changed (sigaction(2)).
    fn is_signal(&self, member: &Member, element: &[u8]) -> bool {
        const CLD_KILLED: u64 = 2;
        const CLD_CONTINUED: u64 = 6;
        let code = if member.name == "si_status" { self.member("si_code") } else { None };
        let code = code.and_then(|code| code.of(element));
        code.is_some_and(|code| (CLD_KILLED..=CLD_CONTINUED).contains(&code))
    }

    /// The value of a socket option (socket(7)).
    fn write_option(&self, out: &mut Vec<u8>) {
        let int = |at: usize| {
            self.bytes.get(at..at + 4).map(|bytes| i32::from_le_bytes(bytes.try_into().unwrap_or_default()))
        };
        let long = |at: usize| {
            self.bytes.get(at..at + 8).map(|bytes| i64::from_le_bytes(bytes.try_into().unwrap_or_default()))
        };
        match (self.option, self.bytes.len()) {
            (Some(SocketOption::Error), 4) => {
                out.push(b'[');
                let error = int(0).unwrap_or(0);
                match names::errno_name(error.unsigned_abs()) {
                    Some(name) => out.extend_from_slice(name.as_bytes()),
                    None => number::signed(error.into(), out),
                }
                out.push(b']');
            }
            (Some(SocketOption::Time), 16) => {
                out.extend_from_slice(b"{tv_sec=");
                number::signed(long(0).unwrap_or(0), out);
                out.extend_from_slice(b", tv_usec=");
                number::signed(long(8).unwrap_or(0), out);
                out.push(b'}');
            }
            (Some(SocketOption::Linger), 8) => {
                out.extend_from_slice(b"{l_onoff=");
                number::signed(int(0).unwrap_or(0).into(), out);
                out.extend_from_slice(b", l_linger=");
                number::signed(int(4).unwrap_or(0).into(), out);
                out.push(b'}');
            }
            (Some(SocketOption::Credentials), 12) => {
                for (i, name) in [&b"{pid="[..], b", uid=", b", gid="].into_iter().enumerate() {
                    out.extend_from_slice(name);
                    number::signed(int(4 * i).unwrap_or(0).into(), out);
                }
                out.push(b'}');
            }
            (Some(SocketOption::Interface), _) => {
                let name = self.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
                escape::quote(name, out);
            }
            (_, 4) => {
                out.push(b'[');
                number::signed(int(0).unwrap_or(0).into(), out);
                out.push(b']');
            }
            _ => out.push(b'_'),
        }
    }
}

/// The names of a member's values.
fn set_of(member: &Member, arch: Arch) -> Option<&'static ValueSet> {
    if member.set.is_empty() { None } else { value_sets(arch).named(member.set) }
}

fn write_member(member: &Member, value: u64, arch: Arch, out: &mut Vec<u8>) {
    if member.name == "sa_mask" {
        write_signals(value, out);
        return;
    }
    // That of a page is its node, or an error.
    if member.name == "state"
        && let error @ -4095..0 = value as i64
        && let Some(name) = names::errno_name(error.unsigned_abs() as u32)
    {
        out.push(b'-');
        out.extend_from_slice(name.as_bytes());
        return;
    }
    let set = set_of(member, arch);
    if !write_named(value, Some(member.ty), set, out) {
        write_value(member.ty, None, value, out);
    }
}

fn separate(position: usize, separator: &[u8], out: &mut Vec<u8>) {
    if position > 0 {
        out.extend_from_slice(separator);
    }
}

/// The positions of bits that are set.
fn bits(bytes: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let of_byte = |byte: u8| (0..8).filter(move |bit| byte >> bit & 1 == 1);
    bytes.iter().zip(0u64..).flat_map(move |(byte, at)| of_byte(*byte).map(move |bit| 8 * at + bit))
}

/// A set of signals, without the `SIG` of their names; with `~`, those that are not in it.
fn write_signals(set: u64, out: &mut Vec<u8>) {
    // As strace decides.
    let is_most = set.count_ones() >= 64 * 2 / 3;
    let shown = if is_most { !set } else { set };
    out.extend_from_slice(if is_most { b"~[" } else { b"[" });
    let signals = (1..=64).filter(|signal| shown >> (signal - 1) & 1 == 1);
    for (i, signal) in signals.enumerate() {
        separate(i, b" ", out);
        let name = names::signal_name(signal);
        out.extend_from_slice(name.strip_prefix("SIG").unwrap_or(&name).as_bytes());
    }
    out.push(b']');
}

/// The status of a child, with the macros that a program looks at it with (wait(2)).
fn write_wait_status(status: u32, out: &mut Vec<u8>) {
    let (signal, code) = (status & 0x7f, status >> 8 & 0xff);
    let name = |signal: u32| names::signal_name(signal).into_owned();
    let text = match (signal, status & 0xff) {
        _ if status == 0xffff => "WIFCONTINUED(s)".to_owned(),
        (0, _) => format!("WIFEXITED(s) && WEXITSTATUS(s) == {code}"),
        (_, 0x7f) => format!("WIFSTOPPED(s) && WSTOPSIG(s) == {}", name(code)),
        (_, low) => {
            let core = if low & 0x80 != 0 { " && WCOREDUMP(s)" } else { "" };
            format!("WIFSIGNALED(s) && WTERMSIG(s) == {}{core}", name(signal))
        }
    };
    out.extend_from_slice(b"[{");
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(b"}]");
}

#[cfg(test)]
mod tests;
