//! The declaration of a field.

use std::borrow::Cow;
use std::ptr;

use capture_format::Header;
use events::{Kind, KindSet};

use crate::model::{Call, CallEvent, Calls, Event, Rows};

use super::ancestors::ProcessGetter;
use super::cgroup::KnownCgroup;
use super::fd::FileGetter;
use super::field_type::FieldType;
use super::part::Part;
use super::task::ThreadRows;
use super::value::{Mark, Value};

/// What follows a field's name in brackets or after another dot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FieldArg {
    /// Nothing.
    None,
    /// `[key]`.
    Key,
    /// `[number]` or `.name`.
    IndexOrName,
    /// Nothing or `[number]`: how many generations above the process.
    Generation,
}

/// How to get a field's value, which determines what the value depends on ([`super::dependency::Dependency`]).
#[derive(Clone, Copy, Debug)]
pub enum Getter {
    /// From the segment's header.
    Header(for<'a> fn(&'a Header) -> Value<'a>),
    /// From the segment's header, by the key in brackets.
    HeaderByKey(for<'a> fn(&'a Header, &str) -> Value<'a>),
    /// From the event's table.
    Table(for<'a> fn(&Rows<'a>) -> Value<'a>),
    /// From the event's cgroup; missing if that is unknown.
    Cgroup(for<'a> fn(&KnownCgroup<'a>) -> Value<'a>),
    /// The same, by the key in brackets.
    CgroupByKey(for<'a> fn(&KnownCgroup<'a>, &str) -> Value<'a>),
    /// The attribute of the event's container with the name of the field, including the key.
    Attribute,
    /// The same, as the number that it stands for; missing if it stands for none.
    AttributeNumber,
    /// From the event's thread and its process.
    Task(for<'a> fn(&ThreadRows<'a>, &'a mut Vec<u8>) -> Value<'a>),
    /// From a process: that of the event or one of its ancestors. Without a key, there can be several values.
    Process(ProcessGetter),
    /// From the number of the syscall ([`events::syscall_key`]), or of the one that does the same as a request of io_uring;
    /// missing in other events.
    Call(for<'a> fn(&'a Calls, u64, &'a mut Vec<u8>) -> Value<'a>),
    /// The same, of syscalls alone.
    OwnCall(for<'a> fn(&'a Calls, u64, &'a mut Vec<u8>) -> Value<'a>),
    /// The name of the syscall; that of the kind in other events.
    EventType,
    /// How long the event took; missing if its start is unknown.
    Duration,
    /// From columns that all events have.
    Event(for<'a> fn(&Event<'a>) -> Value<'a>),
    /// From what all events have, as text that has to be put together.
    EventText(for<'a> fn(&Event<'a>, &'a mut Vec<u8>) -> Value<'a>),
    /// From several columns of a sample of a cgroup; missing in other events.
    Sample(for<'a> fn(&Event<'a>) -> Value<'a>),
    /// Whether the event has this bit of [`events::flags`].
    Flag(u32),
    /// From a syscall, or a request of io_uring, with its arguments and result; missing in other events.
    Syscall(for<'a> fn(&CallEvent<'a>, &'a mut Vec<u8>) -> Value<'a>),
    /// The result of a syscall or request, if it did not fail and its call is one of which this is true; missing in other
    /// events.
    Result(fn(&Call) -> bool),
    /// From the files of a syscall or request, which can have several values of which the first is shown; missing in other
    /// events.
    Files(FileGetter),
    /// The same, of requests alone.
    RequestFiles(FileGetter),
    /// The argument of a syscall or request that the field's key names; missing in other events.
    Argument,
    /// The same, as a number if it is one.
    RawArgument,
    /// A column of a kind ([`crate::model::column`]).
    Column(Kind, u16),
    /// The number in such a column as it is stored, of which 0 stands for none.
    Stored(Kind, u16),
    /// The `struct sockaddr` in such a column.
    SockAddr(Kind, u16),
    /// A part of the value of a column of a kind.
    Part(Kind, u16, &'static Part),
}

impl Getter {
    /// The only kinds of event that have the field, with the kinds that share their fields ([`Kind::field_owner`]); `None` if
    /// all kinds can have it.
    pub fn kinds(&self) -> Option<KindSet> {
        /// [`Kind::is_about_call`].
        const CALLS: KindSet = KindSet::of(&[Kind::Syscall, Kind::Uring]);
        /// [`Kind::has_files`].
        const WITH_FILES: KindSet = CALLS.with(Kind::ThreadState);
        match self {
            Self::OwnCall(_) => Some(KindSet::of(&[Kind::Syscall])),
            Self::Call(_) | Self::Files(_) => Some(WITH_FILES),
            Self::Syscall(_) | Self::Result(_) | Self::Argument | Self::RawArgument => Some(CALLS),
            Self::RequestFiles(_) => Some(KindSet::of(&[Kind::Uring])),
            Self::Sample(_) => Some(KindSet::of(&[Kind::Sample])),
            Self::Column(kind, _)
            | Self::Stored(kind, _)
            | Self::SockAddr(kind, _)
            | Self::Part(kind, ..) => Some(KindSet::of(&[*kind])),
            Self::Header(_)
            | Self::HeaderByKey(_)
            | Self::Table(_)
            | Self::Cgroup(_)
            | Self::CgroupByKey(_)
            | Self::Attribute
            | Self::AttributeNumber
            | Self::Task(_)
            | Self::Process(_)
            | Self::EventType
            | Self::Duration
            | Self::Event(_)
            | Self::EventText(_)
            | Self::Flag(_) => None,
        }
    }

