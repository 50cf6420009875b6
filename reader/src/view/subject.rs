//! Whom an event is about, as text: container, process and thread.

use events::{Kind, SAMPLES};

use crate::fields::{Value, values};
use crate::model::{ChunkView, Context, short_id};
use crate::text::escape::{self, Place};
use crate::text::number;

/// Whether events of a kind are about a cgroup, or the host, and no thread.
pub(super) fn of_cgroup(kind: Option<Kind>) -> bool {
    kind.is_some_and(|kind| kind == Kind::Loss || SAMPLES.contains(&kind))
}

/// Appends the container's name, else its short id; `-` for the host, `?` if the cgroup is unknown.
pub(super) fn write_container(
    context: &Context<'_>,
    view: &ChunkView<'_>,
    cgroup: Option<u32>,
    out: &mut Vec<u8>,
) {
    let Some(row) = cgroup.map(|c| view.cgroup(c)).filter(|c| c.is_known()) else {
        out.push(b'?');
        return;
    };
    if row.container.is_empty() {
        out.push(b'-');
        return;
    }
    match values::container_name(context, view, cgroup) {
        Value::Bytes(name) if !name.is_empty() => escape::escape(name, Place::Word, out),
        _ => escape::escape(short_id(row.container), Place::Word, out),
    }
}

/// Whether a task stands for no thread: it is unknown, or the idle task of a CPU. A hidden one stands for a thread.
pub(super) fn is_nobody(view: &ChunkView<'_>, task: u32) -> bool {
    if view.is_hidden(task) {
        return false;
    }
    let row = view.task(task);
    row.tid == 0 && row.process.map_or(0, |p| view.process(p).pid) == 0
}

/// Appends `comm(pid)` or `comm(pid/tid)`, `-` for an unknown task, `?` for a hidden one.
pub(super) fn write_task(view: &ChunkView<'_>, task: u32, out: &mut Vec<u8>) {
    if view.is_hidden(task) {
        out.push(b'?');
        return;
    }
    let row = view.task(task);
    let pid = row.process.map_or(0, |p| view.process(p).pid);
    if row.tid == 0 && pid == 0 {
        out.push(b'-');
        return;
    }
    escape::escape(row.name, Place::Word, out);
    out.push(b'(');
    write_ids(pid, row.tid, out);
    out.push(b')');
}

/// Appends `pid`, or `pid/tid` of a thread that is not the main one; `?` if they are hidden.
pub(super) fn write_ids(pid: u64, tid: u64, out: &mut Vec<u8>) {
    if pid == 0 && tid == 0 {
        out.push(b'?');
        return;
    }
    number::decimal(pid, out);
    if pid != tid {
        out.push(b'/');
        number::decimal(tid, out);
    }
}
