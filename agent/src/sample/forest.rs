//! The cgroups that are sampled, with how many processes each and all below it have.

use std::os::fd::OwnedFd;

use rustc_hash::FxHashMap;

use super::fds::Counts;
use super::layout::ITEMS;

/// Removed ones are taken out when there are this many.
const GONE: usize = 64;

/// A file of a cgroup.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// Not looked for yet.
    #[default]
    Unopened,
    /// Kept open.
    Open(OwnedFd),
    /// There is none.
    Absent,
}

/// Processes, threads, descriptors, and cgroups whose descriptors are not all counted yet.
pub(super) type Tally = [i64; 4];

/// The part of a row that hardly ever changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Limits {
    pub(super) memory: u64,
    pub(super) shares: u64,
    pub(super) weight: u64,
    pub(super) quota: u64,
    pub(super) period: u64,
    pub(super) pids: u64,
    pub(super) io: Vec<u8>,
}

/// A cgroup.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: u64,
    pub(super) path: Vec<u8>,
    pub(super) slots: Box<[Slot; ITEMS]>,
    pub(super) gone: bool,
    /// CPU time, tasks, and time waited for I/O when it was told last: while they stay, nothing happens in it.
    pub(super) pulse: [u64; 3],
    /// When its row was made last, ns of the boot clock; 0 for never.
    pub(super) told: u64,
    /// How often it was looked at.
    pub(super) visits: u32,
    pub(super) limits: Limits,
    /// When these were read.
    pub(super) limits_at: u64,
    /// When files that were not there were looked for.
    pub(super) searched: u64,
    pub(super) fds: Counts,
    parent: Option<usize>,
    own: Tally,
    total: Tally,
}

/// All of them; parents before children.
#[derive(Debug, Default)]
pub(super) struct Forest {
    all: Vec<Tracked>,
    by_path: FxHashMap<Vec<u8>, usize>,
    gone: usize,
}

impl Forest {
    /// How many there are, removed ones included.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    /// One of them.
    pub(super) fn get(&mut self, index: usize) -> &mut Tracked {
        &mut self.all[index]
    }

    /// Takes up a cgroup. One of the same path and another id is gone, then, which its files will tell.
    pub(super) fn add(&mut self, id: u64, path: Vec<u8>) {
        if self.by_path.get(&path).is_some_and(|&known| self.all[known].id == id) {
            return;
        }
        let parent = self.parent_of(&path);
        self.by_path.insert(path.clone(), self.all.len());
        self.all.push(Tracked {
            id,
            path,
            slots: Box::new(std::array::from_fn(|_| Slot::Unopened)),
            gone: false,
            pulse: [0; 3],
            told: 0,
            visits: 0,
            limits: Limits::default(),
            limits_at: 0,
            searched: 0,
            fds: Counts::default(),
            parent,
            own: [0; 4],
            total: [0; 4],
        });
    }

    /// The nearest one above.
    fn parent_of(&self, path: &[u8]) -> Option<usize> {
        let mut above = path;
        while let Some(cut) = above.iter().rposition(|&b| b == b'/') {
            let parent = &above[..cut];
            if let Some(&found) = self.by_path.get(if parent.is_empty() { b"/".as_slice() } else { parent }) {
                return (above != b"/").then_some(found);
            }
            above = parent;
        }
        None
    }

    /// A cgroup does not exist any more.
    pub(super) fn remove(&mut self, index: usize) {
        if self.all[index].gone {
            return;
        }
        self.set_own(index, [0; 4]);
        let tracked = &mut self.all[index];
        tracked.gone = true;
        // Its files are closed.
        *tracked.slots = std::array::from_fn(|_| Slot::Absent);
        if self.by_path.get(&tracked.path) == Some(&index) {
            self.by_path.remove(&tracked.path);
        }
        self.gone += 1;
    }

    /// What a cgroup itself has now; those above it have it, too.
    pub(super) fn set_own(&mut self, index: usize, own: Tally) {
        let before = std::mem::replace(&mut self.all[index].own, own);
        if before == own {
            return;
        }
        let mut at = Some(index);
        while let Some(index) = at {
            let tracked = &mut self.all[index];
            for (place, total) in tracked.total.iter_mut().enumerate() {
                *total += own[place] - before[place];
            }
            at = tracked.parent;
        }
    }

    /// Processes, threads and descriptors of a cgroup and of all below it; descriptors that are not all counted yet
    /// are `None`.
    pub(super) fn totals(&self, index: usize) -> (u64, u64, Option<u64>) {
        let [processes, threads, fds, uncounted] = self.all[index].total.map(|n| n.max(0) as u64);
        (processes, threads, (uncounted == 0).then_some(fds))
    }

    /// Takes the removed ones out, if they are many. Positions change.
    pub(super) fn tidy(&mut self) {
        if self.gone < GONE {
            return;
        }
        self.all.retain(|tracked| !tracked.gone);
        self.gone = 0;
        self.by_path = self.all.iter().enumerate().map(|(index, t)| (t.path.clone(), index)).collect();
        for index in 0..self.all.len() {
            self.all[index].parent = self.parent_of(&self.all[index].path);
        }
    }
}
