//! What a filtered copy shows of whom. The subjects of its events and their containers are shown; of the other parties of
//! these events, as much as [`Shown`] allows. The recorder applies the same rules to `--container`.

use capture_format::{ColumnView, Hidden};
use events::{Kind, Ty};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::containers::OTHER;
use crate::filter::Filter;
use crate::model::dictionaries::{CGROUP, FILE, PROCESS, Shown, TASK, dict_column, dictionary};
use crate::model::{ChunkView, ProcessRow, Rows, column};

use super::parties::{IDS, Party, parties};
use super::query::Query;

/// Most containers, and most processes, to remember from chunk to chunk.
const REMEMBERED_MAX: usize = 1 << 16;
/// The processes up to this id, init and kthreadd, are the same on every host.
const LAST_OF_SYSTEM: u64 = 2;
/// The parent of all kernel threads.
const KTHREADD: u64 = 2;

/// Who is shown with everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The containers that the query selects.
    Containers,
    /// The subjects of the matching events: processes of the host, and everything in the containers of the others.
    Subjects,
}

/// A process, by id and start.
type ProcessKey = (u64, u64);

/// What a copy may show. Use one for all chunks of a copy: who is selected in one chunk is also shown in later ones.
#[derive(Debug)]
pub(super) struct Privacy {
    wanted: Wanted,
    /// Columns of other parties that the expression compares: these parties are selected too.
    named: Vec<(Kind, u16)>,
    /// How much of the ancestors of processes the expression compares: of selected processes, they are shown to this extent.
    names_ancestors: Shown,
    chains: FxHashSet<Vec<u8>>,
    processes: FxHashSet<ProcessKey>,
}

/// Rows of a table that go into a copy.
#[derive(Clone, Copy, Debug)]
pub(super) struct SelectedRows<'v, 'c> {
    pub(super) table: &'v Rows<'c>,
    pub(super) rows: &'v [u32],
    /// Whether they match; otherwise they are losses of events that might have matched.
    pub(super) is_match: bool,
}

/// What is shown of the dictionary rows of a chunk.
struct Levels {
    /// Whether the row is shown.
    cgroups: Vec<bool>,
    tasks: Vec<Shown>,
    processes: Vec<Shown>,
    /// Processes that are shown only as ancestors of others, and of which the expression compares programs or arguments.
    with_program: Vec<bool>,
}

impl Privacy {
    /// For a copy of what matches a query; `None` if it selects only by time, kind or system call: nothing is hidden then.
    pub(super) fn of(query: &Query) -> Option<Self> {
        let wanted = match &query.filter {
            _ if query.containers.is_some() || query.cgroups.is_some() => Wanted::Containers,
            Some(filter) if filter.selects_parties() => Wanted::Subjects,
            Some(_) | None => return None,
        };
        Some(Self {
            wanted,
            named: query.filter.as_ref().map(named_columns).unwrap_or_default(),
            names_ancestors: query.filter.as_ref().map_or(Shown::Nothing, Filter::names_ancestors),
            chains: FxHashSet::default(),
            processes: FxHashSet::default(),
        })
    }

    /// Whether the container with this chain, outermost first, is selected, or inside a selected one.
    pub(super) fn wants_chain(&self, chain: &[u8]) -> bool {
        let ends = chain.iter().enumerate().filter(|(_, b)| **b == b'>').map(|(at, _)| at);
        !chain.is_empty() && ends.chain([chain.len()]).any(|end| self.chains.contains(&chain[..end]))
    }

    /// The chains of containers selected so far.
    pub(super) fn chains(&self) -> impl Iterator<Item = &[u8]> {
        self.chains.iter().map(Vec::as_slice)
    }

    /// What to hide in a copy of these rows. `inside`: for each cgroup, whether it belongs to a selected container.
    pub(super) fn hidden(
        &mut self,
        view: &ChunkView<'_>,
        selected: &[SelectedRows<'_, '_>],
        inside: Option<&[bool]>,
    ) -> Hidden {
        if self.chains.len() > REMEMBERED_MAX || self.processes.len() > REMEMBERED_MAX {
            self.chains.clear();
            self.processes.clear();
        }
        let inside = inside.filter(|_| self.wanted == Wanted::Containers);
        self.note_wanted(view, selected, inside);
        let mut levels = self.levels(view, inside);
        self.show_hosts_of_containers(view, selected, &mut levels);
        for task in 0..levels.tasks.len() {
            if let Some(process) = view.process_of(task as u32)
                && let Some(level) = levels.processes.get_mut(process as usize)
            {
                *level = levels.tasks[task].max(*level);
            }
        }
        let mut hidden = Hidden::new();
        let levels = self.hide_dictionary_rows(view, levels, &mut hidden);
        for selection in selected {
            hide_ids(view, selection, &levels, &mut hidden);
        }
        hidden
    }