    /// The kinds that have the field, if all of them are computed from others ([`Kind::is_derived`]).
    pub fn derived(&self) -> KindSet {
        let kinds = self.kinds().unwrap_or_default();
        if kinds.iter().all(Kind::is_derived) { kinds } else { KindSet::EMPTY }
    }

    /// Whether events with the fields of this kind can have the field; `None` is an unknown kind.
    pub fn is_of(&self, owner: Option<Kind>) -> bool {
        self.kinds().is_none_or(|kinds| owner.is_some_and(|owner| kinds.contains(owner)))
    }

    /// Whether it depends on the number of a call alone, in events of this kind.
    pub fn is_by_call(&self, kind: Option<Kind>) -> bool {
        match self {
            Self::EventType => kind == Some(Kind::Syscall),
            Self::Call(_) | Self::OwnCall(_) => self.is_of(kind),
            _ => false,
        }
    }

    /// How its values are got from the files of a call.
    pub fn files(&self) -> Option<FileGetter> {
        match self {
            Self::Files(get) | Self::RequestFiles(get) => Some(*get),
            _ => None,
        }
    }
}

/// What the summary of a chunk records about the values of a field in the chunk.
#[derive(Clone, Copy, Debug)]
pub enum Summarized {
    /// Nothing, except which kinds of events occur ([`Getter::kinds`]).
    No,
    /// The value is the name of a kind that occurs.
    KindName,
    /// The value is the name of a syscall, or of another kind.
    TypeName,
    /// The value is the name of a syscall.
    CallName,
    /// The value follows from a chain of containers.
    Chain(for<'a> fn(&'a [u8]) -> Value<'a>),
    /// The value lies between the start of the first event and the end of the last one.
    Time,
}

/// What `=` compares, and `<` and `>` where they apply.
#[derive(Clone, Copy, Debug)]
pub enum Compared {
    /// The value as it is shown.
    Whole,
    /// Beginnings of the value of another field, named here.
    PrefixOf(&'static str),
    /// What the value is made from: the number behind a name, the bytes of an address.
    As(Getter),
}

/// Gets the elements of a value that is a list, each with a NUL; `None` if the event has none.
pub type ListGetter = for<'a> fn(&Event<'a>, &'a mut Vec<u8>) -> Option<&'a [u8]>;

/// A row of the table of fields.
#[derive(Clone, Copy, Debug)]
pub struct FieldDecl {
    /// The name, without argument.
    pub name: &'static str,
    /// What may follow the name.
    pub arg: FieldArg,
    /// The type of its values.
    pub ty: FieldType,
    /// The description, in one line.
    pub doc: &'static str,
    /// How to get the value.
    pub getter: Getter,
    /// Position among the keys of JSON output; `None` if it is not one of them.
    pub json: Option<u8>,
    /// Position among the default columns of CSV output; `None` if it is not one of them.
    pub csv: Option<u8>,
    /// Whether CSV output describes events without this field in words.
    pub worded: bool,
    /// What the summary of a chunk records about its values.
    pub summarized: Summarized,
    /// What `=` compares.
    pub compared: Compared,
    /// For text that may be incomplete: how much of it there is. Arguments of syscalls and columns of kinds
    /// need none, see [`super::marks::of_field`].
    pub mark: Option<for<'a> fn(&Event<'a>) -> Mark>,
    /// Whether no event ever has a value: the reason is in the documentation.
    pub is_unrecorded: bool,
    /// For a list: its elements. Columns of kinds need none, see [`super::values::list`].
    pub list: Option<ListGetter>,
}

impl FieldDecl {
    /// What it holds, with the words that it is limited to unless the documentation names them, `unknown` aside.
    pub fn description(&self) -> Cow<'static, str> {
        let is_named = |word: &&str| ["unknown", "?"].contains(word) || self.doc.contains(*word);
        match self.ty.words() {
            Some(words) if !words.all.iter().all(is_named) => {
                Cow::Owned(format!("{}: {}", self.doc, words.all.join(", ")))
            }
            _ => Cow::Borrowed(self.doc),
        }
    }

