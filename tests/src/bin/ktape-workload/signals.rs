//! Signals that interrupt calls.

use std::sync::atomic::{AtomicI32, Ordering};

use crate::sys;
use crate::sys::{exit, fails, pipe, wait};

/// Descriptor to which the handler writes a byte; -1 for none.
static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handler(_signal: libc::c_int) {
    let fd = WAKE.load(Ordering::Relaxed);
    if fd >= 0 {
        let _ = sys!(SYS_write, fd, b"x".as_ptr(), 1);
    }
}

fn handle(flags: libc::c_int) {
    // SAFETY: an all-zero sigaction is valid; the handler does only what a handler may.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as usize;
        action.sa_flags = flags;
        assert_eq!(libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn alarm_in(milliseconds: i64) {
    let value = libc::timeval { tv_sec: 0, tv_usec: milliseconds * 1000 };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: value };
    sys!(SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0).expect("a timer");
}

fn sleep(milliseconds: i64) -> Result<i64, i32> {
    let time = libc::timespec { tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000 };
    sys!(SYS_nanosleep, &raw const time, 0)
}

/// Interrupts calls with signals in every possible way.
pub fn signals() {
    let (read, write) = pipe();
    let mut byte = [0u8; 1];

    // A handler interrupts nanosleep with and without SA_RESTART.
    for flags in [0, libc::SA_RESTART] {
        handle(flags);
        alarm_in(20);
        fails("nanosleep", sleep(5000), libc::EINTR);
    }
    // Without SA_RESTART, a read is interrupted ...
    handle(0);
    alarm_in(20);
    fails("read", sys!(SYS_read, read, byte.as_mut_ptr(), 1), libc::EINTR);
    // ... and with it, the read is restarted.
    handle(libc::SA_RESTART);
    WAKE.store(i32::try_from(write).expect("a descriptor"), Ordering::Relaxed);
    alarm_in(20);
    assert_eq!(sys!(SYS_read, read, byte.as_mut_ptr(), 1), Ok(1));
    WAKE.store(-1, Ordering::Relaxed);
    // rt_sigsuspend waits for a signal.
    handle(0);
    alarm_in(20);
    let empty = 0u64;
    fails("rt_sigsuspend", sys!(SYS_rt_sigsuspend, &raw const empty, 8), libc::EINTR);

    // A sleeping process that is stopped and continued resumes its sleep with restart_syscall.
    let sleeper = sys!(SYS_fork).expect("fork");
    if sleeper == 0 {
        exit(i32::from(sleep(150) != Ok(0)));
    }
    sleep(30).expect("nothing interrupts");
    sys!(SYS_kill, sleeper, libc::SIGSTOP).expect("our child");
    sleep(30).expect("nothing interrupts");
    sys!(SYS_kill, sleeper, libc::SIGCONT).expect("our child");
    assert_eq!(wait(sleeper), 0);

    // A process is killed in a call.
    let reader = sys!(SYS_fork).expect("fork");
    if reader == 0 {
        let _ = sys!(SYS_read, read, byte.as_mut_ptr(), 1);
        exit(1);
    }
    sleep(30).expect("nothing interrupts");
    sys!(SYS_kill, reader, libc::SIGKILL).expect("our child");
    assert_eq!(wait(reader), libc::SIGKILL);
}

/// Kills itself with SIGSEGV, without a core file.
pub fn die() {
    let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const none, 0).expect("a limit");
    // SAFETY: the default action of SIGSEGV instead of the standard library's handler.
    unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
    sys!(SYS_kill, std::process::id(), libc::SIGSEGV).expect("ourselves");
}
