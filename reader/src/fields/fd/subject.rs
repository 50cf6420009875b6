//! What a call works on: the file of a descriptor, or what its paths and addresses name.

use events::{Kind, flags};

use super::ends::{Ends, is_something};
use super::file_value::FileValue;
use super::name::{write_name, write_path};
use super::path::write_absolute;
use crate::fields::value::Mark;
use crate::model::{CallEvent, CallString, Event, FileRow};
use crate::syscalls::sockaddr::{SockAddr, addresses};
use crate::syscalls::{ArgType, FileArg, FileRoles, SocketRole};

/// A call with what its files are to it.
#[derive(Clone, Copy)]
pub(super) struct Subject<'c, 'a> {
    call: &'c CallEvent<'a>,
    pub(super) roles: &'a FileRoles,
}

/// A name that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// Whether there is one, which was appended.
    pub(super) is_there: bool,
    /// The argument that it is made from, by its position; how much of that was recorded holds for the name as well.
    pub(super) argument: Option<u8>,
}

impl Named {
    const NOTHING: Self = Self { is_there: false, argument: None };
    const FILE: Self = Self { is_there: true, argument: None };
}

impl<'c, 'a> Subject<'c, 'a> {
    /// That of a call; `None` if the capture has no signature of it.
    pub(super) fn of(call: &'c CallEvent<'a>) -> Option<Self> {
        Some(Self { call, roles: call.call()?.file_roles() })
    }

    /// What the call returned.
    fn result(&self) -> Option<FileRow<'a>> {
        self.call.file(self.roles.result_slot()?)
    }

    /// The file that the call works on, if a descriptor stands for it.
    pub(super) fn file(&self) -> Option<FileRow<'a>> {
        let own = || self.call.file(self.roles.descriptor()?);
        match self.roles.paths.first() {
            Some(path) if self.roles.descriptor().is_none() => self.result().or_else(|| self.itself(path)),
            _ if self.roles.role == Some(SocketRole::Server) => self.result().or_else(own),
            _ => own().or_else(|| self.result()),
        }
    }

    /// The file of the directory descriptor, if the path after it is empty or missing: the call is about that file then.
    fn itself(&self, path: u8) -> Option<FileRow<'a>> {
        let FileArg::Directory(slot) = *self.roles.args.get(usize::from(path.checked_sub(1)?))? else {
            return None;
        };
        if self.call.is_empty_path(path)? { self.call.file(slot) } else { None }
    }

    /// Appends the absolute path that the argument at a position stands for, where the call has opened it, the one that the
    /// kernel found.
    pub(super) fn write_path(&self, position: u8, out: &mut Vec<u8>) -> Named {
        if self.roles.paths.first() == Some(position)
            && let Some(file) = self.result()
            && write_name(&file, None, out)
        {
            return Named::FILE;
        }
        self.write_given_path(position, out)
    }

    /// The same from the argument alone.
    fn write_given_path(&self, position: u8, out: &mut Vec<u8>) -> Named {
        if let Some(file) = self.itself(position)
            && write_name(&file, None, out)
        {
            return Named::FILE;
        }
        let argument = Some(position);
        match self.call.string_argument(position) {
            None | Some(CallString::Null | CallString::NotRecorded) => Named::NOTHING,
            Some(CallString::Unread) => Named { is_there: false, argument },
            Some(CallString::Read { bytes, .. }) => {
                let base = match self.roles.args.get(usize::from(position)) {
                    Some(FileArg::Path(Some(slot))) if !bytes.is_empty() => self.call.file(*slot),
                    _ => None,
                };
                let mut directory = Vec::new();
                let is_known = base.is_some_and(|base| write_path(&base, &mut directory));
                write_absolute(is_known.then_some(directory.as_slice()), bytes, out);
                Named { is_there: true, argument }
            }
        }
    }

    /// Appends the name of what the call works on, as `fd.name` shows it.
    pub(super) fn write_name(&self, out: &mut Vec<u8>) -> Named {
        if let Some(path) = self.roles.paths.first() {
            return self.write_path(path, out);
        }
        let role = self.roles.role;
        if role == Some(SocketRole::Server)
            && let Some(file) = self.result()
            && Ends::of_file(&file).is_known()
        {
            write_name(&file, role, out);
            return Named::FILE;
        }
        if let Some(given) = self.given_address() {
            if role == Some(SocketRole::Client)
                && let Some(local) = self.file().and_then(|file| Ends::of_file(&file).local)
            {
                local.format(out);
                out.extend_from_slice(b"->");
            }
            given.format(out);
            return Named { is_there: true, argument: self.roles.address };
        }
        if self.file().is_some_and(|file| write_name(&file, role, out)) {
            return Named::FILE;
        }
        let is_unread = |at: &u8| {
            matches!(self.call.string_argument(*at), Some(CallString::Unread | CallString::Read { .. }))
        };
        Named { is_there: false, argument: self.roles.address.filter(is_unread) }
    }

    /// The addresses among the arguments: of several messages, one for each.
    fn given_addresses(&self) -> impl Iterator<Item = SockAddr<'a>> + use<'a> {
        let position = self.roles.address;
        let is_array = position.is_some_and(|at| {
            let args = self.call.call().map(|known| &known.signature.args);
            args.and_then(|args| args.get(usize::from(at))).is_some_and(|arg| arg.ty == ArgType::Mmsghdr)
        });
        let bytes = match position.and_then(|at| self.call.string_argument(at)) {
            Some(CallString::Read { bytes, .. }) => bytes,
            Some(CallString::Null | CallString::Unread | CallString::NotRecorded) | None => b"",
        };
        let one = if is_array { None } else { SockAddr::parse(bytes) };
        let several = if is_array { bytes } else { b"" };
        one.into_iter().chain(addresses(several).filter_map(SockAddr::parse))
    }

    /// The address among the arguments, the first one of several.
    fn given_address(&self) -> Option<SockAddr<'a>> {
        self.given_addresses().next()
    }

    /// Whether an address among the arguments is that of a peer, and not this one.
    pub(super) fn names_peer_other_than(&self, own: Option<SockAddr<'_>>) -> bool {
        let is_peer = !self.roles.is_local_address && self.roles.role != Some(SocketRole::Server);
        is_peer && self.given_addresses().any(|given| Some(given) != own)
    }

    /// The ends of the socket that the call works on: a datagram goes to, or comes from, the address among the arguments; of
    /// several messages, those of each.
    pub(super) fn ends(&self) -> impl Iterator<Item = Ends<'a>> + use<'a> {
        let role = self.roles.role;
        let own = Ends { role, ..self.file().map(|file| Ends::of_file(&file)).unwrap_or_default() };
        let is_accepted = role == Some(SocketRole::Server) && own.remote.is_some();
        let mut given = self.given_addresses().filter(is_something).peekable();
        let alone = (is_accepted || given.peek().is_none()).then_some(own);
        let is_local = self.roles.is_local_address;
        let given = given.filter(move |_| !is_accepted).map(move |given| {
            let mut ends = own;
            *(if is_local { &mut ends.local } else { &mut ends.remote }) = Some(given);
            ends
        });
        alone.into_iter().chain(given)
    }

    /// All names of what the call works on, see `fd.name`.
    pub(super) fn any_name(&self, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
        let mut name = Vec::new();
        if self.write_name(&mut name).is_there && found(FileValue::Text(&name)) {
            return true;
        }
        for path in self.roles.paths.positions() {
            name.clear();
            if self.write_given_path(path, &mut name).is_there && found(FileValue::Text(&name)) {
                return true;
            }
            if let Some(CallString::Read { bytes, .. }) = self.call.string_argument(path)
                && found(FileValue::Text(bytes))
            {
                return true;
            }
        }
        let slots = [0, 1].into_iter().filter(|slot| {
            self.roles.result_slot() == Some(*slot)
                || self.roles.pair().is_some()
                || self.roles.args.contains(&FileArg::Descriptor(*slot))
        });
        let files = slots.filter_map(|slot| self.call.file(slot));
        let itself = self.roles.paths.positions().filter_map(|path| self.itself(path));
        if { files }.chain(itself).any(|file| any_name_of(&file, &mut name, found)) {
            return true;
        }
        self.given_addresses().any(|given| found(FileValue::Address(given)))
    }
}

