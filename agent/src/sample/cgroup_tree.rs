//! The cgroups that are sampled, with the numbers of processes, threads and descriptors of each subtree.

use std::os::fd::OwnedFd;

use rustc_hash::FxHashMap;

use super::cgroup_files::CGROUP_FILES;
use super::fds::Counts;

/// Removed cgroups are taken out of the tree when there are this many.
const GONE_MAX: usize = 64;

/// A file of a cgroup.
#[derive(Debug, Default)]
pub(super) enum Slot {
    /// Not opened, or not kept open.
    #[default]
    Unopened,
    Open(OwnedFd),
    /// The cgroup does not have it.
    Absent,
}

/// Processes, threads, descriptors, and cgroups with uncounted descriptors.
pub(super) type Tally = [i64; 4];

/// The limits in a row; they rarely change and are not read for each row.
#[derive(Clone, Debug, Default)]
pub(super) struct CgroupLimits {
    pub(super) memory: u64,
    pub(super) shares: u64,
    pub(super) weight: u64,
    pub(super) quota: u64,
    pub(super) period: u64,
    pub(super) pids: u64,
    pub(super) io: Vec<u8>,
}

/// Counters in a row, or at the creation of the cgroup, which the next row is compared with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counters {
    /// When they were read, boot ns.
    pub(super) time: u64,
    pub(super) cpu: u64,
    pub(super) throttled: u64,
    pub(super) read: u64,
    pub(super) written: u64,
}

impl Counters {
    /// Those of a cgroup at its creation.
    fn at_creation(time: u64) -> Self {
        Self { time, cpu: 0, throttled: 0, read: 0, written: 0 }
    }
}

/// A cgroup in the tree.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) id: u64,
    pub(super) path: Vec<u8>,
    pub(super) slots: Box<[Slot; CGROUP_FILES]>,
    pub(super) gone: bool,
    /// CPU time, tasks, and time waited for I/O in its last row: the cgroup is idle while they do not change.
    pub(super) pulse: [u64; 3],
    /// When it last had a row, boot ns; 0 for never.
    pub(super) reported: u64,
    /// Number of times that it was read.
    pub(super) visits: u32,
    pub(super) limits: CgroupLimits,
    /// When the limits were read, boot ns.
    pub(super) limits_at: u64,
    /// When absent files were last looked for, boot ns.
    pub(super) searched: u64,
    pub(super) fds: Counts,
    /// Those of its last row, or at its creation; `None` if that was not recorded.
    pub(super) counters: Option<Counters>,
    parent: Option<usize>,
    own: Tally,
    total: Tally,
}

/// All sampled cgroups, parents before children.
#[derive(Debug, Default)]
pub(super) struct CgroupTree {
    all: Vec<Tracked>,
    by_path: FxHashMap<Vec<u8>, usize>,
    gone: usize,
}

impl CgroupTree {
    /// Number of cgroups, including removed ones.
    pub(super) fn len(&self) -> usize {
        self.all.len()
    }

    pub(super) fn get(&mut self, index: usize) -> &mut Tracked {
        &mut self.all[index]
    }

    /// Adds a cgroup; `created`: when it was created, boot ns, if that was recorded. An older one with the same path is gone;
    /// it is removed when it is read next.
    pub(super) fn add(&mut self, id: u64, path: Vec<u8>, created: Option<u64>) {
        let counters = created.map(Counters::at_creation);
        if let Some(&known) = self.by_path.get(&path)
            && self.all[known].id == id
        {
            // It was listed before its creation was reported.
            let tracked = &mut self.all[known];
            if tracked.reported == 0 {
                tracked.counters = tracked.counters.or(counters);
            }
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
            reported: 0,
            visits: 0,
            limits: CgroupLimits::default(),
            limits_at: 0,
            searched: 0,
            fds: Counts::default(),
            counters,
            parent,
            own: [0; 4],
            total: [0; 4],
        });
    }

    /// The nearest ancestor in the tree.
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

    /// Marks a cgroup as removed, and closes its files.
    pub(super) fn remove(&mut self, index: usize) {
        if self.all[index].gone {
            return;
        }
        self.set_own(index, [0; 4]);
        let tracked = &mut self.all[index];
        tracked.gone = true;
        *tracked.slots = std::array::from_fn(|_| Slot::Absent);
        if self.by_path.get(&tracked.path) == Some(&index) {
            self.by_path.remove(&tracked.path);
        }
        self.gone += 1;
    }

    /// Sets a cgroup's own numbers, and updates the totals of its ancestors.
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

    /// Processes, threads and descriptors of a cgroup and its descendants; `None` until all descriptors are counted.
    pub(super) fn totals(&self, index: usize) -> (u64, u64, Option<u64>) {
        let [processes, threads, fds, uncounted] = self.all[index].total.map(|n| n.max(0) as u64);
        (processes, threads, (uncounted == 0).then_some(fds))
    }

    /// Takes removed cgroups out if there are many. Indices change.
    pub(super) fn tidy(&mut self) {
        if self.gone < GONE_MAX {
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
