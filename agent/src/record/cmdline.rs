//! Arguments of processes that ran before the recording.
//!
//! Reading `/proc/PID/cmdline` takes the process's mmap lock, which a stalled process can hold for minutes. So a thread
//! of its own reads them, and no other thread waits for it.

use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use crate::kernel::ScannedTask;

/// Bytes kept of a process's arguments, as of those that execute during the capture.
const MAX: usize = agent_ebpf::records::EXEC_ARGS;

/// The arguments of a process.
#[derive(Debug)]
pub struct Arguments {
    /// Process id.
    pub pid: u32,
    /// When it started, ns of the boot clock.
    pub start: u64,
    /// Each with its NUL, cut after [`MAX`] bytes.
    pub args: Vec<u8>,
}

/// Reads the arguments of all processes, one after another, in a thread of its own.
pub fn read_in_background(tasks: &[ScannedTask]) -> Receiver<Arguments> {
    let processes: Vec<(u32, u64)> = tasks
        .iter()
        .filter(|task| task.info.pid == task.info.tid && task.info.kthread == 0)
        .map(|task| (task.info.pid, task.info.leader_start))
        .collect();
    let (sender, receiver) = sync_channel(1024);
    let reader = thread::Builder::new().name("ktape-cmdline".to_owned()).spawn(move || {
        for (pid, start) in processes {
            let Ok(mut args) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            args.truncate(MAX);
            if sender.send(Arguments { pid, start, args }).is_err() {
                break;
            }
        }
    });
    if let Err(error) = reader {
        tracing::warn!(%error, "cannot read the arguments of processes that run already");
    }
    receiver
}
