//! Records to rows: the thread that an event is about is looked up, then every column of the kind gets its value.

mod agent_events;
mod block;
mod effects;
mod entered;
mod lifecycle;
mod loss;
mod net;
mod oom;
mod sample;
mod scope;
mod signal;
mod stall;
mod stored_call;
mod switch;
mod syscall;
mod uring;
mod written;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use agent_ebpf::records::Header;
use capture_format::{ChunkBuilder, Schema};
use events::flags;
use events::{Kind, Ring};

use super::cgroups::{Busy, Cgroups};
use super::chunk::ContainerUpdates;
use super::cmdline::Arguments;
use super::columns::{Dictionaries, TableIndex};
use super::decode;
use super::files::Files;
use super::processes::{Processes, Subject};
use super::users::Users;
use crate::agent_events::Link;
use crate::host_root::HostRoot;
use crate::kernel::{RequestNames, ScannedTask};
use crate::readers::{Reader, ReaderNews};
use crate::runtimes::ContainerInfo;
use block::BlockNames;
use entered::{EnteredCall, EnteredCalls};
use ktape_reader::model::dictionaries::Shown;
pub use loss::LossSpan;
use rustc_hash::FxHashMap;
use scope::Party;
pub use scope::Scope;
use stored_call::StoredCalls;
use uring::Submissions;
use written::Written;

/// The place of a column, found when this is compiled.
macro_rules! col {
    ($kind:ident, $name:literal) => {{
        const COLUMN: usize = ktape_reader::model::column(::events::Kind::$kind, $name) as usize;
        COLUMN
    }};
}
use col;

/// The chunk that rows are written to.
#[derive(Debug)]
struct CurrentChunk {
    /// Its number, counted from 1.
    number: u64,
    index: TableIndex,
    /// Lost events that its loss rows report.
    lost: u64,
}

impl CurrentChunk {
    fn dictionaries<'a>(&'a self, builder: &'a mut ChunkBuilder) -> Dictionaries<'a> {
        Dictionaries { builder, number: self.number, index: &self.index }
    }
}

/// Writes the rows of one chunk after another.
pub struct RowWriter {
    scope: Scope,
    processes: Processes,
    cgroups: Cgroups,
    calls: &'static StoredCalls,
    /// Only returns of calls are recorded.
    returns_only: bool,
    /// Calls that have not returned, of which strings are known.
    entered: EnteredCalls,
    /// Those of threads whose hang was reported and has not ended.
    hanging: FxHashMap<u32, Arc<EnteredCall>>,
    uring: Submissions,
    block: BlockNames,
    files: Files,
    /// A call may have changed the paths of files.
    renamed: bool,
    chunk: CurrentChunk,
    written: Written,
    /// Cgroups to take out of the kernel's set of recorded cgroups.
    disallowed: Vec<u64>,
    /// Who follows the readers of the output.
    readers: Option<ReaderNews>,
}

impl RowWriter {
    /// For files of this schema.
    pub fn new(schema: &Arc<Schema>, processes: Processes, cgroups: Cgroups, scope: Scope) -> Self {
        Self {
            scope,
            processes,
            cgroups,
            calls: StoredCalls::all(),
            returns_only: false,
            entered: EnteredCalls::default(),
            hanging: FxHashMap::default(),
            uring: Submissions::default(),
            block: BlockNames::default(),
            files: Files::default(),
            renamed: false,
            chunk: CurrentChunk { number: 1, index: TableIndex::new(schema), lost: 0 },
            written: Written::default(),
            disallowed: Vec::new(),
            readers: None,
        }
    }

    /// Forks and execs are reported from here on.
    pub fn report_forks_to(&mut self, readers: ReaderNews) {
        self.readers = Some(readers);
    }

    /// A process begins or ceases to read the output.
    pub fn set_reader(&mut self, reader: Reader) {
        self.scope.set_reader(reader);
    }

    /// Users have the names that they have on this host.
    pub fn name_users(&mut self, host: &HostRoot) {
        self.processes.name_users(Users::of_host(host));
    }

    /// The entries of calls are not recorded.
    pub fn expect_returns_only(&mut self) {
        self.returns_only = true;
    }

    /// Block operations and flags have the numbers that they have in this kernel.
    pub fn name_requests(&mut self, names: &RequestNames) {
        self.block = BlockNames::new(names);
    }

    /// The cgroups, to connect them to the runtimes and the sampler.
    pub fn cgroups_mut(&mut self) -> &mut Cgroups {
        &mut self.cgroups
    }

    /// Events written so far.
    #[inline]
    pub fn events(&self) -> u64 {
        self.written.events()
    }

    /// Records that could not be decoded.
    pub fn damaged(&self) -> u64 {
        self.written.damaged()
    }

    /// Lost events that the chunk at hand reports.
    pub fn lost(&self) -> u64 {
        self.chunk.lost
    }

