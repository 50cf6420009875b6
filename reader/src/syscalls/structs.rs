//! Structures behind pointers: what a call is given in memory, or fills in.
//!
//! A tag such as `open_how_in` names a structure and, by its last word, when it is read: `in` at the entry, `out` at the
//! return, `inout` at both, and `either` at the entry if it is a structure at all. Files have the bytes, so that captures of older versions gain when this table grows. The layouts
//! are those of 64-bit callers, and of 32-bit ones where [`StructType::is_common_of`].

use super::types::ArgType;

mod layouts;
mod requests;
mod states;
#[cfg(test)]
mod tests;

/// Most bytes that are recorded of a structure or array.
pub const STRUCT_MAX: usize = 512;

/// How many bytes a call's structure has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// This many elements.
    Elements(u8),
    /// As many elements as an argument or the result states.
    ElementsOf(Stated),
    /// As many bytes as an argument states.
    BytesOf(Stated),
    /// As many bits as an argument states, in whole words.
    BitsOf(Stated),
}

/// What states the size of a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stated {
    /// The argument after it.
    After,
    /// An `int` that the argument after it points to.
    AtAfter,
    /// The argument before it.
    Before,
    /// The first argument.
    First,
    /// The second argument.
    Second,
    /// The result.
    Result,
}

/// How a structure is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// Its members: `{flags=O_RDONLY, mode=0}`.
    Members,
    /// An array of such structures.
    Array,
    /// An array of numbers: `[3, 4]`.
    Numbers,
    /// The positions of its bits: `[3 4]`.
    Bits,
    /// A set of signals: `[INT CHLD]`.
    Signals,
    /// How a process ended: `[{WIFEXITED(s) && WEXITSTATUS(s) == 0}]`.
    WaitStatus,
    /// The value of a socket option: a number if it is as long as one.
    SocketOption,
    /// A text that ends with a NUL: `"main"`.
    Text,
}

/// When a member counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// If the first member has one of these bits.
    Flags(u64),
    /// If the 32 bits at this place have one of these bits.
    Word(u8, u32),
    /// If a signal's information of this kind is there.
    Info(Info),
}

/// A part of what a `siginfo_t` has: which ones there are depends on the signal and on who sent it (sigaction(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Info {
    /// `si_code` has names: those of who sent a signal, or of what a child did.
    NamedCode,
    /// It has none.
    OtherCode,
    /// Who sent it.
    Sender,
    /// What a child did.
    Child,
    /// What the sender gave with it.
    Value,
    /// A timer that ran out.
    Timer,
    /// An address that cannot be used.
    Fault,
    /// A file that is ready.
    Ready,
}

impl Info {
    /// Whether it is there.
    fn is_in(self, element: &[u8]) -> bool {
        const SI_TIMER: i32 = -2;
        const SI_SIGIO: i32 = -5;
        const SI_TKILL: i32 = -6;
        const SIGCHLD: i32 = 17;
        const SIGIO: i32 = 29;
        /// `SIGILL`, `SIGTRAP`, `SIGBUS`, `SIGFPE`, `SIGSEGV`.
        const FAULTS: [i32; 5] = [4, 5, 7, 8, 11];
        let (Some(signal), Some(code)) = (word(element, 0), word(element, 8)) else { return false };
        let (signal, code) = (signal.cast_signed(), code.cast_signed());
        let is_sent = code <= 0;
        let is_child = !is_sent && signal == SIGCHLD;
        match self {
            Self::NamedCode => is_sent || is_child,
            Self::OtherCode => !is_sent && !is_child,
            Self::Sender => is_child || is_sent && code != SI_TIMER && code != SI_SIGIO,
            Self::Child => is_child,
            Self::Value => code < 0 && code != SI_SIGIO && code != SI_TKILL,
            Self::Timer => code == SI_TIMER,
            Self::Fault => !is_sent && FAULTS.contains(&signal),
            Self::Ready => code == SI_SIGIO || !is_sent && signal == SIGIO,
        }
    }
}

/// The 32 bits at a place.
fn word(element: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*element.get(at..)?.first_chunk()?))
}

/// A number in a structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The kernel's name; a dot is before the name in an inner structure.
    pub name: &'static str,
    /// Where it begins, in bytes.
    pub at: u8,
    /// How many bytes it has; of a text, those that there is room for.
    pub width: u8,
    /// How many such numbers there are, one behind the other. Mostly 1.
    pub count: u8,
    /// What it means.
    pub ty: ArgType,
    /// The names of its values: a set of constants. Empty if they have none.
    pub set: &'static str,
    /// Where its upper half begins, if that is not behind the lower one; else 0. It may be missing.
    pub upper: u8,
    /// When it counts.
    pub when: When,
}

impl Member {
    /// Whether it is a text that ends with a NUL.
    pub fn is_text(&self) -> bool {
        self.ty == ArgType::String
    }

