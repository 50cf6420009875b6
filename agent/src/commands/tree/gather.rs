//! The processes of captures.

use std::collections::{HashMap, HashSet};

use anyhow::Result;
use events::{Kind, SAMPLES};

use super::process::{End, Key, Process};
use ktape_reader::filter::Filter;
use ktape_reader::model::{Binding, ChunkView, ContainerNames, ProcessRow, Rows, column, metadata, short_id};
use ktape_reader::scan::{Captures, Damaged, LossTally, Query, QueryError};

/// Threads that are counted, at most.
const THREADS_MAX: usize = 1 << 20;
/// No user has this id: that of a thread of which no event was seen.
const UID_UNKNOWN: u64 = u32::MAX as u64;

/// The processes of captures, and what is missing of them.
pub struct Gathered {
    pub processes: Vec<Process>,
    pub damaged: Damaged,
    /// Lost events that could have matched.
    pub lost: LossTally,
}

/// Processes in the chunks that were read so far.
struct Gatherer<'n> {
    names: &'n ContainerNames,
    processes: Vec<Process>,
    by_key: HashMap<Key, usize>,
    threads: HashSet<(usize, u64)>,
}

/// The processes of these captures. With an expression, those with matching events are shown.
pub fn from(captures: &Captures, filter: Option<Filter>) -> Result<Gathered, QueryError> {
    let mut known = Gatherer {
        names: captures.names(),
        processes: Vec::new(),
        by_key: HashMap::new(),
        threads: HashSet::new(),
    };
    // Which program a process had last, and how it ended, is in events that need not match.
    let mut report = captures.query(Query::default())?.for_each_chunk(|chunk| {
        known.add(chunk.view());
        if filter.is_none() {
            chunk.tables().for_each(|table| known.count(chunk.view(), table.table(), table.rows()));
        }
    });
    let is_filtered = filter.is_some();
    if let Some(filter) = filter {
        let matching = captures.query(Query::from(filter))?.for_each_chunk(|chunk| {
            chunk.tables().for_each(|table| known.count(chunk.view(), table.table(), table.rows()));
        });
        report.lost = matching.lost;
    }
    known.merge_unknown_starts();
    for process in known.processes.iter_mut().filter(|process| process.events > 0 || !is_filtered) {
        process.is_shown = true;
    }
    Ok(Gathered { processes: known.processes, damaged: report.damaged, lost: report.lost })
}

