//! Values of a process's ancestors.

use super::task;
use super::value::{Value, nonzero, number, text};
use crate::model::{ChunkView, ProcessRow};

/// Which process a field is about, seen from that of the event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// Its parent.
    Parent,
    /// The leader of its session, or else the oldest known ancestor in the same session.
    Session,
    /// The one that the field's key counts, where 0 is the process itself, 1 its parent. Without a key, all ancestors.
    Key,
}

/// How to get a value of a process or of its ancestors.
#[derive(Clone, Copy, Debug)]
pub struct ProcessGetter {
    /// Which process.
    pub generation: Generation,
    /// Whether the value is stored only of processes that are selected ([`crate::model::dictionaries::Shown::All`]).
    pub is_private: bool,
    get: for<'a> fn(&ProcessRow<'a>, &'a mut Vec<u8>) -> Value<'a>,
    /// How much of the value is missing, by the arguments of the process.
    is_cut: fn(&[u8]) -> bool,
}

/// A getter of a value that is not made from arguments.
const fn of(
    generation: Generation,
    is_private: bool,
    get: for<'a> fn(&ProcessRow<'a>, &'a mut Vec<u8>) -> Value<'a>,
) -> ProcessGetter {
    ProcessGetter { generation, is_private, get, is_cut: |_| false }
}

/// A getter of a value that is made from arguments.
const fn of_args(
    generation: Generation,
    get: for<'a> fn(&ProcessRow<'a>, &'a mut Vec<u8>) -> Value<'a>,
    is_cut: fn(&[u8]) -> bool,
) -> ProcessGetter {
    ProcessGetter { generation, is_private: true, get, is_cut }
}

pub(super) const NAMES: ProcessGetter = of(Generation::Key, false, |process, _| text(process.name));
pub(super) const IDS: ProcessGetter = of(Generation::Key, false, |process, _| nonzero(process.pid));
pub(super) const EXE_PATHS: ProcessGetter = of(Generation::Key, true, |process, _| text(process.exe));
pub(super) const EXES: ProcessGetter =
    of_args(Generation::Key, |process, _| task::first(process.args), is_exe_cut);
pub(super) const COMMAND_LINES: ProcessGetter =
    of_args(Generation::Key, task::write_command_line, task::is_cut);
pub(super) const SESSION_NAME: ProcessGetter =
    of(Generation::Session, false, |process, _| text(process.name));
pub(super) const PARENT_EXE_PATH: ProcessGetter =
    of(Generation::Parent, true, |process, _| text(process.exe));
pub(super) const PARENT_EXE: ProcessGetter =
    of_args(Generation::Parent, |process, _| task::first(process.args), is_exe_cut);
pub(super) const PARENT_COMMAND_LINE: ProcessGetter =
    of_args(Generation::Parent, task::write_command_line, task::is_cut);

fn is_exe_cut(args: &[u8]) -> bool {
    task::is_cut(args) && !args.contains(&0)
}

impl ProcessGetter {
    /// The only process that a field with this key is about, counted from that of the event; `None` if it is about all ancestors.
    fn depth(&self, key: Option<u8>) -> Option<usize> {
        match self.generation {
            Generation::Parent | Generation::Session => Some(1),
            Generation::Key => key.map(usize::from),
        }
    }

    /// Whether a field is about other processes than that of the event.
    pub fn names_others(&self, key: Option<u8>) -> bool {
        self.depth(key) != Some(0)
    }

