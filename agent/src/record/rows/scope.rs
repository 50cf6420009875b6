//! Which events are written. The others still keep processes and cgroups up to date.

use events::{Kind, KindSet};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::readers::{Reader, Role};

/// Kinds and processes of a recording.
#[derive(Clone, Debug)]
pub struct Scope {
    kinds: KindSet,
    /// The process tree that is recorded, if there is one; grows by forks.
    tree: Option<FxHashSet<u32>>,
    /// Processes that are not recorded: the recorder itself, and the readers of its output.
    excluded: FxHashMap<u32, Excluded>,
}

/// How much of a process is not recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Excluded {
    /// The process.
    Alone,
    /// The process, and those that it forks.
    WithChildren,
}

/// One of two processes that an event is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Party {
    pub pid: u32,
    pub cgroup: u64,
}

impl Scope {
    /// These kinds; with `tree_root` only of this process and its descendants.
    pub fn new(kinds: &[Kind], tree_root: Option<u32>) -> Self {
        Self {
            kinds: KindSet::of(kinds),
            tree: tree_root.map(|pid| std::iter::once(pid).collect()),
            excluded: std::iter::once((std::process::id(), Excluded::Alone)).collect(),
        }
    }

    /// Whether this kind is written.
    #[inline]
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds.contains(kind)
    }

    /// Whether only a process tree is recorded.
    pub(super) fn is_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether this process is recorded.
    #[inline]
    pub(super) fn has_process(&self, pid: u32) -> bool {
        self.tree.as_ref().is_none_or(|tree| tree.contains(&pid)) && !self.is_excluded(pid)
    }

    /// Whether this process is the recorder, or reads its output.
    #[inline]
    pub(super) fn is_excluded(&self, pid: u32) -> bool {
        self.excluded.contains_key(&pid)
    }

    /// What is known of a process that reads the output. Children that it has keep what they inherited.
    pub(super) fn set_reader(&mut self, reader: Reader) {
        match reader.role {
            Some(Role::Holder) => self.excluded.insert(reader.pid, Excluded::Alone),
            Some(Role::Stage) => self.excluded.insert(reader.pid, Excluded::WithChildren),
            None => self.excluded.remove(&reader.pid),
        };
    }

    /// Of the processes that are excluded, only these still exist.
    pub(super) fn keep_excluded(&mut self, existing: &FxHashSet<u32>) {
        self.excluded.retain(|pid, _| *pid == std::process::id() || existing.contains(pid));
    }

    /// A process has been forked: what a stage of the output's pipeline starts belongs to it.
    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        if self.excluded.get(&parent) == Some(&Excluded::WithChildren) {
            self.excluded.insert(child, Excluded::WithChildren);
        }
    }

    /// A process of the tree has a child.
    pub(super) fn add_process(&mut self, pid: u32) {
        if let Some(tree) = &mut self.tree {
            tree.insert(pid);
        }
    }

    /// A process has exited: another one may soon have its id.
    pub(super) fn remove_process(&mut self, pid: u32) {
        if let Some(tree) = &mut self.tree {
            tree.remove(&pid);
        }
        if pid != std::process::id() {
            self.excluded.remove(&pid);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn excluded(scope: &Scope, pids: [u32; 4]) -> [bool; 4] {
        pids.map(|pid| scope.is_excluded(pid))
    }

    #[test]
    fn stages_of_the_outputs_pipeline_are_excluded_with_what_they_start() {
        let mut scope = Scope::new(&[Kind::Exec], None);
        scope.set_reader(Reader { pid: 10, role: Some(Role::Stage) });
        scope.set_reader(Reader { pid: 20, role: Some(Role::Holder) });
        scope.forked(10, 11);
        scope.forked(11, 12);
        scope.forked(20, 21);
        scope.forked(1, 2);
        assert_eq!(excluded(&scope, [10, 11, 12, 20]), [true; 4]);
        assert_eq!(excluded(&scope, [21, 2, 1, 0]), [false; 4]);
        assert!(!scope.has_process(12) && scope.has_process(21));

        // Another process may get the id.
        scope.remove_process(12);
        scope.set_reader(Reader { pid: 20, role: None });
        assert_eq!(excluded(&scope, [10, 11, 12, 20]), [true, true, false, false]);
        scope.keep_excluded(&[11].into_iter().collect());
        assert_eq!(excluded(&scope, [10, 11, 12, 20]), [false, true, false, false]);
    }

    #[test]
    fn the_recorder_is_always_excluded() {
        let own = std::process::id();
        let mut scope = Scope::new(&[Kind::Exec], None);
        scope.remove_process(own);
        scope.keep_excluded(&FxHashSet::default());
        assert!(!scope.has_process(own));
    }
}
