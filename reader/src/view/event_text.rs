//! What events other than syscalls say, as words and `key=value`.

use capture_format::ColumnView;
use events::flags;
use events::{Kind, NO_CALL, Ty};

use crate::fields::{Context, Value, args, values};
use crate::model::{CallColumns, ChunkView, Rows, column, short_id};
use crate::text::{escape, number, units};

/// Appends the name of the kind and what it says.
pub(super) fn write_event(
    context: &Context<'_>,
    view: &ChunkView<'_>,
    rows: &Rows<'_>,
    row: usize,
    out: &mut Vec<u8>,
) {
    escape::escape(rows.event.name.as_bytes(), escape::Place::Word, out);
    write_event_text(context, view, rows, row, out);
}

/// Appends what an event says, each part after a space.
pub(super) fn write_event_text(
    context: &Context<'_>,
    view: &ChunkView<'_>,
    rows: &Rows<'_>,
    row: usize,
    out: &mut Vec<u8>,
) {
    match rows.event.kind {
        Some(Kind::Fork) => fork(view, rows, row, out),
        Some(Kind::Exec) => exec(view, rows, row, out),
        Some(Kind::Exit) => exit(view, rows, row, out),
        Some(Kind::CgroupMkdir | Kind::CgroupRmdir | Kind::CgroupAttach) => cgroup(view, rows, row, out),
        Some(Kind::Loss) => loss(context, view, rows, row, out),
        Some(Kind::Stall) => stall(context, view, rows, row, out),
        _ => columns(context, view, rows, row, out),
    }
}

/// Appends `name=value` for the columns whose meaning this version does not know.
pub(super) fn write_unknown(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    // An unknown kind has shown all its columns already.
    if rows.event.kind.is_none() {
        return;
    }
    let mut scratch = Vec::new();
    for place in &rows.event.unknown {
        let column = &rows.event.columns[*place];
        let value = values::stored_value(view, rows, row, column.index, None, &mut scratch);
        pair(&column.name, value, out);
    }
}

