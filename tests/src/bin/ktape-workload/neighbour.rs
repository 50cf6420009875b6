//! What a process of one container can do to another container. Which one is in its environment, which is not recorded.

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::io::AsRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crate::sys;
use crate::sys::{exit, wait};

/// `struct clone_args` of clone(2).
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

fn var(name: &str) -> PathBuf {
    std::env::var_os(name).unwrap_or_else(|| panic!("{name} is not set")).into()
}

/// Yields the first CPU to other threads 5000 times.
pub fn take_turns() {
    let mut cpus = [0u8; 128];
    cpus[0] = 1;
    sys!(SYS_sched_setaffinity, 0, cpus.len(), cpus.as_ptr()).expect("there is a first CPU");
    for _ in 0..5_000 {
        let _ = sys!(SYS_sched_yield);
    }
}

/// Sends a signal that only wakes it to the process `OTHER_PID`.
pub fn signal_other() {
    let pid: i64 = var("OTHER_PID").to_string_lossy().parse().expect("a process id");
    for _ in 0..3 {
        sys!(SYS_kill, pid, libc::SIGCONT).expect("the other process lives");
    }
}

/// Makes a cgroup in `OTHER_CGROUP`, moves a child there, and removes it. Prints the child's id.
pub fn use_cgroup_of_other() {
    let dir = var("OTHER_CGROUP").join("sub");
    fs::create_dir(&dir).expect("a new cgroup");
    let child = sys!(SYS_fork).expect("another process");
    if child == 0 {
        loop {
            let _ = sys!(SYS_pause);
        }
    }
    println!("{child}");
    fs::write(dir.join("cgroup.procs"), child.to_string()).expect("the child can be moved");
    sys!(SYS_kill, child, libc::SIGKILL).expect("our child");
    wait(child);
    while fs::remove_dir(&dir).is_err() {
        thread::sleep(Duration::from_millis(5));
    }
}

/// Has a child in `OTHER_CGROUP` that executes `OTHER_PROGRAM` with `OTHER_ARG` after a second; until then it waits in
/// uninterruptible sleep. Prints the child's id.
pub fn start_in_cgroup_of_other() {
    let dir = fs::File::open(var("OTHER_CGROUP")).expect("a cgroup");
    let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).expect("no NUL inside");
    let (program, arg) = (text(&var("OTHER_PROGRAM")), text(&var("OTHER_ARG")));
    let args = [program.as_ptr(), c"exit".as_ptr(), c"0".as_ptr(), arg.as_ptr(), std::ptr::null()];
    let environment = [std::ptr::null::<libc::c_char>()];
    let clone = CloneArgs {
        flags: (libc::CLONE_VFORK as u64) | 0x2_0000_0000, // CLONE_INTO_CGROUP
        exit_signal: libc::SIGCHLD as u64,
        cgroup: dir.as_raw_fd() as u64,
        ..CloneArgs::default()
    };
    let child = sys!(SYS_clone3, &raw const clone, size_of::<CloneArgs>()).expect("another process");
    if child == 0 {
        thread::sleep(Duration::from_secs(1));
        let _ = sys!(SYS_execve, program.as_ptr(), args.as_ptr(), environment.as_ptr());
        exit(1);
    }
    println!("{child}");
    wait(child);
}
