//! The text view. Columns are separated by one space: time, CPU, container (`-` for the host, `?` if
//! unknown), `comm(pid)` or `comm(pid/tid)`, then the event.

use events::{Kind, SAMPLES};
use jiff::tz::TimeZone;

use crate::model::Event;
use crate::text::number;
use crate::text::paint::{Paint, Style};
use crate::text::time::ClockWriter;

use super::call_text::{write_call, write_request};
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
            Some(Kind::Uring) => {
                self.paint.write(Style::Name, out, |out| out.extend_from_slice(b"uring"));
                write_request(event, self.paint, out);
            }
            _ => event_text::write_event(event, self.paint, out),
        }
        event_text::write_unknown(event, out);
        out.push(b'\n');
    }
}
