//! Processes and threads by id, as of the time that the drain has reached.
//!
//! Filled from the scan at start, kept up to date by lifecycle events in time order. Threads that have exited stay
//! known for a while, since events may come late.

mod ancestors;
mod details;
mod orphans;
mod parents;
mod rows;

use std::collections::VecDeque;
use std::sync::Arc;

use agent_ebpf::records::details::{ProcessDetails, ThreadDetails};
use agent_ebpf::records::{COMM_LEN, TaskInfo};
use events::flags;
use rustc_hash::FxHashMap;

use self::ancestors::Above;
use self::orphans::{Identity, Orphans};
use super::dictionary_rows::CachedRow;
use super::users::Users;
use crate::kernel::ScannedTask;
use crate::secrets::Masker;
use ktape_reader::model::dictionaries::Shown;

/// The user of a thread of which no event was seen; no user has it (`INVALID_UID`).
const UID_UNKNOWN: u32 = u32::MAX;
/// Threads that have exited and stay known.
const RETIRED_MAX: usize = 8192;

/// A process.
#[derive(Clone, Debug, Default)]
struct Process {
    pid: u32,
    start: u64,
    ppid: u32,
    /// When the parent started: with its id this is its identity.
    parent_start: u64,
    pname: Arc<[u8]>,
    /// The cgroup of its parent when that made it; `None` if it is not known, also if that parent has ended.
    parent_cgroup: Option<u64>,
    /// The value of [`Processes::names`] as of which `pname` is true.
    pname_as_of: u64,
    name: Arc<[u8]>,
    exe: Arc<[u8]>,
    args: Arc<[u8]>,
    /// Its working directory; empty if unknown.
    cwd: Arc<[u8]>,
    /// All zero if unknown.
    details: ProcessDetails,
    /// Whether its last thread has exited.
    has_ended: bool,
    /// Known processes that are its children and have not ended.
    children: u32,
    /// The parent that has ended, while it is in doubt whether the process has another one yet.
    left_by: Option<Identity>,
    /// Counts changes, so that rows written before one are not used after it.
    version: u32,
    /// Counts the changes that rows of its descendants depend on, too.
    lineage: u32,
    /// The parent as of the last row.
    above: Option<Above>,
    /// The value of [`Processes::lineages`] as of which `above` is true; 0 is none.
    above_as_of: u64,
    row: CachedRow,
}

#[derive(Clone, Debug)]
struct Thread {
    process: u32,
    name: Arc<[u8]>,
    /// Its user id as of its last event; `None` if no event had one.
    uid: Option<u32>,
    /// All zero if unknown.
    details: ThreadDetails,
    /// The path of an exec whose return is still to come.
    exec_path: Option<ExecPath>,
    row: CachedRow,
    row_key: RowKey,
    /// Which thread of this id it is, for [`Processes::retire`].
    incarnation: u32,
}

/// What a thread's row depends on beside the chunk and the thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct RowKey {
    cgroup: u64,
    uid: u32,
    /// [`Process::version`].
    version: u32,
}

/// The subject of an event, or another thread that it refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Subject {
    /// Process id.
    pub pid: u32,
    /// Thread id.
    pub tid: u32,
    /// The id of its cgroup.
    pub cgroup: u64,
    /// The effective user id, if the record has it; else it is the last one known.
    pub uid: Option<u32>,
}

/// A thread that has exited.
#[derive(Clone, Copy, Debug)]
struct RetiredThread {
    tid: u32,
    incarnation: u32,
}

/// The path that an exec was given.
#[derive(Clone, Debug)]
pub struct ExecPath {
    /// As the kernel copied it.
    pub path: Box<[u8]>,
    /// `STR0_*` and `STR1_*` of the exec event.
    pub bits: u32,
}

/// Bits of an event for what is known of its two strings.
pub const STRING_BITS: u32 = flags::STR0_UNREAD | flags::STR0_CUT | flags::STR1_UNREAD | flags::STR1_CUT;

