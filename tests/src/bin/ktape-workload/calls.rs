//! Bursts of calls, calls that block, calls that fail, 32-bit calls.

use std::io::Write;
use std::thread;
use std::time::{Duration, Instant};

use ktape_tests::workload::{BEGIN, END, MARKER};

use crate::sys;
use crate::sys::{fails, pipe};

/// Options of `getppid`.
#[derive(Default)]
pub struct GetppidOptions {
    cpu: Option<usize>,
    gate: bool,
}

impl GetppidOptions {
    /// Parses the command line; `None` if it is invalid.
    pub fn parse(words: &[&str]) -> Option<Self> {
        match words {
            [] => Some(Self::default()),
            ["--gate", rest @ ..] => Some(Self { gate: true, ..Self::parse(rest)? }),
            ["--cpu", cpu, rest @ ..] => Some(Self { cpu: Some(cpu.parse().ok()?), ..Self::parse(rest)? }),
            _ => None,
        }
    }
}

/// Calls `getppid` exactly `n` times between the markers. With a gate it prints `ready`, waits for a byte on stdin, works,
/// prints `done` and waits for another byte: between these two reads, the thread makes `n` calls, two markers and one write.
pub fn getppid(n: u64, options: &GetppidOptions) {
    if let Some(cpu) = options.cpu {
        pin(cpu);
    }
    let mut byte = [0u8; 1];
    if options.gate {
        sys!(SYS_write, 1, b"ready\n".as_ptr(), 6).expect("a write");
        sys!(SYS_read, 0, byte.as_mut_ptr(), 1).expect("a read");
    }
    marker(BEGIN);
    for _ in 0..n {
        bare_getppid();
    }
    marker(END);
    if options.gate {
        sys!(SYS_write, 1, b"done\n".as_ptr(), 5).expect("a write");
        sys!(SYS_read, 0, byte.as_mut_ptr(), 1).expect("a read");
    }
}

fn marker(which: u32) {
    fails("the marker", sys!(SYS_prctl, MARKER, which), libc::EINVAL);
}

/// Calls `getppid` without the overhead of a wrapper.
#[inline(always)]
pub fn bare_getppid() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the call has no arguments and changes nothing; the registers it clobbers are named.
    unsafe {
        std::arch::asm!("syscall", inlateout("rax") libc::SYS_getppid => _, out("rcx") _, out("r11") _, options(nostack));
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = sys!(SYS_getppid);
}

/// Pins the calling thread to a CPU.
pub fn pin(cpu: usize) {
    let mut set = [0u64; 16];
    set[cpu / 64] |= 1 << (cpu % 64);
    sys!(SYS_sched_setaffinity, 0, size_of_val(&set), set.as_ptr()).expect("the CPU exists");
}

/// Calls `getppid` at this rate, in bursts every 10 ms. Prints the number of calls.
pub fn rate(per_second: u64, seconds: u64) {
    let start = Instant::now();
    let total = per_second * seconds;
    let mut made = 0;
    while made < total {
        let due = (start.elapsed().as_secs_f64() * per_second as f64) as u64;
        while made < due.min(total) {
            bare_getppid();
            made += 1;
        }
        thread::sleep(Duration::from_millis(10));
    }
    println!("{made}");
}

fn ready() {
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
}

/// Blocks in a read of 77 bytes from an empty pipe. First prints its descriptor and `ready`.
pub fn read_block() {
    let (read, _write) = pipe();
    println!("{read}");
    ready();
    let mut bytes = [0u8; 77];
    let result = sys!(SYS_read, read, bytes.as_mut_ptr(), bytes.len());
    panic!("the read returned: {result:?}");
}

/// Blocks on a futex that is never woken. First prints its address and `ready`.
pub fn futex_block() {
    let word = 5u32;
    println!("{}", (&raw const word).addr());
    ready();
    let result = sys!(SYS_futex, &raw const word, libc::FUTEX_WAIT, word, 0);
    panic!("the futex call returned: {result:?}");
}

