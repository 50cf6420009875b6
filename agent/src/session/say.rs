//! Words for the user, on stderr. A stderr that is gone or full is no reason to stop recording.

use std::fmt::Display;
use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, sync_channel};

use crate::record::Progress;
use ktape_reader::text::escape::defused;
use ktape_reader::text::units::count_text;

/// Writes a line. What others have named, such as files, cannot move the cursor by it.
pub fn say(line: impl Display) {
    // Nobody is there to be told that nobody listens.
    let _ = writeln!(std::io::stderr().lock(), "{}", defused(&line.to_string()));
}

/// Says how much a filter by names left out because nobody told in time.
pub fn say_left_out(progress: &Progress) {
    let events = progress.undecided.load(Ordering::Relaxed);
    if events > 0 {
        let events = count_text(events);
        say(format_args!(
            "{events} events were left out: nobody said in time whether their containers are meant"
        ));
    }
}

/// Clears the line that shows progress.
pub fn clear_progress() {
    let _ = write!(std::io::stderr().lock(), "\r\x1b[K");
}

/// The line that shows progress, written over and over by a thread of its own: a terminal that is
/// stopped (Ctrl-S, a dead connection) stops that thread and nothing else.
#[derive(Debug)]
pub struct ProgressLine {
    lines: SyncSender<String>,
}

impl ProgressLine {
    /// Starts the thread; `None` if the system has no room for it.
    pub fn start() -> Option<Self> {
        let (lines, received) = sync_channel::<String>(1);
        let body = move || {
            for line in received {
                let mut stderr = std::io::stderr().lock();
                let _ = write!(stderr, "\r{line}\x1b[K");
                let _ = stderr.flush();
            }
        };
        std::thread::Builder::new().name("ktape-progress".to_owned()).spawn(body).ok()?;
        Some(Self { lines })
    }

    /// Shows a line, unless the one before is still being written.
    pub fn show(&self, line: String) {
        let _ = self.lines.try_send(line);
    }
}