/// All known processes and threads.
pub struct Processes {
    processes: Vec<Process>,
    /// Unused places of `processes`.
    free: Vec<u32>,
    /// How many threads each process has.
    thread_counts: Vec<u32>,
    threads: FxHashMap<u32, Thread>,
    /// Oldest first.
    retired: VecDeque<RetiredThread>,
    incarnations: u32,
    /// Counts changes of processes' names.
    names: u64,
    /// Counts changes of processes that have children.
    lineages: u64,
    /// Counts changes of anything that a row of the task dictionary depends on.
    changes: u64,
    users: Users,
    orphans: Orphans,
    empty: Arc<[u8]>,
    /// The row that stands for all hidden threads.
    hidden: CachedRow,
    masker: Masker,
}

/// The bytes before the first NUL.
pub fn comm(bytes: &[u8; COMM_LEN]) -> &[u8] {
    let len = bytes.iter().position(|b| *b == 0).unwrap_or(COMM_LEN);
    &bytes[..len]
}

impl Processes {
    /// No processes. Unless `keep_secrets` is set, values of secret flags are masked in arguments.
    pub fn new(keep_secrets: bool) -> Self {
        Self {
            processes: Vec::new(),
            free: Vec::new(),
            thread_counts: Vec::new(),
            threads: FxHashMap::default(),
            retired: VecDeque::new(),
            incarnations: 0,
            names: 0,
            lineages: 1,
            changes: 1,
            users: Users::default(),
            orphans: Orphans::new(),
            empty: Arc::from(&b""[..]),
            hidden: CachedRow::default(),
            masker: Masker::new(keep_secrets),
        }
    }

    /// Changes with anything that a row of the task dictionary depends on, but for its subject and the chunk.
    #[inline]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Users and groups have these names.
    pub fn name_users(&mut self, users: Users) {
        self.users = users;
    }

    /// Adds the threads of the scan at start.
    pub fn add_scan(&mut self, tasks: &[ScannedTask]) {
        let leaders = tasks.iter().map(|task| &task.info).filter(|info| info.pid == info.tid);
        let leaders: FxHashMap<u32, &TaskInfo> = leaders.map(|info| (info.pid, info)).collect();
        let mut by_pid: FxHashMap<u32, u32> = FxHashMap::default();
        for task in tasks {
            let info: &TaskInfo = &task.info;
            let process = *by_pid.entry(info.pid).or_insert_with(|| {
                let parent = leaders.get(&info.ppid);
                self.add_process(Process {
                    pid: info.pid,
                    start: info.leader_start,
                    ppid: info.ppid,
                    pname: parent.map_or_else(|| self.empty.clone(), |p| Arc::from(comm(&p.comm))),
                    parent_cgroup: parent.map(|p| p.cgroup),
                    name: Arc::from(comm(&info.leader_comm)),
                    exe: self.empty.clone(),
                    args: self.empty.clone(),
                    ..Process::default()
                })
            });
            if info.pid == info.tid {
                self.processes[process as usize].exe = Arc::from(&task.exe[..]);
            }
            self.processes[process as usize].details = info.details.process;
            self.add_thread(info.tid, process, Arc::from(comm(&info.comm)));
            if let Some(thread) = self.threads.get_mut(&info.tid) {
                thread.uid = Some(info.uid);
                thread.details = info.details.thread;
            }
        }
        for index in by_pid.into_values() {
            let ppid = self.processes[index as usize].ppid;
            let start = self.process_of(ppid).map_or(0, |parent| parent.start);
            self.processes[index as usize].parent_start = start;
            self.count_child_of(index, 1);
        }
    }

    /// Starts anew from a scan, after lifecycle events were lost.
    pub fn resync(&mut self, tasks: &[ScannedTask]) {
        let fresh = Self::new(self.masker.keeps());
        let users = std::mem::take(&mut self.users);
        let (names, changes) = (self.names + 1, self.changes + 1);
        let lineages = self.lineages + 1;
        *self = Self { incarnations: self.incarnations, names, lineages, changes, users, ..fresh };
        self.add_scan(tasks);
    }

    /// Adds the arguments of a process that ran before the recording, unless it has executed another program since.
    pub fn set_args(&mut self, pid: u32, start: u64, args: &[u8]) {
        let Some(thread) = self.threads.get(&pid) else { return };
        let index = thread.process;
        let process = &mut self.processes[index as usize];
        if process.start == start && process.args.is_empty() {
            process.args = Arc::from(self.masker.mask(args));
            self.changes += 1;
            self.note_change(index);
        }
    }

