//! The text view. Columns are separated by one space: time, CPU, container (`-` for the host, `?` if
//! unknown), `comm(pid)` or `comm(pid/tid)`, then the event.

use events::flags;
use events::{Kind, SAMPLES};
use jiff::tz::TimeZone;

use crate::fields::{Value, args, values};
use crate::model::{ChunkView, Context, Event, calls, short_id};
use crate::names;
use crate::text::escape::{self, Place};
use crate::text::time::ClockWriter;
use crate::text::{number, units};

use super::{TaskCache, View, event_text};

/// Writes events as text.
#[derive(Debug)]
pub struct TextView {
    clock: ClockWriter,
    tasks: TaskCache,
}

impl TextView {
    /// Prints times in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { clock: ClockWriter::time_of_day(zone), tasks: TaskCache::default() }
    }
}

impl View for TextView {
    fn begin(&mut self, _out: &mut Vec<u8>) {}

    fn event(&mut self, event: Event<'_>, out: &mut Vec<u8>) {
        self.clock.write(event.start(), out);
        out.push(b' ');
        match event.cpu() {
            Some(cpu) => number::decimal(cpu, out),
            None => out.push(b'-'),
        }
        out.push(b' ');
        match event.task() {
            Some(task) if !of_cgroup(event.kind()) => {
                let piece = self.tasks.get(event.view, task, |out| {
                    write_container(event.context, event.view, event.view.cgroup_of(task), out);
                    out.push(b' ');
                    write_task(event.view, task, out);
                    out.push(b' ');
                });
                out.extend_from_slice(piece);
            }
            _ if event.kind().is_some_and(|kind| SAMPLES.contains(&kind) && kind != Kind::Sample) => {
                out.extend_from_slice(b"- - ");
            }
            _ => {
                write_container(event.context, event.view, event.cgroup(), out);
                out.extend_from_slice(b" - ");
            }
        }
        match event.kind() {
            Some(Kind::Syscall) => write_call(event, out),
            _ => event_text::write_event(event, out),
        }
        event_text::write_unknown(event, out);
        out.push(b'\n');
    }
}

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

/// Whether a task stands for nobody: it is not known, or is the one that runs when nobody else does.
pub(super) fn is_nobody(view: &ChunkView<'_>, task: u32) -> bool {
    let row = view.task(task);
    row.tid == 0 && row.process.map_or(0, |p| view.process(p).pid) == 0
}

/// Appends `comm(pid)` or `comm(pid/tid)`, `-` for an unknown task.
pub(super) fn write_task(view: &ChunkView<'_>, task: u32, out: &mut Vec<u8>) {
    let row = view.task(task);
    let pid = row.process.map_or(0, |p| view.process(p).pid);
    if row.tid == 0 && pid == 0 {
        out.push(b'-');
        return;
    }
    escape::escape(row.name, Place::Word, out);
    out.push(b'(');
    event_text::write_ids(pid, row.tid, out);
    out.push(b')');
}

fn write_call(event: Event<'_>, out: &mut Vec<u8>) {
    let call = event.call();
    let key = call.key();
    call.write_name(out);
    out.push(b'(');
    args::write_args(&call, out);
    out.extend_from_slice(b") = ");
    let bits = event.flags();
    let lasted = event.duration();
    match call.result() {
        None => out.push(b'?'),
        Some(error @ -4095..0) => match names::errno_name(error.unsigned_abs() as u32) {
            Some(name) => {
                out.extend_from_slice(b"-1 ");
                out.extend_from_slice(name.as_bytes());
            }
            None => number::signed(error, out),
        },
        // Addresses: nothing else is that large.
        Some(result) if result > i64::from(u32::MAX) || result < 0 => number::hex(result as u64, out),
        Some(result) => number::signed(result, out),
    }
    if bits & flags::UNFINISHED != 0 {
        out.extend_from_slice(b" <unfinished");
        match lasted {
            Some(ns) => {
                out.push(b' ');
                units::write_duration(ns, out);
            }
            None => out.extend_from_slice(b", start unknown"),
        }
        if bits & flags::KILLED != 0 {
            out.extend_from_slice(b", killed");
        }
        if bits & flags::AT_END != 0 {
            out.extend_from_slice(b", capture ended");
        }
        out.push(b'>');
    } else if bits & flags::NO_RESULT == 0 {
        match lasted {
            Some(ns) => {
                out.extend_from_slice(b" <");
                units::write_duration(ns, out);
                out.push(b'>');
            }
            None => out.extend_from_slice(b" <start unknown>"),
        }
    }
    if bits & flags::SECCOMP != 0 {
        out.extend_from_slice(b" [by seccomp]");
    }
    if key >> 16 != 0 {
        out.extend_from_slice(b" [");
        out.extend_from_slice(calls::abi_name(key).as_bytes());
        out.push(b']');
    }
}
