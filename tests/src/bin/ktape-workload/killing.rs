//! Signals of every origin, and a process that exceeds its memory limit.

use crate::sys;
use crate::sys::{exit, fails, pipe, wait};

extern "C" fn nothing(_signal: libc::c_int) {}

fn handle(signal: libc::c_int, handler: usize) {
    // SAFETY: an all-zero sigaction is valid; the handler does nothing.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

fn pause() {
    fails("pause", sys!(SYS_pause), libc::EINTR);
}

/// Sends one signal of each origin. Prints `NAME PID` of the children that receive some.
pub fn signal_origins() {
    let own = std::process::id();
    let handler = nothing as extern "C" fn(libc::c_int) as usize;

    // kill, to a child that dies from it; SIGCHLD reports its exit.
    let victim = sys!(SYS_fork).expect("fork");
    if victim == 0 {
        loop {
            let _ = sys!(SYS_pause);
        }
    }
    println!("victim {victim}");
    sys!(SYS_kill, victim, libc::SIGTERM).expect("our child");
    assert_eq!(wait(victim), libc::SIGTERM);

    // tgkill to a thread that ignores the signal.
    handle(libc::SIGUSR1, libc::SIG_IGN);
    sys!(SYS_tgkill, own, own, libc::SIGUSR1).expect("ourselves");

    // Two signals while they are blocked.
    let set: u64 = 1 << (libc::SIGUSR2 - 1);
    sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).expect("a mask");
    sys!(SYS_kill, own, libc::SIGUSR2).expect("ourselves");
    sys!(SYS_kill, own, libc::SIGUSR2).expect("ourselves");
    handle(libc::SIGUSR2, libc::SIG_IGN);

    // Timers: setitimer and a POSIX timer.
    for signal in [libc::SIGALRM, libc::SIGHUP] {
        handle(signal, handler);
    }
    let soon = libc::timeval { tv_sec: 0, tv_usec: 20_000 };
    let timer = libc::itimerval { it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 }, it_value: soon };
    sys!(SYS_setitimer, libc::ITIMER_REAL, &raw const timer, 0).expect("a timer");
    pause();
    // SAFETY: an all-zero sigevent is valid.
    let mut event: libc::sigevent = unsafe { std::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = libc::SIGHUP;
    let mut id = 0i32;
    sys!(SYS_timer_create, libc::CLOCK_MONOTONIC, &raw mut event, &raw mut id).expect("a timer");
    let soon = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec { tv_sec: 0, tv_nsec: 20_000_000 },
    };
    sys!(SYS_timer_settime, id, 0, &raw const soon, 0).expect("our timer");
    pause();

    // From the kernel: SIGPIPE, because the pipe has no reader.
    handle(libc::SIGPIPE, libc::SIG_IGN);
    let (read, write) = pipe();
    sys!(SYS_close, read).expect("our pipe");
    fails("write", sys!(SYS_write, write, b"x".as_ptr(), 1), libc::EPIPE);

    // From a fault.
    let child = sys!(SYS_fork).expect("fork");
    if child == 0 {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        sys!(SYS_prlimit64, 0, libc::RLIMIT_CORE, &raw const none, 0).expect("a limit");
        handle(libc::SIGSEGV, libc::SIG_DFL);
        // SAFETY: not sound; the write faults, as intended, and changes no memory.
        unsafe { std::ptr::without_provenance_mut::<u8>(16).write_volatile(1) };
        exit(1);
    }
    println!("fault {child}");
    assert_eq!(wait(child), libc::SIGSEGV);
}

/// Waits for a line on stdin, then allocates that many bytes of memory, rounded down to MiB.
pub fn eat(bytes: u64) {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("stdin");
    let mut eaten = Vec::new();
    for _ in 0..bytes >> 20 {
        eaten.push(vec![1u8; 1 << 20]);
    }
    std::hint::black_box(&eaten);
}
