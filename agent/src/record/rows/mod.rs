//! Records to rows: who it was is looked up, then every column of the kind gets its value.

mod block;
mod killing;
mod lifecycle;
mod meta;
mod net;
mod sample;
mod sched;
mod stall;
mod syscall;

use std::sync::Arc;

use agent_ebpf::records::Header;
use capture_format::{ChunkBuilder, Schema};
use events::flags;
use events::{Kind, KindSet, Ring};

use super::cgroups::Cgroups;
use super::columns::{Dictionaries, TableIndex};
use super::decode;
use super::processes::Processes;
use super::users::Users;
use crate::agent_events::AgentEvent;
use crate::host_root::HostRoot;
use crate::kernel::RequestNames;
use block::BlockNames;
use syscall::{Stored, stored_calls};

/// The place of a column, found when this is compiled.
macro_rules! col {
    ($kind:ident, $name:literal) => {{
        const COLUMN: usize = ktape_reader::model::column(::events::Kind::$kind, $name) as usize;
        COLUMN
    }};
}
use col;

/// What the writer of rows wants done in the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A cgroup is not wanted, or gone: take it out of the allow-set.
    Forget(u64),
}

/// Writes the rows of one chunk after another.
pub struct Rows {
    /// Threads and processes.
    pub processes: Processes,
    /// Cgroups.
    pub cgroups: Cgroups,
    users: Users,
    index: TableIndex,
    stored: Vec<Stored>,
    block: BlockNames,
    /// Which events are written. The others still name processes and cgroups.
    wanted: KindSet,
    /// The process tree that is recorded, if there is one; grows by forks.
    tree: Option<rustc_hash::FxHashSet<u32>>,
    number: u64,
    last_time: u64,
    /// Events since the last report: by cgroup, merged while it stays the same.
    run: (u64, u64),
    /// Events written.
    pub events: u64,
    /// Lost events that the chunk at hand tells of.
    pub lost_told: u64,
    /// Records that could not be understood.
    pub damaged: u64,
    orders: Vec<Order>,
}

impl Rows {
    /// For files of this schema.
    pub fn new(
        schema: &Arc<Schema>,
        processes: Processes,
        cgroups: Cgroups,
        wanted: KindSet,
        tree_root: Option<u32>,
    ) -> Self {
        Self {
            processes,
            cgroups,
            users: Users::default(),
            index: TableIndex::new(schema),
            stored: stored_calls(),
            block: BlockNames::default(),
            wanted,
            tree: tree_root.map(|pid| std::iter::once(pid).collect()),
            number: 1,
            last_time: 0,
            run: (u64::MAX, 0),
            events: 0,
            lost_told: 0,
            damaged: 0,
            orders: Vec::new(),
        }
    }

    /// Users have the names that they have on this host.
    pub fn name_users(&mut self, host: &HostRoot) {
        self.users = Users::of_host(host);
    }

    /// Names of block requests are those of this kernel.
    pub fn name_requests(&mut self, names: &RequestNames) {
        self.block = BlockNames::new(names);
    }

    /// The rows that follow go to a new chunk.
    pub fn next_chunk(&mut self) {
        self.number += 1;
        self.lost_told = 0;
        self.cgroups.next_chunk(self.number);
    }

