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

/// Executes what cannot be executed, one after another, with arguments that say which it was.
pub fn failed_execs(dir: &str) {
    let path = |name: &str| CString::new(format!("{dir}/{name}")).expect("no NUL inside");
    let execute = |path: &CString, args: &[&str]| {
        let args: Vec<CString> = args.iter().map(|arg| CString::new(*arg).expect("no NUL inside")).collect();
        let mut pointers: Vec<_> = args.iter().map(|arg| arg.as_ptr()).collect();
        pointers.push(std::ptr::null());
        let environment = [std::ptr::null::<libc::c_char>()];
        sys!(SYS_execve, path.as_ptr(), pointers.as_ptr(), environment.as_ptr()).expect_err("no such program")
    };
    assert_eq!(execute(&path("missing"), &["missing", "", "an argument"]), libc::ENOENT);
    assert_eq!(execute(&path("missing"), &["missing", "--password", "hunter2"]), libc::ENOENT);
    assert_eq!(execute(&path("not-executable"), &["not-executable", "1"]), libc::EACCES);
    assert_eq!(execute(&path("no-interpreter"), &["no-interpreter", "2"]), libc::ENOENT);
    assert_eq!(execute(&path("script"), &["script", "3"]), libc::ENOEXEC);
    let long = "x".repeat(20_000);
    assert_eq!(execute(&path("missing"), &["long", &long, "the end"]), libc::ENOENT);
    let numbers: Vec<String> = (0..1000).map(|i| format!("argument-{i}")).collect();
    let numbers: Vec<&str> = numbers.iter().map(String::as_str).collect();
    assert_eq!(execute(&path("missing"), &numbers), libc::ENOENT);
    let longer = "y".repeat(200_000);
    assert_eq!(execute(&c"/bin/true".to_owned(), &["longer", &longer, "the end"]), libc::E2BIG);

    let execveat = |argv: usize| {
        let name = c"missing at";
        sys!(SYS_execveat, libc::AT_FDCWD, name.as_ptr(), argv, 0, 0).expect_err("no such program")
    };
    let args = [c"at".as_ptr(), c"4".as_ptr(), std::ptr::null()];
    assert_eq!(execveat(args.as_ptr().addr()), libc::ENOENT);
    // A null pointer is a list without arguments; another address that is none cannot be read.
    assert_eq!(execveat(0), libc::ENOENT);
    // Kernels look at it before or after the path.
    assert!([libc::ENOENT, libc::EFAULT].contains(&execveat(8)));
}

/// Prints `PID PARENT`, the second one as `getppid` says after its first parent has ended. A thread of it then calls, too.
pub fn orphan(subreaper: bool) {
    if subreaper {
        sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1).expect("a subreaper");
    }
    let (read, write) = sys::pipe();
    let first = sys!(SYS_fork).expect("fork");
    if first == 0 {
        let parent = sys!(SYS_getpid).expect("it always succeeds");
        if sys!(SYS_fork).expect("fork") == 0 {
            sys!(SYS_getppid).expect("it always succeeds");
            // The parent ends once this one is at it.
            let _ = sys!(SYS_write, write, c"x".as_ptr(), 1);
            while sys!(SYS_getppid) == Ok(parent) {}
            let other = thread::spawn(|| sys!(SYS_faccessat, libc::AT_FDCWD, c"/none/thread".as_ptr(), 0));
            let _ = other.join();
            let _ = sys!(SYS_faccessat, libc::AT_FDCWD, c"/none/orphan".as_ptr(), 0);
            println!("{} {}", std::process::id(), sys!(SYS_getppid).expect("it always succeeds"));
            std::io::stdout().flush().expect("stdout is there");
            exit(0);
        }
        let mut byte = [0u8];
        let _ = sys!(SYS_read, read, byte.as_mut_ptr(), 1);
        exit(0);
    }
    wait(first);
    // Its end closes the last write end.
    sys!(SYS_close, write).expect("open");
    let mut byte = [0u8];
    while sys!(SYS_read, read, byte.as_mut_ptr(), 1) == Ok(1) {}
    if subreaper {
        let _ = sys!(SYS_wait4, -1i64, 0, 0, 0);
    }
}