    fn want(&mut self, view: &ChunkView<'_>, cgroup: Option<u32>, task: Option<u32>) {
        let chain = chain_of(view, cgroup);
        if !chain.is_empty() {
            if chain != OTHER.as_bytes() && !self.chains.contains(chain) {
                self.chains.insert(chain.to_vec());
            }
        } else if let Some(process) = task.and_then(|task| view.process_of(task)).map(|p| view.process(p))
            && process.pid != 0
        {
            self.processes.insert((process.pid, process.start));
        }
    }

    fn note_wanted(
        &mut self,
        view: &ChunkView<'_>,
        selected: &[SelectedRows<'_, '_>],
        inside: Option<&[bool]>,
    ) {
        if let Some(inside) = inside {
            for row in (0..inside.len()).filter(|row| inside[*row]) {
                self.want(view, Some(row as u32), None);
            }
            return;
        }
        let mut done = vec![false; view.task_rows()];
        for selection in selected.iter().filter(|selection| selection.is_match) {
            let rows = selection.table;
            // The thread of a sample or a loss stands for no one.
            let by_task = !matches!(rows.event.kind, Some(Kind::Sample | Kind::Loss));
            let named: Vec<Party> = parties(rows).filter(|party| self.is_named(rows, party)).collect();
            for row in selection.rows.iter().map(|row| *row as usize) {
                let task = rows.task(row);
                let known = task.and_then(|task| done.get_mut(task as usize)).filter(|_| by_task);
                if !known.is_some_and(|known| std::mem::replace(known, true)) {
                    self.want(view, view.subject_cgroup(rows, row), task);
                }
                for party in &named {
                    let (cgroup, task) = party.rows(view, row);
                    self.want(view, cgroup, task);
                }
            }
        }
    }

    fn is_named(&self, rows: &Rows<'_>, party: &Party<'_>) -> bool {
        let is_it = |own: u16| rows.event.known(own) == Some(party.column);
        self.named.iter().any(|(kind, own)| rows.event.field_owner() == Some(*kind) && is_it(*own))
    }

    fn levels(&self, view: &ChunkView<'_>, inside: Option<&[bool]>) -> Levels {
        let is_wanted = |row: u32| match inside {
            Some(inside) => inside.get(row as usize) == Some(&true),
            None => self.wants_chain(view.cgroup(row).chain),
        };
        let wanted: Vec<bool> = (0..view.cgroup_rows() as u32).map(is_wanted).collect();
        let is_host = |row: usize| view.cgroup(row as u32).chain.is_empty();
        let of_task = |task: u32| {
            let cgroup = view.cgroup_of(task).map(|row| row as usize);
            let is_host = cgroup.is_none_or(is_host);
            let is_wanted = cgroup.is_some_and(|row| wanted.get(row) == Some(&true));
            if inside.is_some() || !is_host {
                return Shown::by_container(is_wanted, is_host);
            }
            let process = view.process_of(task).map(|row| view.process(row)).unwrap_or_default();
            if self.processes.contains(&(process.pid, process.start)) {
                Shown::All
            } else if process.pid == 0 || process.pid == KTHREADD || process.ppid == KTHREADD {
                Shown::Name
            } else {
                Shown::Nothing
            }
        };
        Levels {
            cgroups: (0..wanted.len()).map(|row| wanted[row] || is_host(row)).collect(),
            tasks: (0..view.task_rows() as u32).map(of_task).collect(),
            processes: vec![Shown::Nothing; view.process_rows()],
            with_program: vec![false; view.process_rows()],
        }
    }

    /// Shows names of processes of the host that are other parties of a container's events, such as its runtime.
    fn show_hosts_of_containers(
        &self,
        view: &ChunkView<'_>,
        selected: &[SelectedRows<'_, '_>],
        levels: &mut Levels,
    ) {
        for selection in selected.iter().filter(|_| self.wanted == Wanted::Subjects) {
            for party in parties(selection.table).filter(|party| party.ty == Ty::Task) {
                for row in selection.rows.iter().map(|row| *row as usize) {
                    let (cgroup, Some(task)) = party.rows(view, row) else { continue };
                    if let Some(level @ Shown::Nothing) = levels.tasks.get_mut(task as usize)
                        && chain_of(view, cgroup).is_empty()
                        && !chain_of(view, view.subject_cgroup(selection.table, row)).is_empty()
                    {
                        *level = Shown::Name;
                    }
                }
            }
        }
    }

