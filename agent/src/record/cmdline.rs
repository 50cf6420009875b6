//! Arguments and working directories of processes that ran before the recording.
//!
//! Reading `/proc/PID/cmdline` takes the process's mmap lock, which a stalled process can hold for minutes. So a thread
//! of its own reads them, and no other thread waits for it.

use std::os::unix::ffi::OsStringExt;
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
    /// Each with its NUL; cut after [`MAX`] bytes, and then without a NUL at the end.
    pub args: Vec<u8>,
    /// Its working directory; empty if unknown.
    pub cwd: Vec<u8>,
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
            let Ok(args) = std::fs::read(format!("/proc/{pid}/cmdline")) else { continue };
            let args = within_limit(args);
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            let cwd = cwd.into_os_string().into_vec();
            if sender.send(Arguments { pid, start, args, cwd }).is_err() {
                break;
            }
        }
    });
    if let Err(error) = reader {
        tracing::warn!(%error, "cannot read the arguments of processes that run already");
    }
    receiver
}

/// At most [`MAX`] bytes. A list that is cut does not end with a NUL, any other does, also that of a process that has
/// overwritten its own arguments: by this, readers know a cut one.
fn within_limit(mut args: Vec<u8>) -> Vec<u8> {
    if args.len() > MAX {
        args.truncate(MAX);
        while args.last() == Some(&0) {
            args.pop();
        }
    } else if args.last().is_some_and(|last| *last != 0) {
        args.push(0);
    }
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cut_arguments_lack_the_last_nul() {
        assert_eq!(within_limit(b"a\0b\0".to_vec()), b"a\0b\0");
        assert_eq!(within_limit(b"nginx: worker".to_vec()), b"nginx: worker\0", "overwritten");
        assert_eq!(within_limit(Vec::new()), b"", "a kernel thread");
        let long = [&vec![b'x'; MAX - 1][..], b"\0y\0"].concat();
        assert_eq!(within_limit(long), vec![b'x'; MAX - 1], "cut behind a NUL");
        assert_eq!(within_limit(vec![b'x'; MAX + 9]), vec![b'x'; MAX]);
    }
}
