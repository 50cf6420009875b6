//! Switches, forks of threads, disk requests.

use events::{Kind, UNKNOWN};

use super::{TestChunk, push_process_details, push_task_details};
use crate::model::dictionaries::{PROCESS, TASK};

/// A switch; times in ns, [`UNKNOWN`] by default.
#[derive(Clone, Copy, Debug)]
pub struct TestSwitch {
    /// The row of the thread that leaves the CPU.
    pub from: u32,
    /// Its [`events::task_state`].
    pub state: u8,
    /// Whether it was preempted.
    pub preempted: bool,
    /// How long it ran.
    pub ran: u64,
    /// The row of the thread that gets the CPU.
    pub to: u32,
    /// How long that was off the CPU.
    pub off_cpu: u64,
    /// How much of it it was runnable.
    pub runnable: u64,
}

impl TestSwitch {
    /// From one thread to another.
    pub fn new(from: u32, state: u8, to: u32) -> Self {
        Self { from, state, preempted: false, ran: UNKNOWN, to, off_cpu: UNKNOWN, runnable: UNKNOWN }
    }
}

impl TestChunk {
    /// A switch.
    pub fn switch(&mut self, time: u64, switch: TestSwitch) {
        let table = self.common(Kind::Switch, time, switch.from, 0);
        table.push_u64(4, switch.state.into());
        table.push_u64(5, switch.preempted.into());
        table.push_u64(6, switch.ran);
        table.push_ref(7, switch.to);
        table.push_u64(8, switch.off_cpu);
        table.push_u64(9, switch.runnable);
        table.end_row();
    }

    /// A thread of the kernel: it has a name, but no program.
    pub fn kernel_thread(&mut self, tid: u64, name: &str, cgroup: u32) -> u32 {
        let [name, empty] = [name, ""].map(|text| self.builder.intern(text.as_bytes()));
        let own = self.process_rows();
        let table = self.builder.table(PROCESS);
        (0..3).zip([tid, 1, 2]).for_each(|(column, number)| table.push_u64(column, number));
        [(3, empty), (4, name), (5, empty), (6, empty), (7, empty), (8, empty)]
            .into_iter()
            .for_each(|(column, text)| table.push_bytes(column, text));
        table.push_ref(9, own);
        push_process_details(table, [0; 8]);
        let process = table.end_row();
        let table = self.builder.table(TASK);
        table.push_ref(0, process);
        table.push_u64(1, tid);
        table.push_bytes(2, name);
        table.push_u64(3, 0);
        table.push_bytes(4, empty);
        table.push_ref(5, cgroup);
        push_task_details(table, [0; 6], [empty; 2]);
        table.end_row()
    }

    /// A fork of a thread.
    pub fn clone_thread(&mut self, time: u64, task: u32, child: (u64, u64), cgroup: u32) {
        let table = self.common(Kind::Fork, time, task, 0);
        table.push_u64(4, child.0);
        table.push_u64(5, child.1);
        table.push_u64(6, 1);
        table.push_ref(7, cgroup);
        table.end_row();
    }
}