    /// Hides rows and columns of dictionaries; returns what is shown of them, with the ancestors of processes.
    fn hide_dictionary_rows(&self, view: &ChunkView<'_>, mut levels: Levels, hidden: &mut Hidden) -> Levels {
        let binding = view.binding;
        for name in ["container", "chain"] {
            if let Some(column) = binding.dict_column(CGROUP, dict_column(CGROUP, name)) {
                hidden.mark(CGROUP, column, OTHER.as_bytes());
            }
        }
        for (row, _) in levels.cgroups.iter().enumerate().filter(|(_, shown)| !**shown) {
            hidden.hide_row(CGROUP, row as u32);
        }
        for (row, _) in levels.tasks.iter().enumerate().filter(|(_, level)| **level == Shown::Nothing) {
            hidden.hide_row(TASK, row as u32);
        }
        let all = binding.header.schema.get(PROCESS).map_or(0, |table| table.columns.len()) as u16;
        let stored = |from: Shown| {
            let columns = dictionary(PROCESS).map_or(&[][..], |declared| declared.columns);
            let shown = columns.iter().enumerate().filter(move |(_, c)| c.from <= from);
            let shown = shown.filter_map(|(own, _)| binding.dict_column(PROCESS, own as u16));
            shown.collect::<Vec<u16>>()
        };
        let (named, parent) = (stored(Shown::Name), parent_columns(view));
        let program = column_indices(view, &["exe", "args"]);
        let mut rows = ProcessRows::new(view);
        let without_parent = self.show_ancestors(&mut rows, &mut levels);
        Self::hide_peers(&rows, &levels, hidden);
        for (row, level) in levels.processes.iter().enumerate() {
            if *level == Shown::Name {
                let shows_program = levels.with_program[row];
                let is_hidden =
                    |column: &u16| !(named.contains(column) || shows_program && program.contains(column));
                hidden.hide_columns(PROCESS, row as u32, (0..all).filter(is_hidden));
            }
            if *level >= Shown::Name && without_parent[row] {
                hidden.hide_columns(PROCESS, row as u32, parent.iter().copied());
            }
        }
        levels
    }

    /// Shows the ancestors of shown processes, as far as their parents are shown. Returns for each process whether its parent is
    /// hidden.
    fn show_ancestors(&self, rows: &mut ProcessRows<'_, '_>, levels: &mut Levels) -> Vec<bool> {
        let mut is_hidden = vec![false; levels.processes.len()];
        let own = levels.processes.clone();
        // Parents are in earlier rows, so that each process comes after all of its descendants.
        for row in (0..levels.processes.len()).rev() {
            if levels.processes[row] < Shown::Name {
                continue;
            }
            let process = rows.view.process(row as u32);
            let is_named = rows.is_named(row, own[row], self.names_ancestors);
            if !is_named && !self.shows_parent(rows, row as u32, &own) {
                is_hidden[row] = true;
                continue;
            }
            let Some(parent) = process.parent.map(|parent| parent as usize) else { continue };
            let is_selected = !process.parent_chain.is_empty() && self.wants_chain(process.parent_chain);
            let level = if is_selected { Shown::All } else { Shown::Name };
            levels.processes[parent] = levels.processes[parent].max(level);
            levels.with_program[parent] |= is_named && self.names_ancestors == Shown::All;
            rows.inherit(row, parent, is_named);
        }
        is_hidden
    }

    /// Hides ids of processes that are not shown at the other end of unix sockets.
    fn hide_peers(rows: &ProcessRows<'_, '_>, levels: &Levels, hidden: &mut Hidden) {
        let view = rows.view;
        let Some(column) = view.binding.dict_column(FILE, const { dict_column(FILE, "peer_pid") }) else {
            return;
        };
        let is_shown = |pid: u64| {
            let mut rows = rows.by_pid.get(&pid).into_iter().flatten();
            rows.any(|row| levels.processes.get(*row as usize).is_some_and(|level| *level >= Shown::Name))
        };
        for row in 0..view.file_rows() as u32 {
            let peer = view.file(row).peer_pid;
            if peer > LAST_OF_SYSTEM && !is_shown(peer) {
                hidden.hide_columns(FILE, row, [column]);
            }
        }
    }

    /// Whether the parent of a process is shown. `own`: what is shown of processes for their own sake.
    fn shows_parent(&self, rows: &ProcessRows<'_, '_>, row: u32, own: &[Shown]) -> bool {
        let process = rows.view.process(row);
        if process.ppid <= LAST_OF_SYSTEM {
            return true;
        }
        let is_shown = rows.parent(&process, own).is_some_and(|level| level >= Shown::Name);
        if process.parent_chain.is_empty() {
            return is_shown;
        }
        if process.has_host_parent() {
            // As much as events of a container show of processes of the host.
            return is_shown || self.wanted == Wanted::Containers || rows.is_in_container(row);
        }
        self.wants_chain(process.parent_chain)
    }
}

