//! Calls with structures in memory: each is printed as ktape shows it, with what the kernel has filled in.

use std::ffi::CString;
use std::fs;
use std::mem::zeroed;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::ptr::null_mut;
use std::thread;
use std::time::Duration;

use crate::sys;
use crate::sys::{is_blocked, pipe};

mod states;

/// Prints a call with its arguments.
fn made(call: &str, args: &str) {
    println!("{call}\t{args}");
}

/// A descriptor with the kernel's name of it.
fn shown(fd: usize) -> String {
    let name = fs::read_link(format!("/proc/self/fd/{fd}")).expect("an open descriptor");
    format!("{fd}<{}>", name.display())
}

/// Makes all of the calls; files are in `dir`.
pub fn structs(dir: &str) {
    descriptors();
    waiting();
    epoll();
    children();
    times();
    limits_and_signals();
    files(Path::new(dir));
    states::states(Path::new(dir));
    sockets();
    unreadable();
}

fn descriptors() {
    let mut fds = [0i32; 2];
    sys!(SYS_pipe2, fds.as_mut_ptr(), libc::O_CLOEXEC).expect("a pipe");
    let both = |fds: [i32; 2]| fds.map(|fd| shown(fd.cast_unsigned() as usize)).join(", ");
    made("pipe2", &format!("[{}], O_CLOEXEC", both(fds)));
    sys!(SYS_pipe2, fds.as_mut_ptr(), 0x40).expect_err("no such flag");
    made("pipe2", "_, 0x40");
}

/// Makes `wake` after this thread has fallen asleep.
fn wake_later(wake: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    // SAFETY: no preconditions.
    let tid = unsafe { libc::gettid() };
    thread::spawn(move || {
        while !is_blocked(tid) {
            thread::sleep(Duration::from_millis(1));
        }
        wake();
    })
}

fn write_byte(fd: usize) {
    assert_eq!(sys!(SYS_write, fd, b"x".as_ptr(), 1), Ok(1));
}

fn waiting() {
    let (reader, writer) = pipe();
    let polled = |fd: usize, events: i16| libc::pollfd { fd: fd as i32, events, revents: 0 };
    let mut one = [polled(reader, libc::POLLIN)];
    let found = sys!(SYS_poll, one.as_mut_ptr(), 1, 1);
    assert_eq!(found, Ok(0));
    made("poll", &format!("[{{fd={reader}, events=POLLIN, revents=0}}], 1, 1"));

    let mut two = [polled(reader, libc::POLLIN | libc::POLLPRI), polled(writer, libc::POLLOUT)];
    assert_eq!(sys!(SYS_poll, two.as_mut_ptr(), 2, 1000), Ok(1));
    made(
        "poll",
        &format!(
            "[{{fd={reader}, events=POLLIN|POLLPRI, revents=0}}, {{fd={writer}, events=POLLOUT, revents=POLLOUT}}], 2, 1000"
        ),
    );

    // What wakes a thread is filled in while it is not on the CPU.
    let waker = wake_later(move || write_byte(writer));
    assert_eq!(sys!(SYS_poll, one.as_mut_ptr(), 1, 60_000), Ok(1));
    made("poll", &format!("[{{fd={reader}, events=POLLIN, revents=POLLIN}}], 1, 60000"));
    waker.join().expect("it has written");

    let limit = libc::timespec { tv_sec: 7, tv_nsec: 500 };
    let found = sys!(SYS_ppoll, one.as_mut_ptr(), 1, &raw const limit, 0, 8);
    assert_eq!(found, Ok(1));
    made(
        "ppoll",
        &format!("[{{fd={reader}, events=POLLIN, revents=POLLIN}}], 1, {{tv_sec=7, tv_nsec=500}}, _, 8"),
    );

    let mut many = [libc::pollfd { fd: -1, events: 0, revents: 0 }; 70];
    sys!(SYS_poll, many.as_mut_ptr(), many.len(), 0).expect("nothing to wait for");
    let elements = vec!["{fd=-1, events=0, revents=0}"; 64].join(", ");
    made("poll", &format!("[{elements}...], 70, 0"));

    // SAFETY: an empty set, in which a bit is set.
    let mut set = unsafe {
        let mut set: libc::fd_set = zeroed();
        libc::FD_SET(reader as i32, &raw mut set);
        set
    };
    let found = sys!(SYS_select, reader + 1, &raw mut set, 0, 0, 0);
    assert_eq!(found, Ok(1));
    made("select", &format!("{}, [{reader}], NULL, _, _", reader + 1));

    // No thread waits, and none wakes.
    let word = 7u32;
    let limit = libc::timespec { tv_sec: 3, tv_nsec: 9 };
    sys!(SYS_futex, &raw const word, libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG, 8, &raw const limit, 0, 0)
        .expect_err("not 8");
    made(
        "futex",
        &format!("{:#x}, FUTEX_WAIT_PRIVATE, 8, {{tv_sec=3, tv_nsec=9}}", &raw const word as usize),
    );
}