    /// The rows that follow go to a new chunk.
    pub fn next_chunk(&mut self) {
        self.chunk.number += 1;
        self.chunk.lost = 0;
        self.cgroups.next_chunk(self.chunk.number);
    }

    /// Cgroups to take out of the kernel's set of recorded cgroups, since the last call: they are not wanted, or
    /// removed.
    pub fn take_disallowed(&mut self) -> Vec<u64> {
        self.disallowed.extend(self.cgroups.take_unwanted());
        std::mem::take(&mut self.disallowed)
    }

    /// The same of the hierarchy in which block I/O is charged.
    pub fn take_disallowed_io(&mut self) -> Vec<u64> {
        self.cgroups.take_unwanted_io()
    }

    /// What happens from here on, happens at this time (ns of the boot clock).
    pub fn set_time(&mut self, now: u64) {
        self.cgroups.set_time(now);
        self.processes.retry_lookups(now);
    }

    /// A runtime reported a container.
    pub fn learn(&mut self, info: ContainerInfo) {
        self.cgroups.learn(info);
    }

    /// Decides against containers that no runtime has named in time.
    pub fn check_timeouts(&mut self) {
        self.cgroups.check_timeouts();
    }

    /// Containers are not reported to the runtimes any more.
    pub fn stop_resolving(&mut self) {
        self.cgroups.stop_resolving();
    }

    /// Whether there are updates that must not wait for the next chunk with events.
    pub fn has_updates(&self) -> bool {
        self.cgroups.has_updates()
    }

    /// The updates that go with the chunk at hand, which is handed over now.
    pub fn take_updates(&mut self) -> ContainerUpdates {
        self.cgroups.take_updates()
    }

    /// The chunk was not taken: its updates go with a later one.
    pub fn give_back(&mut self, updates: ContainerUpdates) {
        self.cgroups.give_back(updates);
    }

    /// Adds the arguments of a process that ran before the recording.
    pub fn set_args(&mut self, known: &Arguments) {
        self.processes.set_args(known.pid, known.start, &known.args);
        self.processes.set_first_cwd(known.pid, known.start, &known.cwd);
    }

    /// Lifecycle events were lost: other threads must look for themselves.
    pub fn missed_lifecycle(&self) {
        self.cgroups.missed();
        if let Some(readers) = &self.readers {
            readers.missed();
        }
    }

    /// Replaces what is known of processes by a scan.
    pub fn resync(&mut self, tasks: &[ScannedTask]) {
        self.processes.resync(tasks);
        self.entered.clear();
        self.scope.keep_excluded(&tasks.iter().map(|task| task.info.pid).collect());
    }

    /// Events by container, most first.
    pub fn busiest(&mut self) -> Vec<Busy> {
        self.settle();
        self.cgroups.busiest()
    }

    /// Whether `--container` has let any cgroup in, or was not given.
    pub fn has_matched(&self) -> bool {
        self.cgroups.has_matched()
    }

    /// Whether all files are to be defined again by the kernel side. The call resets it.
    pub fn take_files_due(&mut self) -> bool {
        self.files.take_due()
    }

    /// Whether they should be when it is convenient: paths of known ones may have changed.
    pub fn take_renamed(&mut self) -> bool {
        std::mem::take(&mut self.renamed)
    }

    /// The kernel side defines all files again from here on.
    pub fn files_renewed(&mut self) {
        self.files.renewed();
    }

    /// Brings the counts by cgroup up to date.
    fn settle(&mut self) {
        if let Some(run) = self.written.take_run() {
            self.cgroups.count(run.cgroup, run.events);
        }
    }

    #[inline]
    fn count(&mut self, cgroup: u64) {
        if let Some(run) = self.written.count(cgroup) {
            self.cgroups.count(run.cgroup, run.events);
        }
    }

    /// Writes the row of a record, if it is wanted, and follows the changes of processes and cgroups that it reports.
    #[inline]
    pub fn add(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) {
        if self.processes.has_orphans() {
            self.processes.adopt_orphans(decode::time(bytes));
        }
        let done = match decode::kind(bytes) {
            Some(Kind::Syscall) => self.about_calls(bytes),
            Some(Kind::Fork) => self.fork(builder, bytes),
            Some(Kind::Exec) => self.exec(builder, bytes),
            Some(Kind::Exit) => self.exit(builder, bytes),
            Some(Kind::Rename) => self.rename(builder, bytes),
            Some(kind @ (Kind::CgroupMkdir | Kind::CgroupRmdir | Kind::CgroupAttach)) => {
                self.cgroup(builder, kind, bytes)
            }
            Some(Kind::Block) => self.block(builder, bytes),
            Some(Kind::Net) => self.net(builder, bytes),
            Some(Kind::Signal) => self.signal(builder, bytes),
            Some(Kind::Oom) => self.oom(builder, bytes),
            Some(Kind::Uring) => self.uring(builder, bytes),
            // In the CPUs' own ring buffers, or made by the agent or by readers.
            Some(
                Kind::Switch
                | Kind::ThreadState
                | Kind::Conn
                | Kind::Loss
                | Kind::Clock
                | Kind::Stall
                | Kind::StallOngoing
                | Kind::Sample
                | Kind::SampleHost
                | Kind::SampleDisk
                | Kind::SampleFs,
            )
            | None => None,
        };
        if done.is_none() {
            self.written.add_damaged();
        }
    }

