//! Cgroups that were removed, and the events of containers that are gone.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::table::Cgroup;

/// Removed cgroups that stay known for late events, and containers that are gone whose events are remembered.
pub(super) const RETIRED_MAX: usize = 4096;

/// The events of one container, or of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Busy {
    /// The full id of the innermost container; `None` for the host.
    pub container: Option<String>,
    /// The container's name, and its image if that is known; empty if no runtime reported them.
    pub name: String,
    /// How many events.
    pub events: u64,
}

/// Removed cgroups, oldest first, and how many events the containers of forgotten ones had.
#[derive(Debug, Default)]
pub(super) struct Retired {
    cgroups: VecDeque<u64>,
    events: FxHashMap<Option<String>, u64>,
}

impl Retired {
    /// A cgroup was removed. Returns one that is to be forgotten now, if there are too many.
    pub fn push(&mut self, id: u64) -> Option<u64> {
        self.cgroups.push_back(id);
        if self.cgroups.len() > RETIRED_MAX { self.cgroups.pop_front() } else { None }
    }

    /// Adds the events of a cgroup that is forgotten.
    pub fn add_events(&mut self, container: Option<String>, events: u64) {
        *self.events.entry(container).or_default() += events;
        if self.events.len() > RETIRED_MAX {
            self.forget_quietest();
        }
    }

    /// Forgets the half of the containers with the fewest events.
    fn forget_quietest(&mut self) {
        let mut counts: Vec<u64> = self.events.values().copied().collect();
        let middle = counts.len() / 2;
        let (_, median, _) = counts.select_nth_unstable(middle);
        let median = *median;
        let mut left = RETIRED_MAX / 2;
        self.events.retain(|_, events| {
            let keep = *events > median || (*events == median && left > 0);
            left = left.saturating_sub(usize::from(keep));
            keep
        });
    }

    /// Events by container, most first: of these cgroups and of all that are forgotten.
    pub fn busiest<'a>(&self, cgroups: impl Iterator<Item = &'a Cgroup>) -> Vec<Busy> {
        let mut by_container = self.events.clone();
        for cgroup in cgroups.filter(|cgroup| cgroup.events > 0) {
            *by_container.entry(cgroup.container()).or_default() += cgroup.events;
        }
        let mut busy: Vec<Busy> = by_container
            .into_iter()
            .map(|(container, events)| Busy { container, name: String::new(), events })
            .collect();
        busy.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.container.cmp(&b.container)));
        busy
    }
}
