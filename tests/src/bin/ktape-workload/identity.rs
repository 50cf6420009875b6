//! A process that changes what it is: group, session, terminal, capabilities. After each change it makes a call with a path
//! that is named after the change, and prints what the kernel's own files have about it.

use std::ffi::CString;
use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

use crate::sys;
use crate::sys::{exit, wait};

/// `_LINUX_CAPABILITY_VERSION_3`.
const CAPABILITY_VERSION: u32 = 0x2008_0522;
const CAP_KILL: u32 = 1 << 5;
const CAP_SYS_ADMIN: u32 = 1 << 21;

/// The columns of a line that starts with this in a file of `/proc/thread-self`.
fn status(key: &str) -> Vec<String> {
    let text = std::fs::read_to_string("/proc/thread-self/status").expect("its own status");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    line.unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

/// A column of `/proc/thread-self/stat`, counted from 1.
fn stat(column: usize) -> String {
    let text = std::fs::read_to_string("/proc/thread-self/stat").expect("its own state");
    let (_, rest) = text.rsplit_once(") ").expect("a name in parentheses");
    rest.split(' ').nth(column - 3).expect("enough columns").to_owned()
}

/// Makes a call that is named after what has changed, and prints what the kernel has about the thread.
fn show(step: &str) {
    let path = CString::new(format!("/none/{step}")).expect("no NUL inside");
    assert_eq!(sys!(SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), 0), Err(libc::ENOENT));
    let last = |key| status(key).pop().unwrap_or_default();
    let login =
        std::fs::read_to_string("/proc/thread-self/loginuid").unwrap_or_else(|_| u32::MAX.to_string());
    let inode = std::fs::metadata("/proc/self/exe").map(|file| std::os::unix::fs::MetadataExt::ino(&file));
    let values = [
        step.to_owned(),
        status("NSpid")[0].clone(),
        last("NStgid"),
        last("NSpid"),
        status("NSsid")[0].clone(),
        status("NSpgid")[0].clone(),
        last("NSpgid"),
        stat(7),
        status("Gid")[1].clone(),
        login.trim().to_owned(),
        last("CapEff"),
        last("CapPrm"),
        last("CapInh"),
        inode.expect("its own executable").to_string(),
    ];
    println!("{}", values.join(" "));
    std::io::stdout().flush().expect("stdout is there");
}

fn wait_for_byte() {
    let mut byte = [0];
    std::io::stdin().read_exact(&mut byte).expect("a byte on stdin");
}

/// Changes `drop` in the effective and `pass` in the inheritable capabilities.
fn set_capabilities(drop: u32, pass: u32) {
    let header = [CAPABILITY_VERSION, 0];
    let mut sets = [0u32; 6];
    sys!(SYS_capget, header.as_ptr(), sets.as_mut_ptr()).expect("capabilities");
    sets[0] &= !drop;
    sets[2] |= pass;
    sys!(SYS_capset, header.as_ptr(), sets.as_ptr()).expect("fewer capabilities");
}

/// Changes everything after a byte on stdin, and shows the last state once more after another one.
pub fn change() {
    wait_for_byte();
    show("start");
    sys!(SYS_setpgid, 0, 0).expect("not the leader of a session");
    show("setpgid");
    let child = sys!(SYS_fork).expect("fork");
    if child == 0 {
        change_child();
        exit(0);
    }
    assert_eq!(wait(child), 0);
}

fn change_child() {
    show("fork");
    sys!(SYS_setsid).expect("not the leader of a group");
    show("setsid");
    // Each terminal is noticed when the thread gets the CPU next.
    let pause = || thread::sleep(Duration::from_millis(20));
    let master = sys!(SYS_openat, libc::AT_FDCWD, c"/dev/ptmx".as_ptr(), libc::O_RDWR | libc::O_NOCTTY)
        .expect("a terminal");
    let unlock = 0i32;
    sys!(SYS_ioctl, master, libc::TIOCSPTLCK, &raw const unlock).expect("our own");
    let slave =
        sys!(SYS_ioctl, master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY).expect("the other end");
    sys!(SYS_ioctl, slave, libc::TIOCSCTTY, 0).expect("the leader of a session without a terminal");
    pause();
    show("tiocsctty");
    let background = sys!(SYS_fork).expect("fork");
    if background == 0 {
        show("with-terminal");
        exit(0);
    }
    assert_eq!(wait(background), 0);
    sys!(SYS_rt_sigaction, libc::SIGHUP, [1usize, 0, 0, 0].as_ptr(), 0, 8).expect("ignored");
    sys!(SYS_ioctl, slave, libc::TIOCNOTTY).expect("its terminal");
    pause();
    show("tiocnotty");
    sys!(SYS_setresgid, -1isize, 1234, -1isize).expect("root");
    show("setresgid");
    set_capabilities(CAP_SYS_ADMIN, CAP_KILL);
    show("capset");
    let thread = thread::spawn(|| {
        set_capabilities(CAP_KILL, 0);
        show("capset-of-thread");
    });
    thread.join().expect("no thread panicked");
    show("not-of-leader");
    // Not every kernel has it, and not every process may.
    let _ = std::fs::write("/proc/self/loginuid", "4242");
    pause();
    show("loginuid");
    sys!(SYS_setresuid, 1234, 1234, 1234).expect("root");
    show("setresuid");
    println!("DONE");
    std::io::stdout().flush().expect("stdout is there");
    wait_for_byte();
    show("end");
}
