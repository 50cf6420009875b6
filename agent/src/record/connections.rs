//! The thread that lists open TCP connections with their counters: from time to time, and at the end. It never waits for
//! another thread: what the drain does not take is dropped and counted.

use std::time::{Duration, Instant};

use crate::agent_events::{AgentEvent, EventSender};
use crate::background::{Background, Beat};
use crate::kernel::ConnectionScanner;

/// Connections that are sent to the drain at once, at most.
const BATCH: usize = 256;
/// Until the first pass if there is none but that at the end.
const FOREVER: Duration = Duration::from_secs(1000 * 365 * 86400);

/// Starts the thread; without an interval it lists the connections only at the end.
///
/// # Errors
/// The system refuses another thread.
pub fn start(
    scanner: ConnectionScanner,
    every: Option<Duration>,
    events: EventSender,
) -> std::io::Result<Background> {
    let every = every.unwrap_or(FOREVER);
    Background::start("ktape-net", move |beat| Lister { scanner, events, failed: false }.run(beat, every))
}

struct Lister {
    scanner: ConnectionScanner,
    events: EventSender,
    failed: bool,
}

impl Lister {
    fn run(mut self, beat: &Beat, every: Duration) {
        let mut next = Instant::now() + every;
        while beat.wait_until(next) {
            self.list();
            next = Instant::now().max(next + every);
        }
        self.list();
    }

    fn list(&mut self) {
        match self.scanner.scan() {
            Ok(open) => {
                for batch in open.chunks(BATCH) {
                    self.events.send(AgentEvent::Open(batch.into()));
                }
            }
            Err(error) if !self.failed => {
                self.failed = true;
                tracing::warn!(%error, "cannot list open connections");
            }
            Err(_) => {}
        }
    }
}
