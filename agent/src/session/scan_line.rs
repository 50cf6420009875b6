//! A line on the terminal about a scan that takes long.

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::messages::clear_progress;
use ktape_reader::scan::ScanProgress;
use ktape_reader::text::units::count_text;

/// Scans that take less than this have no line.
const DELAY: Duration = Duration::from_millis(500);

/// How often the line is written.
const INTERVAL: Duration = Duration::from_millis(200);

/// Runs a scan; on a terminal, a line on stderr shows how far it is, and is removed at the end.
pub fn with_line<T>(progress: &ScanProgress, scan: impl FnOnce() -> T) -> T {
    if !io::stderr().is_terminal() {
        return scan();
    }
    thread::scope(|scope| {
        let (end, ended) = sync_channel::<()>(0);
        // Without a thread there is no line.
        let _ = thread::Builder::new()
            .name("ktape-progress".to_owned())
            .spawn_scoped(scope, move || show(progress, &ended));
        let result = scan();
        drop(end);
        result
    })
}

fn show(progress: &ScanProgress, ended: &Receiver<()>) {
    let began = Instant::now();
    let mut wait = DELAY;
    while ended.recv_timeout(wait) == Err(RecvTimeoutError::Timeout) {
        if let Some(line) = line(progress.done(), progress.total(), began.elapsed()) {
            let mut stderr = io::stderr().lock();
            // A failure cannot be reported if stderr is closed.
            let _ = write!(stderr, "\r{line}\x1b[K").and_then(|()| stderr.flush());
        }
        wait = INTERVAL;
    }
    if wait == INTERVAL {
        clear_progress();
    }
}

/// Nothing before the first chunk has been read.
fn line(done: u64, total: u64, elapsed: Duration) -> Option<String> {
    let seconds = elapsed.as_secs_f64();
    if done == 0 || total == 0 || seconds <= 0.0 {
        return None;
    }
    let rate = done as f64 / seconds;
    let left = total.saturating_sub(done) as f64 / rate;
    let percent = (done as f64 / total as f64 * 100.0).min(100.0);
    Some(format!("{percent:.0}%, {} events/s, {} s left", count_text(rate as u64), left.ceil()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_has_part_rate_and_the_time_that_is_left() {
        let of = |done, total| line(done, total, Duration::from_secs(2));
        assert_eq!(of(0, 100), None);
        assert_eq!(of(5_000_000, 20_000_000).unwrap(), "25%, 2,500,000 events/s, 6 s left");
        assert_eq!(of(100, 100).unwrap(), "100%, 50 events/s, 0 s left");
    }
}
