//! The text view. Columns are separated by one space: time, CPU, container (`-` for the host, `?` if
//! unknown), `comm(pid)` or `comm(pid/tid)`, then the event.

use events::flags;
use events::{Kind, SAMPLES};
use jiff::tz::TimeZone;

use crate::fields::args;
use crate::model::{Event, calls};
use crate::names;

use crate::text::paint::{Paint, Style};
use crate::text::time::ClockWriter;
use crate::text::{number, units};

use super::{TaskCache, View, event_text, subject};

/// Writes events as text.
#[derive(Debug)]
pub struct TextView {
    clock: ClockWriter,
    tasks: TaskCache,
    paint: Paint,
}

impl TextView {
    /// Prints times in `zone`.
    pub fn new(zone: TimeZone) -> Self {
        Self { clock: ClockWriter::time_of_day(zone), tasks: TaskCache::default(), paint: Paint::Plain }
    }

    /// The same, coloured if wanted.
    #[must_use]
    pub fn painted(self, paint: Paint) -> Self {
        Self { paint, ..self }
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
            Some(task) if !subject::of_cgroup(event.kind()) => {
                let piece = self.tasks.get(event.view, task, |out| {
                    subject::write_container(event.context, event.view, event.view.cgroup_of(task), out);
                    out.push(b' ');
                    subject::write_task(event.view, task, out);
                    out.push(b' ');
                });
                out.extend_from_slice(piece);
            }
            _ if event.kind().is_some_and(|kind| SAMPLES.contains(&kind) && kind != Kind::Sample) => {
                out.extend_from_slice(b"- - ");
            }
            _ => {
                subject::write_container(event.context, event.view, event.cgroup(), out);
                out.extend_from_slice(b" - ");
            }
        }
        match event.kind() {
            Some(Kind::Syscall) => write_call(event, self.paint, out),
            _ => event_text::write_event(event, self.paint, out),
        }
        event_text::write_unknown(event, out);
        out.push(b'\n');
    }
}

fn write_call(event: Event<'_>, paint: Paint, out: &mut Vec<u8>) {
    let call = event.call();
    let key = call.key();
    paint.write(Style::Name, out, |out| call.write_name(out));
    out.push(b'(');
    args::write_painted_args(&call, paint, out);
    out.extend_from_slice(b") = ");
    let bits = event.flags();
    let lasted = event.duration();
    match call.result() {
        None => out.push(b'?'),
        Some(error @ -4095..0) => match names::errno_name(error.unsigned_abs() as u32) {
            Some(name) => paint.write(Style::Failure, out, |out| {
                out.extend_from_slice(b"-1 ");
                out.extend_from_slice(name.as_bytes());
            }),
            None => paint.write(Style::Failure, out, |out| number::signed(error, out)),
        },
        // Addresses: nothing else is that large.
        Some(result) if result > i64::from(u32::MAX) || result < 0 => number::hex(result as u64, out),
        Some(result) => number::signed(result, out),
    }
    args::write_result(&call, paint, out);
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
