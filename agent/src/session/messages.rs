//! Messages for the user, on stderr, all with the prefix `ktape: `. A stderr that is gone or full is no reason to stop
//! recording.

use std::collections::BTreeSet;
use std::fmt::{self, Display, Write as _};
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::containers::Hierarchy;
use crate::record::{Outcome, Progress};
use ktape_reader::names::LOSS_STAGES;
use ktape_reader::scan::LossTally;
use ktape_reader::text::escape::{Place, defused, escaped};
use ktape_reader::text::units::count_text;

/// What every message begins with.
const PREFIX: &str = "ktape: ";

/// Prints a message. Control characters in it, such as in names of files, are escaped.
pub fn message(text: impl Display) {
    // A failure cannot be reported if stderr is closed.
    let _ = writeln!(std::io::stderr().lock(), "{PREFIX}{}", defused(&text.to_string()));
}

/// Reports the events that `--container` dropped because no runtime identified their containers in time.
pub fn report_unidentified(progress: &Progress) {
    let events = progress.unidentified.load(Ordering::Relaxed);
    if events > 0 {
        message(format_args!(
            "dropped {} events: no container runtime identified their containers within 10 s, so --container could not \
             be applied",
            count_text(events)
        ));
    }
}

/// Reports that nothing was recorded because no container matched `--container`.
pub fn report_unmatched(outcome: &Outcome, containers: &[String]) {
    if !outcome.matched {
        let options: Vec<String> =
            containers.iter().map(|container| format!("--container {container}")).collect();
        message(format_args!(
            "no container matched `{}`; list the containers with `ktape containers --live`",
            options.join(" ")
        ));
    }
}

/// Reports containers that are not identified, unless the user has chosen the hierarchy.
pub fn report_missing(hierarchy: &Hierarchy, chosen: Option<&str>) {
    if chosen.is_none()
        && let Some(missing) = hierarchy.missing()
    {
        message(missing);
    }
}

/// Reports lost events that might have matched; they are never printed as if they had.
pub fn report_lost(lost: &LossTally) {
    let word = |text: &str| escaped(text.as_bytes(), Place::Free).into_owned();
    let by: Vec<String> = lost
        .by
        .iter()
        .map(|((kind, stage), count)| format!("{} {} ({})", count_text(*count), word(kind), word(stage)))
        .collect();
    message(format_args!("lost {} events that could match: {}", count_text(lost.total), by.join(", ")));
}

/// Whether to print advice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Printed: the recording can be repeated with other options.
    Given,
    /// Omitted: the recording cannot be repeated.
    Omitted,
}

/// Explains each stage at which events were lost once. Unknown names are ignored.
pub fn explain_loss<'a>(stages: impl IntoIterator<Item = &'a str>, advice: Advice) {
    let named: BTreeSet<&str> = stages.into_iter().collect();
    for stage in LOSS_STAGES.iter().filter(|stage| named.contains(stage.name)) {
        match advice {
            Advice::Given => message(format_args!("{}: {}; {}", stage.name, stage.why, stage.advice)),
            Advice::Omitted => message(format_args!("{}: {}", stage.name, stage.why)),
        }
    }
}

/// Formats log events like all other messages; from `info` on with their level.
#[derive(Debug)]
pub struct MessageFormat;

impl<S, N> FormatEvent<S, N> for MessageFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let level = match *event.metadata().level() {
            Level::ERROR | Level::WARN => "",
            Level::INFO => "info: ",
            Level::DEBUG => "debug: ",
            Level::TRACE => "trace: ",
        };
        let mut fields = Fields::default();
        event.record(&mut fields);
        writeln!(writer, "{PREFIX}{level}{}", defused(&fields.text()))
    }
}

/// The fields of a log event.
#[derive(Debug, Default)]
struct Fields {
    message: String,
    others: String,
    error: String,
}

impl Fields {
    /// The message, other fields in parentheses, and the cause.
    fn text(self) -> String {
        let Self { mut message, others, error } = self;
        if !others.is_empty() {
            let _ = write!(message, " ({others})");
        }
        if !error.is_empty() {
            let _ = write!(message, ": {error}");
        }
        message
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "error" | "status" => write!(self.error, "{value:?}"),
            // Where a library that uses the crate `log` logged it.
            name if name.starts_with("log.") => Ok(()),
            name => {
                let separator = if self.others.is_empty() { "" } else { ", " };
                write!(self.others, "{separator}{name}={value:?}")
            }
        };
    }
}

/// Clears the line that shows progress.
pub fn clear_progress() {
    let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
}

/// The line that shows progress. A thread of its own overwrites it, so that a stopped terminal (Ctrl-S, a dead
/// connection) blocks only that thread.
#[derive(Debug)]
pub struct ProgressLine {
    lines: SyncSender<String>,
}

impl ProgressLine {
    /// Starts the thread; `None` if the system cannot start one.
    pub fn start() -> Option<Self> {
        let (lines, received) = sync_channel::<String>(1);
        let thread = std::thread::Builder::new().name("ktape-progress".to_owned());
        thread.spawn(move || show_progress(&received)).ok()?;
        Some(Self { lines })
    }

    /// Shows a line, unless the one before is still being written.
    pub fn show(&self, line: String) {
        let _ = self.lines.try_send(line);
    }
}

fn show_progress(lines: &Receiver<String>) {
    for line in lines {
        let mut stderr = std::io::stderr().lock();
        let _ = write!(stderr, "\r{line}\x1b[K");
        let _ = stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn log_events_look_like_messages() {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let layer =
            tracing_subscriber::fmt::layer().with_writer(move || writer.clone()).event_format(MessageFormat);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let error = io::Error::from_raw_os_error(libc::ENOENT);
            tracing::warn!(%error, "cannot list the cgroups");
            tracing::warn!(name = "\u{1b}[2J", count = 3, "odd");
            tracing::debug!("detail");
        });
        let text = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "ktape: cannot list the cgroups: No such file or directory (os error 2)",
                "ktape: odd (name=\\e[2J, count=3)",
                "ktape: debug: detail",
            ]
        );
    }
}
