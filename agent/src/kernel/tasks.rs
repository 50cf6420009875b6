//! The output of the task iterator.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;

use agent_ebpf::records::TaskInfo;

/// A thread that the iterator found.
#[derive(Clone, Debug)]
pub struct ScannedTask {
    /// Ids, names and current call, from the iterator.
    pub info: TaskInfo,
    /// The path of its executable, for the leader of a process; empty if there is none.
    pub exe: Vec<u8>,
}

/// Reads the iterator to its end. The kernel takes no lock that a task could hold for long.
pub(super) fn read(mut file: File) -> io::Result<Vec<ScannedTask>> {
    let mut bytes = Vec::with_capacity(1 << 18);
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(parse(&bytes))
}

/// Reads from `/proc` what the legacy programs cannot provide: the paths of executables. It stays empty for a process
/// that has ended.
pub(super) fn find_executables(tasks: &mut [ScannedTask]) {
    for task in tasks {
        let ScannedTask { info, exe } = task;
        if info.tid == info.pid
            && info.kthread == 0
            && let Ok(path) = std::fs::read_link(format!("/proc/{}/exe", info.pid))
        {
            *exe = path.into_os_string().into_vec();
        }
    }
}

fn parse(mut bytes: &[u8]) -> Vec<ScannedTask> {
    let mut tasks = Vec::new();
    while bytes.len() >= size_of::<TaskInfo>() {
        // SAFETY: enough bytes for the struct, which is made of integers alone; no alignment needed.
        let info: TaskInfo = unsafe { bytes.as_ptr().cast::<TaskInfo>().read_unaligned() };
        bytes = &bytes[size_of::<TaskInfo>()..];
        let len = (info.exe_len as usize).min(bytes.len());
        tasks.push(ScannedTask { info, exe: bytes[..len].to_vec() });
        bytes = &bytes[len..];
    }
    tasks
}