impl Gatherer<'_> {
    /// Adds the processes of a chunk.
    fn add(&mut self, view: &ChunkView<'_>) {
        let as_of = view.wall(view.chunk.summary().end_max);
        // Parents come first.
        for row in 0..view.process_rows() as u32 {
            self.add_process(view, &view.process(row), as_of);
        }
        for task in 0..view.task_rows() as u32 {
            self.add_thread(view, task);
        }
        for rows in view.tables().filter(|rows| rows.event.kind == Some(Kind::Exit)) {
            (0..rows.len()).for_each(|row| self.add_end(view, rows, row));
        }
    }

    fn add_process(&mut self, view: &ChunkView<'_>, row: &ProcessRow<'_>, as_of: i64) {
        if row.pid == 0 {
            return;
        }
        let parent = view.parent_of(row).map(|parent| {
            let key = key(view.binding, &parent);
            let known = self.entry(view, key);
            if known.name.is_empty() {
                known.name = parent.name.to_vec();
            }
            key
        });
        let known = self.entry(view, key(view.binding, row));
        known.parent = known.parent.or(parent);
        // Arguments are missing where a capture shows only names of a process, as of the ancestors of another one.
        if as_of >= known.as_of && (known.args.is_empty() || !row.args.is_empty()) {
            known.as_of = as_of;
            known.name = row.name.to_vec();
            known.exe = row.exe.to_vec();
            known.args = row.args.to_vec();
        }
    }

    fn entry(&mut self, view: &ChunkView<'_>, key: Key) -> &mut Process {
        let index = *self.by_key.entry(key).or_insert_with(|| {
            self.processes.push(Process {
                key,
                host: view.binding.header.host.clone(),
                start: (key.2 != 0).then(|| view.wall(key.2)),
                as_of: i64::MIN,
                ..Process::default()
            });
            self.processes.len() - 1
        });
        &mut self.processes[index]
    }

    /// The process of a task, if it is known.
    fn of_task(&self, view: &ChunkView<'_>, task: u32) -> Option<usize> {
        let process = view.process(view.process_of(task)?);
        self.by_key.get(&key(view.binding, &process)).copied()
    }

    fn add_thread(&mut self, view: &ChunkView<'_>, task: u32) {
        let Some(index) = self.of_task(view, task) else { return };
        let row = view.task(task);
        let process = &mut self.processes[index];
        if self.threads.len() < THREADS_MAX && self.threads.insert((index, row.tid)) {
            process.threads += 1;
        }
        if row.uid != UID_UNKNOWN {
            process.user = match row.user {
                b"" => row.uid.to_string(),
                user => String::from_utf8_lossy(user).into_owned(),
            };
        }
        let Some(cgroup) = row.cgroup.map(|cgroup| view.cgroup(cgroup)) else { return };
        if !cgroup.container.is_empty() && process.container_id != cgroup.container {
            let boot_id = view.binding.header.boot_id;
            let name = self.names.of_container(boot_id, cgroup.container, metadata::NAME);
            let id = || String::from_utf8_lossy(short_id(cgroup.container)).into_owned();
            process.container = name.map_or_else(id, str::to_owned);
            process.container_id = cgroup.container.to_vec();
        }
    }

    fn add_end(&mut self, view: &ChunkView<'_>, rows: &Rows<'_>, row: usize) {
        if rows.number(const { column(Kind::Exit, "process") }, row) != Some(1) {
            return;
        }
        let Some(index) = rows.task(row).and_then(|task| self.of_task(view, task)) else { return };
        let number = |own: u16| rows.number(own, row).unwrap_or(0);
        self.processes[index].end = Some(End {
            at: view.wall(rows.end(row)),
            status: rows.signed(const { column(Kind::Exit, "status") }, row).unwrap_or(0),
            signal: number(const { column(Kind::Exit, "signal") }) as u32,
            dumped_core: number(const { column(Kind::Exit, "core") }) != 0,
        });
    }

    /// Where a row has nothing but the id of a process, its events are those of the youngest known one with that id.
    fn merge_unknown_starts(&mut self) {
        let mut youngest: HashMap<([u8; 16], u64), usize> = HashMap::new();
        for (index, process) in self.processes.iter().enumerate().filter(|(_, process)| process.key.2 != 0) {
            let known = youngest.entry((process.key.0, process.pid())).or_insert(index);
            if self.processes[*known].key.2 < process.key.2 {
                *known = index;
            }
        }
        for index in 0..self.processes.len() {
            let Process { key: (boot_id, pid, start), threads, .. } = self.processes[index];
            if start == 0
                && let Some(known) = youngest.get(&(boot_id, pid))
            {
                let events = std::mem::take(&mut self.processes[index].events);
                self.processes[*known].events += events;
                self.processes[*known].threads = self.processes[*known].threads.max(threads);
            }
        }
    }

    /// Counts these rows for their processes.
    fn count(&mut self, view: &ChunkView<'_>, rows: &Rows<'_>, selected: &[u32]) {
        // The thread of a sample or a loss stands for no one.
        let is_of_thread = |kind: Kind| !kind.is_about_recording() && !SAMPLES.contains(&kind);
        if !rows.event.kind.is_none_or(is_of_thread) {
            return;
        }
        let mut counts = vec![0; view.task_rows()];
        for row in selected {
            if let Some(count) = rows.task(*row as usize).and_then(|task| counts.get_mut(task as usize)) {
                *count += 1;
            }
        }
        for (task, count) in counts.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            if let Some(index) = self.of_task(view, task as u32) {
                self.processes[index].events += count;
            }
        }
    }
}

fn key(binding: &Binding, process: &ProcessRow<'_>) -> Key {
    (binding.header.boot_id, process.pid, process.start)
}
