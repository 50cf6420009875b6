//! Ids and credentials of threads and processes, as of the time that the drain has reached.

use agent_ebpf::records::Header;
use agent_ebpf::records::details::TaskDetails;

use super::Processes;
use crate::record::dictionary_rows::CachedRow;

impl Processes {
    /// A thread and its process are this from here on.
    pub fn set_details(&mut self, head: &Header, details: &TaskDetails) {
        let index = self.thread_index(head.pid, head.tid);
        let process = &mut self.processes[index as usize];
        if process.details != details.process {
            process.details = details.process;
            process.version += 1;
            self.changes += 1;
        }
        if let Some(thread) = self.threads.get_mut(&head.tid)
            && thread.details != details.thread
        {
            thread.details = details.thread;
            thread.row = CachedRow::default();
            self.changes += 1;
        }
    }

    /// A process has become the leader of a session without a terminal.
    pub fn lead_session(&mut self, tid: u32) {
        self.change_process(tid, |process| {
            process.details.sid = process.pid;
            process.details.pgid = process.pid;
            process.details.vpgid = process.details.vpid;
            process.details.tty = 0;
        });
    }

    /// A process has become the leader of a process group.
    pub fn lead_group(&mut self, tid: u32) {
        self.change_process(tid, |process| {
            process.details.pgid = process.pid;
            process.details.vpgid = process.details.vpid;
        });
    }

    /// The id of a thread's process in its own namespace.
    pub fn vpid(&self, tid: u32) -> Option<u32> {
        let thread = self.threads.get(&tid)?;
        Some(self.processes[thread.process as usize].details.vpid).filter(|vpid| *vpid != 0)
    }

    fn change_process(&mut self, tid: u32, change: impl Fn(&mut super::Process)) {
        let Some(thread) = self.threads.get(&tid) else { return };
        let process = &mut self.processes[thread.process as usize];
        let old = process.details;
        // What is unknown stays so.
        if old.vpid != 0 {
            change(process);
        }
        if process.details != old {
            process.version += 1;
            self.changes += 1;
        }
    }
}
