//! Which process stands below which.

use std::collections::HashMap;

use super::process::{Key, Process};

/// Deepest level that is drawn; what is deeper stands there, too.
const DEPTH_MAX: usize = 100;

/// Processes, each with its place below its parent.
pub struct Tree {
    processes: Vec<Process>,
    /// Shown children by parent, and shown processes without a parent; in order of their start.
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
}

/// A process of a tree.
pub struct Node<'t> {
    pub process: &'t Process,
    pub parent: Option<&'t Process>,
    /// For the process and each of its ancestors but the first, from that one down: whether it is its parent's last child.
    pub is_last: &'t [bool],
}

impl Tree {
    pub fn new(mut processes: Vec<Process>) -> Self {
        let parents = parents(&processes);
        let mut has_child = vec![false; processes.len()];
        parents.iter().flatten().for_each(|parent| has_child[*parent] = true);
        for (index, process) in processes.iter_mut().enumerate() {
            // Only an event refers to it, and nothing is known of it.
            let is_bare = process.start.is_none() && process.events == 0 && !has_child[index];
            process.is_shown &= !is_bare;
        }
        for index in 0..processes.len() {
            if processes[index].is_shown {
                let mut next = parents[index];
                while let Some(parent) = next.filter(|parent| !processes[*parent].is_shown) {
                    processes[parent].is_shown = true;
                    next = parents[parent];
                }
            }
        }
        let mut shown: Vec<usize> = (0..processes.len()).filter(|index| processes[*index].is_shown).collect();
        shown.sort_by_key(|index| {
            let process = &processes[*index];
            (&process.host, process.key.0, process.key.2, process.pid())
        });
        let mut children = vec![Vec::new(); processes.len()];
        let mut roots = Vec::new();
        for index in shown {
            match parents[index] {
                Some(parent) => children[parent].push(index),
                None => roots.push(index),
            }
        }
        Self { processes, children, roots }
    }

    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// Calls `visit` with each process, parents before their children, until it fails.
    pub fn walk<E>(&self, mut visit: impl FnMut(Node<'_>) -> Result<(), E>) -> Result<(), E> {
        // Processes to visit, with their parents and how deep they are; the next one is the last.
        let mut pending: Vec<(usize, Option<usize>, usize, bool)> =
            self.roots.iter().rev().map(|root| (*root, None, 0, true)).collect();
        let mut is_last = Vec::new();
        while let Some((index, parent, depth, last)) = pending.pop() {
            is_last.truncate(depth.saturating_sub(1));
            if depth > 0 {
                is_last.push(last);
            }
            visit(Node {
                process: &self.processes[index],
                parent: parent.map(|parent: usize| &self.processes[parent]),
                is_last: &is_last,
            })?;
            let below = (depth + 1).min(DEPTH_MAX);
            let children = self.children[index].iter().enumerate().rev();
            let count = self.children[index].len();
            pending.extend(children.map(|(at, child)| (*child, Some(index), below, at + 1 == count)));
        }
        Ok(())
    }
}

/// The parent of each process. One that is known by its id only is the youngest process that had it before its child started.
/// A parent is older than its children, whatever a file claims.
fn parents(processes: &[Process]) -> Vec<Option<usize>> {
    let mut by_pid: HashMap<([u8; 16], u64), Vec<usize>> = HashMap::new();
    let mut by_key: HashMap<Key, usize> = HashMap::new();
    for (index, process) in processes.iter().enumerate() {
        by_pid.entry((process.key.0, process.pid())).or_default().push(index);
        by_key.insert(process.key, index);
    }
    let parent_of = |process: &Process| {
        let (boot_id, pid, start) = process.parent?;
        if process.key.2 == 0 {
            return None;
        }
        let is_older = |index: &usize| processes[*index].key.2 < process.key.2;
        if start != 0 {
            return by_key.get(&(boot_id, pid, start)).copied().filter(is_older);
        }
        let found = by_pid.get(&(boot_id, pid))?.iter().copied().filter(is_older);
        found.max_by_key(|index| processes[*index].key.2)
    };
    processes.iter().map(parent_of).collect()
}
