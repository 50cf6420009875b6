//! Rows of the task and process dictionaries.

use agent_ebpf::records::details::{ProcessDetails, ThreadDetails, exe};
use capture_format::StrId;

use super::ancestors::ANCESTORS_MAX;
use super::{Processes, RowKey, Subject, UID_UNKNOWN};
use crate::record::cgroups::Cgroups;
use crate::record::columns::{Dictionaries, process as p, task as t};
use crate::record::dictionary_rows::CachedRow;
use ktape_reader::model::dictionaries::{PROCESS, Shown, shown_from};

/// Rows of the process dictionary in a chunk from which on no more rows of ancestors are written, so that each event adds only
/// a few: one whose ancestors change all the time would add up to 64 more.
const ROWS_WITH_ANCESTORS: u32 = 1 << 15;

impl Processes {
    /// The row of the task dictionary for a thread, written if this chunk has none yet.
    #[inline]
    pub fn task_row(&mut self, chunk: &mut Dictionaries<'_>, cgroups: &mut Cgroups, subject: Subject) -> u32 {
        let known = || self.threads.get(&subject.tid).and_then(|thread| thread.uid);
        let uid = subject.uid.or_else(known).unwrap_or(UID_UNKNOWN);
        if let Some(thread) = self.threads.get(&subject.tid)
            && thread.row.chunk == chunk.number
        {
            let process = &self.processes[thread.process as usize];
            let key = RowKey { cgroup: subject.cgroup, uid, version: process.version };
            if thread.row_key == key && process.pid == subject.pid && process.pname_as_of == self.names {
                return thread.row.row;
            }
        }
        self.new_task_row(chunk, cgroups, subject, uid)
    }

