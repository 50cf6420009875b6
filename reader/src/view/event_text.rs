//! Descriptions of events other than syscalls, as words and `key=value`.

use capture_format::ColumnView;
use events::flags;
use events::{Kind, NO_CALL, Ty};

use crate::fields::format::{ColumnFormat, TextStyle};
use crate::fields::marks::{self, Mark};
use crate::fields::{Value, args, values};
use crate::model::{ChunkView, Event, column, short_id};
use crate::text::paint::{Paint, Style};
use crate::text::{escape, number, units};

use super::call_text::write_request;
use super::subject;

/// Follows text that is cut.
pub(super) const CUT: &[u8] = b"...";

macro_rules! own {
    ($kind:ident, $name:literal) => {
        const { column(Kind::$kind, $name) }
    };
}

/// Appends the name of the kind and the description.
pub(super) fn write_event(event: Event<'_>, paint: Paint, out: &mut Vec<u8>) {
    let name = event.rows.event.name.as_bytes();
    paint.write(Style::Name, out, |out| escape::escape(name, escape::Place::Word, out));
    write_event_text(event, out);
}

/// Appends the description of an event, each part after a space.
pub(super) fn write_event_text(event: Event<'_>, out: &mut Vec<u8>) {
    let phrase = event.kind().and_then(|kind| PHRASES.iter().find(|(of, _)| *of == kind));
    match phrase {
        Some((_, write)) => write(event, out),
        None => columns(event, out),
    }
}

/// Appends what an event of one kind is about.
type Phrase = fn(Event<'_>, &mut Vec<u8>);

/// The kinds that are described in words of their own; the others are described by all their columns.
const PHRASES: [(Kind, Phrase); 12] = [
    (Kind::Fork, fork),
    (Kind::Exec, exec),
    (Kind::Exit, exit),
    (Kind::CgroupMkdir, |event, out| marked_cgroup(event, own!(CgroupMkdir, "cgroup"), out)),
    (Kind::CgroupRmdir, |event, out| marked_cgroup(event, own!(CgroupRmdir, "cgroup"), out)),
    (Kind::CgroupAttach, cgroup_attach),
    (Kind::Loss, loss),
    (Kind::Net, net),
    (Kind::Stall, stall),
    (Kind::Block, block),
    (Kind::StallOngoing, stall),
    (Kind::Uring, |event, out| write_request(event, Paint::Plain, out)),
];

/// Appends `name=value` for the columns whose meaning this version does not know.
pub(super) fn write_unknown(event: Event<'_>, out: &mut Vec<u8>) {
    // An unknown kind has shown all its columns already.
    if event.kind().is_none() {
        return;
    }
    let mut scratch = Vec::new();
    for place in &event.rows.event.unknown {
        let column = &event.rows.event.columns[*place];
        let value = values::stored_value(event, column.index, None, &mut scratch);
        pair(&column.name, value, out);
    }
}

fn pair(name: &str, value: Value<'_>, out: &mut Vec<u8>) {
    if value == Value::Missing {
        return;
    }
    out.push(b' ');
    escape::escape(name.as_bytes(), escape::Place::Word, out);
    out.push(b'=');
    match value {
        Value::Int(value) => write_int(value, out),
        Value::Bytes(bytes) => escape::quote(bytes, out),
        Value::Missing => {}
    }
}

/// Appends a number that is a u64 or an i64.
pub(super) fn write_int(value: i128, out: &mut Vec<u8>) {
    if value < 0 {
        out.push(b'-');
    }
    number::decimal(u64::try_from(value.unsigned_abs()).unwrap_or(u64::MAX), out);
}

/// All columns of the kind except those that every kind has, each as its type's [`TextStyle`] says. What is
/// unknown or empty is left out.
fn columns(event: Event<'_>, out: &mut Vec<u8>) {
    columns_without(event, &[], out);
}

/// The same without some columns.
fn columns_without(event: Event<'_>, without: &[u16], out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    for column in &event.rows.event.columns {
        if without.iter().any(|own| event.rows.event.known(*own) == Some(column.index)) {
            continue;
        }
        let used =
            Some(column.index) == event.rows.event.time || Some(column.index) == event.rows.event.duration;
        if column.common || used && event.kind().is_none() {
            continue;
        }
        if event.kind() == Some(Kind::Sample) && column.ty == Some(Ty::Cgroup) {
            // Its container is a column of its own.
            sampled_cgroup(event, column.index, out);
            continue;
        }
        if event.kind().is_some() && column.ty.is_none() {
            continue;
        }
        let value = values::stored_value(event, column.index, column.ty, &mut scratch);
        let Some(ty) = column.ty else {
            pair(&column.name, value, out);
            continue;
        };
        if value == Value::Bytes(b"") {
            continue;
        }
        match ColumnFormat::of(ty).text {
            TextStyle::Plain => pair(&column.name, value, out),
            TextStyle::Hundredths => {
                if let Value::Int(value) = value {
                    name(&column.name, out);
                    number::hundredths(value, out);
                }
            }
            TextStyle::Word => {
                if let Value::Bytes(text) = value {
                    name(&column.name, out);
                    escape::escape(text, escape::Place::Word, out);
                } else {
                    pair(&column.name, value, out);
                }
            }
            TextStyle::Duration => {
                if let Value::Int(value) = value {
                    name(&column.name, out);
                    units::write_duration(u64::try_from(value).unwrap_or(0), out);
                }
            }
            TextStyle::Size => {
                if let Value::Int(value) = value {
                    name(&column.name, out);
                    out.extend_from_slice(units::size_text(u64::try_from(value).unwrap_or(0)).as_bytes());
                }
            }
            TextStyle::Flag => {
                if let Value::Int(1..) = value {
                    out.push(b' ');
                    out.extend_from_slice(column.name.as_bytes());
                }
            }
            TextStyle::Thread => {
                let Ok(ColumnView::Ref(_, refs)) = event.rows.table.column(column.index) else { continue };
                let Some(task) = refs.get(event.row) else { continue };
                if event.is_idle(*task) || !subject::is_nobody(event.view, *task) {
                    name(&column.name, out);
                    thread(event, *task, out);
                }
            }
        }
    }
}