    /// The text in a structure; `None` if it is none, or if the structure ends before it.
    pub fn text<'a>(&self, element: &'a [u8]) -> Option<&'a [u8]> {
        let bytes = element.get(usize::from(self.at)..)?.get(..usize::from(self.width))?;
        if self.is_text() { bytes.split(|byte| *byte == 0).next() } else { None }
    }

    /// Its values in a structure: one, if it is not several numbers; none of a text.
    pub fn all<'a>(&'a self, element: &'a [u8]) -> impl Iterator<Item = u64> + use<'a> {
        let of = move |i| self.of(element.get(usize::from(i) * usize::from(self.width)..)?);
        (0..self.count).map_while(of)
    }

    /// Its value in a structure, or the first one, extended to 64 bits as its type has it; `None` if the structure ends before
    /// it, or if it is a text.
    pub fn of(&self, element: &[u8]) -> Option<u64> {
        if self.upper != 0 {
            let half = |at: u8| word(element, at.into()).map(u64::from);
            return Some(half(self.at)? | half(self.upper).unwrap_or(0) << 32);
        }
        let bytes = element.get(usize::from(self.at)..)?.get(..usize::from(self.width))?;
        let mut whole = [0; 8];
        whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
        let value = u64::from_le_bytes(whole);
        let unused = 64 - 8 * u32::from(self.width);
        Some(if self.ty.is_signed() { ((value << unused) as i64 >> unused) as u64 } else { value })
    }
}

/// A structure, or an array of them.
#[derive(Debug)]
pub struct StructType {
    /// The name, as in a tag.
    pub name: &'static str,
    /// Bytes of an element.
    pub size: u8,
    /// How many there are.
    pub extent: Extent,
    /// How it is shown.
    pub form: Form,
    /// What an element consists of, in the order of the output.
    pub members: &'static [Member],
    /// Whether 32-bit callers have the same.
    is_common: bool,
}

impl StructType {
    /// Whether the structure of this call is the same for 32-bit callers. Those of `ppoll_time64` and the like have 64-bit
    /// times.
    pub fn is_common_of(&self, call: &str) -> bool {
        self.is_common || call.ends_with("64") && self.name.contains("timespec")
    }

    /// The structure that a tag names.
    pub fn of_tag(tag: &str) -> Option<&'static Self> {
        let (name, when) = tag.rsplit_once('_')?;
        matches!(when, "in" | "out" | "inout" | "either").then_some(())?;
        all().find(|known| known.name == name)
    }

    /// The values of a member of an element: none if it has none, or they do not count.
    pub fn values<'a>(&self, member: &'a Member, element: &'a [u8]) -> impl Iterator<Item = u64> + use<'a> {
        let first = || self.members.first()?.of(element);
        let counts = match member.when {
            When::Always => true,
            When::Flags(flags) => first().is_some_and(|first| first & flags != 0),
            When::Word(at, bits) => word(element, at.into()).is_some_and(|word| word & bits != 0),
            When::Info(info) => info.is_in(element),
        };
        let element = if counts { element } else { b"" };
        member.all(element)
    }

    /// The elements of which all bytes, or at least those of one member, are there.
    pub fn elements<'a>(&self, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        // A later kernel's structure may have more members, an earlier caller's fewer.
        let (least, most) = match self.form {
            Form::Members => (self.members.first().map_or(1, |first| usize::from(first.width)), 1),
            Form::Text => (1, 1),
            _ => (usize::from(self.size), usize::MAX),
        };
        bytes.chunks(usize::from(self.size)).filter(move |element| element.len() >= least).take(most)
    }
}

const fn member(name: &'static str, at: u8, width: u8, ty: ArgType) -> Member {
    Member { name, at, width, ty, count: 1, set: "", upper: 0, when: When::Always }
}

const fn named(name: &'static str, at: u8, width: u8, ty: ArgType, set: &'static str) -> Member {
    Member { name, at, width, ty, count: 1, set, upper: 0, when: When::Always }
}

const fn one(name: &'static str, size: u8, members: &'static [Member]) -> StructType {
    StructType { name, size, extent: Extent::Elements(1), form: Form::Members, members, is_common: false }
}

const fn number(name: &'static str, members: &'static [Member]) -> StructType {
    let size = members[0].width;
    StructType { name, size, extent: Extent::Elements(1), form: Form::Numbers, members, is_common: true }
}

impl Member {
    const fn upper(self, upper: u8) -> Self {
        Self { upper, ..self }
    }

    const fn when(self, when: When) -> Self {
        Self { when, ..self }
    }

    const fn needs(self, flags: u64) -> Self {
        self.when(When::Flags(flags))
    }

    const fn info(self, info: Info) -> Self {
        self.when(When::Info(info))
    }

    const fn count(self, count: u8) -> Self {
        Self { count, ..self }
    }
}

impl StructType {
    const fn extent(self, extent: Extent) -> Self {
        Self { extent, ..self }
    }

    const fn form(self, form: Form) -> Self {
        Self { form, ..self }
    }

    const fn common(self) -> Self {
        Self { is_common: true, ..self }
    }

    /// Of numbers: 32-bit callers have narrower ones.
    const fn wide(self) -> Self {
        Self { is_common: false, ..self }
    }
}

/// All structures.
fn all() -> impl Iterator<Item = &'static StructType> {
    layouts::STRUCTS.iter().chain(requests::STRUCTS).chain(states::STRUCTS)
}