/// How much there is of a text that is made from the argument that `argument` returns.
pub(super) fn mark(event: &Event<'_>, argument: impl Fn(&Subject<'_, '_>) -> Option<u8>) -> Mark {
    const ANY: u32 = flags::STR0_UNREAD | flags::STR0_CUT | flags::STR1_UNREAD | flags::STR1_CUT;
    if !event.kind().is_some_and(Kind::has_files) || event.flags() & ANY == 0 {
        return Mark::Whole;
    }
    let call = event.call();
    let position = Subject::of(&call).and_then(|subject| argument(&subject));
    match position.and_then(|position| call.string_argument(position)) {
        None | Some(CallString::Null | CallString::NotRecorded | CallString::Read { cut: false, .. }) => {
            Mark::Whole
        }
        Some(CallString::Unread) => Mark::Unread,
        Some(CallString::Read { cut: true, .. }) => Mark::Cut,
    }
}

/// All names of a file: of a connection, also that from the other end, and each end.
fn any_name_of(file: &FileRow<'_>, name: &mut Vec<u8>, found: &mut dyn FnMut(FileValue<'_>) -> bool) -> bool {
    name.clear();
    if write_name(file, None, name) && found(FileValue::Text(name)) {
        return true;
    }
    let ends = Ends::of_file(file);
    if ends.local.is_some() && ends.remote.is_some() {
        name.clear();
        ends.reversed().write(name);
        if found(FileValue::Text(name)) {
            return true;
        }
    }
    ends.local.is_some_and(|local| found(FileValue::Address(local)))
        || ends.remote.is_some_and(|remote| found(FileValue::Address(remote)))
}
