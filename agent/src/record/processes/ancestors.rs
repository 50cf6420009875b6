//! The ancestors of processes: a chunk has their rows, too. The row of a process refers to that of its parent, so it is written
//! again when one of its ancestors has another name, program or parent.

use super::{Processes, Shown};
use crate::record::cgroups::Cgroups;

/// Most ancestors of a process in a chunk.
pub(super) const ANCESTORS_MAX: usize = 64;

/// A parent at the time of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Above {
    pid: u32,
    start: u64,
    /// [`super::Process::lineage`].
    lineage: u32,
}

impl Processes {
    /// A process has changed, and with it the rows of its descendants.
    pub(super) fn note_change(&mut self, index: u32) {
        let process = &mut self.processes[index as usize];
        process.version += 1;
        process.lineage += 1;
        if process.children > 0 {
            self.lineages += 1;
            // So that the threads of descendants are looked at again.
            self.names += 1;
            self.changes += 1;
        }
    }

    /// Gives a process, and those of its ancestors that need it, another version if something above them has changed.
    pub(super) fn refresh_ancestors(&mut self, index: u32) {
        let mut path = [0; ANCESTORS_MAX];
        let mut length = 0;
        let mut next = Some(index);
        while let Some(index) = next
            && length < ANCESTORS_MAX
            && self.processes[index as usize].above_as_of != self.lineages
        {
            path[length] = index;
            length += 1;
            next = self.parent_index(index);
        }
        for &index in path[..length].iter().rev() {
            let above = next.map(|parent| {
                let parent = &self.processes[parent as usize];
                Above { pid: parent.pid, start: parent.start, lineage: parent.lineage }
            });
            let process = &mut self.processes[index as usize];
            process.above_as_of = self.lineages;
            if process.above != above {
                process.above = above;
                process.version += 1;
                process.lineage += 1;
            }
            next = Some(index);
        }
    }

    /// The parent of a process, if it is known and not another process with its id.
    pub(super) fn parent_index(&self, index: u32) -> Option<u32> {
        let process = &self.processes[index as usize];
        let parent = self.threads.get(&process.ppid)?.process;
        let found = &self.processes[parent as usize];
        let is_parent = found.pid != 0 && found.pid == process.ppid && found.start == process.parent_start;
        // A parent is older than its children, so that no process is its own ancestor. Init may have started at 0.
        (is_parent && found.start < process.start).then_some(parent)
    }

    /// What is shown of the parent of a process.
    pub(super) fn parent_shown(&self, cgroups: &mut Cgroups, index: u32) -> Shown {
        let process = &self.processes[index as usize];
        match process.parent_cgroup {
            Some(cgroup) => cgroups.shown(cgroup),
            None if cgroups.is_open() => Shown::All,
            // An unknown parent may be in any container, but init and kthreadd are the same on every host.
            None if process.ppid <= 2 => Shown::Name,
            None => Shown::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