fn epoll() {
    let (reader, writer) = pipe();
    let epoll = sys!(SYS_epoll_create1, 0).expect("a set") as usize;
    let mut event =
        libc::epoll_event { events: (libc::EPOLLIN | libc::EPOLLET).cast_unsigned(), u64: 7 << 32 | 9 };
    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_ADD, reader, &raw mut event).expect("added");
    let (set, end) = (shown(epoll), shown(reader));
    made("epoll_ctl", &format!("{set}, EPOLL_CTL_ADD, {end}, {{events=EPOLLIN|EPOLLET, data=0x700000009}}"));

    let mut found = [libc::epoll_event { events: 0, u64: 0 }; 4];
    assert_eq!(sys!(SYS_epoll_wait, epoll, found.as_mut_ptr(), 4, 1), Ok(0));
    made("epoll_wait", &format!("{set}, [], 4, 1"));
    let waker = wake_later(move || write_byte(writer));
    assert_eq!(sys!(SYS_epoll_wait, epoll, found.as_mut_ptr(), 4, 60_000), Ok(1));
    made("epoll_wait", &format!("{set}, [{{events=EPOLLIN, data=0x700000009}}], 4, 60000"));
    waker.join().expect("it has written");

    sys!(SYS_epoll_ctl, epoll, libc::EPOLL_CTL_DEL, reader, &raw mut event).expect("deleted");
    made("epoll_ctl", &format!("{set}, EPOLL_CTL_DEL, {end}"));
}

fn child(run: impl FnOnce()) -> i64 {
    let pid = sys!(SYS_fork).expect("a child");
    if pid == 0 {
        run();
        sys::exit(0);
    }
    pid
}

fn children() {
    let mut status = 0i32;
    let pid = child(|| sys::exit(3));
    sys!(SYS_wait4, pid, &raw mut status, 0, 0).expect("it ends");
    made("wait4", &format!("{pid}, [{{WIFEXITED(s) && WEXITSTATUS(s) == 3}}], 0, NULL"));
    let pid = child(|| {
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    });
    assert_eq!(sys!(SYS_wait4, pid, &raw mut status, libc::WNOHANG, 0), Ok(0));
    made("wait4", &format!("{pid}, _, WNOHANG, NULL"));
    sys!(SYS_kill, pid, libc::SIGKILL).expect("it runs");
    // SAFETY: all-zero is a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { zeroed() };
    sys!(SYS_waitid, libc::P_PID, pid, &raw mut info, libc::WEXITED, 0).expect("it ends");
    made(
        "waitid",
        &format!(
            "P_PID, {pid}, {{si_signo=SIGCHLD, si_code=CLD_KILLED, si_pid={pid}, si_uid=0, si_status=SIGKILL}}, WEXITED, NULL"
        ),
    );
}

