//! Names that an expression compares with, or that it asks for: of kinds of events, of syscalls, of their arguments. A
//! capture of another version may have names that this one does not know, so that only captures tell whether such a name
//! is misspelled.

use std::collections::BTreeSet;
use std::sync::Arc;

use events::{KINDS, Kind};

use crate::fields::values;
use crate::model::Binding;
use crate::syscalls::{self, Arg, ArgType, Signature};
use crate::text::suggest;

use super::error::ParseError;
use super::literal::argument_types;

/// What a name is one of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameOf {
    /// A kind of event.
    Kind,
    /// A syscall.
    Call,
    /// A syscall, or a kind of other events.
    EventType,
    /// An argument of some syscall.
    Argument,
}

/// A name that this version does not know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Doubt {
    of: NameOf,
    name: String,
    /// The expression.
    text: Arc<str>,
    /// The byte at which the name starts.
    at: usize,
}

impl Doubt {
    /// The doubt about a name at a place of an expression; `None` if this version knows it.
    pub(super) fn about(of: NameOf, name: &[u8], text: &Arc<str>, at: usize) -> Option<Self> {
        let name = String::from_utf8_lossy(name).into_owned();
        (!is_own(of, &name)).then(|| Self { of, name, text: text.clone(), at })
    }

    /// Whether some capture has the name.
    ///
    /// # Errors
    /// The closest existing name, as a suggestion.
    pub(super) fn settle<'b>(
        &self,
        captures: impl Iterator<Item = &'b Binding> + Clone,
    ) -> Result<(), ParseError> {
        if captures.clone().any(|binding| has(binding, self.of, &self.name)) {
            return Ok(());
        }
        Err(ParseError::new(&self.text, self.message(captures), self.at))
    }

    fn message<'b>(&self, captures: impl Iterator<Item = &'b Binding> + Clone) -> String {
        let name = &self.name;
        let kinds = || {
            let theirs = captures.clone().flat_map(|binding| binding.events.iter().map(|t| t.name.as_str()));
            KINDS.iter().map(|kind| kind.decl().name).chain(theirs)
        };
        let calls = || {
            let theirs = captures.clone().flat_map(|binding| binding.calls.names());
            syscalls::table().iter().map(|call| call.name).chain(theirs)
        };
        let is_call = calls().any(|call| call == name);
        let is_kind = kinds().any(|kind| kind == name);
        if name.contains(['*', '?']) && self.of != NameOf::Argument {
            return format!("no name is `{name}`; for a pattern use: glob '{name}'");
        }
        match self.of {
            NameOf::Kind if is_call => {
                format!("`{name}` is a syscall, not a kind of event; use: syscall.type = {name}")
            }
            NameOf::Kind => {
                let hint = suggest::did_you_mean(name, kinds());
                let all: Vec<&str> = KINDS.iter().map(|kind| kind.decl().name).collect();
                format!("no kind of event is named `{name}`{hint}; there are {}", all.join(", "))
            }
            NameOf::Call | NameOf::EventType if is_kind => {
                format!("`{name}` is a kind of event, not a syscall; use: evt.category = {name}")
            }
            NameOf::Call => format!("no syscall is named `{name}`{}", suggest::did_you_mean(name, calls())),
            NameOf::EventType => {
                let hint = suggest::did_you_mean(name, kinds().chain(calls()));
                format!("no event kind or syscall is named `{name}`{hint}")
            }
            NameOf::Argument if argument_types(name).contains(&ArgType::Ptr) => {
                format!("the argument `{name}` is a pointer, and what it points to is not recorded")
            }
            NameOf::Argument if let (argument, Some(_)) = values::split_member(name) => {
                let args = syscalls::table().iter().flat_map(|call| &call.args);
                let members =
                    args.filter(|arg| arg.name == argument).flat_map(Arg::members).map(|member| member.name);
                let members: BTreeSet<&str> = members.collect();
                if members.is_empty() {
                    format!("the argument `{argument}` has no members")
                } else {
                    let all: Vec<&str> = members.into_iter().collect();
                    format!("the members of `{argument}` are {}", all.join(", "))
                }
            }
            NameOf::Argument => {
                let own = syscalls::table().iter().flat_map(|call| &call.args);
                let own = own.filter(|arg| is_kept(arg.ty)).map(|arg| arg.name.as_ref());
                let hint = suggest::did_you_mean(name, own);
                format!("no syscall has an argument named `{name}`{hint}")
            }
        }
    }
}

fn is_kept(ty: ArgType) -> bool {
    syscalls::kept(ty) || ty.is_string()
}

fn is_own(of: NameOf, name: &str) -> bool {
    let is_kind = || KINDS.iter().any(|kind| kind.decl().name == name);
    let is_call = || !syscalls::table().by_name(name).is_empty();
    match of {
        NameOf::Kind => is_kind(),
        NameOf::Call => is_call(),
        NameOf::EventType => is_kind() && name != Kind::Syscall.decl().name || is_call(),
        NameOf::Argument => argument_types(name).iter().copied().any(is_kept),
    }
}

fn has(binding: &Binding, of: NameOf, name: &str) -> bool {
    let is_kind = || binding.events.iter().any(|table| table.name == name);
    match of {
        NameOf::Kind => is_kind(),
        NameOf::Call => binding.calls.has(name),
        NameOf::EventType => is_kind() && name != Kind::Syscall.decl().name || binding.calls.has(name),
        NameOf::Argument => {
            let (argument, member) = values::split_member(name);
            let has_member =
                |arg: &Arg| member.is_none_or(|name| arg.members().iter().any(|m| m.name == name));
            let kept = |signature: &Signature| {
                let argument = syscalls::argument_name(argument);
                signature.args.iter().any(|arg| arg.name == argument && is_kept(arg.ty) && has_member(arg))
            };
            binding.calls.signatures().any(kept)
        }
    }
}

/// Suggestions for an unknown word of `-e`.
pub(super) fn closest_event(name: &str) -> String {
    let calls = syscalls::table().iter().map(|call| call.name);
    suggest::did_you_mean(name, KINDS.iter().map(|kind| kind.decl().name).chain(calls))
}
