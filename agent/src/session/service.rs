//! Notifications to the service manager (sd_notify(3)): ready, alive, stopping.

use std::time::{Duration, Instant};

use sd_notify::NotifyState;

/// Notifies the service manager, if there is one.
pub fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// Keeps the service manager's watchdog from restarting the recorder, as long as the drain makes progress.
#[derive(Debug)]
pub struct Watchdog {
    /// Half of the watchdog's timeout; `None` without a watchdog.
    every: Option<Duration>,
    last: Instant,
    beats: u64,
}

impl Watchdog {
    /// With the timeout that the service manager set (`WATCHDOG_USEC`).
    pub fn new() -> Self {
        Self { every: sd_notify::watchdog_enabled().map(|time| time / 2), last: Instant::now(), beats: 0 }
    }

    /// To be called often, with the number of rounds of the drain.
    pub fn check(&mut self, beats: u64) {
        if self.every.is_some_and(|every| self.last.elapsed() >= every) && beats != self.beats {
            notify(&[NotifyState::Watchdog]);
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