fn times() {
    let short = libc::timespec { tv_sec: 0, tv_nsec: 1234 };
    sys!(SYS_nanosleep, &raw const short, 0).expect("slept");
    made("nanosleep", "{tv_sec=0, tv_nsec=1234}, _");
    sys!(SYS_clock_nanosleep, libc::CLOCK_MONOTONIC, 0, &raw const short, 0).expect("slept");
    made("clock_nanosleep", "CLOCK_MONOTONIC, 0, {tv_sec=0, tv_nsec=1234}, _");

    let timer = sys!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, 0).expect("a timer") as usize;
    let zero = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let mut old = libc::itimerspec { it_interval: zero, it_value: zero };
    let new = libc::itimerspec { it_interval: libc::timespec { tv_sec: 9, tv_nsec: 8 }, it_value: zero };
    sys!(SYS_timerfd_settime, timer, 0, &raw const new, &raw mut old).expect("set");
    let disarmed = "it_value={tv_sec=0, tv_nsec=0}";
    made(
        "timerfd_settime",
        &format!(
            "{}, 0, {{it_interval={{tv_sec=9, tv_nsec=8}}, {disarmed}}}, {{it_interval={{tv_sec=0, tv_nsec=0}}, {disarmed}}}",
            shown(timer)
        ),
    );
}

fn limits_and_signals() {
    // SAFETY: all-zero is a valid rlimit64.
    let mut old: libc::rlimit64 = unsafe { zeroed() };
    sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, 0, &raw mut old).expect("a limit");
    let new = libc::rlimit64 { rlim_cur: old.rlim_cur.min(321), rlim_max: old.rlim_max };
    let before = old;
    sys!(SYS_prlimit64, 0, libc::RLIMIT_NOFILE, &raw const new, &raw mut old).expect("a limit");
    let text =
        |limit: &libc::rlimit64| format!("{{rlim_cur={}, rlim_max={}}}", limit.rlim_cur, limit.rlim_max);
    made("prlimit64", &format!("0, RLIMIT_NOFILE, NULL, {}", text(&before)));
    made("prlimit64", &format!("0, RLIMIT_NOFILE, {}, {}", text(&new), text(&before)));

    let set: u64 = 1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGCHLD - 1);
    sys!(SYS_rt_sigprocmask, libc::SIG_BLOCK, &raw const set, 0, 8).expect("blocked");
    made("rt_sigprocmask", "SIG_BLOCK, [USR1 CHLD], NULL, 8");
    let limit = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    // SAFETY: all-zero is a valid siginfo_t; no preconditions.
    let (mut info, pid) = unsafe { (zeroed::<libc::siginfo_t>(), libc::getpid()) };
    sys!(SYS_kill, pid, libc::SIGUSR1).expect("sent");
    let taken = sys!(SYS_rt_sigtimedwait, &raw const set, &raw mut info, &raw const limit, 8);
    assert!(taken.is_ok(), "{taken:?}");
    // SIG_IGN, with SA_RESTART and without SA_RESTORER.
    let action: [u64; 4] = [1, 0x1000_0000, 0, 1 << (libc::SIGHUP - 1)];
    sys!(SYS_rt_sigaction, libc::SIGUSR2, action.as_ptr(), 0, 8).expect("set");
    made(
        "rt_sigaction",
        "SIGUSR2, {sa_handler=SIG_IGN, sa_mask=[HUP], sa_flags=SA_RESTART, sa_restorer=NULL}, NULL, 8",
    );
}

