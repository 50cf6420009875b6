//! The containers of captures.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;

use anyhow::{Result, bail};
use capture_format::MetadataKey;
use events::Kind;
use jiff::tz::TimeZone;

use super::Row;
use crate::session::messages::message;
use ktape_reader::containers::is_name;
use ktape_reader::model::attribute_names::CREATED;
use ktape_reader::model::{Binding, CgroupRow, ChunkView, ContainerNames, column};
use ktape_reader::scan::container_match::elements;
use ktape_reader::scan::{Input, Query};

/// Processes that are counted, at most.
const PROCESSES_MAX: usize = 1 << 20;

/// A container: boot, full id, and its number among the containers that had this id one after another (0 if it was the
/// only one).
type Id = ([u8; 16], Vec<u8>, usize);

/// Boot and full id; several containers may have had the same id.
type Shared = ([u8; 16], Vec<u8>);

/// Containers with a reused id, which only users of `ctr` create.
#[derive(Debug, Default)]
struct Lives {
    /// The number of each container, counted from 1, by the cgroups that identify it.
    of: BTreeMap<MetadataKey, usize>,
    /// The last cgroup of each container, in order of creation.
    all: BTreeMap<Shared, Vec<MetadataKey>>,
}

impl Lives {
    fn new(names: &ContainerNames) -> Self {
        let mut by_creation: BTreeMap<Shared, BTreeMap<String, Vec<MetadataKey>>> = BTreeMap::new();
        for (key, id) in names.containers().filter(|(_, id)| is_name(id)) {
            // A restarted container keeps its creation time.
            if let Some(created) = names.of_cgroup(key, CREATED) {
                let lives = by_creation.entry((key.boot_id, id.to_vec())).or_default();
                lives.entry(created.to_owned()).or_default().push(*key);
            }
        }
        let mut lives = Self::default();
        for (id, created) in by_creation.into_iter().filter(|(_, created)| created.len() > 1) {
            let cgroups: Vec<Vec<MetadataKey>> = created.into_values().collect();
            for (number, keys) in cgroups.iter().enumerate() {
                lives.of.extend(keys.iter().map(|key| (*key, number + 1)));
            }
            lives.all.insert(
                id,
                cgroups.iter().filter_map(|keys| keys.iter().max_by_key(|key| key.birth).copied()).collect(),
            );
        }
        lives
    }

    /// The container with this id that a cgroup belongs to. Cgroups inside of it, and those that no runtime reported,
    /// belong to the last one.
    fn id(&self, boot_id: [u8; 16], id: &[u8], cgroup: &CgroupRow<'_>) -> Id {
        let container = (boot_id, id.to_vec());
        let Some(all) = self.all.get(&container) else { return (container.0, container.1, 0) };
        let key = MetadataKey { boot_id, cgroup: cgroup.id, birth: cgroup.birth };
        let own = self.of.get(&key).filter(|_| cgroup.container == id);
        (container.0, container.1, own.copied().unwrap_or(all.len()))
    }
}

/// The containers in the chunks that were read so far.
#[derive(Default)]
struct Gathered {
    lives: Lives,
    rows: BTreeMap<Id, Row>,
    /// Processes that were counted, by process id and start time.
    processes: HashSet<(Id, u64, u64)>,
}

/// The containers of these captures, those with the most events first, and their host's time zone.
pub fn from(files: &[PathBuf]) -> Result<(Vec<Row>, TimeZone)> {
    let Input::Files(listing) = Input::open(files)? else {
        bail!(
            "`ktape containers` cannot read standard input: save the capture to a file first (ktape capture -o FILE)"
        );
    };
    let captures = listing.open(None, None)?;
    for error in captures.unreadable() {
        message(format_args!("{error}; file ignored"));
    }
    let names = captures.names();
    let mut known = Gathered { lives: Lives::new(names), ..Gathered::default() };
    let report = captures.query(Query::default())?.for_each_chunk(|chunk| known.add(chunk.view()));
    let damaged = report.damaged.chunks();
    if damaged > 0 {
        message(format_args!("{damaged} damaged chunks ignored; run `ktape check` for details"));
    }
    Ok((known.finish(names), captures.span().zone.clone()))
}

/// Whether a process of this name works for a runtime: it enters the container to prepare it, and has not (yet) become a program of
/// the container.
fn is_helper(name: &[u8]) -> bool {
    name.starts_with(b"runc:[") || matches!(name, b"lxc-start" | b"lxc-attach" | b"lxc-execute")
}

impl Gathered {
    /// The row of the container `id` that a cgroup is in.
    fn row(&mut self, binding: &Binding, id: &[u8], cgroup: &CgroupRow<'_>) -> &mut Row {
        let header = &binding.header;
        self.rows.entry(self.lives.id(header.boot_id, id, cgroup)).or_insert_with(|| Row {
            host: header.host.clone(),
            id: String::from_utf8_lossy(id).into_owned(),
            ..Row::default()
        })
    }

