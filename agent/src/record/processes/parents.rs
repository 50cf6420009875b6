//! The parents of processes: a process gets another parent when the last one ends, and a parent can change its name.

use std::sync::Arc;

use agent_ebpf::records::{COMM_LEN, Header};

use super::{Process, Processes, comm};

impl Processes {
    /// A known process, by its id.
    pub(super) fn process_of(&self, pid: u32) -> Option<&Process> {
        let process = &self.processes[self.threads.get(&pid)?.process as usize];
        (process.pid == pid).then_some(process)
    }

    /// The parent of a thread's process, as of now: another one if the last one has ended.
    pub fn set_parent(&mut self, head: &Header, ppid: u32) {
        let index = self.thread_index(head.pid, head.tid);
        if self.processes[index as usize].ppid != ppid {
            self.give_parent(index, ppid);
            self.processes[index as usize].left_by = None;
            self.doubt(index, ppid, head.time);
        }
    }

    /// Another parent from here on; 0 if it is unknown.
    pub(super) fn give_parent(&mut self, index: u32, ppid: u32) {
        self.count_child_of(index, -1);
        let (start, name) = match self.process_of(ppid) {
            Some(parent) => (parent.start, parent.name.clone()),
            None => (0, self.empty.clone()),
        };
        let process = &mut self.processes[index as usize];
        (process.ppid, process.parent_start, process.pname) = (ppid, start, name);
        process.parent_cgroup = None;
        process.pname_as_of = self.names;
        process.above_as_of = 0;
        self.note_change(index);
        self.count_child_of(index, 1);
    }

    /// The name of the parent of a thread's process, where the parent itself is not known.
    pub fn name_parent(&mut self, head: &Header, comm_bytes: &[u8; COMM_LEN]) {
        let index = self.thread_index(head.pid, head.tid) as usize;
        let name = comm(comm_bytes);
        if self.process_of(self.processes[index].ppid).is_none() && *self.processes[index].pname != *name {
            let process = &mut self.processes[index];
            process.pname = Arc::from(name);
            process.version += 1;
        }
    }

    /// Gives a process the name that its parent has now.
    pub(super) fn refresh_parent_name(&mut self, index: u32) {
        let process = &self.processes[index as usize];
        // If it has ended, its id may be that of another process.
        let name = match self.process_of(process.ppid) {
            Some(parent) if parent.start == process.parent_start => parent.name.clone(),
            _ => process.pname.clone(),
        };
        let process = &mut self.processes[index as usize];
        process.pname_as_of = self.names;
        if process.pname != name {
            process.pname = name;
            process.version += 1;
        }
    }
}