fn name(name: &str, out: &mut Vec<u8>) {
    out.push(b' ');
    escape::escape(name.as_bytes(), escape::Place::Word, out);
    out.push(b'=');
}

/// Appends `comm(pid)` or `comm(pid/tid)`, `idle` for the thread that runs when nobody else does, and the
/// container if it is in one.
fn thread(event: Event<'_>, task: u32, out: &mut Vec<u8>) {
    if event.is_idle(task) {
        out.extend_from_slice(values::IDLE);
        return;
    }
    subject::write_task(event.view, task, out);
    let cgroup = event.view.cgroup_of(task).filter(|_| !event.view.is_hidden(task));
    if cgroup.map(|c| event.view.cgroup(c)).is_some_and(|c| !c.container.is_empty()) {
        out.push(b'@');
        subject::write_container(event.context, event.view, cgroup, out);
    }
}

/// A thread that sleeps: for how long, in which call, where, for what.
fn stall(event: Event<'_>, out: &mut Vec<u8>) {
    let text = |own: u16| event.column_bytes(own).unwrap_or_default();
    out.push(b' ');
    escape::escape(text(own!(Stall, "phase")), escape::Place::Word, out);
    out.push(b' ');
    units::write_duration(event.rows.durations().get(event.row).copied().unwrap_or(0), out);
    let call = event.call();
    let key = call.key();
    if key != u64::from(NO_CALL) {
        out.extend_from_slice(b" in ");
        call.write_name(out);
        out.push(b'(');
        args::write_args(&call, out);
        out.push(b')');
    }
    let words = [
        ("wait", own!(Stall, "wait")),
        ("dev", own!(Stall, "dev")),
        ("dev_from", own!(Stall, "dev_from")),
        ("workqueue", own!(Stall, "workqueue")),
    ];
    for (word, own) in words {
        if !text(own).is_empty() {
            name(word, out);
            escape::escape(text(own), escape::Place::Word, out);
        }
    }
    if let Some(waker) = event.column_ref(own!(Stall, "waker"))
        && !subject::is_nobody(event.view, waker)
    {
        name("waker", out);
        thread(event, waker, out);
    }
    let mut lines = values::arguments(text(own!(Stall, "stack"))).peekable();
    if lines.peek().is_some() {
        name("stack", out);
        for (i, line) in lines.enumerate() {
            if i > 0 {
                out.push(b';');
            }
            escape::escape(line, escape::Place::Word, out);
        }
    }
}

