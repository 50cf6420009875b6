//! Names of files: as fields have them, and as strace writes them after a descriptor.

use events::UNKNOWN;

use super::ends::Ends;
use super::path::CUT;
use crate::model::FileRow;
use crate::syscalls::SocketRole;
use crate::text::escape::{Place, escape};
use crate::text::number;
use crate::text::paint::{Paint, Style};

/// What the name of a file is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileClass {
    /// A path.
    Path,
    /// Addresses.
    Inet,
    /// The path or name of a unix socket.
    Unix,
    /// Nothing: another socket.
    Socket,
    /// Nothing: a pipe.
    Pipe,
    /// A name without a place in the file system.
    Memory,
    /// The kernel's word for it.
    Anonymous,
}

/// The class of a file, by its type.
pub(super) fn class(file: &FileRow<'_>) -> FileClass {
    match file.ty {
        b"ipv4" | b"ipv6" => FileClass::Inet,
        b"unix" => FileClass::Unix,
        b"netlink" | b"packet" | b"socket" => FileClass::Socket,
        b"pipe" => FileClass::Pipe,
        b"fifo" if file.path.is_empty() => FileClass::Pipe,
        b"memfd" => FileClass::Memory,
        b"file" | b"directory" | b"char" | b"block" | b"fifo" | b"symlink" => FileClass::Path,
        _ if !file.path.is_empty() => FileClass::Path,
        _ => FileClass::Anonymous,
    }
}

/// Whether it is a socket.
pub(super) fn is_socket(file: &FileRow<'_>) -> bool {
    matches!(class(file), FileClass::Inet | FileClass::Unix | FileClass::Socket)
}

/// Appends the name of a file; false, and nothing, if it has none. `role`: of the process, if it is known.
pub(super) fn write_name(file: &FileRow<'_>, role: Option<SocketRole>, out: &mut Vec<u8>) -> bool {
    let ends = Ends { role, ..Ends::of_file(file) };
    match class(file) {
        FileClass::Path => return write_path(file, out),
        FileClass::Inet if ends.is_known() => ends.write(out),
        FileClass::Unix if !file.path.is_empty() => write_unix(file.path, out),
        FileClass::Inet | FileClass::Unix | FileClass::Socket => with_inode(b"socket", file, out),
        FileClass::Pipe => with_inode(b"pipe", file, out),
        FileClass::Memory => {
            out.extend_from_slice(b"/memfd:");
            let name = file.path.strip_prefix(b"/").unwrap_or(file.path);
            out.extend_from_slice(name.strip_prefix(b"memfd:").unwrap_or(name));
        }
        FileClass::Anonymous => {
            out.extend_from_slice(b"anon_inode:[");
            out.extend_from_slice(file.ty);
            out.push(b']');
        }
    }
    true
}

/// Appends the path of a file, `...` in place of a beginning that is missing; false, and nothing, if it has none.
pub(super) fn write_path(file: &FileRow<'_>, out: &mut Vec<u8>) -> bool {
    if file.path.is_empty() {
        return false;
    }
    if file.is_cut {
        out.extend_from_slice(CUT);
        if !file.path.starts_with(b"/") {
            out.push(b'/');
        }
    }
    out.extend_from_slice(file.path);
    true
}

/// An abstract name begins with a NUL.
fn write_unix(path: &[u8], out: &mut Vec<u8>) {
    match path.strip_prefix(b"\0") {
        Some(name) => {
            out.push(b'@');
            out.extend_from_slice(name);
        }
        None => out.extend_from_slice(path),
    }
}

/// `pipe:[4711]`, as in `/proc/PID/fd`.
fn with_inode(word: &[u8], file: &FileRow<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(word);
    if file.ino != UNKNOWN {
        out.extend_from_slice(b":[");
        number::decimal(file.ino, out);
        out.push(b']');
    }
}

/// How the text after a descriptor is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkStyle {
    /// By the rule of [`crate::text::escape`], and coloured if wanted.
    Escaped(Paint),
    /// As it is: what shows it escapes it.
    Plain,
}

impl LinkStyle {
    /// Applies it to what was appended from `start` on. Most of it needs no escaping.
    fn apply(self, start: usize, out: &mut Vec<u8>) {
        let is_plain = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'<' | b'>' | b'\\');
        if self != Self::Plain && !out[start..].iter().all(is_plain) {
            let text = out.split_off(start);
            escape(&text, Place::Angle, out);
        }
    }
}

/// Appends what a descriptor stands for, as `strace -yy` does: `</etc/hosts>`, `<TCP:[10.0.0.7:4711->10.0.0.2:80]>`.
pub fn write_link(file: &FileRow<'_>, style: LinkStyle, out: &mut Vec<u8>) {
    let paint = if let LinkStyle::Escaped(paint) = style { paint } else { Paint::Plain };
    paint.write(Style::File, out, |out| {
        out.push(b'<');
        let start = out.len();
        if !is_socket(file) {
            write_name(file, None, out);
            style.apply(start, out);
        } else if !write_socket(file, style, out) {
            write_name(file, None, out);
        }
        out.push(b'>');
        if file.is_deleted {
            out.extend_from_slice(b"(deleted)");
        }
    });
}

/// Appends protocol and addresses of a socket; false, and nothing, if its protocol is unknown.
fn write_socket(file: &FileRow<'_>, style: LinkStyle, out: &mut Vec<u8>) -> bool {
    let protocol = match file.ty {
        b"unix" => b"unix",
        _ if !file.proto.is_empty() => file.proto,
        b"netlink" => b"netlink",
        b"packet" => b"packet",
        _ => return false,
    };
    let start = out.len();
    out.extend(protocol.iter().map(u8::to_ascii_uppercase));
    style.apply(start, out);
    if file.ty == b"ipv6" {
        out.extend_from_slice(b"v6");
    }
    out.extend_from_slice(b":[");
    let ends = Ends::of_file(file);
    match class(file) {
        FileClass::Unix if !file.path.is_empty() => {
            let start = out.len();
            write_unix(file.path, out);
            style.apply(start, out);
        }
        FileClass::Inet if ends.is_known() => ends.write(out),
        _ if file.ino == UNKNOWN => out.push(b'?'),
        _ => number::decimal(file.ino, out),
    }
    out.push(b']');
    true
}
