//! The paths among the arguments of a call, by what they are to it.

use super::file_value::FileValue;
use super::subject::{Subject, mark};
use crate::fields::value::Mark;
use crate::model::{CallEvent, CallString, Event};
use crate::syscalls::Paths;

/// One of the paths among the arguments of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::fields) enum PathRole {
    /// The only one.
    Only,
    /// Of two, the first one; of links, the new name.
    Source,
    /// Of two, the other one.
    Target,
    /// The only one; of symbolic links, the new name, as the other one is text.
    Absolute,
    /// Of two, the first one.
    First,
    /// Of two, the second one.
    Second,
}

impl PathRole {
    fn position(self, paths: Paths, call: &CallEvent<'_>) -> Option<u8> {
        let is_symlink = || call.call().is_some_and(|call| call.name().starts_with("symlink"));
        match (self, paths) {
            (Self::Only | Self::Absolute, Paths::One(path)) => Some(path),
            (Self::Source, Paths::Two { first, second, is_link }) => {
                Some(if is_link { second } else { first })
            }
            (Self::Target, Paths::Two { first, second, is_link }) => {
                Some(if is_link { first } else { second })
            }
            (Self::Absolute, Paths::Two { second, .. }) => Some(second).filter(|_| is_symlink()),
            (Self::First, Paths::Two { first, .. }) => Some(first).filter(|_| !is_symlink()),
            (Self::Second, Paths::Two { second, .. }) => Some(second).filter(|_| !is_symlink()),
            (_, Paths::None)
            | (Self::Only, Paths::Two { .. })
            | (Self::Source | Self::Target | Self::First | Self::Second, Paths::One(_)) => None,
        }
    }

    /// Gets the absolute path.
    pub(in crate::fields) fn absolute(
        self,
        call: &CallEvent<'_>,
        found: &mut dyn FnMut(FileValue<'_>) -> bool,
    ) -> bool {
        let Some(subject) = Subject::of(call) else { return false };
        let mut path = Vec::new();
        self.position(subject.roles.paths, call).is_some_and(|position| {
            subject.write_path(position, &mut path).is_there && found(FileValue::Text(&path))
        })
    }

    /// Gets the path as the call was given it.
    pub(in crate::fields) fn raw(
        self,
        call: &CallEvent<'_>,
        found: &mut dyn FnMut(FileValue<'_>) -> bool,
    ) -> bool {
        let Some(subject) = Subject::of(call) else { return false };
        let position = self.position(subject.roles.paths, call);
        match position.and_then(|position| call.string_argument(position)) {
            Some(CallString::Read { bytes, .. }) => found(FileValue::Text(bytes)),
            Some(CallString::Null | CallString::Unread | CallString::NotRecorded) | None => false,
        }
    }

    /// How much there is of the absolute path.
    pub(in crate::fields) fn mark(self, event: &Event<'_>) -> Mark {
        mark(event, |subject| {
            let position = self.position(subject.roles.paths, &event.call());
            position.and_then(|position| subject.write_path(position, &mut Vec::new()).argument)
        })
    }

    /// How much there is of the path as it was given.
    pub(in crate::fields) fn raw_mark(self, event: &Event<'_>) -> Mark {
        mark(event, |subject| self.position(subject.roles.paths, &event.call()))
    }
}