/// A disk request. Whether an I/O limit held it comes last, in words: the time for which it did may not be known.
fn block(event: Event<'_>, out: &mut Vec<u8>) {
    const THROTTLED: u16 = column(Kind::Block, "throttled");
    columns_without(event, &[THROTTLED], out);
    if event.column_u64(THROTTLED) == Some(1) {
        let unknown = event.flags() & flags::START_UNKNOWN != 0;
        out.extend_from_slice(if unknown {
            b" <held by an I/O limit before, for an unknown time>"
        } else {
            b" <held by an I/O limit, queued includes it>"
        });
    }
}

/// A connection: both ends, the change of its state, and why it ended.
fn net(event: Event<'_>, out: &mut Vec<u8>) {
    const LOCAL: u16 = column(Kind::Net, "local");
    const REMOTE: u16 = column(Kind::Net, "remote");
    const OLD: u16 = column(Kind::Net, "old");
    const NEW: u16 = column(Kind::Net, "new");
    const ERROR: u16 = column(Kind::Net, "error");
    const REASON: u16 = column(Kind::Net, "reason");
    let word = |own: u16, out: &mut Vec<u8>| {
        escape::escape(event.column_bytes(own).unwrap_or_default(), escape::Place::Word, out);
    };
    let mut scratch = Vec::new();
    let mut typed = |own: u16, ty: Ty, before: &[u8], out: &mut Vec<u8>| {
        let index = event.rows.event.known(own);
        let value = index.map_or(Value::Missing, |i| values::stored_value(event, i, Some(ty), &mut scratch));
        if let Value::Bytes(text @ [_, ..]) = value {
            out.extend_from_slice(before);
            escape::escape(text, escape::Place::Word, out);
        }
    };
    typed(LOCAL, Ty::SockAddr, b" ", out);
    typed(REMOTE, Ty::SockAddr, b" -> ", out);
    out.push(b' ');
    word(OLD, out);
    if event.column_bytes(NEW) == Some(b"OPEN") {
        out.extend_from_slice(b", open");
    } else {
        out.extend_from_slice(b" -> ");
        word(NEW, out);
    }
    let reason = event.column_bytes(REASON).unwrap_or_default();
    if !reason.is_empty() {
        out.extend_from_slice(b", ");
        let words: Vec<u8> = reason.iter().map(|b| if *b == b'_' { b' ' } else { *b }).collect();
        escape::escape(&words, escape::Place::Free, out);
        // The others follow from one error alone.
        if reason == b"unreachable" || reason == b"error" {
            typed(ERROR, Ty::Errno, b" ", out);
        }
    }
    columns_without(event, &[LOCAL, REMOTE, OLD, NEW, ERROR, REASON], out);
}

fn fork(event: Event<'_>, out: &mut Vec<u8>) {
    let pid = event.column_u64(own!(Fork, "child_pid")).unwrap_or(0);
    let tid = event.column_u64(own!(Fork, "child_tid")).unwrap_or(0);
    let thread = event.column_u64(own!(Fork, "thread")) == Some(1);
    out.extend_from_slice(if thread { b" thread=" } else { b" child=" });
    subject::write_ids(pid, tid, out);
    let cgroup = event.column_ref(own!(Fork, "child_cgroup"));
    if cgroup != event.task().and_then(|task| event.view.cgroup_of(task)) {
        cgroup_path(event.view, cgroup, b"", out);
    }
}

fn exec(event: Event<'_>, out: &mut Vec<u8>) {
    let bits = event.flags();
    out.push(b' ');
    if bits & flags::STR0_UNREAD != 0 {
        out.push(b'?');
    } else {
        escape::quote(event.column_bytes(own!(Exec, "path")).unwrap_or_default(), out);
        if bits & flags::STR0_CUT != 0 {
            out.extend_from_slice(b"...");
        }
    }
    out.extend_from_slice(b" [");
    if bits & flags::STR1_UNREAD != 0 {
        out.push(b'?');
    } else if let Some(args) = event.column_bytes(own!(Exec, "args")).filter(|a| !a.is_empty()) {
        for (i, arg) in values::arguments(args).enumerate() {
            if i > 0 {
                out.extend_from_slice(b", ");
            }
            escape::quote(arg, out);
        }
        if bits & flags::STR1_CUT != 0 {
            out.extend_from_slice(b"...");
        }
    }
    out.push(b']');
    if let Some(old) = event.column_bytes(own!(Exec, "old_comm")) {
        pair("old_comm", Value::Bytes(old), out);
    }
    let tid = event.task().map_or(0, |task| event.view.task(task).tid);
    match event.column_u64(own!(Exec, "old_tid")) {
        Some(old) if old != tid && old != 0 => pair("old_tid", Value::Int(i128::from(old)), out),
        _ => {}
    }
}