    /// The processes that a field is about.
    fn processes<'v, 'c>(
        &self,
        view: &'v ChunkView<'c>,
        task: u32,
        key: Option<u8>,
    ) -> impl Iterator<Item = ProcessRow<'c>> + use<'v, 'c> {
        let (skip, take) = match self.generation {
            Generation::Session => leader_of_session(view, task).map_or((0, 0), |depth| (depth, 1)),
            _ => self.depth(key).map_or((1, usize::MAX), |depth| (depth, 1)),
        };
        view.lineage(task).skip(skip).take(take)
    }

    /// Calls `found` with each value, that of the parent before that of the grandparent, until it returns true. Returns whether
    /// it did.
    pub fn any(
        &self,
        view: &ChunkView<'_>,
        task: u32,
        key: Option<u8>,
        found: &mut dyn FnMut(Value<'_>) -> bool,
    ) -> bool {
        let mut scratch = Vec::new();
        self.processes(view, task, key).any(|process| {
            scratch.clear();
            match (self.get)(&process, &mut scratch) {
                Value::Missing => false,
                value => found(value),
            }
        })
    }

    /// The value as it is shown: those of several processes with spaces between them.
    pub(super) fn shown<'a, 'c: 'a>(
        &self,
        view: &ChunkView<'c>,
        task: u32,
        key: Option<u8>,
        scratch: &'a mut Vec<u8>,
    ) -> Value<'a> {
        scratch.clear();
        if self.depth(key).is_some() {
            let process = self.processes(view, task, key).next();
            return process.map_or(Value::Missing, |process| (self.get)(&process, scratch));
        }
        self.any(view, task, key, &mut |value| {
            if !scratch.is_empty() {
                scratch.push(b' ');
            }
            append(value, scratch);
            false
        });
        text(scratch)
    }

    /// The values of several processes, each with a NUL; `None` if the field is about one.
    pub(super) fn list<'a>(
        &self,
        view: &ChunkView<'_>,
        task: u32,
        key: Option<u8>,
        scratch: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        if self.depth(key).is_some() {
            return None;
        }
        scratch.clear();
        self.any(view, task, key, &mut |value| {
            append(value, scratch);
            scratch.push(0);
            false
        });
        (!scratch.is_empty()).then_some(scratch)
    }

    /// Whether some of the text is missing.
    pub(super) fn is_cut(&self, view: &ChunkView<'_>, task: u32, key: Option<u8>) -> bool {
        self.processes(view, task, key).any(|process| (self.is_cut)(process.args))
    }
}

/// How many generations above a process the leader of its session is, or else its oldest known ancestor in the same session;
/// `None` if the session is unknown.
fn leader_of_session(view: &ChunkView<'_>, task: u32) -> Option<usize> {
    let session = view.lineage(task).next().filter(|process| process.vpid != 0)?.sid;
    if let Some(leader) = view.lineage(task).position(|process| process.pid == session) {
        return Some(leader);
    }
    let inside = view.lineage(task).take_while(|process| process.vpid != 0 && process.sid == session);
    inside.count().checked_sub(1)
}

fn append(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Missing => {}
        Value::Int(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Bytes(bytes) => out.extend_from_slice(bytes),
    }
}

/// When the process of an event started, wall clock in ns.
pub(super) fn start<'a>(event: &crate::model::Event<'a>) -> Value<'a> {
    started(event, 0).map_or(Value::Missing, |start| number(event.view.wall(start)))
}

/// When its parent started.
pub(super) fn parent_start<'a>(event: &crate::model::Event<'a>) -> Value<'a> {
    started(event, 1).map_or(Value::Missing, |start| number(event.view.wall(start)))
}

/// How long the process of an event had run when the event started.
pub(super) fn age<'a>(event: &crate::model::Event<'a>) -> Value<'a> {
    since(event, 0)
}

/// The same of its parent.
pub(super) fn parent_age<'a>(event: &crate::model::Event<'a>) -> Value<'a> {
    since(event, 1)
}

fn since<'a>(event: &crate::model::Event<'a>, depth: usize) -> Value<'a> {
    // Of an event whose start is unknown, it is when it ended.
    started(event, depth)
        .and_then(|start| event.rows.start(event.row).checked_sub(start))
        .map_or(Value::Missing, number)
}

fn started(event: &crate::model::Event<'_>, depth: usize) -> Option<u64> {
    let process = event.view.lineage(event.task()?).nth(depth)?;
    (process.start != 0).then_some(process.start)
}

#[cfg(test)]
mod tests;