    #[cold]
    fn new_task_row(
        &mut self,
        chunk: &mut Dictionaries<'_>,
        cgroups: &mut Cgroups,
        subject: Subject,
        uid: u32,
    ) -> u32 {
        let Subject { pid, tid, cgroup, .. } = subject;
        let index = self.thread_index(pid, tid);
        self.refresh_parent_name(index);
        self.refresh_ancestors(index);
        let key = RowKey { cgroup, uid, version: self.processes[index as usize].version };
        if let Some(thread) = self.threads.get(&tid)
            && thread.row.chunk == chunk.number
            && thread.row_key == key
        {
            // It was the name of another process that changed.
            return thread.row.row;
        }
        let shown = cgroups.shown(cgroup);
        let row = if shown == Shown::Nothing {
            self.hidden_row(chunk, cgroups, cgroup)
        } else {
            let thread = self.threads.get(&tid);
            let name = thread.map_or(&self.empty, |thread| &thread.name).clone();
            let details = thread.map(|thread| thread.details).unwrap_or_default();
            let is_hosts = tid != 0 && cgroups.is_host(cgroup);
            let cells = TaskCells { name: &name, tid, uid, details, is_hosts };
            let process = self.process_row(chunk, cgroups, index, shown);
            let cgroup = cgroups.row(chunk, cgroup);
            self.write_task(chunk, cells, process, cgroup)
        };
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.row = CachedRow { chunk: chunk.number, row };
            thread.row_key = key;
            thread.uid = (uid != UID_UNKNOWN).then_some(uid);
        }
        row
    }

    /// The row that stands for all hidden threads.
    fn hidden_row(&mut self, chunk: &mut Dictionaries<'_>, cgroups: &mut Cgroups, cgroup: u64) -> u32 {
        if let Some(row) = self.hidden.of(chunk.number) {
            return row;
        }
        let process = write_process(chunk, &ProcessCells::of(0), None);
        let cells = TaskCells::default();
        let cgroup = cgroups.row(chunk, cgroup);
        let row = self.write_task(chunk, cells, process, cgroup);
        self.hidden = CachedRow { chunk: chunk.number, row };
        row
    }

    /// A row of the task dictionary with nothing but ids, for a thread that is not recorded.
    pub fn nameless_row(
        &mut self,
        chunk: &mut Dictionaries<'_>,
        cgroups: &mut Cgroups,
        subject: Subject,
    ) -> u32 {
        if cgroups.shown(subject.cgroup) == Shown::Nothing {
            return self.hidden_row(chunk, cgroups, subject.cgroup);
        }
        let cgroup = cgroups.row(chunk, subject.cgroup);
        let process = write_process(chunk, &ProcessCells::of(subject.pid), None);
        let cells = TaskCells { tid: subject.tid, uid: UID_UNKNOWN, ..TaskCells::default() };
        self.write_task(chunk, cells, process, cgroup)
    }

    fn write_task(
        &self,
        chunk: &mut Dictionaries<'_>,
        cells: TaskCells<'_>,
        process: u32,
        cgroup: u32,
    ) -> u32 {
        let TaskCells { name, tid, uid, details, is_hosts } = cells;
        let name = chunk.builder.intern(name);
        // A container has users of its own.
        let is_known = details.vtid != 0;
        let mut named = |is_named, name| chunk.builder.intern(if is_named { name } else { &b""[..] });
        let user = named(is_hosts, self.users.name(uid));
        let group = named(is_hosts && is_known, self.users.group(details.gid));
        let login = named(is_hosts && is_known, self.users.name(details.loginuid));
        let table = chunk.builder.table_at(chunk.index.task);
        table.push_ref(t::PROCESS, process);
        table.push_u64(t::TID, u64::from(tid));
        table.push_bytes(t::NAME, name);
        table.push_u64(t::UID, u64::from(uid));
        table.push_bytes(t::USER, user);
        table.push_ref(t::CGROUP, cgroup);
        table.push_u64(t::VTID, u64::from(details.vtid));
        table.push_u64(t::GID, u64::from(details.gid));
        table.push_bytes(t::GROUP, group);
        table.push_u64(t::LOGINUID, u64::from(details.loginuid));
        table.push_bytes(t::LOGIN, login);
        table.push_u64(t::CAP_EFFECTIVE, details.cap_effective);
        table.push_u64(t::CAP_PERMITTED, details.cap_permitted);
        table.push_u64(t::CAP_INHERITABLE, details.cap_inheritable);
        table.end_row()
    }

    /// The row of a process. It and its ancestors are written, as far as this chunk has no rows of them.
    fn process_row(
        &mut self,
        chunk: &mut Dictionaries<'_>,
        cgroups: &mut Cgroups,
        index: u32,
        shown: Shown,
    ) -> u32 {
        let rows = chunk.builder.rows_at(chunk.index.process);
        let length = if rows < ROWS_WITH_ANCESTORS { ANCESTORS_MAX + 1 } else { 1 };
        let mut missing = Vec::new();
        let mut next = Some((index, shown));
        let mut row = None;
        while let Some((index, shown)) = next.filter(|_| missing.len() < length) {
            row = self.processes[index as usize].row.of(self.row_key(chunk.number, index, shown));
            if row.is_some() {
                break;
            }
            missing.push((index, shown));
            let parent_shown = self.parent_shown(cgroups, index);
            let parent = self.parent_index(index).filter(|_| parent_shown >= Shown::Name);
            next = parent.map(|parent| (parent, parent_shown));
        }
        for process in missing.into_iter().rev() {
            row = Some(self.new_process_row(chunk, cgroups, process, row));
        }
        row.unwrap_or_default()
    }

    /// What a row of a process depends on. The version is part of the number, so that a changed process gets a new row.
    fn row_key(&self, chunk: u64, index: u32, shown: Shown) -> u64 {
        chunk << 34 | u64::from(self.processes[index as usize].version) << 2 | shown as u64
    }

    fn new_process_row(
        &mut self,
        chunk: &mut Dictionaries<'_>,
        cgroups: &mut Cgroups,
        (index, shown): (u32, Shown),
        parent: Option<u32>,
    ) -> u32 {
        let is_parent_shown = self.parent_shown(cgroups, index) >= Shown::Name;
        let key = self.row_key(chunk.number, index, shown);
        let process = &mut self.processes[index as usize];
        let (ppid, pname, parent_cgroup) = if is_parent_shown {
            (process.ppid, &process.pname[..], process.parent_cgroup)
        } else {
            (0, &b""[..], None)
        };
        let parent_chain = parent_cgroup.map(|cgroup| cgroups.parent_chain(cgroup)).unwrap_or_default();
        let strings = [
            (p::PNAME, pname),
            (p::NAME, &process.name),
            (p::EXE, &process.exe),
            (p::ARGS, &process.args),
            (p::PARENT_CHAIN, parent_chain.as_bytes()),
            (p::CWD, &process.cwd),
        ];
        let strings = strings.map(|(column, text)| {
            let is_shown = shown >= shown_from(PROCESS, column);
            if is_shown { text } else { &b""[..] }
        });
        let numbers = [u64::from(process.pid), process.start, u64::from(ppid)];
        let cells = ProcessCells { numbers, strings, details: process.details };
        process.row = CachedRow { chunk: key, row: write_process(chunk, &cells, parent) };
        process.row.row
    }
}

