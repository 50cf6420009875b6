//! Values that follow from the files of a call: what its descriptors stand for, what its paths and socket addresses name.

mod ends;
mod file_value;
mod name;
mod path;
mod path_role;
mod subject;

#[cfg(test)]
mod tests;

use events::UNKNOWN;

use ends::Ends;
use name::{FileClass, class};
use path::split;
use subject::{Subject, mark};

use super::value::Mark;
use crate::model::{CallEvent, CallString, Event, FileRow};
use crate::syscalls::SocketRole;
use crate::syscalls::sockaddr::SockAddr;

pub use file_value::{FileGetter, FileValue, shown};
pub use name::{LinkStyle, write_link};
pub(super) use path_role::PathRole;

/// Gets `fd.name`.
pub(super) fn name(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    if let Some(subject) = Subject::of(call) {
        return subject.any_name(found);
    }
    // A request that no system call does the same as.
    let mut text = Vec::new();
    let is_named = call.file(0).is_some_and(|file| name::write_name(&file, None, &mut text));
    is_named && found(FileValue::Text(&text))
}

/// Gets the paths of a syscall or request as they were given.
pub(super) fn given_paths(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    let Some(subject) = Subject::of(call) else { return false };
    subject.roles.paths.positions().any(|position| match call.string_argument(position) {
        Some(CallString::Read { bytes, .. }) => found(FileValue::Text(bytes)),
        Some(CallString::Null | CallString::Unread | CallString::NotRecorded) | None => false,
    })
}

/// How much there is of the first of these paths.
pub(super) fn given_mark(event: &Event<'_>) -> Mark {
    let call = event.call();
    mark(event, |subject| subject.roles.paths.positions().find(|at| call.string_argument(*at).is_some()))
}

/// How much there is of `fd.name`.
pub(super) fn name_mark(event: &Event<'_>) -> Mark {
    mark(event, |subject| subject.write_name(&mut Vec::new()).argument)
}

/// A value of the file that a call works on.
fn of_file(
    call: &CallEvent<'_>,
    found: &mut dyn FnMut(FileValue<'_>) -> bool,
    get: impl for<'f> Fn(&FileRow<'f>) -> Option<FileValue<'f>>,
) -> bool {
    let file = Subject::of(call).and_then(|subject| subject.file());
    file.and_then(|file| get(&file)).is_some_and(found)
}