    /// The columns that all kinds share. Returns the table's index.
    #[inline]
    fn common(
        &mut self,
        builder: &mut ChunkBuilder,
        kind: Kind,
        head: &Header,
        uid: impl Into<Option<u32>>,
    ) -> usize {
        if self.processes.has_orphans() {
            self.processes.settle_parent(kind, head);
        }
        let subject = Subject { pid: head.pid, tid: head.tid, cgroup: head.cgroup, uid: uid.into() };
        let task = self.task(builder, subject);
        self.common_of(builder, kind, head, task)
    }

    /// The columns that all kinds share, with this row of the task dictionary. Returns the table's index.
    #[inline]
    fn common_of(&mut self, builder: &mut ChunkBuilder, kind: Kind, head: &Header, task: u32) -> usize {
        // An event that the agent makes has the time of its making, ahead of the ring buffers.
        if kind.decl().ring != Ring::Agent && self.written.is_late(head.time) {
            let late = Header { flags: head.flags | flags::LATE, ..*head };
            return self.common_columns(builder, kind, &late, task);
        }
        self.common_columns(builder, kind, head, task)
    }

    /// The same for an event that is not late, whatever its time.
    #[inline]
    fn common_columns(&mut self, builder: &mut ChunkBuilder, kind: Kind, head: &Header, task: u32) -> usize {
        let index = self.chunk.index.event(kind);
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "time"), head.time);
        table.push_u64(col!(Syscall, "cpu"), u64::from(head.cpu));
        table.push_ref(col!(Syscall, "task"), task);
        table.push_u64(col!(Syscall, "flags"), u64::from(head.flags));
        index
    }

    /// The row of the task dictionary.
    #[inline]
    fn task(&mut self, builder: &mut ChunkBuilder, subject: Subject) -> u32 {
        let mut chunk = self.chunk.dictionaries(builder);
        self.processes.task_row(&mut chunk, &mut self.cgroups, subject)
    }

    /// The rows of the file dictionary for what a call's descriptors stand for.
    #[inline]
    fn file_rows(&mut self, builder: &mut ChunkBuilder, files: [u64; 2]) -> [u32; 2] {
        let mut chunk = self.chunk.dictionaries(builder);
        files.map(|id| self.files.row(&mut chunk, id))
    }

    /// The same for a call that the recording may not have seen from its entry on: what has no id may have a link.
    fn linked_rows(&mut self, builder: &mut ChunkBuilder, files: [u64; 2], links: &[Link; 2]) -> [u32; 2] {
        let mut chunk = self.chunk.dictionaries(builder);
        [0, 1].map(|slot| match files[slot] {
            0 => self.files.row_of_link(&mut chunk, &links[slot]),
            id => self.files.row(&mut chunk, id),
        })
    }

    /// The row of the cgroup dictionary.
    #[inline]
    fn cgroup_row(&mut self, builder: &mut ChunkBuilder, id: u64) -> u32 {
        let mut chunk = self.chunk.dictionaries(builder);
        self.cgroups.row(&mut chunk, id)
    }

    /// An id of a process or thread in this cgroup, for a column of an event; 0 if it is hidden.
    fn shown_id(&mut self, cgroup: u64, id: u32) -> u64 {
        if self.cgroups.shown(cgroup) == Shown::Nothing { 0 } else { u64::from(id) }
    }

    /// Whether events of this kind of this cgroup are written.
    #[inline]
    fn wants_cgroup(&mut self, kind: Kind, cgroup: u64) -> bool {
        self.scope.has(kind) && self.cgroups.wants(cgroup)
    }

    /// Whether an event of this subject is written, where the kernel side does not select by process.
    fn wants(&mut self, kind: Kind, head: &Header) -> bool {
        self.scope.has(kind) && self.scope.has_process(head.pid) && self.cgroups.wants(head.cgroup)
    }

    /// Whether an event of two parties is written: one of them has to be recorded.
    fn wants_either(&mut self, kind: Kind, one: Party, other: Party) -> bool {
        let in_scope = (self.scope.has_process(one.pid), self.scope.has_process(other.pid));
        self.scope.has(kind)
            && (in_scope.0 && self.cgroups.wants(one.cgroup)
                || in_scope.1 && self.cgroups.wants(other.cgroup))
    }
}
