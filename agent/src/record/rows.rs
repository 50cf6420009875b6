//! Records to rows: who it was is looked up, then every column of the kind gets its value.

use std::sync::Arc;

use agent_ebpf::kinds::{Abi, Kind, Ring, syscall_key};
use agent_ebpf::records::{Header, flags};
use agent_ebpf::spec::{ABIS, NUMBERS};
use capture_format::{ChunkBuilder, Schema, StrId};

use super::cgroups::Cgroups;
use super::columns::{Dictionaries, TableIndex};
use super::decode;
use super::processes::{Processes, comm};
use super::users::Users;
use crate::kernel::{Lost, ScannedTask};
use crate::model::column;
use crate::syscalls;

/// What of a syscall record goes into the file.
#[derive(Clone, Copy, Debug)]
struct Stored {
    /// How many arguments it has.
    args: u8,
    /// What of each is kept.
    forms: [Form; 6],
    /// How many of them are strings.
    strings: u8,
    /// `execve` or `execveat`.
    exec: bool,
}

/// What of an argument register is kept: [`syscalls::stored`], worked out in advance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// All of it.
    Whole,
    /// The lower half.
    Low,
    /// The lower half, sign-extended.
    SignedLow,
    /// Whether it is zero.
    Presence,
    /// Nothing.
    Nothing,
}

impl Form {
    const ALL: [Self; 5] = [Self::Nothing, Self::Presence, Self::Whole, Self::Low, Self::SignedLow];

    #[inline]
    fn apply(self, register: u64) -> u64 {
        match self {
            Self::Whole => register,
            Self::Low => register & 0xffff_ffff,
            Self::SignedLow => register as u32 as i32 as i64 as u64,
            Self::Presence => u64::from(register != 0),
            Self::Nothing => 0,
        }
    }

    /// The form that agrees with [`syscalls::stored`] for this type.
    fn of(ty: syscalls::ArgType, abi: Abi) -> Self {
        const PROBES: [u64; 4] = [0, 1, 0xffff_ffff, 0xdead_beef_8000_0001];
        let agrees = |form: &Self| PROBES.iter().all(|&r| form.apply(r) == syscalls::stored(ty, abi, r));
        Self::ALL.into_iter().find(agrees).unwrap_or(Self::Whole)
    }
}

/// Which events are written. The others still tell who is who.
#[derive(Clone, Copy, Debug)]
pub struct Wanted(u32);

impl Wanted {
    /// These kinds.
    pub fn new(kinds: &[Kind]) -> Self {
        Self(kinds.iter().fold(0, |bits, kind| bits | 1 << *kind as u32))
    }

    /// Whether this kind is written.
    #[inline]
    pub fn has(self, kind: Kind) -> bool {
        self.0 & (1 << kind as u32) != 0
    }
}

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
    wanted: Wanted,
    /// The process tree that is recorded, if there is one; grows by forks.
    tree: Option<rustc_hash::FxHashSet<u32>>,
    number: u64,
    last_time: u64,
    /// Events since the last report: by cgroup, merged while it stays the same.
    run: (u64, u64),
    /// Events written.
    pub events: u64,
    /// Records that could not be understood.
    pub damaged: u64,
    orders: Vec<Order>,
}

macro_rules! col {
    ($kind:ident, $name:literal) => {{
        const COLUMN: usize = column(Kind::$kind, $name) as usize;
        COLUMN
    }};
}

impl Rows {
    /// For files of this schema.
    pub fn new(
        schema: &Arc<Schema>,
        processes: Processes,
        cgroups: Cgroups,
        wanted: Wanted,
        tree_root: Option<u32>,
    ) -> Self {
        Self {
            processes,
            cgroups,
            users: Users::of_host(),
            index: TableIndex::new(schema),
            stored: stored_calls(),
            wanted,
            tree: tree_root.map(|pid| std::iter::once(pid).collect()),
            number: 1,
            last_time: 0,
            run: (u64::MAX, 0),
            events: 0,
            damaged: 0,
            orders: Vec::new(),
        }
    }

    /// The rows that follow go to a new chunk.
    pub fn next_chunk(&mut self) {
        self.number += 1;
    }