fn files(dir: &Path) {
    let path = CString::new(dir.join("made").into_os_string().into_vec()).expect("no NUL");
    let name = dir.join("made");
    let how: [u64; 3] = [(libc::O_WRONLY | libc::O_CREAT) as u64, 0o640, 4];
    let fd = sys!(SYS_openat2, libc::AT_FDCWD, path.as_ptr(), how.as_ptr(), 24).expect("a file");
    made(
        "openat2",
        &format!(
            "AT_FDCWD, {name:?}, {{flags=O_WRONLY|O_CREAT, mode=0640, resolve=RESOLVE_NO_SYMLINKS}}, 24"
        ),
    );
    sys!(SYS_close, fd).expect("closed");
    fs::write(&name, "x").expect("a file");
    let times = [
        libc::timespec { tv_sec: 0, tv_nsec: libc::UTIME_OMIT },
        libc::timespec { tv_sec: 1_000_000_000, tv_nsec: 5 },
    ];
    let fd = sys!(SYS_open, path.as_ptr(), 0).expect("the file") as usize;
    sys!(SYS_utimensat, fd, 0, times.as_ptr(), 0).expect("set");
    made(
        "utimensat",
        &format!(
            "{}, NULL, [{{tv_sec=0, tv_nsec=UTIME_OMIT}}, {{tv_sec=1000000000, tv_nsec=5}}], 0",
            shown(fd)
        ),
    );
    let (source, place, kind) = (c"none", c"/none/place", c"tmpfs");
    sys!(SYS_mount, source.as_ptr(), place.as_ptr(), kind.as_ptr(), libc::MS_NOSUID, 0)
        .expect_err("no such place");
    made("mount", "\"none\", \"/none/place\", \"tmpfs\", MS_NOSUID, _");
    sys!(SYS_mount, 0, place.as_ptr(), 0, libc::MS_REMOUNT, 0).expect_err("no such place");
    made("mount", "NULL, \"/none/place\", NULL, MS_REMOUNT, _");
}

fn sockets() {
    let socket = sys!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).expect("a socket") as usize;
    // Its name is that of a socket without addresses.
    let shown = format!("{socket}<TCP:[{}]>", inode(socket));
    let (name, mut room) = ([0u8; 128], 128u32);
    sys!(SYS_getsockname, socket, name.as_ptr(), &raw mut room).expect("a name");
    made("getsockname", &format!("{shown}, 0.0.0.0:0, [128 => 16]"));
    sys!(SYS_getsockname, socket, name.as_ptr(), &raw mut room).expect("a name");
    made("getsockname", &format!("{shown}, 0.0.0.0:0, [16]"));
    sys!(SYS_getpeername, socket, name.as_ptr(), &raw mut room).expect_err("no peer");
    made("getpeername", &format!("{shown}, _, [16]"));
    let one = 1i32;
    sys!(SYS_setsockopt, socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, &raw const one, 4).expect("set");
    made("setsockopt", &format!("{shown}, SOL_SOCKET, SO_REUSEADDR, [1], 4"));
    let time = libc::timeval { tv_sec: 3, tv_usec: 4 };
    sys!(SYS_setsockopt, socket, libc::SOL_SOCKET, libc::SO_RCVTIMEO, &raw const time, 16).expect("set");
    made("setsockopt", &format!("{shown}, SOL_SOCKET, SO_RCVTIMEO_OLD, {{tv_sec=3, tv_usec=4}}, 16"));

    // Nothing listens at port 1.
    let address = sys::address(std::net::SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, 1));
    sys!(SYS_fcntl, socket, libc::F_SETFL, libc::O_NONBLOCK).expect("set");
    let connected = sys!(SYS_connect, socket, &raw const address, 16);
    assert!(connected.is_err());
    let (mut error, mut len) = (0i32, 4u32);
    sys!(SYS_getsockopt, socket, libc::SOL_SOCKET, libc::SO_ERROR, &raw mut error, &raw mut len)
        .expect("got");
    println!("SO_ERROR\t{error}");
    let mut kind = [0u8; 64];
    let mut len = 64u32;
    sys!(SYS_getsockopt, socket, libc::SOL_SOCKET, libc::SO_TYPE, kind.as_mut_ptr(), &raw mut len)
        .expect("got");
    println!("SO_TYPE\t{}", kind[0]);
}

fn inode(fd: usize) -> String {
    let name = fs::read_link(format!("/proc/self/fd/{fd}")).expect("an open descriptor");
    let name = name.to_string_lossy().into_owned();
    name.trim_start_matches("socket:[").trim_end_matches(']').to_owned()
}

/// What cannot be read is marked.
fn unreadable() {
    let nowhere: *mut u8 = null_mut::<u8>().wrapping_add(4096);
    sys!(SYS_nanosleep, nowhere, 0).expect_err("no memory");
    made("nanosleep", "?, _");
    sys!(SYS_pipe2, nowhere, 0).expect_err("no memory");
    made("pipe2", "_, 0");
}