    /// A field without argument that is in no default output.
    pub(super) const fn new(name: &'static str, ty: FieldType, getter: Getter, doc: &'static str) -> Self {
        Self {
            name,
            arg: FieldArg::None,
            ty,
            doc,
            getter,
            json: None,
            csv: None,
            worded: false,
            summarized: Summarized::No,
            compared: Compared::Whole,
            mark: None,
            is_unrecorded: false,
            list: None,
        }
    }

    pub(super) const fn arg(self, arg: FieldArg) -> Self {
        Self { arg, ..self }
    }

    /// A key of JSON output; keys are ordered by `place`.
    pub(super) const fn json(self, place: u8) -> Self {
        Self { json: Some(place), ..self }
    }

    /// A default column of CSV output; columns are ordered by `place`.
    pub(super) const fn csv(self, place: u8) -> Self {
        Self { csv: Some(place), ..self }
    }

    /// In CSV output, describes events without this field in words.
    pub(super) const fn worded(self) -> Self {
        Self { worded: true, ..self }
    }

    /// With text that may be incomplete.
    pub(super) const fn marked(self, mark: for<'a> fn(&Event<'a>) -> Mark) -> Self {
        Self { mark: Some(mark), ..self }
    }

    /// Without a value in any event.
    pub(super) const fn unrecorded(self) -> Self {
        Self { is_unrecorded: true, ..self }
    }

    /// With values that are lists.
    pub(super) const fn list(self, list: ListGetter) -> Self {
        Self { list: Some(list), ..self }
    }

    /// With values that the summary of a chunk records.
    pub(super) const fn summarized(self, summarized: Summarized) -> Self {
        Self { summarized, ..self }
    }

    /// With `=` for prefixes of the field `name`.
    pub(super) const fn prefix_of(self, name: &'static str) -> Self {
        Self { compared: Compared::PrefixOf(name), ..self }
    }

    /// With something else than the value for `=` to compare.
    pub(super) const fn compared(self, compared: Compared) -> Self {
        Self { compared, ..self }
    }
}

/// The argument of a field.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// None.
    None,
    /// A key or a name. For an attribute, the whole name: `container.label[KEY]`.
    Name(Box<str>),
    /// A position, from 0.
    Position(u8),
}

/// A field with its argument: what a filter compares and a view prints.
#[derive(Clone, Debug)]
pub struct Field {
    decl: &'static FieldDecl,
    pub(super) key: Key,
    /// Whether its value is the one that `=` compares.
    is_compared: bool,
}

impl Field {
    /// A field with its argument.
    pub(super) fn new(decl: &'static FieldDecl, key: Key) -> Self {
        Self { decl, key, is_compared: false }
    }

    /// The field with the value that `=` compares, where that is not the one that is shown.
    #[must_use]
    pub fn as_compared(self) -> Self {
        Self { is_compared: true, ..self }
    }

    /// A field without argument. If the field needs one, it has no value.
    pub fn plain(decl: &'static FieldDecl) -> Self {
        Self::new(decl, Key::None)
    }

    /// The declaration, a row of the table of fields.
    #[inline]
    pub fn decl(&self) -> &'static FieldDecl {
        self.decl
    }

    /// How to get its value.
    #[inline]
    pub fn getter(&self) -> &'static Getter {
        match &self.decl.compared {
            Compared::As(getter) if self.is_compared => getter,
            Compared::As(_) | Compared::Whole | Compared::PrefixOf(_) => &self.decl.getter,
        }
    }

    /// The name of the attribute that [`Getter::Attribute`] gets.
    pub(super) fn attribute(&self) -> &str {
        self.key_name().unwrap_or(self.decl.name)
    }

    /// The position that is its argument, from 0.
    pub fn key_position(&self) -> Option<u8> {
        match self.key {
            Key::Position(position) => Some(position),
            Key::None | Key::Name(_) => None,
        }
    }

    /// The key or name that is its argument.
    pub fn key_name(&self) -> Option<&str> {
        match &self.key {
            Key::Name(name) => Some(name),
            Key::None | Key::Position(_) => None,
        }
    }
}

impl PartialEq for Field {
    fn eq(&self, other: &Self) -> bool {
        ptr::eq(self.decl, other.decl) && self.key == other.key && self.is_compared == other.is_compared
    }
}

impl Eq for Field {}

impl std::hash::Hash for Field {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        ptr::hash(self.decl, state);
        self.key.hash(state);
        self.is_compared.hash(state);
    }
}