/// The addresses of the socket that a call works on, as `pick` chooses them.
fn of_ends(
    call: &CallEvent<'_>,
    found: &mut dyn FnMut(FileValue<'_>) -> bool,
    pick: [fn(&Ends<'_>) -> Option<FileValue<'static>>; 2],
) -> bool {
    let Some(subject) = Subject::of(call) else { return false };
    subject.ends().any(|ends| pick.into_iter().filter_map(|pick| pick(&ends)).any(&mut *found))
}

fn ip(end: Option<SockAddr<'_>>) -> Option<FileValue<'static>> {
    end?.ip().map(FileValue::Ip)
}

fn port(end: Option<SockAddr<'_>>) -> Option<FileValue<'static>> {
    end?.port().map(|port| FileValue::Number(port.into()))
}

/// Getters of the addresses at one end or both.
macro_rules! ends {
    ($($name:ident: $first:expr, $second:expr;)*) => {
        $(pub(super) fn $name(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
            of_ends(call, found, [$first, $second])
        })*
    };
}

ends! {
    any_ip: |ends| ip(ends.local), |ends| ip(ends.remote);
    local_ip: |ends| ip(ends.local), |_| None;
    remote_ip: |ends| ip(ends.remote), |_| None;
    client_ip: |ends| ip(ends.client()), |_| None;
    server_ip: |ends| ip(ends.server()), |_| None;
    any_port: |ends| port(ends.local), |ends| port(ends.remote);
    local_port: |ends| port(ends.local), |_| None;
    remote_port: |ends| port(ends.remote), |_| None;
    client_port: |ends| port(ends.client()), |_| None;
    server_port: |ends| port(ends.server()), |_| None;
}

/// Getters of what a file is.
macro_rules! of_file {
    ($($name:ident: $file:ident => $value:expr;)*) => {
        $(pub(super) fn $name(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
            of_file(call, found, |$file| $value)
        })*
    };
}

of_file! {
    type_name: file => Some(FileValue::Text(sysdig_type(file.ty).0));
    type_letter: file => Some(FileValue::Text(sysdig_type(file.ty).1));
    inode: file => Some(FileValue::Number(file.ino.into())).filter(|_| file.ino != UNKNOWN);
    is_deleted: file => Some(FileValue::Number(file.is_deleted.into()));
    protocol: file => Some(FileValue::Text(file.proto)).filter(|_| !file.proto.is_empty());
    family: file => match class(file) {
        FileClass::Inet => Some(FileValue::Text(b"ip")),
        FileClass::Unix => Some(FileValue::Text(b"unix")),
        _ => None,
    };
}

/// The type of a file in sysdig's words, and its letter; a word that it does not have stays.
fn sysdig_type(ty: &[u8]) -> (&[u8], &'static [u8]) {
    match ty {
        // Devices count as files.
        b"file" | b"char" | b"block" | b"symlink" => (b"file", b"f"),
        b"directory" => (ty, b"d"),
        b"ipv4" => (ty, b"4"),
        b"ipv6" => (ty, b"6"),
        b"unix" => (ty, b"u"),
        b"netlink" => (ty, b"n"),
        b"pipe" | b"fifo" => (b"pipe", b"p"),
        b"eventfd" => (b"event", b"e"),
        b"eventpoll" => (ty, b"l"),
        b"inotify" => (ty, b"i"),
        b"signalfd" => (ty, b"s"),
        b"timerfd" => (ty, b"t"),
        b"io_uring" => (ty, b"r"),
        b"memfd" => (ty, b"m"),
        b"pidfd" => (ty, b"P"),
        b"userfaultfd" => (ty, b"u"),
        _ if ty.starts_with(b"bpf") => (b"bpf", b"b"),
        _ => (ty, b"o"),
    }
}

/// The device of the file system, `major:minor`.
pub(super) fn device(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    let dev = Subject::of(call).and_then(|subject| subject.file()).map_or(UNKNOWN, |file| file.dev);
    dev != UNKNOWN && found(FileValue::Text(format!("{}:{}", dev >> 20, dev & 0xf_ffff).as_bytes()))
}

/// Whether the socket of a call has a remote address.
pub(super) fn is_connected(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    of_file(call, found, |file| {
        let is_socket = matches!(class(file), FileClass::Inet | FileClass::Unix);
        let is_connected = Ends::of_file(file).remote.is_some();
        is_socket.then_some(FileValue::Number(is_connected.into()))
    })
}

/// Whether a call names another peer than its socket has.
pub(super) fn names_other_peer(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    let Some(subject) = Subject::of(call) else { return false };
    let Some(file) = subject.file().filter(|file| matches!(class(file), FileClass::Inet | FileClass::Unix))
    else {
        return false;
    };
    let own = Ends::of_file(&file).remote;
    let is_other = subject.names_peer_other_than(own);
    found(FileValue::Number(is_other.into()))
}

/// Whether the process is the server of a connection, if the call is proof of it.
pub(super) fn is_server(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    let role = Subject::of(call).and_then(|subject| subject.roles.role);
    role.is_some_and(|role| found(FileValue::Number((role == SocketRole::Server).into())))
}

/// The paths that a call works on: that of its descriptor, or those among its arguments, the first one first.
fn any_path(call: &CallEvent<'_>, found: &mut dyn FnMut(&[u8], Option<&FileRow<'_>>) -> bool) -> bool {
    let Some(subject) = Subject::of(call) else { return false };
    let mut path = Vec::new();
    if let Some(file) = subject.file() {
        let is_path = class(&file) == FileClass::Path && name::write_path(&file, &mut path);
        return is_path && found(&path, Some(&file));
    }
    subject.roles.paths.positions().any(|position| {
        path.clear();
        subject.write_path(position, &mut path).is_there && found(&path, None)
    })
}

fn is_directory(file: Option<&FileRow<'_>>) -> bool {
    file.is_some_and(|file| file.ty == b"directory")
}

/// The directory of each path: as with sysdig, that of a directory is the directory itself.
pub(super) fn directory(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    any_path(call, &mut |path, file| {
        let directory = if is_directory(file) { Some(path) } else { split(path).map(|(parent, _)| parent) };
        directory.is_some_and(|directory| found(FileValue::Text(directory)))
    })
}

/// The name of each path within its directory; directories have none.
pub(super) fn file_name(call: &CallEvent<'_>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    any_path(call, &mut |path, file| {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        !is_directory(file) && !name.is_empty() && found(FileValue::Text(name))
    })
}