    /// What is to be done in the kernel, since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
        self.orders.extend(self.cgroups.take_unwanted().into_iter().map(Order::Forget));
        std::mem::take(&mut self.orders)
    }

    /// Brings the counts by cgroup up to date.
    pub fn settle(&mut self) {
        let (cgroup, events) = std::mem::replace(&mut self.run, (u64::MAX, 0));
        if events > 0 {
            self.cgroups.count(cgroup, events);
        }
    }

    #[inline]
    fn count(&mut self, cgroup: u64) {
        self.events += 1;
        if self.run.0 != cgroup {
            self.settle();
            self.run.0 = cgroup;
        }
        self.run.1 += 1;
    }

    /// Writes what a record tells.
    #[inline]
    pub fn add(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) {
        let done = match decode::kind(bytes) {
            Some(Kind::Syscall) => self.syscall(builder, bytes),
            Some(Kind::Fork) => self.fork(builder, bytes),
            Some(Kind::Exec) => self.exec(builder, bytes),
            Some(Kind::Exit) => self.exit(builder, bytes),
            Some(Kind::Rename) => self.rename(builder, bytes),
            Some(kind @ (Kind::CgroupMkdir | Kind::CgroupRmdir | Kind::CgroupAttach)) => {
                self.cgroup(builder, kind, bytes)
            }
            Some(Kind::Switch) => self.switch(builder, bytes),
            Some(Kind::Block) => self.block(builder, bytes),
            Some(Kind::Net) => self.net(builder, bytes),
            Some(Kind::Signal) => self.signal(builder, bytes),
            Some(Kind::Oom) => self.oom(builder, bytes),
            // AgentEvent by the agent, never by the kernel side.
            Some(
                Kind::Loss
                | Kind::Clock
                | Kind::Stall
                | Kind::Sample
                | Kind::SampleHost
                | Kind::SampleDisk
                | Kind::SampleFs,
            )
            | None => None,
        };
        if done.is_none() {
            self.damaged += 1;
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
        let task = self.task(builder, (head.pid, head.tid), head.cgroup, uid.into());
        let mut bits = head.flags;
        // What the agent makes itself bears the time of its making, ahead of the rings.
        if kind.decl().ring != Ring::Agent {
            if head.time < self.last_time {
                bits |= flags::LATE;
            } else {
                self.last_time = head.time;
            }
        }
        let index = self.index.event(kind);
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "time"), head.time);
        table.push_u64(col!(Syscall, "cpu"), u64::from(head.cpu));
        table.push_ref(col!(Syscall, "task"), task);
        table.push_u64(col!(Syscall, "flags"), u64::from(bits));
        index
    }

    /// The row of the task dictionary of a thread, by process and thread id. Its user is the last one that was
    /// told, if the record does not say.
    #[inline]
    fn task(&mut self, builder: &mut ChunkBuilder, who: (u32, u32), cgroup: u64, uid: Option<u32>) -> u32 {
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        self.processes.task_row(&mut chunk, &mut self.cgroups, &mut self.users, who, cgroup, uid)
    }

    /// The row of the cgroup dictionary.
    #[inline]
    fn cgroup_row(&mut self, builder: &mut ChunkBuilder, id: u64) -> u32 {
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        self.cgroups.row(&mut chunk, id)
    }

    /// Whether an event of two parties is written: one of them has to be recorded.
    fn wants_either(&mut self, kind: Kind, one: (u32, u64), other: (u32, u64)) -> bool {
        let in_tree = |pid: u32| self.tree.as_ref().is_none_or(|tree| tree.contains(&pid));
        let tree = (in_tree(one.0), in_tree(other.0));
        self.wanted.contains(kind)
            && (tree.0 && self.cgroups.wants(one.1) || tree.1 && self.cgroups.wants(other.1))
    }

    /// Writes what the agent itself has found out.
    pub fn made(&mut self, builder: &mut ChunkBuilder, made: &AgentEvent) {
        if self.wanted.contains(made.kind()) {
            match made {
                AgentEvent::Sample(row) => self.sample(builder, row),
                AgentEvent::SampleHost(row) => self.sample_host(builder, row),
                AgentEvent::SampleDisk(row) => self.sample_disk(builder, row),
                AgentEvent::SampleFs(row) => self.sample_fs(builder, row),
                AgentEvent::Stall(stall) => self.stall(builder, stall),
            }
        }
    }

    /// Whether a lifecycle event of this subject is written.
    fn wants(&mut self, kind: Kind, head: &Header) -> bool {
        self.wanted.contains(kind)
            && self.tree.as_ref().is_none_or(|tree| tree.contains(&head.pid))
            && self.cgroups.wants(head.cgroup)
    }
}
