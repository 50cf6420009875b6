//! Decides whether the encoder compresses less, so that fewer events are lost.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use capture_format::Pressure;

use super::QUEUE;
use crate::record::progress::Progress;

/// Chunks behind the one at hand from which the encoder is behind. A drain that reads as fast as two CPUs make calls leaves none.
const WAITING_HIGH: usize = QUEUE / 2;
/// How full a ring buffer may be, in thousandths. The drain leaves the default size below half of this at full rate.
const FILL_HIGH: u64 = 750;
/// How long chunks are compressed less after the last sign of pressure.
const HOLD: Duration = Duration::from_secs(1);

/// The state of the stages around the encoder.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    /// Chunks that wait for the encoder, without the one at hand.
    pub waiting: usize,
    /// How full the fullest ring buffer is, in thousandths.
    pub fill: u64,
    /// The writer had no room for the last block.
    pub output_full: bool,
}

impl Load {
    /// As the other threads report it.
    pub fn of(progress: &Progress, output_full: bool) -> Self {
        Self {
            waiting: progress.waiting.load(Ordering::Relaxed),
            fill: progress.fill.load(Ordering::Relaxed),
            output_full,
        }
    }

    fn pressure(self) -> Pressure {
        let queue = if self.waiting >= WAITING_HIGH { Pressure::QUEUE } else { Pressure::NONE };
        let buffers = if self.fill >= FILL_HIGH { Pressure::BUFFERS } else { Pressure::NONE };
        queue.and(buffers)
    }
}

/// Why chunks are compressed less at the moment, if they are.
#[derive(Debug, Default)]
pub(super) struct EffortControl {
    pressure: Pressure,
    /// When there was pressure last.
    last: Option<Instant>,
}

impl EffortControl {
    /// The pressure under which the chunk at hand is encoded. Effort falls at once, and rises when there was no pressure for
    /// [`HOLD`]. If the output is full, larger chunks would make it worse: then chunks are compressed as usual.
    pub fn next(&mut self, load: Load, now: Instant) -> Pressure {
        let seen = load.pressure();
        if load.output_full {
            *self = Self::default();
        } else if !seen.is_none() {
            *self = Self { pressure: seen, last: Some(now) };
        } else if self.last.is_some_and(|last| now.duration_since(last) >= HOLD) {
            *self = Self::default();
        }
        self.pressure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALM: Load = Load { waiting: 0, fill: 0, output_full: false };

    #[test]
    fn signs_of_pressure_have_a_limit() {
        let now = Instant::now();
        let next = |waiting, fill| EffortControl::default().next(Load { waiting, fill, ..CALM }, now);
        assert_eq!(next(1, 749), Pressure::NONE);
        assert_eq!(next(2, 749), Pressure::QUEUE);
        assert_eq!(next(1, 750), Pressure::BUFFERS);
        assert_eq!(next(4, 1000), Pressure::QUEUE.and(Pressure::BUFFERS));
    }

    #[test]
    fn effort_falls_at_once_and_rises_after_a_second_without_pressure() {
        let (mut control, begin) = (EffortControl::default(), Instant::now());
        let after = |ms| begin + Duration::from_millis(ms);
        assert_eq!(control.next(CALM, after(0)), Pressure::NONE);
        assert_eq!(control.next(Load { waiting: 3, ..CALM }, after(10)), Pressure::QUEUE);
        assert_eq!(control.next(CALM, after(900)), Pressure::QUEUE);
        // Pressure in between begins the second anew, with its own reason.
        assert_eq!(control.next(Load { fill: 900, ..CALM }, after(1000)), Pressure::BUFFERS);
        assert_eq!(control.next(CALM, after(1999)), Pressure::BUFFERS);
        assert_eq!(control.next(CALM, after(2000)), Pressure::NONE);
        assert_eq!(control.next(CALM, after(2001)), Pressure::NONE);
    }

    #[test]
    fn nothing_is_compressed_less_while_the_output_is_full() {
        let (mut control, now) = (EffortControl::default(), Instant::now());
        let pressed = Load { waiting: QUEUE, fill: 1000, output_full: false };
        assert!(!control.next(pressed, now).is_none());
        assert_eq!(control.next(Load { output_full: true, ..pressed }, now), Pressure::NONE);
        assert_eq!(control.next(CALM, now), Pressure::NONE, "what was before does not count");
        assert!(!control.next(pressed, now).is_none());
    }
}
