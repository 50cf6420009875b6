//! Values of a thread and its process.

use super::value::{Mark, Value, nonzero, number, text};
use crate::model::{ChunkView, Event, ProcessRow, TaskRow};
use crate::names;

/// A thread with its process.
#[derive(Clone, Copy, Debug)]
pub struct ThreadRows<'a> {
    task: TaskRow<'a>,
    /// All zero and empty if the thread has no process.
    process: ProcessRow<'a>,
}

impl<'a> ThreadRows<'a> {
    /// The thread in a row of the chunk's task dictionary.
    pub(super) fn new(view: &ChunkView<'a>, row: u32) -> Self {
        let task = view.task(row);
        Self { task, process: task.process.map(|process| view.process(process)).unwrap_or_default() }
    }
}

impl<'a> ThreadRows<'a> {
    /// A value that is known with the id of the thread in its own namespace.
    fn of_thread(&self, value: impl Into<i128>) -> Value<'a> {
        if self.task.vtid == 0 { Value::Missing } else { number(value) }
    }

    /// A value that is known with the id of the process in its own namespace.
    fn of_process(&self, value: impl Into<i128>) -> Value<'a> {
        if self.process.vpid == 0 { Value::Missing } else { number(value) }
    }

    /// The names of a set of capabilities.
    fn capabilities(&self, set: usize, out: &'a mut Vec<u8>) -> Value<'a> {
        if self.task.vtid == 0 {
            return Value::Missing;
        }
        out.clear();
        names::write_capabilities(self.task.capabilities[set], out);
        Value::Bytes(out)
    }
}

/// A getter that needs no buffer.
macro_rules! getters {
    ($($name:ident: $thread:ident => $value:expr;)*) => {
        $(pub(super) fn $name<'a>($thread: &ThreadRows<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
            $value
        })*
    };
}

getters! {
    tid: thread => nonzero(thread.task.tid);
    thread_name: thread => text(thread.task.name);
    // User 0 is root: without a thread, nobody's.
    uid: thread => if thread.task.tid == 0 { Value::Missing } else { number(thread.task.uid) };
    user: thread => text(thread.task.user);
    process_name: thread => text(thread.process.name);
    pid: thread => nonzero(thread.process.pid);
    parent_pid: thread => nonzero(thread.process.ppid);
    parent_name: thread => text(thread.process.pname);
    virtual_tid: thread => nonzero(thread.task.vtid);
    gid: thread => thread.of_thread(thread.task.gid);
    group: thread => text(thread.task.group);
    // Without a login, -1, as sysdig has it.
    login_uid: thread => thread.of_thread(if thread.task.loginuid == u64::from(u32::MAX) { -1 } else { i128::from(thread.task.loginuid) });
    login_name: thread => text(thread.task.login);
    virtual_pid: thread => nonzero(thread.process.vpid);
    session: thread => thread.of_process(thread.process.sid);
    group_id: thread => thread.of_process(thread.process.pgid);
    virtual_group_id: thread => thread.of_process(thread.process.vpgid);
    terminal: thread => thread.of_process(thread.process.tty);
    exe_inode: thread => nonzero(thread.process.exe_ino);
    is_exe_upper_layer: thread => thread.of_process(thread.process.is_exe_upper_layer);
    is_exe_memfd: thread => thread.of_process(thread.process.is_exe_memfd);
    is_session_leader: thread => thread.of_process(thread.process.sid == thread.process.pid);
    is_group_leader: thread => thread.of_process(thread.process.pgid == thread.process.pid);
    is_virtual_group_leader: thread => thread.of_process(thread.process.vpgid == thread.process.vpid);
    working_directory: thread => text(thread.process.cwd);
    exe_path: thread => text(thread.process.exe);
    exe: thread => first(thread.process.args);
    is_main: thread => if thread.task.tid == 0 { Value::Missing } else { number(thread.task.tid == thread.process.pid) };
    args_count: thread => if thread.process.args.is_empty() { Value::Missing } else { number(arguments(thread.process.args).count() as u64 - 1) };
}

pub(super) fn cap_effective<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    thread.capabilities(0, scratch)
}

pub(super) fn cap_permitted<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    thread.capabilities(1, scratch)
}

pub(super) fn cap_inheritable<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    thread.capabilities(2, scratch)
}

pub(super) fn args<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    append_args(thread.process.args, scratch)
}

/// The first argument.
pub(super) fn first(args: &[u8]) -> Value<'_> {
    text(args.split(|b| *b == 0).next().unwrap_or_default())
}

/// The first argument and those after it.
pub(super) fn exe_line<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    if let Value::Bytes(exe) = first(thread.process.args) {
        scratch.extend_from_slice(exe);
    }
    append_args(thread.process.args, scratch)
}

/// Whether arguments are cut: each is followed by a NUL, but for the last one of a list that was longer than what is
/// recorded.
pub(super) fn is_cut(args: &[u8]) -> bool {
    args.last().is_some_and(|last| *last != 0)
}

pub(super) fn args_cut<'a>(thread: &ThreadRows<'a>, _scratch: &'a mut Vec<u8>) -> Value<'a> {
    if thread.process.args.is_empty() { Value::Missing } else { number(is_cut(thread.process.args)) }
}

/// How much there is of the arguments of the event's process.
pub(super) fn args_mark(event: &Event<'_>) -> Mark {
    let is_cut = event.task().is_some_and(|task| is_cut(ThreadRows::new(event.view, task).process.args));
    if is_cut { Mark::Cut } else { Mark::Whole }
}

/// How much there is of the first argument of the event's process.
pub(super) fn exe_mark(event: &Event<'_>) -> Mark {
    let args = event.task().map_or(&[][..], |task| ThreadRows::new(event.view, task).process.args);
    if is_cut(args) && !args.contains(&0) { Mark::Cut } else { Mark::Whole }
}

/// The arguments after the first, each with its NUL; `None` if the arguments are unknown.
pub(super) fn args_list<'a>(event: &Event<'a>, _scratch: &'a mut Vec<u8>) -> Option<&'a [u8]> {
    let args = ThreadRows::new(event.view, event.task()?).process.args;
    let first = args.iter().position(|byte| *byte == 0).map_or(args.len(), |nul| nul + 1);
    (!args.is_empty()).then(|| &args[first..])
}

pub(super) fn command_line<'a>(thread: &ThreadRows<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    write_command_line(&thread.process, scratch)
}

/// The name of a process and its arguments after the first.
pub(super) fn write_command_line<'a>(process: &ProcessRow<'a>, scratch: &'a mut Vec<u8>) -> Value<'a> {
    scratch.clear();
    scratch.extend_from_slice(process.name);
    append_args(process.args, scratch)
}

/// Appends the arguments after the first, each after a space unless it comes first.
fn append_args<'a>(args: &[u8], out: &'a mut Vec<u8>) -> Value<'a> {
    for arg in arguments(args).skip(1) {
        if !out.is_empty() {
            out.push(b' ');
        }
        out.extend_from_slice(arg);
    }
    text(out)
}

/// The arguments in a string where each is followed by a NUL; none if it is empty.
pub fn arguments(args: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = args.strip_suffix(b"\0").unwrap_or(args);
    (!args.is_empty()).then(|| whole.split(|b| *b == 0)).into_iter().flatten()
}

#[cfg(test)]
mod tests;
