//! Which events are written. The others still keep processes and cgroups up to date.

use events::Kind;
use rustc_hash::FxHashSet;

/// Kinds and processes of a recording.
#[derive(Clone, Debug)]
pub struct Scope {
    kinds: u32,
    /// The process tree that is recorded, if there is one; grows by forks.
    tree: Option<FxHashSet<u32>>,
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
            kinds: kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u32),
            tree: tree_root.map(|pid| std::iter::once(pid).collect()),
        }
    }

    /// Whether this kind is written.
    #[inline]
    pub fn has(&self, kind: Kind) -> bool {
        self.kinds & (1 << kind as u32) != 0
    }

    /// Whether only a process tree is recorded.
    pub(super) fn is_tree(&self) -> bool {
        self.tree.is_some()
    }

    /// Whether this process is recorded.
    #[inline]
    pub(super) fn has_process(&self, pid: u32) -> bool {
        self.tree.as_ref().is_none_or(|tree| tree.contains(&pid))
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
    }
}
