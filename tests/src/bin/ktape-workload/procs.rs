//! Processes and threads.

use std::ffi::CString;
use std::io::{Read, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::sys;
use crate::sys::{exit, wait};

/// Threads that contend for a lock, so that some of their futex calls wait, wake or fail.
pub fn threads(n: u64) {
    let shared = Arc::new(Mutex::new(0u64));
    let all: Vec<_> = (0..n)
        .map(|i| {
            let shared = Arc::clone(&shared);
            let run = move || {
                for _ in 0..20 {
                    let mut count = shared.lock().expect("no thread panicked");
                    *count += 1;
                    sys!(SYS_getppid).expect("it always succeeds");
                    drop(count);
                    thread::sleep(Duration::from_micros(100));
                }
            };
            thread::Builder::new().name(format!("worker-{i}")).spawn(run).expect("a thread")
        })
        .collect();
    for thread in all {
        thread.join().expect("no thread panicked");
    }
    println!("{}", *shared.lock().expect("no thread panicked"));
}

/// Starts `n` sleeping processes, prints READY, and kills them when stdin is closed.
pub fn sleepers(n: u64) {
    let parent = std::process::id();
    let mut children = Vec::new();
    for _ in 0..n {
        let child = sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("another process");
        if child == 0 {
            let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if sys!(SYS_getppid) != Ok(i64::from(parent)) {
                exit(1);
            }
            loop {
                let _ = sys!(SYS_ppoll, 0, 0, 0, 0);
            }
        }
        children.push(child);
    }
    println!("READY");
    std::io::stdout().flush().expect("stdout is there");
    let mut rest = Vec::new();
    std::io::stdin().read_to_end(&mut rest).expect("stdin can be read");
    for child in &children {
        sys!(SYS_kill, *child, libc::SIGKILL).expect("our child");
    }
    for child in children {
        wait(child);
    }
}

/// The leader waits for a thread that calls execve, which replaces the whole process.
pub fn exec_from_thread() {
    let thread = thread::spawn(|| {
        let path = CString::new("/proc/self/exe").expect("no NUL inside");
        let args = [c"ktape-workload".as_ptr(), c"hello".as_ptr(), std::ptr::null()];
        let environment = [std::ptr::null::<libc::c_char>()];
        let result = sys!(SYS_execve, path.as_ptr(), args.as_ptr(), environment.as_ptr());
        panic!("execve failed: {result:?}");
    });
    let _ = thread.join();
}

/// Creates processes and threads in every possible way, some of them two levels deep.
pub fn fork_tree() {
    let outer = sys!(SYS_fork).expect("fork");
    if outer == 0 {
        let inner = sys!(SYS_fork).expect("fork");
        if inner == 0 {
            exit(3);
        }
        assert_eq!(wait(inner), 3 << 8);
        exit(4);
    }
    assert_eq!(wait(outer), 4 << 8);

    let cloned = sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("clone");
    if cloned == 0 {
        exit(5);
    }
    assert_eq!(wait(cloned), 5 << 8);

    // flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls
    let args = [0u64, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0];
    let cloned = sys!(SYS_clone3, args.as_ptr(), size_of_val(&args)).expect("clone3");
    if cloned == 0 {
        exit(6);
    }
    assert_eq!(wait(cloned), 6 << 8);

    // A clone that fails.
    assert_eq!(sys!(SYS_clone, libc::CLONE_SIGHAND | libc::SIGCHLD, 0, 0, 0, 0), Err(libc::EINVAL));

    // The standard library spawns like vfork: the child shares the parent's memory until it calls execve.
    let status = Command::new("/proc/self/exe").arg("hello").status().expect("a child");
    assert!(status.success());
    let missing = Command::new("/none/at all").status();
    assert_eq!(missing.err().and_then(|error| error.raw_os_error()), Some(libc::ENOENT));

    let thread = thread::spawn(|| {
        thread::spawn(|| sys!(SYS_gettid)).join().expect("no thread panicked").expect("it always succeeds")
    });
    assert!(thread.join().expect("no thread panicked") > 0);
}

/// Changes the process name with `prctl` and then through `/proc`.
pub fn rename(name: &str) {
    let name = CString::new(name).expect("no NUL inside");
    sys!(SYS_prctl, libc::PR_SET_NAME, name.as_ptr()).expect("a name");
    std::fs::write("/proc/self/comm", "by-proc").expect("our own name");
}