    /// A process executes the file with this path.
    pub fn set_exe(&mut self, tid: u32, exe: &[u8]) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let index = thread.process;
        self.processes[index as usize].exe = Arc::from(exe);
        self.changes += 1;
        self.note_change(index);
    }

    /// A process has this working directory.
    pub fn set_cwd(&mut self, tid: u32, cwd: Arc<[u8]>) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let process = &mut self.processes[thread.process as usize];
        if process.cwd != cwd {
            self.changes += 1;
            process.cwd = cwd;
            process.version += 1;
        }
    }

    /// Adds the working directory of a process that ran before the recording, unless it has had another one since.
    pub fn set_first_cwd(&mut self, pid: u32, start: u64, cwd: &[u8]) {
        let Some(thread) = self.threads.get(&pid) else { return };
        let process = &self.processes[thread.process as usize];
        if process.start == start && process.cwd.is_empty() && !cwd.is_empty() {
            self.set_cwd(pid, Arc::from(cwd));
        }
    }

    fn add_process(&mut self, process: Process) -> u32 {
        if let Some(index) = self.free.pop() {
            self.processes[index as usize] = process;
            self.thread_counts[index as usize] = 0;
            return index;
        }
        self.processes.push(process);
        self.thread_counts.push(0);
        self.processes.len() as u32 - 1
    }

    fn add_thread(&mut self, tid: u32, process: u32, name: Arc<[u8]>) {
        self.incarnations = self.incarnations.wrapping_add(1);
        self.changes += 1;
        self.thread_counts[process as usize] += 1;
        let thread = Thread {
            process,
            name,
            uid: None,
            details: ThreadDetails::default(),
            exec_path: None,
            row: CachedRow::default(),
            row_key: RowKey::default(),
            incarnation: self.incarnations,
        };
        if let Some(old) = self.threads.insert(tid, thread) {
            self.release(old.process);
        }
    }

    fn release(&mut self, process: u32) {
        let threads = &mut self.thread_counts[process as usize];
        *threads -= 1;
        if *threads == 0 {
            self.processes[process as usize] = Process::default();
            self.free.push(process);
        }
    }

    /// The place of a thread's process; both are added if they are not known.
    fn thread_index(&mut self, pid: u32, tid: u32) -> u32 {
        if let Some(thread) = self.threads.get(&tid)
            && self.processes[thread.process as usize].pid == pid
        {
            return thread.process;
        }
        // Unknown, or known as a thread of a process whose end was lost.
        let process = match self.threads.get(&pid) {
            Some(leader) if self.processes[leader.process as usize].pid == pid => leader.process,
            _ => self.add_process(Process {
                pid,
                pname: self.empty.clone(),
                name: self.empty.clone(),
                exe: self.empty.clone(),
                args: self.empty.clone(),
                ..Process::default()
            }),
        };
        let name = self.processes[process as usize].name.clone();
        self.add_thread(tid, process, name);
        process
    }

    /// A new task.
    pub fn fork(&mut self, fork: &agent_ebpf::records::Fork) {
        let parent = self.thread_index(fork.head.pid, fork.head.tid);
        let name: Arc<[u8]> = Arc::from(comm(&fork.comm));
        let process = if fork.child_pid == fork.head.pid {
            parent
        } else {
            let from = &self.processes[parent as usize];
            let its_parent = match self.process_of(fork.child_ppid) {
                Some(process) if fork.child_ppid != fork.head.pid => process,
                _ => from,
            };
            let (parent_start, pname) = (its_parent.start, its_parent.name.clone());
            let child = Process {
                pid: fork.child_pid,
                start: fork.child_start,
                ppid: fork.child_ppid,
                parent_start,
                pname,
                // Another parent's, as with CLONE_PARENT, is not known.
                parent_cgroup: (fork.child_ppid == fork.head.pid).then_some(fork.head.cgroup),
                pname_as_of: self.names,
                name: name.clone(),
                exe: from.exe.clone(),
                args: from.args.clone(),
                cwd: from.cwd.clone(),
                details: fork.child.process,
                ..Process::default()
            };
            let child = self.add_process(child);
            self.count_child_of(child, 1);
            child
        };
        self.add_thread(fork.child_tid, process, name);
        if let Some(thread) = self.threads.get_mut(&fork.child_tid) {
            thread.uid = Some(fork.uid);
            thread.details = fork.child.thread;
        }
    }

    /// A new program. Returns the name that the thread had before.
    pub fn exec(&mut self, exec: &agent_ebpf::records::Exec, path: &[u8], args: &[u8]) -> Arc<[u8]> {
        let (pid, tid) = (exec.head.pid, exec.head.tid);
        let old_name = self
            .threads
            .get(&exec.old_tid)
            .or_else(|| self.threads.get(&tid))
            .map_or_else(|| self.empty.clone(), |thread| thread.name.clone());
        let process = self.thread_index(pid, tid);
        let name: Arc<[u8]> = Arc::from(comm(&exec.comm));
        if exec.old_tid != tid {
            // The leader with this id has exited and may be retired; the thread that takes its id over must not be
            // forgotten with it.
            self.add_thread(tid, process, name.clone());
            if let Some(old) = self.threads.remove(&exec.old_tid) {
                self.release(old.process);
            }
        }
        let row = &mut self.processes[process as usize];
        row.name = name.clone();
        self.names += 1;
        self.changes += 1;
        // The beginning of a path is another file's path: better none.
        row.exe = if exec.head.flags & flags::STR0_CUT == 0 { Arc::from(path) } else { self.empty.clone() };
        // A list that is cut has no NUL at its end: by this, readers know it.
        let is_cut = exec.head.flags & flags::STR1_CUT != 0;
        let end = args.iter().rposition(|byte| *byte != 0 || !is_cut).map_or(0, |last| last + 1);
        let args = &args[..end];
        row.args = Arc::from(self.masker.mask(args));
        self.note_change(process);
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.name = name;
            thread.row = CachedRow::default();
            thread.exec_path = Some(ExecPath { path: path.into(), bits: exec.head.flags & STRING_BITS });
        }
        old_name
    }

    /// The path of this thread's exec, for the record of the call that returns from it.
    pub fn take_exec_path(&mut self, tid: u32) -> Option<ExecPath> {
        self.threads.get_mut(&tid)?.exec_path.take()
    }

    /// Arguments as they are recorded: secrets masked.
    pub fn masked<'a>(&mut self, args: &'a [u8]) -> std::borrow::Cow<'a, [u8]> {
        self.masker.mask(args)
    }

    /// The arguments of this thread's program, secrets masked.
    pub fn args_of(&self, tid: u32) -> Arc<[u8]> {
        match self.threads.get(&tid) {
            Some(thread) => self.processes[thread.process as usize].args.clone(),
            None => self.empty.clone(),
        }
    }

    /// A new name.
    pub fn rename(&mut self, pid: u32, tid: u32, comm_bytes: &[u8; COMM_LEN]) {
        let process = self.thread_index(pid, tid);
        self.changes += 1;
        let name: Arc<[u8]> = Arc::from(comm(comm_bytes));
        if pid == tid {
            let row = &mut self.processes[process as usize];
            row.name = name.clone();
            self.names += 1;
            self.note_change(process);
        }
        if let Some(thread) = self.threads.get_mut(&tid) {
            thread.name = name;
            thread.row = CachedRow::default();
        }
    }

    /// A thread exited. It stays known for late events.
    pub fn retire(&mut self, tid: u32) {
        let Some(thread) = self.threads.get(&tid) else { return };
        self.retired.push_back(RetiredThread { tid, incarnation: thread.incarnation });
        if self.retired.len() > RETIRED_MAX
            && let Some(RetiredThread { tid, incarnation }) = self.retired.pop_front()
            && self.threads.get(&tid).is_some_and(|thread| thread.incarnation == incarnation)
            && let Some(thread) = self.threads.remove(&tid)
        {
            self.changes += 1;
            self.release(thread.process);
        }
    }
}

#[cfg(test)]
mod tests;
