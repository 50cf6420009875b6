//! Counts of what was written.

/// Events of one cgroup in a row: most events follow another one of the same cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub cgroup: u64,
    pub events: u64,
}

/// What was written so far.
#[derive(Debug)]
pub(super) struct Written {
    events: u64,
    damaged: u64,
    /// Events that are not counted for their cgroup yet.
    run: Run,
    /// The latest time of an event from the ring buffers, ns of the boot clock.
    last_time: u64,
}

impl Default for Written {
    fn default() -> Self {
        Self { events: 0, damaged: 0, run: Run { cgroup: u64::MAX, events: 0 }, last_time: 0 }
    }
}

impl Written {
    #[inline]
    pub fn events(&self) -> u64 {
        self.events
    }

    /// Records that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }

    pub fn add_damaged(&mut self) {
        self.damaged += 1;
    }

    /// Counts an event. Returns the run that ends with it, if one does.
    #[inline]
    pub fn count(&mut self, cgroup: u64) -> Option<Run> {
        self.events += 1;
        if self.run.cgroup == cgroup {
            self.run.events += 1;
            return None;
        }
        let ended = std::mem::replace(&mut self.run, Run { cgroup, events: 1 });
        (ended.events > 0).then_some(ended)
    }

    /// The run so far, if there is one.
    pub fn take_run(&mut self) -> Option<Run> {
        let run = std::mem::replace(&mut self.run, Run { cgroup: u64::MAX, events: 0 });
        (run.events > 0).then_some(run)
    }

    /// Whether an event of this time comes after a later one.
    #[inline]
    pub fn is_late(&mut self, time: u64) -> bool {
        let late = time < self.last_time;
        if !late {
            self.last_time = time;
        }
        late
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_with_another_cgroup() {
        let mut written = Written::default();
        let counted: Vec<Option<Run>> =
            [7, 7, 8, 7].into_iter().map(|cgroup| written.count(cgroup)).collect();
        let run = |cgroup, events| Some(Run { cgroup, events });
        assert_eq!(counted, [None, None, run(7, 2), run(8, 1)]);
        assert_eq!(written.take_run(), run(7, 1));
        assert_eq!(written.take_run(), None);
        assert_eq!(written.events(), 4);
    }

    #[test]
    fn only_events_before_the_latest_are_late() {
        let mut written = Written::default();
        let late: Vec<bool> = [5, 5, 4, 6, 5].into_iter().map(|time| written.is_late(time)).collect();
        assert_eq!(late, [false, false, true, false, true]);
    }
}