fn exit(event: Event<'_>, out: &mut Vec<u8>) {
    let process = event.column_u64(own!(Exit, "process")) == Some(1);
    out.extend_from_slice(if process { b" process" } else { b" thread" });
    let mut scratch = Vec::new();
    let signal = event.rows.event.known(own!(Exit, "signal"));
    let signal =
        signal.map_or(Value::Missing, |c| values::stored_value(event, c, Some(Ty::Signal), &mut scratch));
    if let Value::Bytes(name) = signal {
        out.extend_from_slice(b" signal=");
        out.extend_from_slice(name);
        if event.column_u64(own!(Exit, "core")) == Some(1) {
            out.extend_from_slice(b" core");
        }
    } else if let Some(status) = event.column_i64(own!(Exit, "status")) {
        pair("status", Value::Int(i128::from(status)), out);
    }
}

/// The cgroup that an event is about, whose path may be cut.
fn marked_cgroup(event: Event<'_>, own: u16, out: &mut Vec<u8>) {
    let mark: &[u8] = if marks::of_column(&event, own) == Mark::Cut { CUT } else { b"" };
    cgroup_path(event.view, event.column_ref(own), mark, out);
}

/// The cgroup of a sample.
fn sampled_cgroup(event: Event<'_>, index: u16, out: &mut Vec<u8>) {
    let Ok(ColumnView::Ref(_, refs)) = event.rows.table.column(index) else { return };
    let Some(cgroup) = refs.get(event.row).map(|row| event.view.cgroup(*row)) else { return };
    if !cgroup.is_hidden() && !cgroup.path.is_empty() {
        pair("cgroup", Value::Bytes(cgroup.path), out);
    }
}

/// A cgroup; its path is followed by `mark`.
fn cgroup_path(view: &ChunkView<'_>, cgroup: Option<u32>, mark: &[u8], out: &mut Vec<u8>) {
    let Some(cgroup) = cgroup.map(|c| view.cgroup(c)) else { return };
    if cgroup.is_hidden() {
        out.extend_from_slice(b" cgroup=?");
        return;
    }
    if cgroup.path.is_empty() {
        pair("cgroup", Value::Int(i128::from(cgroup.id)), out);
    } else {
        pair("cgroup", Value::Bytes(cgroup.path), out);
        out.extend_from_slice(mark);
    }
    if !cgroup.container.is_empty() {
        out.extend_from_slice(b" container=");
        escape::escape(short_id(cgroup.container), escape::Place::Word, out);
    }
}

fn cgroup_attach(event: Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b" moved=");
    let pid = event.column_u64(own!(CgroupAttach, "moved_pid")).unwrap_or(0);
    subject::write_ids(pid, event.column_u64(own!(CgroupAttach, "moved_tid")).unwrap_or(pid), out);
    if event.column_u64(own!(CgroupAttach, "threadgroup")) == Some(1) {
        out.extend_from_slice(b" threadgroup");
    }
    marked_cgroup(event, own!(CgroupAttach, "cgroup"), out);
}

fn loss(event: Event<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b": ");
    number::decimal(event.column_u64(own!(Loss, "count")).unwrap_or(0), out);
    let kind = event.column_u64(own!(Loss, "kind")).unwrap_or(0);
    if let Some(table) = event.view.binding.events.iter().find(|t| u64::from(t.id.0) == kind) {
        out.push(b' ');
        escape::escape(table.name.as_bytes(), escape::Place::Word, out);
    }
    out.extend_from_slice(b" events of ");
    let cgroup = event.cgroup();
    match cgroup.map(|c| event.view.cgroup(c)).filter(|c| c.is_known()) {
        None => out.extend_from_slice(b"unknown origin"),
        Some(c) if c.container.is_empty() => {
            out.extend_from_slice(b"the host (");
            escape::escape(c.path, escape::Place::Word, out);
            out.push(b')');
        }
        Some(_) => {
            out.extend_from_slice(b"container ");
            subject::write_container(event.context, event.view, cgroup, out);
        }
    }
    out.extend_from_slice(b" lost (");
    let stage = event.column_bytes(own!(Loss, "stage")).unwrap_or_default();
    escape::escape(stage, escape::Place::Word, out);
    out.push(b')');
}