/// Process rows of a chunk by id.
struct ProcessRows<'v, 'c> {
    view: &'v ChunkView<'c>,
    by_pid: FxHashMap<u64, Vec<u32>>,
    /// Whether they, or descendants of theirs that they are shown with, are in containers.
    in_container: Vec<bool>,
    /// Whether they are ancestors of processes that are selected by their ancestors.
    named: Vec<bool>,
}

impl<'v, 'c> ProcessRows<'v, 'c> {
    fn new(view: &'v ChunkView<'c>) -> Self {
        let mut by_pid: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
        for row in 0..view.process_rows() as u32 {
            by_pid.entry(view.process(row).pid).or_default().push(row);
        }
        let mut in_container = vec![false; view.process_rows()];
        for task in 0..view.task_rows() as u32 {
            if let Some(process) = view.process_of(task)
                && let Some(inside) = in_container.get_mut(process as usize)
            {
                *inside |= !chain_of(view, view.cgroup_of(task)).is_empty();
            }
        }
        Self { view, by_pid, in_container, named: vec![false; view.process_rows()] }
    }

    /// What is shown of the parent of a process, if the chunk has it: the one that started last before the child, if its id
    /// was used several times.
    fn parent(&self, process: &ProcessRow<'_>, own: &[Shown]) -> Option<Shown> {
        let candidates = self.by_pid.get(&process.ppid)?.iter();
        let parents = candidates.map(|row| (self.view.process(*row).start, own[*row as usize]));
        parents.filter(|(start, _)| *start <= process.start).max().map(|(_, level)| level)
    }

    fn is_in_container(&self, row: u32) -> bool {
        self.in_container.get(row as usize) == Some(&true)
    }

    /// Whether the expression selects a process by its ancestors, or is one of these.
    fn is_named(&self, row: usize, own: Shown, names_ancestors: Shown) -> bool {
        names_ancestors >= Shown::Name && (own == Shown::All || self.named[row])
    }

    /// A parent is shown because of its child.
    fn inherit(&mut self, child: usize, parent: usize, is_named: bool) {
        self.in_container[parent] |= self.in_container[child];
        self.named[parent] |= is_named;
    }
}

fn chain_of<'c>(view: &ChunkView<'c>, cgroup: Option<u32>) -> &'c [u8] {
    cgroup.map_or(&[], |row| view.cgroup(row).chain)
}

/// The columns about a process's parent, by the file's index.
fn parent_columns(view: &ChunkView<'_>) -> Vec<u16> {
    column_indices(view, &["ppid", "pname", "parent_chain", "parent"])
}

/// Columns of processes, by the file's index.
fn column_indices(view: &ChunkView<'_>, names: &[&str]) -> Vec<u16> {
    names.iter().filter_map(|name| view.binding.dict_column(PROCESS, dict_column(PROCESS, name))).collect()
}

/// Columns of other parties that the expression compares, also by their ids.
fn named_columns(filter: &Filter) -> Vec<(Kind, u16)> {
    let party_of = |(kind, own): (Kind, u16)| {
        let id = IDS.iter().find(|id| id.kind == kind && column(kind, id.column) == own);
        (kind, id.map_or(own, |id| column(kind, id.party)))
    };
    filter.named_columns().map(party_of).collect()
}

/// Hides the ids of hidden parties that are stored in the events themselves.
fn hide_ids(view: &ChunkView<'_>, selection: &SelectedRows<'_, '_>, levels: &Levels, hidden: &mut Hidden) {
    let rows = selection.table;
    for ids in IDS.iter().filter(|ids| rows.event.kind == Some(ids.kind)) {
        let known = |name| rows.event.known(column(ids.kind, name));
        let (Some(id), Some(party)) = (known(ids.column), known(ids.party)) else { continue };
        let Ok(ColumnView::Ref(to, refs)) = rows.table.column(party) else { continue };
        for row in selection.rows {
            let Some(party) = refs.get(*row as usize).map(|row| *row as usize) else { continue };
            let is_hidden = if to == TASK {
                levels.tasks.get(party) == Some(&Shown::Nothing)
            } else {
                levels.cgroups.get(party) == Some(&false)
            };
            // The capture may already hide the party.
            let was_hidden = to == CGROUP && view.cgroup(party as u32).is_hidden();
            if is_hidden || was_hidden {
                hidden.hide_columns(rows.event.id, *row, [id]);
            }
        }
    }
}

#[cfg(test)]
mod tests;
