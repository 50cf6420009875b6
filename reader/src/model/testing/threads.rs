//! Switches, forks of threads, disk requests.

use events::{Kind, UNKNOWN};

use super::TestChunk;

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

    /// A fork of a thread, which ends `time`.
    pub fn clone_thread(&mut self, time: u64, task: u32, child: (u64, u64), cgroup: u32) {
        let table = self.common(Kind::Fork, time, task, 0);
        table.push_u64(4, child.0);
        table.push_u64(5, child.1);
        table.push_u64(6, 1);
        table.push_ref(7, cgroup);
        table.end_row();
    }
}
