//! The containers of captures.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use agent_ebpf::kinds::Kind;
use anyhow::{Result, bail};
use jiff::tz::TimeZone;

use super::Row;
use crate::model::{Binding, ChunkView, Names, column};
use crate::replay::containers::elements;
use crate::replay::input::{self, Input};
use crate::replay::listing::Opened;
use crate::session::say::say;

/// Processes that are told apart, at most.
const PROCESSES: usize = 1 << 20;

/// What is known so far.
#[derive(Default)]
struct Known {
    /// By boot and full id.
    rows: BTreeMap<([u8; 16], Vec<u8>), Row>,
    /// Processes that were counted: boot, container, process id and start.
    processes: HashSet<([u8; 16], Vec<u8>, u64, u64)>,
}

/// The containers of these captures, those with the most events first, and the zone of their host.
pub fn from(files: &[PathBuf]) -> Result<(Vec<Row>, TimeZone)> {
    let Input::Files(listing) = Input::open(files)? else {
        bail!("containers reads files: save the capture to a file first, with `capture -o FILE`");
    };
    let Opened { captures, unreadable } = listing.open(None, None)?;
    for error in &unreadable {
        say(format_args!("ktape containers: {error}"));
    }
    let names = input::names(&captures);
    let mut known = Known::default();
    let mut damaged = 0u64;
    for capture in &captures {
        for entry in capture.file.chunks() {
            let binding = &capture.bindings[entry.segment];
            let read = capture.file.read_chunk(entry).and_then(|chunk| {
                let view = ChunkView::open(&chunk, binding)?;
                known.add(&view, binding);
                Ok(())
            });
            damaged += u64::from(read.is_err());
        }
    }
    if damaged > 0 {
        say(format_args!("ktape containers: {damaged} chunks are damaged and left out; see `ktape check`"));
    }
    let zone = input::span(&captures, None).zone;
    Ok((known.finish(&names), zone))
}

impl Known {
    fn row(&mut self, binding: &Binding, id: &[u8]) -> &mut Row {
        let header = &binding.header;
        self.rows.entry((header.boot_id, id.to_vec())).or_insert_with(|| Row {
            host: header.host.clone(),
            id: String::from_utf8_lossy(id).into_owned(),
            ..Row::default()
        })
    }

    fn add(&mut self, view: &ChunkView<'_>, binding: &Binding) {
        for row in 0..view.cgroup_rows() as u32 {
            let cgroup = view.cgroup(row);
            if cgroup.container.is_empty() || cgroup.container == crate::containers::OTHER.as_bytes() {
                continue;
            }
            let container = self.row(binding, cgroup.container);
            container.runtime = String::from_utf8_lossy(cgroup.runtime).into_owned();
            container.chain = String::from_utf8_lossy(cgroup.chain).into_owned();
            if !cgroup.pod_uid.is_empty() {
                container.pod_uid = String::from_utf8_lossy(cgroup.pod_uid).into_owned();
            }
            if cgroup.birth != 0 {
                let birth = view.wall(cgroup.birth);
                container.born = Some(container.born.map_or(birth, |known| known.min(birth)));
            }
        }
        for task in 0..view.task_rows() as u32 {
            self.count_process(view, binding, task);
        }
        for rows in view.tables() {
            let kind = rows.event.kind;
            if kind.is_some_and(Kind::is_about_recording) {
                continue;
            }
            for row in 0..rows.len() {
                let Some(cgroup) = view.subject_cgroup(rows, row) else { continue };
                let chain = view.cgroup(cgroup).chain;
                for id in elements(chain).filter(|id| *id != crate::containers::OTHER.as_bytes()) {
                    self.row(binding, id).events += 1;
                }
                match kind {
                    Some(Kind::Exit) => self.ended(view, rows, row, binding),
                    Some(Kind::Oom) => {
                        let container = view.cgroup(cgroup).container;
                        if !container.is_empty() {
                            self.row(binding, container).oom_kills += 1;
                        }
                    }
                    Some(Kind::CgroupRmdir) => self.removed(view, rows, row, binding),
                    _ => {}
                }
            }
        }
    }

    fn count_process(&mut self, view: &ChunkView<'_>, binding: &Binding, task: u32) {
        let Some(cgroup) = view.cgroup_of(task) else { return };
        let container = view.cgroup(cgroup).container;
        let Some(process) = view.process_of(task).map(|row| view.process(row)) else { return };
        if container.is_empty() || process.pid == 0 || self.processes.len() >= PROCESSES {
            return;
        }
        let key = (binding.header.boot_id, container.to_vec(), process.pid, process.start);
        if self.processes.insert(key) {
            self.row(binding, container).processes += 1;
        }
    }

    /// A process ended: the last one's status is the container's, if the runtime does not tell.
    fn ended(&mut self, view: &ChunkView<'_>, rows: &crate::model::Rows<'_>, row: usize, binding: &Binding) {
        if rows.number(const { column(Kind::Exit, "process") }, row) != Some(1) {
            return;
        }
        let Some(cgroup) = view.subject_cgroup(rows, row) else { return };
        let container = view.cgroup(cgroup).container;
        if container.is_empty() {
            return;
        }
        let status = rows.signed(const { column(Kind::Exit, "status") }, row).unwrap_or(0);
        let signal = rows.number(const { column(Kind::Exit, "signal") }, row).unwrap_or(0);
        // As a shell tells it.
        let code = if signal == 0 { status } else { 128 + signal.cast_signed() };
        self.row(binding, container).exit_code = Some(code);
    }

    fn removed(
        &mut self,
        view: &ChunkView<'_>,
        rows: &crate::model::Rows<'_>,
        row: usize,
        binding: &Binding,
    ) {
        let Some(cgroup) = rows.reference(const { column(Kind::CgroupRmdir, "cgroup") }, row) else { return };
        let container = view.cgroup(cgroup).container;
        if !container.is_empty() {
            let at = view.wall(rows.end(row));
            let known = self.row(binding, container);
            known.died = Some(known.died.map_or(at, |died| died.max(at)));
        }
    }

    fn finish(self, names: &Names) -> Vec<Row> {
        let mut all: Vec<Row> = self
            .rows
            .into_iter()
            .map(|((boot_id, id), mut row)| {
                row.told = names.all_of(boot_id, &id).map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                // While it was not removed it had not ended, whoever ended in it.
                if row.died.is_none() {
                    row.exit_code = None;
                }
                row
            })
            .collect();
        all.sort_by(|a, b| b.events.cmp(&a.events).then_with(|| a.id.cmp(&b.id)));
        all
    }
}
