//! Consumers of events.

use std::io::{self, Write};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::model::Event;
use crate::view::View;

/// A consumer that takes events one by one.
pub trait EventSink {
    /// Takes an event; returns [`ControlFlow::Break`] if it wants no more.
    ///
    /// # Errors
    /// If the event cannot be written.
    fn event(&mut self, event: Event<'_>) -> io::Result<ControlFlow<()>>;

    /// Writes all buffered events.
    ///
    /// # Errors
    /// If they cannot be written.
    fn flush(&mut self) -> io::Result<()>;
}

/// Replays events at recorded speed, multiplied by a factor.
#[derive(Debug)]
pub struct Playback {
    speed: f64,
    start: Option<(i64, Instant)>,
}

impl Playback {
    /// Parses a factor such as `1x`, `0.5x` or `10`; it must be positive.
    pub fn parse(text: &str) -> Option<Self> {
        let speed: f64 = text.strip_suffix('x').unwrap_or(text).parse().ok()?;
        (speed.is_finite() && speed > 0.0).then_some(Self { speed, start: None })
    }

    /// The time to wait before an event that ended at `time`, wall-clock ns.
    fn wait(&mut self, time: i64) -> Duration {
        let (first, began) = *self.start.get_or_insert_with(|| (time, Instant::now()));
        let due = Duration::from_nanos(time.saturating_sub(first).max(0) as u64).as_secs_f64() / self.speed;
        Duration::try_from_secs_f64(due).unwrap_or(Duration::MAX).saturating_sub(began.elapsed())
    }
}

/// Writes events through a view.
pub struct PrintSink<W: Write> {
    view: Box<dyn View>,
    out: W,
    buffer: Vec<u8>,
    left: u64,
    playback: Option<Playback>,
}

impl<W: Write> PrintSink<W> {
    /// Bytes to collect before writing.
    const BUFFER: usize = 64 * 1024;

    /// Writes at most `limit` events to `out`.
    pub fn new(mut view: Box<dyn View>, out: W, limit: Option<u64>, playback: Option<Playback>) -> Self {
        let mut buffer = Vec::with_capacity(2 * Self::BUFFER);
        view.begin(&mut buffer);
        Self { view, out, buffer, left: limit.unwrap_or(u64::MAX), playback }
    }
}

impl<W: Write> EventSink for PrintSink<W> {
    fn event(&mut self, event: Event<'_>) -> io::Result<ControlFlow<()>> {
        if self.left == 0 {
            return Ok(ControlFlow::Break(()));
        }
        self.left -= 1;
        if let Some(playback) = &mut self.playback {
            let wait = playback.wait(event.end());
            if !wait.is_zero() {
                self.flush()?;
                std::thread::sleep(wait);
            }
        }
        self.view.event(event, &mut self.buffer);
        if self.buffer.len() >= Self::BUFFER {
            self.out.write_all(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(if self.left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.buffer)?;
        self.buffer.clear();
        self.out.flush()
    }
}

impl<W: Write> std::fmt::Debug for PrintSink<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PrintSink").field("left", &self.left).finish_non_exhaustive()
    }
}