/// Appends `pid`, or `pid/tid` of a thread that is not the main one.
pub(super) fn write_ids(pid: u64, tid: u64, out: &mut Vec<u8>) {
    number::decimal(pid, out);
    if pid != tid {
        out.push(b'/');
        number::decimal(tid, out);
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

macro_rules! own {
    ($kind:ident, $name:literal) => {
        const { column(Kind::$kind, $name) }
    };
}

/// All columns of the kind that not every kind has: durations and sizes with units, threads as `name(pid)`;
/// what is not known, and what is empty, is left out.
fn columns(context: &Context<'_>, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let mut scratch = Vec::new();
    for column in &rows.event.columns {
        let used = Some(column.index) == rows.event.time || Some(column.index) == rows.event.duration;
        let shown = rows.event.kind == Some(Kind::Sample) && column.ty == Some(Ty::Cgroup);
        if column.common || used && rows.event.kind.is_none() || shown {
            continue;
        }
        if rows.event.kind.is_some() && column.ty.is_none() {
            continue;
        }
        let value = values::stored_value(view, rows, row, column.index, column.ty, &mut scratch);
        match (value, column.ty) {
            (Value::Int(value), Some(Ty::Bool)) => {
                if value != 0 {
                    out.push(b' ');
                    out.extend_from_slice(column.name.as_bytes());
                }
            }
            (Value::Bytes(b""), Some(_)) => {}
            (Value::Int(value), Some(Ty::Duration | Ty::MaybeDuration)) => {
                name(&column.name, out);
                units::write_duration(u64::try_from(value).unwrap_or(0), out);
            }
            (Value::Int(value), Some(Ty::Size)) => {
                name(&column.name, out);
                out.extend_from_slice(units::size_text(u64::try_from(value).unwrap_or(0)).as_bytes());
            }
            (
                Value::Bytes(text),
                Some(
                    Ty::Text | Ty::TaskState | Ty::Errno | Ty::Device | Ty::SockAddr | Ty::Stack | Ty::Signal,
                ),
            ) => {
                name(&column.name, out);
                escape::escape(text, escape::Place::Word, out);
            }
            (_, Some(Ty::Task)) => {
                let Ok(ColumnView::Ref(_, refs)) = rows.table.column(column.index) else { continue };
                let Some(task) = refs.get(row) else { continue };
                if values::is_idle(view, rows, *task) || !super::text::is_nobody(view, *task) {
                    name(&column.name, out);
                    thread(context, view, rows, *task, out);
                }
            }
            (value, _) => pair(&column.name, value, out),
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
fn thread(context: &Context<'_>, view: &ChunkView<'_>, rows: &Rows<'_>, task: u32, out: &mut Vec<u8>) {
    if values::is_idle(view, rows, task) {
        out.extend_from_slice(values::IDLE);
        return;
    }
    super::text::write_task(view, task, out);
    let cgroup = view.cgroup_of(task);
    if cgroup.map(|c| view.cgroup(c)).is_some_and(|c| !c.container.is_empty()) {
        out.push(b'@');
        super::text::write_container(context, view, cgroup, out);
    }
}

/// A thread that sleeps: for how long, in which call, where, for what.
fn stall(context: &Context<'_>, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let text = |own: u16| rows.bytes(own, row).unwrap_or_default();
    out.push(b' ');
    escape::escape(text(own!(Stall, "phase")), escape::Place::Word, out);
    out.push(b' ');
    units::write_duration(rows.duration.get(row).copied().unwrap_or(0), out);
    let columns = CallColumns::new(rows);
    let key = columns.key(row);
    if key != u64::from(NO_CALL) {
        out.extend_from_slice(b" in ");
        view.binding.calls.write_name(key, out);
        out.push(b'(');
        args::write_args(view.binding.calls.get(key), &columns, rows, row, out);
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
    if let Some(waker) = rows.reference(own!(Stall, "waker"), row)
        && !super::text::is_nobody(view, waker)
    {
        name("waker", out);
        thread(context, view, rows, waker, out);
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

fn fork(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let pid = rows.number(own!(Fork, "child_pid"), row).unwrap_or(0);
    let tid = rows.number(own!(Fork, "child_tid"), row).unwrap_or(0);
    let thread = rows.number(own!(Fork, "thread"), row) == Some(1);
    out.extend_from_slice(if thread { b" thread=" } else { b" child=" });
    write_ids(pid, tid, out);
    let cgroup = rows.reference(own!(Fork, "child_cgroup"), row);
    if cgroup != rows.task(row).and_then(|task| view.cgroup_of(task)) {
        cgroup_path(view, cgroup, out);
    }
}

fn exec(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let bits = rows.flags(row);
    out.push(b' ');
    if bits & flags::STR0_UNREAD != 0 {
        out.push(b'?');
    } else {
        escape::quote(rows.bytes(own!(Exec, "path"), row).unwrap_or_default(), out);
        if bits & flags::STR0_CUT != 0 {
            out.extend_from_slice(b"...");
        }
    }
    out.extend_from_slice(b" [");
    if bits & flags::STR1_UNREAD != 0 {
        out.push(b'?');
    } else if let Some(args) = rows.bytes(own!(Exec, "args"), row).filter(|a| !a.is_empty()) {
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
    if let Some(old) = rows.bytes(own!(Exec, "old_comm"), row) {
        pair("old_comm", Value::Bytes(old), out);
    }
    let tid = rows.task(row).map_or(0, |task| view.task(task).tid);
    match rows.number(own!(Exec, "old_tid"), row) {
        Some(old) if old != tid && old != 0 => pair("old_tid", Value::Int(i128::from(old)), out),
        _ => {}
    }
}

fn exit(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let process = rows.number(own!(Exit, "process"), row) == Some(1);
    out.extend_from_slice(if process { b" process" } else { b" thread" });
    let mut scratch = Vec::new();
    let signal = rows.event.known(own!(Exit, "signal"));
    let signal = signal
        .map_or(Value::Missing, |c| values::stored_value(view, rows, row, c, Some(Ty::Signal), &mut scratch));
    if let Value::Bytes(name) = signal {
        out.extend_from_slice(b" signal=");
        out.extend_from_slice(name);
        if rows.number(own!(Exit, "core"), row) == Some(1) {
            out.extend_from_slice(b" core");
        }
    } else if let Some(status) = rows.signed(own!(Exit, "status"), row) {
        pair("status", Value::Int(i128::from(status)), out);
    }
}

fn cgroup_path(view: &ChunkView<'_>, cgroup: Option<u32>, out: &mut Vec<u8>) {
    let Some(cgroup) = cgroup.map(|c| view.cgroup(c)) else { return };
    if cgroup.path.is_empty() {
        pair("cgroup", Value::Int(i128::from(cgroup.id)), out);
    } else {
        pair("cgroup", Value::Bytes(cgroup.path), out);
    }
    if !cgroup.container.is_empty() {
        out.extend_from_slice(b" container=");
        escape::escape(short_id(cgroup.container), escape::Place::Word, out);
    }
}

fn cgroup(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    let which = match rows.event.kind {
        Some(Kind::CgroupMkdir) => own!(CgroupMkdir, "cgroup"),
        Some(Kind::CgroupRmdir) => own!(CgroupRmdir, "cgroup"),
        _ => own!(CgroupAttach, "cgroup"),
    };
    if rows.event.kind == Some(Kind::CgroupAttach) {
        out.extend_from_slice(b" moved=");
        let pid = rows.number(own!(CgroupAttach, "moved_pid"), row).unwrap_or(0);
        write_ids(pid, rows.number(own!(CgroupAttach, "moved_tid"), row).unwrap_or(pid), out);
        if rows.number(own!(CgroupAttach, "threadgroup"), row) == Some(1) {
            out.extend_from_slice(b" threadgroup");
        }
    }
    cgroup_path(view, rows.reference(which, row), out);
}

fn loss(context: &Context<'_>, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b": ");
    number::decimal(rows.number(own!(Loss, "count"), row).unwrap_or(0), out);
    let kind = rows.number(own!(Loss, "kind"), row).unwrap_or(0);
    if let Some(table) = view.binding.events.iter().find(|t| u64::from(t.id.0) == kind) {
        out.push(b' ');
        escape::escape(table.name.as_bytes(), escape::Place::Word, out);
    }
    out.extend_from_slice(b" events of ");
    let cgroup = view.subject_cgroup(rows, row);
    match cgroup.map(|c| view.cgroup(c)).filter(|c| c.is_known()) {
        None => out.extend_from_slice(b"unknown origin"),
        Some(c) if c.container.is_empty() => {
            out.extend_from_slice(b"the host (");
            escape::escape(c.path, escape::Place::Word, out);
            out.push(b')');
        }
        Some(_) => {
            out.extend_from_slice(b"container ");
            super::text::write_container(context, view, cgroup, out);
        }
    }
    out.extend_from_slice(b" lost (");
    let stage = rows.bytes(own!(Loss, "stage"), row).unwrap_or_default();
    escape::escape(stage, escape::Place::Word, out);
    out.push(b')');
}