/// The columns of a thread's row that are not references.
#[derive(Clone, Copy, Default)]
struct TaskCells<'a> {
    name: &'a [u8],
    tid: u32,
    uid: u32,
    details: ThreadDetails,
    /// Whether it runs on the host, whose users have names.
    is_hosts: bool,
}

/// The columns of a process's row that are not references.
#[derive(Clone, Copy, Default)]
struct ProcessCells<'a> {
    /// Process id, start and parent's id.
    numbers: [u64; 3],
    /// The parent's name, its own name, executable, arguments, the parent's containers and its working directory.
    strings: [&'a [u8]; 6],
    details: ProcessDetails,
}

impl ProcessCells<'_> {
    /// A process of which only the id is known.
    fn of(pid: u32) -> Self {
        Self { numbers: [u64::from(pid), 0, 0], ..Self::default() }
    }
}

/// Writes a row of the process dictionary, with the parent's row, if it has one.
fn write_process(chunk: &mut Dictionaries<'_>, cells: &ProcessCells<'_>, parent: Option<u32>) -> u32 {
    let ProcessCells { numbers: [pid, start, ppid], strings, details } = *cells;
    let strings: [StrId; 6] = strings.map(|text| chunk.builder.intern(text));
    let own = chunk.builder.rows_at(chunk.index.process);
    let table = chunk.builder.table_at(chunk.index.process);
    table.push_u64(p::PID, pid);
    table.push_u64(p::START, start);
    table.push_u64(p::PPID, ppid);
    table.push_bytes(p::PNAME, strings[0]);
    table.push_bytes(p::NAME, strings[1]);
    table.push_bytes(p::EXE, strings[2]);
    table.push_bytes(p::ARGS, strings[3]);
    table.push_bytes(p::PARENT_CHAIN, strings[4]);
    table.push_bytes(p::CWD, strings[5]);
    table.push_ref(p::PARENT, parent.unwrap_or(own));
    table.push_u64(p::VPID, u64::from(details.vpid));
    table.push_u64(p::SID, u64::from(details.sid));
    table.push_u64(p::PGID, u64::from(details.pgid));
    table.push_u64(p::VPGID, u64::from(details.vpgid));
    table.push_u64(p::TTY, u64::from(details.tty));
    table.push_u64(p::EXE_INO, details.exe_ino);
    table.push_u64(p::EXE_UPPER_LAYER, u64::from(details.exe & exe::UPPER_LAYER != 0));
    table.push_u64(p::EXE_MEMFD, u64::from(details.exe & exe::MEMFD != 0));
    table.end_row()
}
