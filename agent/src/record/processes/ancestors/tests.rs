use std::sync::Arc;

use agent_ebpf::records::{COMM_LEN, Exec, Fork, Header};
use capture_format::{Chunk, ChunkBuilder};
use ktape_reader::model::{Binding, ChunkView, schema};

use super::super::{Processes, Subject};
use crate::containers::ContainerFilter;
use crate::record::cgroups::Cgroups;
use crate::record::columns::{Dictionaries, TableIndex};
use crate::record::testing::no_hierarchy;

fn name(text: &str) -> [u8; COMM_LEN] {
    let mut comm = [0; COMM_LEN];
    comm[..text.len()].copy_from_slice(text.as_bytes());
    comm
}

/// A recorder of rows: processes, and the chunk that they are written to.
struct Recorder {
    processes: Processes,
    cgroups: Cgroups,
    builder: ChunkBuilder,
    index: TableIndex,
    number: u64,
}

impl Recorder {
    fn new() -> Self {
        let schema = Arc::new(schema());
        Self {
            processes: Processes::new(false),
            cgroups: Cgroups::none(no_hierarchy(), ContainerFilter::default()),
            index: TableIndex::new(&schema),
            builder: ChunkBuilder::new(schema),
            number: 1,
        }
    }

    /// A fork, at a time that is ten times the child's id.
    fn fork(&mut self, parent: u32, child: u32) {
        self.fork_at(parent, child, u64::from(child) * 10);
    }

    fn fork_at(&mut self, parent: u32, child: u32, start: u64) {
        self.processes.fork(&Fork {
            head: Header { pid: parent, tid: parent, cgroup: 1, ..Header::default() },
            child_pid: child,
            child_tid: child,
            child_ppid: parent,
            child_start: start,
            comm: name("forked"),
            ..Fork::default()
        });
    }

    fn exec(&mut self, pid: u32, program: &str) {
        // SAFETY: a struct of integers, for which all zeroes is a value.
        let mut exec: Exec = unsafe { std::mem::zeroed() };
        exec.head = Header { pid, tid: pid, ..Header::default() };
        exec.old_tid = pid;
        exec.comm = name(program);
        let args = format!("{program}\0-x\0");
        self.processes.exec(&exec, program.as_bytes(), args.as_bytes());
    }

    /// The row of a thread's next event.
    fn row(&mut self, pid: u32) -> u32 {
        let mut chunk = Dictionaries { builder: &mut self.builder, number: self.number, index: &self.index };
        let subject = Subject { pid, tid: pid, cgroup: 1, uid: Some(0) };
        self.processes.task_row(&mut chunk, &mut self.cgroups, subject)
    }

    fn process_rows(&self) -> u32 {
        self.builder.rows_at(self.index.process)
    }

    /// Names and ids in the lineage of each of these rows. Begins the next chunk.
    fn lineages(&mut self, rows: &[u32]) -> Vec<String> {
        self.number += 1;
        let next = ChunkBuilder::new(self.builder.schema().clone());
        let chunk = Chunk::from_builder(std::mem::replace(&mut self.builder, next)).unwrap();
        let header = capture_format::Header { schema: chunk.schema().clone(), ..Default::default() };
        let binding = Binding::new(Arc::new(header));
        let view = ChunkView::open(&chunk, &binding).unwrap();
        let line = |row: &u32| {
            let names = view.lineage(*row).map(|p| format!("{}:{}", String::from_utf8_lossy(p.name), p.pid));
            names.collect::<Vec<_>>().join(" ")
        };
        rows.iter().map(line).collect()
    }
}

/// `ls` (40) below `bash` (30), `sshd` (20) and `init` (10).
fn family() -> Recorder {
    let mut recorder = Recorder::new();
    recorder.fork(0, 10);
    recorder.exec(10, "init");
    for (parent, child, program) in [(10, 20, "sshd"), (20, 30, "bash"), (30, 40, "ls")] {
        recorder.fork(parent, child);
        recorder.exec(child, program);
    }
    recorder
}

#[test]
fn every_chunk_has_the_ancestors_of_its_processes() {
    let mut recorder = family();
    for _ in 0..2 {
        let row = recorder.row(40);
        assert_eq!(recorder.row(40), row);
        let other = recorder.row(30);
        assert_eq!(recorder.process_rows(), 4, "each process once");
        let expected = ["ls:40 bash:30 sshd:20 init:10", "bash:30 sshd:20 init:10"];
        assert_eq!(recorder.lineages(&[row, other]), expected);
    }
}

#[test]
fn a_change_of_an_ancestor_gives_its_descendants_new_rows() {
    let mut recorder = family();
    let before = recorder.row(40);
    recorder.exec(20, "sshd-session");
    let after = recorder.row(40);
    recorder.processes.rename(10, 10, &name("systemd"));
    let last = recorder.row(40);
    assert_eq!(recorder.row(40), last);
    assert_eq!(recorder.process_rows(), 4 + 3 + 4);
    let expected = [
        "ls:40 bash:30 sshd:20 init:10",
        "ls:40 bash:30 sshd-session:20 init:10",
        "ls:40 bash:30 sshd-session:20 systemd:10",
    ];
    assert_eq!(recorder.lineages(&[before, after, last]), expected);
}

#[test]
fn a_program_of_another_process_changes_no_rows() {
    let mut recorder = family();
    let row = recorder.row(40);
    recorder.fork(20, 50);
    recorder.exec(50, "cat");
    assert_eq!(recorder.row(40), row);
    assert_eq!(recorder.process_rows(), 4);
}

#[test]
fn another_parent_of_an_ancestor_is_that_of_its_descendants() {
    let mut recorder = family();
    let before = recorder.row(40);
    recorder.processes.set_parent(&Header { pid: 30, tid: 30, ..Header::default() }, 10);
    let after = recorder.row(40);
    let expected = ["ls:40 bash:30 sshd:20 init:10", "ls:40 bash:30 init:10"];
    assert_eq!(recorder.lineages(&[before, after]), expected);
}

#[test]
fn a_process_with_the_id_of_an_ended_ancestor_is_no_ancestor() {
    let mut recorder = family();
    let row = recorder.row(40);
    assert_eq!(recorder.lineages(&[row]), ["ls:40 bash:30 sshd:20 init:10"]);
    recorder.processes.retire(20);
    recorder.fork_at(10, 20, 999);
    recorder.exec(20, "stranger");
    let row = recorder.row(40);
    // Its parent is no longer known, but for its id and name.
    assert_eq!(recorder.lineages(&[row]), ["ls:40 bash:30 sshd:20"]);
}

#[test]
fn the_number_of_ancestors_and_their_rows_in_a_chunk_are_limited() {
    let mut recorder = Recorder::new();
    for pid in 10..200 {
        recorder.fork(pid - 1, pid);
    }
    let row = recorder.row(199);
    assert_eq!(recorder.process_rows() as usize, super::ANCESTORS_MAX + 1);
    let lineages = recorder.lineages(&[row]);
    assert_eq!(lineages[0].split(' ').count(), super::ANCESTORS_MAX + 1);
    // Changes of an ancestor for each event.
    for round in 0..2_000 {
        recorder.processes.rename(150, 150, &name(&format!("n{round}")));
        recorder.row(199);
    }
    let rows = recorder.process_rows();
    assert!(rows < (1 << 15) + 2_000, "{rows}");
}
