//! Which cgroup block I/O is charged to, where the I/O controller has a hierarchy of its own: bios then name a cgroup of
//! that hierarchy, and containers are identified by one of another. The two have the same path, or, if their paths
//! differ, the same container id in it. Ids of different hierarchies can be equal and are never mixed.

use std::collections::VecDeque;

use rustc_hash::FxHashMap;

use super::Cgroups;
use super::retired::RETIRED_MAX;
use crate::containers::Hierarchy;
use ktape_reader::containers;

/// A cgroup of the I/O hierarchy.
#[derive(Debug)]
struct IoCgroup {
    /// When it was created, ns of the boot clock; 0 if before the recording.
    birth: u64,
    path: Vec<u8>,
    /// Its counterpart in the identifying hierarchy.
    counterpart: Counterpart,
    /// Whether the kernel's set of recorded cgroups has it.
    allowed: bool,
}

#[derive(Clone, Copy, Debug)]
enum Counterpart {
    /// This cgroup.
    Found(u64),
    /// There was none as of this version of the table of cgroups.
    NoneOf(u64),
}

impl IoCgroup {
    fn new(birth: u64, path: Vec<u8>, allowed: bool) -> Self {
        Self { birth, path, counterpart: Counterpart::NoneOf(0), allowed }
    }
}

/// The cgroups of the I/O hierarchy, by id.
#[derive(Debug)]
pub(super) struct IoCgroups {
    hierarchy: Hierarchy,
    known: FxHashMap<u64, IoCgroup>,
    /// Removed ones, oldest first.
    removed: VecDeque<u64>,
    /// Those to take out of the kernel's set.
    disallowed: Vec<u64>,
}

impl IoCgroups {
    fn disallow(&mut self, id: u64) {
        if let Some(cgroup) = self.known.get_mut(&id)
            && std::mem::take(&mut cgroup.allowed)
        {
            self.disallowed.push(id);
        }
    }
}

impl Cgroups {
    /// Block I/O is charged to cgroups of this hierarchy, which are listed now.
    pub fn charge_io_in(&mut self, hierarchy: Hierarchy) {
        let found = hierarchy.scan().unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the cgroups that block I/O is charged to");
            Vec::new()
        });
        self.add_io(hierarchy, found);
    }

    /// Block I/O is charged to cgroups of this hierarchy, of which these exist.
    pub(in crate::record) fn add_io(&mut self, hierarchy: Hierarchy, found: Vec<(u64, Vec<u8>)>) {
        let known = found.into_iter().map(|(id, path)| {
            let allowed = self.filter.may_want(&containers::identify(&path));
            (id, IoCgroup::new(0, path, allowed))
        });
        let known = known.collect();
        self.io = Some(IoCgroups { hierarchy, known, removed: VecDeque::new(), disallowed: Vec::new() });
    }

    /// A cgroup was created in the I/O hierarchy.
    pub fn io_mkdir(&mut self, id: u64, time: u64, path: &[u8]) {
        let allowed = self.filter.may_want(&containers::identify(path));
        let Some(io) = &mut self.io else { return };
        io.known.insert(id, IoCgroup::new(time, path.to_vec(), allowed));
        if !allowed {
            io.disallowed.push(id);
        }
    }

    /// A cgroup of the I/O hierarchy was removed. It stays known for late events.
    pub fn io_rmdir(&mut self, id: u64) {
        let Some(io) = &mut self.io else { return };
        io.disallow(id);
        io.removed.push_back(id);
        if io.removed.len() > RETIRED_MAX
            && let Some(oldest) = io.removed.pop_front()
        {
            io.known.remove(&oldest);
        }
    }

    /// Ids of the cgroups of the I/O hierarchy that may be of containers that are recorded.
    pub fn wanted_io_ids(&self) -> Vec<u64> {
        let known = self.io.iter().flat_map(|io| &io.known);
        known.filter(|(_, cgroup)| cgroup.allowed).map(|(id, _)| *id).collect()
    }

    /// Ids to take out of the kernel's set of recorded cgroups of the I/O hierarchy.
    pub fn take_unwanted_io(&mut self) -> Vec<u64> {
        self.io.as_mut().map(|io| std::mem::take(&mut io.disallowed)).unwrap_or_default()
    }

    /// Takes cgroups of the I/O hierarchy whose containers turned out to be unwanted out of the kernel's set.
    pub(super) fn check_io(&mut self) {
        if self.filter.is_open() {
            return;
        }
        for id in self.wanted_io_ids() {
            let unwanted =
                self.charged(id).and_then(|own| self.table.get(own)).is_some_and(|c| !c.is_wanted());
            if unwanted && let Some(io) = &mut self.io {
                io.disallow(id);
            }
        }
    }

    /// The cgroup that stands for this one of the I/O hierarchy; `None` if none does.
    pub fn charged(&mut self, io_id: u64) -> Option<u64> {
        let io = self.io.as_mut()?;
        if !io.known.contains_key(&io_id) {
            // Neither scanned nor created since: it was created in between, or is removed already.
            let path = io.hierarchy.path_of(io_id).ok()?;
            io.known.insert(io_id, IoCgroup::new(0, path, false));
        }
        let cgroup = io.known.get_mut(&io_id)?;
        match cgroup.counterpart {
            Counterpart::Found(own) if self.table.get(own).is_some() => return Some(own),
            Counterpart::NoneOf(version) if version == self.table.version() => return None,
            _ => {}
        }
        let found = self.table.find(&cgroup.path, cgroup.birth);
        cgroup.counterpart = found.map_or(Counterpart::NoneOf(self.table.version()), Counterpart::Found);
        found
    }
}
