//! The name and arguments of a call as one line of text, as stored in files:
//! `openat(dfd:dirfd, filename:path, flags:open_flags, mode:mode)`.

use std::borrow::Cow;
use std::fmt;

use super::structs::{Member, StructType};
use super::types::ArgType;

#[cfg(test)]
mod tests;

/// Most arguments of a call.
const MAX_ARGS: usize = 6;
/// Longest signature, in bytes, since files are not trusted.
const MAX_LEN: usize = 1024;

/// One argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg {
    /// The kernel's name of the argument.
    pub name: Cow<'static, str>,
    /// The type as written: the name of an [`ArgType`], or of a set of values (`open_flags`).
    pub tag: Cow<'static, str>,
    /// The type for `tag`.
    pub ty: ArgType,
}

impl Arg {
    pub(super) fn parse_static(word: &'static str) -> Option<Self> {
        let (name, tag) = split(word)?;
        Some(Self { name: Cow::Borrowed(name), tag: Cow::Borrowed(tag), ty: ArgType::parse(tag) })
    }

    /// The members of the structure that it is.
    pub fn members(&self) -> &'static [Member] {
        let ty = if self.ty.is_struct() { StructType::of_tag(&self.tag) } else { None };
        ty.map_or(&[], |ty| ty.members)
    }

    /// Of a call of 32-bit callers: if it is a structure of which they have another one, it is only a pointer or number.
    pub(super) fn remove_wide_struct(&mut self, call: &str) {
        if self.ty.is_struct() && StructType::of_tag(&self.tag).is_none_or(|ty| !ty.is_common_of(call)) {
            let ty = if self.ty == ArgType::StructOrNumber { ArgType::Ulong } else { ArgType::Ptr };
            (self.tag, self.ty) = (Cow::Borrowed(ty.name()), ty);
        }
    }
}

/// The name and arguments of a call, independent of the syscall table of this build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The call's name.
    pub name: Cow<'static, str>,
    /// The arguments, in register order; at most six.
    pub args: Vec<Arg>,
}

/// Why text is not a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The text is too long.
    #[error("a signature of {0} bytes; the limit is {MAX_LEN}")]
    TooLong(usize),
    /// The text does not have the form `name(...)`.
    #[error("{0:?} does not have the form name(arg:type, ...)")]
    Form(String),
    /// An argument does not have the form `name:type`.
    #[error("the argument {0:?} does not have the form name:type")]
    Arg(String),
    /// More arguments than registers.
    #[error("{0} arguments; a call has at most {MAX_ARGS}")]
    TooMany(usize),
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn split(word: &str) -> Option<(&str, &str)> {
    let (name, tag) = word.split_once(':')?;
    (is_word(name) && is_word(tag)).then_some((name, tag))
}

pub(super) fn write(name: &str, args: &[Arg]) -> String {
    let mut out = String::with_capacity(name.len() + 2 + 24 * args.len());
    out.push_str(name);
    out.push('(');
    for (i, arg) in args.iter().enumerate() {
        if i > 0 {
            out.push_str(", ");
        }
        out.push_str(&arg.name);
        out.push(':');
        out.push_str(&arg.tag);
    }
    out.push(')');
    out
}

impl Signature {
    /// Parses a signature.
    ///
    /// # Errors
    /// If the text is not of the form `name(arg:type, ...)` with at most six arguments.
    pub fn parse(text: &str) -> Result<Self, SignatureError> {
        if text.len() > MAX_LEN {
            return Err(SignatureError::TooLong(text.len()));
        }
        let form = || SignatureError::Form(text.to_owned());
        let (name, rest) = text.split_once('(').ok_or_else(form)?;
        let inner = rest.strip_suffix(')').ok_or_else(form)?;
        if !is_word(name) {
            return Err(form());
        }
        let mut args = Vec::new();
        if !inner.is_empty() {
            for word in inner.split(',') {
                let word = word.trim_ascii();
                let (name, tag) = split(word).ok_or_else(|| SignatureError::Arg(word.to_owned()))?;
                args.push(Arg {
                    name: Cow::Owned(name.to_owned()),
                    tag: Cow::Owned(tag.to_owned()),
                    ty: ArgType::parse(tag),
                });
            }
        }
        if args.len() > MAX_ARGS {
            return Err(SignatureError::TooMany(args.len()));
        }
        Ok(Self { name: Cow::Owned(name.to_owned()), args })
    }

    /// The arguments that the stored strings belong to, see [`string_positions`].
    pub fn string_positions(&self) -> StringPositions {
        string_positions(&self.args)
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&write(&self.name, &self.args))
    }
}

impl From<&super::Syscall> for Signature {
    fn from(call: &super::Syscall) -> Self {
        Self { name: Cow::Borrowed(call.name), args: call.args.clone() }
    }
}

/// Falco's names of arguments, with the kernel's names of the same.
const ALIASES: [(&str, &str); 5] = [
    ("oldpath", "oldname"),
    ("newpath", "newname"),
    ("linkpath", "newname"),
    ("target", "oldname"),
    ("domain", "family"),
];

/// The kernel's name of an argument that may have Falco's name.
pub fn argument_name(name: &str) -> &str {
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, own)| own)
}

/// Most strings of a call.
pub const STRINGS_MAX: usize = 3;

/// Argument positions in the order of the stored strings; derefs to a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StringPositions {
    positions: [u8; STRINGS_MAX],
    len: u8,
}

impl std::ops::Deref for StringPositions {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.positions[..usize::from(self.len)]
    }
}

/// The arguments that the eBPF programs read from memory and that a file stores: the first two paths and addresses, then, if
/// there are fewer than two of these, other strings, then structures. They are in argument order, but what a call only fills in
/// is behind what it is given. If a string that is no path follows two strings, it is the third one.
///
/// Recorder and reader both depend on this rule, so it can only change together with the file format.
pub fn string_positions(args: &[Arg]) -> StringPositions {
    let mut found = StringPositions::default();
    let rank = |ty: ArgType| match ty {
        ArgType::String => 1,
        ty if ty.is_struct() => 2,
        _ => 0,
    };
    let strings = |wanted: u8| {
        let of_rank = move |(_, arg): &(usize, &Arg)| arg.ty.is_string() && rank(arg.ty) == wanted;
        args.iter().enumerate().filter(of_rank).map(|(i, _)| i as u8)
    };
    for position in strings(0).chain(strings(1)).chain(strings(2)).take(2) {
        found.positions[usize::from(found.len)] = position;
        found.len += 1;
    }
    // What is read at the return follows what was read at the entry.
    let is_out = |at: &u8| args[usize::from(*at)].ty == ArgType::StructOut;
    found.positions[..usize::from(found.len)].sort_unstable_by_key(|at| (is_out(at), *at));
    if let [_, second] = *found
        && !args[usize::from(second)].ty.is_struct()
        && let Some(third) = strings(1).find(|third| *third > second)
    {
        found.positions[2] = third;
        found.len = 3;
    }
    found
}
