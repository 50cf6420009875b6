//! What a service manager is told (sd_notify(3)): that recording began, that it goes on, that it ends.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Tells it, if there is one.
pub fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the service manager");
    }
}

/// Says now and then that the recorder goes on, as long as it does: one that is stuck is to be started again.
#[derive(Debug)]
pub struct Watchdog {
    /// Half of the time after which it is taken for dead; `None` if nobody watches.
    every: Option<Duration>,
    last: Instant,
    beats: u64,
}

impl Watchdog {
    /// As the service manager wants it (`WATCHDOG_USEC`).
    pub fn new() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|time| time / 2), last: Instant::now(), beats: 0 }
    }

    /// To be called often, with how often the drain has gone round.
    pub fn look(&mut self, beats: u64) {
        if self.every.is_some_and(|every| self.last.elapsed() >= every) && beats != self.beats {
            tell(&[NotifyState::Watchdog]);
            self.last = Instant::now();
            self.beats = beats;
        }
    }
}

impl Default for Watchdog {
    fn default() -> Self {
        Self::new()
    }
}