/// Makes one failing call per way to fail.
pub fn fail() {
    let bad = 1usize;
    let at = libc::AT_FDCWD;
    let none = c"/none/at all".as_ptr();
    let byte = [0u8; 8];
    let (read, write) = pipe();
    fails("ENOENT", sys!(SYS_openat, at, none, libc::O_RDONLY), libc::ENOENT);
    fails("ENOTDIR", sys!(SYS_openat, at, c"/proc/self/comm/x".as_ptr(), libc::O_RDONLY), libc::ENOTDIR);
    fails("EISDIR", sys!(SYS_openat, at, c"/".as_ptr(), libc::O_WRONLY), libc::EISDIR);
    fails("EFAULT path", sys!(SYS_openat, at, bad, libc::O_RDONLY), libc::EFAULT);
    fails("ELOOP", sys!(SYS_openat, at, c"/proc/self".as_ptr(), libc::O_NOFOLLOW), libc::ELOOP);
    fails("EEXIST", sys!(SYS_mkdirat, at, c"/proc".as_ptr(), 0o755), libc::EEXIST);
    fails("EBADF", sys!(SYS_close, 999), libc::EBADF);
    fails("EBADF read", sys!(SYS_read, 999, byte.as_ptr(), 8), libc::EBADF);
    fails("EFAULT buffer", sys!(SYS_write, write, bad, 8), libc::EFAULT);
    fails("ESPIPE", sys!(SYS_lseek, read, 0, libc::SEEK_SET), libc::ESPIPE);
    fails("EINVAL", sys!(SYS_lseek, 0, 0, 99).or(Err(libc::EINVAL)), libc::EINVAL);
    fails("ECHILD", sys!(SYS_wait4, -1isize, 0, 0, 0), libc::ECHILD);
    fails("ESRCH", sys!(SYS_kill, 0x3fff_ffff, 0), libc::ESRCH);
    fails("EPIPE", broken_pipe(), libc::EPIPE);
    sys!(SYS_fcntl, read, libc::F_SETFL, libc::O_NONBLOCK).expect("a pipe can be non-blocking");
    fails("EAGAIN", sys!(SYS_read, read, byte.as_ptr(), 8), libc::EAGAIN);
    fails("ENOTSOCK", sys!(SYS_connect, read, byte.as_ptr(), 8), libc::ENOTSOCK);
    fails("EFAULT address", sys!(SYS_connect, unconnected(), bad, 16), libc::EFAULT);
    fails("ENOEXEC or EACCES", sys!(SYS_execve, c"/proc/self/comm".as_ptr(), 0, 0), libc::EACCES);
    fails("EFAULT execve", sys!(SYS_execve, bad, 0, 0), libc::EFAULT);
    let long = ktape_tests::paths::of_length(ktape_tests::paths::LONGEST + 1);
    let long = std::ffi::CString::new(long).expect("no NUL inside");
    fails("ENAMETOOLONG", sys!(SYS_openat, at, long.as_ptr(), libc::O_RDONLY), libc::ENAMETOOLONG);
    fails("ETIMEDOUT", timeout(), libc::ETIMEDOUT);
    // No kernel has a call with this number; strace and ktape both call it syscall_600.
    fails("ENOSYS", sys::call(600, [0; 6]), libc::ENOSYS);
}

fn broken_pipe() -> Result<i64, i32> {
    let (read, write) = pipe();
    sys!(SYS_close, read).expect("our own");
    // Rust ignores SIGPIPE.
    sys!(SYS_write, write, b"x".as_ptr(), 1)
}

fn unconnected() -> usize {
    usize::try_from(sys!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).expect("a socket"))
        .expect("a descriptor")
}

fn timeout() -> Result<i64, i32> {
    let word = 5u32;
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1_000_000 };
    sys!(SYS_futex, &raw const word, libc::FUTEX_WAIT, word, &raw const time)
}

/// Makes 32-bit calls and prints the results: getpid, write, openat, and a number without a call.
#[cfg(target_arch = "x86_64")]
pub fn compat() {
    let low = low_page();
    let path = b"/none/compat\0";
    // SAFETY: the page is ours and larger than the path.
    unsafe { low.copy_from_nonoverlapping(path.as_ptr(), path.len()) };
    let low = u32::try_from(low.addr()).expect("an address below 4 GiB");
    let (_, write) = pipe();
    let write = u32::try_from(write).expect("a descriptor");
    // Numbers in the 32-bit table: getpid, write, openat, and an unused one.
    println!("{}", int80(20, [0; 6]));
    println!("{}", int80(4, [write, low, 5, 0, 0, 0]));
    println!("{}", int80(295, [libc::AT_FDCWD.cast_unsigned(), low, 0, 0, 0, 0]));
    println!("{}", int80(600, [0; 6]));
}

/// Only x86-64 has 32-bit calls from 64-bit code.
#[cfg(not(target_arch = "x86_64"))]
pub fn compat() {
    panic!("32-bit calls from 64-bit code exist on x86-64 only");
}

/// A page below 4 GiB, where 32-bit pointers reach.
#[cfg(target_arch = "x86_64")]
pub fn low_page() -> *mut u8 {
    // SAFETY: a fresh mapping.
    let low = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    assert_ne!(low, libc::MAP_FAILED, "no memory below 4 GiB");
    low.cast()
}

/// Only x86-64 has 32-bit pointers.
#[cfg(not(target_arch = "x86_64"))]
pub fn low_page() -> *mut u8 {
    panic!("32-bit calls from 64-bit code exist on x86-64 only");
}

/// A call of the 32-bit ABI: its result, errors negative.
#[cfg(target_arch = "x86_64")]
pub fn int80(number: i32, [a, b, c, d, e, f]: [u32; 6]) -> i32 {
    let result: i64;
    // SAFETY: the pointers that the caller passes lie below 4 GiB; rbx and rbp, which cannot be named, are kept by hand.
    unsafe {
        std::arch::asm!(
            "xchg rbx, r12",
            "xchg rbp, r13",
            "int 0x80",
            "xchg rbp, r13",
            "xchg rbx, r12",
            inlateout("rax") i64::from(number) => result,
            inlateout("r12") u64::from(a) => _,
            in("rcx") u64::from(b),
            in("rdx") u64::from(c),
            in("rsi") u64::from(d),
            in("rdi") u64::from(e),
            inlateout("r13") u64::from(f) => _,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result as i32
}

/// Only x86-64 has 32-bit calls from 64-bit code.
#[cfg(not(target_arch = "x86_64"))]
pub fn int80(_: i32, _: [u32; 6]) -> i32 {
    panic!("32-bit calls from 64-bit code exist on x86-64 only");
}