    /// What is to be done in the kernel, since the last call.
    pub fn take_orders(&mut self) -> Vec<Order> {
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
            // Made by the agent, never by the kernel side.
            Some(Kind::Loss | Kind::Clock) | None => None,
        };
        if done.is_none() {
            self.damaged += 1;
        }
    }

    /// The columns that all kinds share. Returns the table's index.
    #[inline]
    fn common(&mut self, builder: &mut ChunkBuilder, kind: Kind, head: &Header, uid: u32) -> usize {
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        let who = (head.pid, head.tid);
        let task =
            self.processes.task_row(&mut chunk, &mut self.cgroups, &mut self.users, who, head.cgroup, uid);
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

    #[inline]
    fn syscall(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let mut record = decode::syscall(bytes)?;
        let call = &mut record.call;
        let stored = self.stored.get(slot(call.key)).copied().unwrap_or(UNKNOWN_CALL);
        let exec_path =
            if stored.exec && call.ret == 0 { self.processes.take_exec_path(call.head.tid) } else { None };
        if !self.wanted.has(Kind::Syscall) || !self.cgroups.wants(call.head.cgroup) {
            return Some(());
        }
        let mut strings = record.strings;
        if let Some(exec_path) = &exec_path {
            strings[0] = &exec_path.path;
            call.head.flags = call.head.flags & !(flags::STR0_UNREAD | flags::STR0_CUT) | exec_path.bits;
        }
        self.count(call.head.cgroup);
        let index = self.common(builder, Kind::Syscall, &call.head, call.uid);
        let mut ids = [StrId::default(); 2];
        for (id, bytes) in ids.iter_mut().zip(&strings[..usize::from(stored.strings)]) {
            *id = builder.intern(bytes);
        }
        let mut args = record.args;
        for (arg, form) in args.iter_mut().zip(stored.forms) {
            *arg = form.apply(*arg);
        }
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), call.dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(call.key));
        table.push_i64(col!(Syscall, "ret"), call.ret);
        table.push_list_u64(col!(Syscall, "args"), &args[..usize::from(stored.args)]);
        table.push_list_bytes(col!(Syscall, "strs"), &ids[..usize::from(stored.strings)]);
        table.end_row();
        Some(())
    }

    /// Whether a lifecycle event of this subject is written.
    fn wants(&mut self, kind: Kind, head: &Header) -> bool {
        self.wanted.has(kind)
            && self.tree.as_ref().is_none_or(|tree| tree.contains(&head.pid))
            && self.cgroups.wants(head.cgroup)
    }

    fn fork(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let fork = decode::fork(bytes)?;
        self.processes.fork(&fork);
        if let Some(tree) = &mut self.tree
            && fork.tree != 0
            && fork.child_pid != fork.head.pid
        {
            tree.insert(fork.child_pid);
        }
        let child_wanted = self.cgroups.wants(fork.child_cgroup);
        if !self.wanted.has(Kind::Fork)
            || self.tree.is_some() && fork.tree == 0
            || !(child_wanted || self.cgroups.wants(fork.head.cgroup))
        {
            return Some(());
        }
        self.count(fork.head.cgroup);
        let index = self.common(builder, Kind::Fork, &fork.head, fork.uid);
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        let child_cgroup = self.cgroups.row(&mut chunk, fork.child_cgroup);
        let table = builder.table_at(index);
        table.push_u64(col!(Fork, "child_pid"), u64::from(fork.child_pid));
        table.push_u64(col!(Fork, "child_tid"), u64::from(fork.child_tid));
        table.push_u64(col!(Fork, "thread"), u64::from(fork.child_pid == fork.head.pid));
        table.push_ref(col!(Fork, "child_cgroup"), child_cgroup);
        table.end_row();
        Some(())
    }

    fn exec(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record = decode::exec(bytes)?;
        let exec = record.fixed;
        let old_comm = self.processes.exec(&exec, record.path, record.args);
        if !self.wants(Kind::Exec, &exec.head) {
            return Some(());
        }
        self.count(exec.head.cgroup);
        let index = self.common(builder, Kind::Exec, &exec.head, exec.uid);
        let path = builder.intern(record.path);
        let args = builder.intern(&self.processes.args_of(exec.head.tid));
        let old_comm = builder.intern(&old_comm);
        let table = builder.table_at(index);
        table.push_bytes(col!(Exec, "path"), path);
        table.push_bytes(col!(Exec, "args"), args);
        table.push_u64(col!(Exec, "old_tid"), u64::from(exec.old_tid));
        table.push_bytes(col!(Exec, "old_comm"), old_comm);
        table.end_row();
        Some(())
    }

    fn exit(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let exit = decode::exit(bytes)?;
        if self.wants(Kind::Exit, &exit.head) {
            self.count(exit.head.cgroup);
            let index = self.common(builder, Kind::Exit, &exit.head, exit.uid);
            let table = builder.table_at(index);
            table.push_i64(col!(Exit, "status"), i64::from(exit.code >> 8 & 0xff));
            table.push_u64(col!(Exit, "signal"), u64::from(exit.code & 0x7f));
            table.push_u64(col!(Exit, "core"), u64::from(exit.code >> 7 & 1));
            table.push_u64(col!(Exit, "process"), u64::from(exit.process));
            table.end_row();
        }
        if exit.process != 0
            && let Some(tree) = &mut self.tree
        {
            // Its id may soon be somebody else's.
            tree.remove(&exit.head.pid);
        }
        self.processes.bury(exit.head.tid);
        Some(())
    }

    fn rename(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let rename = decode::rename(bytes)?;
        let head = rename.head;
        self.processes.rename(head.pid, head.tid, &rename.comm);
        if !self.wants(Kind::Rename, &head) {
            return Some(());
        }
        self.count(head.cgroup);
        let index = self.common(builder, Kind::Rename, &head, rename.uid);
        let name = builder.intern(comm(&rename.comm));
        let table = builder.table_at(index);
        table.push_bytes(col!(Rename, "comm"), name);
        table.end_row();
        Some(())
    }

    fn cgroup(&mut self, builder: &mut ChunkBuilder, kind: Kind, bytes: &[u8]) -> Option<()> {
        let record = decode::cgroup(bytes)?;
        if kind == Kind::CgroupMkdir && !self.cgroups.mkdir(record.id, record.head.time, record.path) {
            self.orders.push(Order::Forget(record.id));
        }
        let wanted = self.wanted.has(kind)
            && self
                .tree
                .as_ref()
                .is_none_or(|tree| tree.contains(&record.head.pid) || tree.contains(&record.moved.0))
            && (self.cgroups.wants(record.id) || self.cgroups.wants(record.head.cgroup));
        if wanted {
            self.count(record.id);
            let index = self.common(builder, kind, &record.head, record.uid);
            let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
            let row = self.cgroups.row(&mut chunk, record.id);
            let table = builder.table_at(index);
            table.push_ref(col!(CgroupMkdir, "cgroup"), row);
            if kind == Kind::CgroupAttach {
                table.push_u64(col!(CgroupAttach, "moved_pid"), u64::from(record.moved.0));
                table.push_u64(col!(CgroupAttach, "moved_tid"), u64::from(record.moved.1));
                table.push_u64(col!(CgroupAttach, "threadgroup"), u64::from(record.threadgroup));
            }
            table.end_row();
        }
        if kind == Kind::CgroupRmdir && self.cgroups.rmdir(record.id) {
            self.orders.push(Order::Forget(record.id));
        }
        Some(())
    }

    /// Writes the calls that the scan at the end found threads in.
    pub fn unfinished(&mut self, builder: &mut ChunkBuilder, task: &ScannedTask, now: u64) {
        let info = &task.info;
        // Calls may have begun while the hooks were taken out.
        if info.call == u32::MAX
            || info.call_start > now
            || !self.wanted.has(Kind::Syscall)
            || !self.cgroups.wants(info.cgroup)
        {
            return;
        }
        let mut bits = flags::UNFINISHED | flags::AT_END;
        let mut dur = 0;
        if info.call_start == 0 {
            bits |= flags::START_UNKNOWN;
        } else {
            dur = now.saturating_sub(info.call_start);
        }
        let stored = self.stored.get(slot(info.call)).copied().unwrap_or(UNKNOWN_CALL);
        if stored.strings > 0 {
            bits |= flags::STR0_UNREAD;
        }
        if stored.strings > 1 {
            bits |= flags::STR1_UNREAD;
        }
        let head = Header {
            time: now,
            cgroup: info.cgroup,
            pid: info.pid,
            tid: info.tid,
            flags: bits,
            kind: Kind::Syscall as u8,
            ..Header::default()
        };
        self.count(info.cgroup);
        let index = self.common(builder, Kind::Syscall, &head, info.uid);
        let mut args = info.args;
        for (arg, form) in args.iter_mut().zip(stored.forms) {
            *arg = form.apply(*arg);
        }
        let empty = [StrId::default(); 2];
        let table = builder.table_at(index);
        table.push_u64(col!(Syscall, "dur"), dur);
        table.push_u64(col!(Syscall, "nr"), u64::from(info.call));
        table.push_i64(col!(Syscall, "ret"), 0);
        table.push_list_u64(col!(Syscall, "args"), &args[..usize::from(stored.args)]);
        table.push_list_bytes(col!(Syscall, "strs"), &empty[..usize::from(stored.strings)]);
        table.end_row();
    }

    /// Whether a loss concerns what is recorded.
    pub fn concerns(&mut self, lost: &Lost) -> bool {
        lost.cgroup.is_none_or(|id| self.cgroups.wants(id))
    }

    /// Writes a loss.
    pub fn loss(&mut self, builder: &mut ChunkBuilder, from: u64, to: u64, lost: &Lost) {
        let head = Header {
            time: to,
            cgroup: lost.cgroup.unwrap_or(0),
            cpu: lost.cpu.unwrap_or(u16::MAX),
            kind: Kind::Loss as u8,
            ..Header::default()
        };
        let index = self.common(builder, Kind::Loss, &head, 0);
        let mut chunk = Dictionaries { builder, number: self.number, index: self.index };
        let cgroup = self.cgroups.row(&mut chunk, lost.cgroup.unwrap_or(0));
        let stage = builder.intern(lost.stage.as_bytes());
        let table = builder.table_at(index);
        table.push_u64(col!(Loss, "from"), from);
        table.push_u64(col!(Loss, "kind"), lost.kind.map_or(0, |kind| kind as u64));
        table.push_bytes(col!(Loss, "stage"), stage);
        table.push_ref(col!(Loss, "cgroup"), cgroup);
        table.push_u64(col!(Loss, "count"), lost.count);
        table.end_row();
    }

    /// Writes how boot clock and wall clock lie to each other.
    pub fn clock(&mut self, builder: &mut ChunkBuilder, time: u64, wall_offset: i64, step: i64) {
        let head = Header { time, kind: Kind::Clock as u8, ..Header::default() };
        let index = self.common(builder, Kind::Clock, &head, 0);
        let table = builder.table_at(index);
        table.push_i64(col!(Clock, "wall_offset"), wall_offset);
        table.push_i64(col!(Clock, "step"), step);
        table.end_row();
    }
}

/// A call that the table does not know: its registers are all there is.
const UNKNOWN_CALL: Stored = Stored { args: 6, forms: [Form::Whole; 6], strings: 0, exec: false };

#[inline]
fn slot(key: u32) -> usize {
    let nr = key & 0xffff;
    if nr >= NUMBERS { usize::MAX } else { ((key >> 16) * NUMBERS + nr) as usize }
}

fn stored_calls() -> Vec<Stored> {
    let mut stored = vec![UNKNOWN_CALL; (ABIS * NUMBERS) as usize];
    for call in syscalls::table().iter() {
        let mut forms = [Form::Nothing; 6];
        for (form, arg) in forms.iter_mut().zip(&call.args) {
            *form = Form::of(arg.ty, call.abi);
        }
        stored[slot(syscall_key(call.abi, call.nr))] = Stored {
            args: call.args.len().min(6) as u8,
            forms,
            strings: syscalls::string_positions(&call.args).len() as u8,
            exec: matches!(call.name, "execve" | "execveat"),
        };
    }
    stored
}