    fn add(&mut self, view: &ChunkView<'_>) {
        let binding = view.binding;
        for row in 0..view.cgroup_rows() as u32 {
            let cgroup = view.cgroup(row);
            if cgroup.container.is_empty() || cgroup.container == ktape_reader::containers::OTHER.as_bytes() {
                continue;
            }
            let container = self.row(binding, cgroup.container, &cgroup);
            container.runtime = String::from_utf8_lossy(cgroup.runtime).into_owned();
            container.chain = String::from_utf8_lossy(cgroup.chain).into_owned();
            if !cgroup.pod_uid.is_empty() {
                container.pod_uid = String::from_utf8_lossy(cgroup.pod_uid).into_owned();
            }
            if cgroup.birth != 0 {
                let birth = view.wall(cgroup.birth);
                container.born = Some(container.born.map_or(birth, |known| known.min(birth)));
                container.started = container.started.max(Some(birth));
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
                let cgroup = view.cgroup(cgroup);
                for id in
                    elements(cgroup.chain).filter(|id| *id != ktape_reader::containers::OTHER.as_bytes())
                {
                    self.row(binding, id, &cgroup).events += 1;
                }
                match kind {
                    Some(Kind::Exit) => self.ended(view, rows, row, binding),
                    Some(Kind::Oom) if !cgroup.container.is_empty() => {
                        self.row(binding, cgroup.container, &cgroup).oom_kills += 1;
                    }
                    Some(Kind::CgroupRmdir) => self.removed(view, rows, row, binding),
                    _ => {}
                }
            }
        }
    }

    fn count_process(&mut self, view: &ChunkView<'_>, binding: &Binding, task: u32) {
        let Some(cgroup) = view.cgroup_of(task) else { return };
        let cgroup = view.cgroup(cgroup);
        let Some(process) = view.process_of(task).map(|row| view.process(row)) else { return };
        if cgroup.container.is_empty()
            || process.pid == 0
            || is_helper(process.name)
            || self.processes.len() >= PROCESSES_MAX
        {
            return;
        }
        let id = self.lives.id(binding.header.boot_id, cgroup.container, &cgroup);
        if self.processes.insert((id, process.pid, process.start)) {
            self.row(binding, cgroup.container, &cgroup).processes += 1;
        }
    }

    /// Keeps the exit code of a process that ended: the last one is the container's, if the runtime reports none.
    fn ended(
        &mut self,
        view: &ChunkView<'_>,
        rows: &ktape_reader::model::Rows<'_>,
        row: usize,
        binding: &Binding,
    ) {
        if rows.number(const { column(Kind::Exit, "process") }, row) != Some(1) {
            return;
        }
        let Some(cgroup) = view.subject_cgroup(rows, row) else { return };
        let cgroup = view.cgroup(cgroup);
        if cgroup.container.is_empty() {
            return;
        }
        let status = rows.signed(const { column(Kind::Exit, "status") }, row).unwrap_or(0);
        let signal = rows.number(const { column(Kind::Exit, "signal") }, row).unwrap_or(0);
        // As in a shell's $?.
        let code = if signal == 0 { status } else { 128 + signal.cast_signed() };
        self.row(binding, cgroup.container, &cgroup).exit_code = Some(code);
    }

    fn removed(
        &mut self,
        view: &ChunkView<'_>,
        rows: &ktape_reader::model::Rows<'_>,
        row: usize,
        binding: &Binding,
    ) {
        let Some(cgroup) = rows.reference(const { column(Kind::CgroupRmdir, "cgroup") }, row) else { return };
        let cgroup = view.cgroup(cgroup);
        if !cgroup.container.is_empty() {
            let at = view.wall(rows.end(row));
            let known = self.row(binding, cgroup.container, &cgroup);
            known.died = Some(known.died.map_or(at, |died| died.max(at)));
        }
    }

    fn finish(self, names: &ContainerNames) -> Vec<Row> {
        let mut all: Vec<Row> = self
            .rows
            .into_iter()
            .map(|((boot_id, id, life), mut row)| {
                let of_life =
                    life.checked_sub(1).and_then(|n| self.lives.all.get(&(boot_id, id.clone()))?.get(n));
                let key = of_life.or_else(|| names.last_of(boot_id, &id));
                let attributes = key.into_iter().flat_map(|key| names.all_of(key));
                row.set_attributes(attributes.map(|(n, v)| (n.to_owned(), v.to_owned())).collect());
                // It was started again after it had ended.
                row.died = row.died.filter(|died| row.started.is_none_or(|started| started <= *died));
                // It has not ended as long as its cgroup exists, even if processes in it have.
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

#[cfg(test)]
mod tests {
    use super::is_helper;

    #[test]
    fn helpers_of_runtimes_are_not_programs_of_containers() {
        assert!(
            ["runc:[0:PARENT]", "runc:[1:CHILD]", "runc:[2:INIT]", "lxc-attach"]
                .iter()
                .all(|n| is_helper(n.as_bytes()))
        );
        assert!(!["runc", "sh", "nginx", "tini", ""].iter().any(|n| is_helper(n.as_bytes())));
    }
}