/// Prints `PID PARENT` of a process that waits uninterruptibly for its vfork child. After a byte on stdin, its parent ends and this
/// process, a subreaper, becomes its parent: prints `orphaned`. After another byte, the wait ends, which lasts at most 30 s, and
/// the process sleeps for 20 ms.
pub fn orphan_hang() {
    sys!(SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1).expect("a subreaper");
    let (parent_waits, end_parent) = sys::pipe();
    let (child_waits, end_child) = sys::pipe();
    let mut byte = [0u8];
    let first = sys!(SYS_fork).expect("fork");
    if first == 0 {
        if sys!(SYS_fork).expect("fork") == 0 {
            println!("{} {}", std::process::id(), sys!(SYS_getppid).expect("it always succeeds"));
            std::io::stdout().flush().expect("stdout is there");
            let child = sys!(SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0).expect("a child");
            if child == 0 {
                let ready = libc::pollfd { fd: child_waits as i32, events: libc::POLLIN, revents: 0 };
                let limit = libc::timespec { tv_sec: 30, tv_nsec: 0 };
                let _ = sys!(SYS_ppoll, &raw const ready, 1, &raw const limit, 0, 0);
                exit(0);
            }
            wait(child);
            let pause = libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 };
            let _ = sys!(SYS_nanosleep, &raw const pause, 0);
            exit(0);
        }
        let _ = sys!(SYS_read, parent_waits, byte.as_mut_ptr(), 1);
        exit(0);
    }
    let _ = sys!(SYS_read, 0, byte.as_mut_ptr(), 1);
    sys!(SYS_write, end_parent, byte.as_ptr(), 1).expect("a write");
    wait(first);
    println!("orphaned");
    std::io::stdout().flush().expect("stdout is there");
    let _ = sys!(SYS_read, 0, byte.as_mut_ptr(), 1);
    sys!(SYS_write, end_child, byte.as_ptr(), 1).expect("a write");
    let _ = sys!(SYS_wait4, -1i64, 0, 0, 0);
}

/// A child calls before and after its parent takes another name. Prints the child's id.
pub fn new_name() {
    let (read, write) = sys::pipe();
    let (ready, called) = sys::pipe();
    let child = sys!(SYS_fork).expect("fork");
    if child == 0 {
        let mut byte = [0u8];
        let _ = sys!(SYS_faccessat, libc::AT_FDCWD, c"/none/before".as_ptr(), 0);
        let _ = sys!(SYS_write, called, byte.as_ptr(), 1);
        let _ = sys!(SYS_read, read, byte.as_mut_ptr(), 1);
        let _ = sys!(SYS_faccessat, libc::AT_FDCWD, c"/none/after".as_ptr(), 0);
        exit(0);
    }
    let mut byte = [0u8];
    sys!(SYS_read, ready, byte.as_mut_ptr(), 1).expect("the child has called");
    sys!(SYS_prctl, libc::PR_SET_NAME, c"another".as_ptr()).expect("a name");
    sys!(SYS_write, write, byte.as_ptr(), 1).expect("the child reads");
    wait(child);
    println!("{child}");
}

/// Becomes user 1234 on one CPU, with calls before and after.
pub fn change_user() {
    sys::pin(0);
    for _ in 0..3 {
        sys!(SYS_getuid).expect("a user");
    }
    sys!(SYS_setresuid, -1isize, 1234, -1isize).expect("root");
    for _ in 0..3 {
        sys!(SYS_getuid).expect("a user");
    }
    sys!(SYS_prctl, libc::PR_SET_NAME, c"renamed".as_ptr()).expect("a name");
    sys!(SYS_getuid).expect("a user");
}
