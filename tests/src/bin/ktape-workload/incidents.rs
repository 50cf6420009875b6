//! Incidents as they happen in production. Each program counts what it causes.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::services;
use crate::sys;
use crate::sys::{exit, pipe};

/// Runs the incident that `words` name; returns false if they are invalid:
///
/// - `stuck DIR KIB`: three threads write files, with O_DIRECT or with fsync
/// - `flood tcp|udp ADDRESS N`: makes N connections or sends N datagrams, see `services.rs` as for the next two
/// - `dial ADDRESS N BYTES MS`: makes N connections, each for MS milliseconds and with BYTES each way
/// - `serve LISTEN BACKEND LOG N`: answers N requests, each with a line in a file and a question to another server
/// - `leak-threads MS FAILURES`: creates a thread every MS milliseconds, until that has failed FAILURES times
/// - `busy MIB PERCENT`: holds memory and uses a CPU
/// - `eat MIB`: touches more and more memory
/// - `hold-fds N`: holds N descriptors open
/// - `ask SOCKET N`: sends N requests to a Unix socket
/// - `spawn N US`: starts N processes, one after the other, which each use a CPU for US microseconds
/// - `fork-bomb MS`: forks as fast as possible for MS milliseconds
/// - `hold-mmap PATH`: blocks on a page fault with the memory map locked
/// - `ping-pong N`: two threads pass a byte back and forth N times
/// - `read-direct DEVICE N`: N reads of 4 KiB with O_DIRECT
pub fn run(words: &[&str]) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    let numbers: Option<Vec<u64>> = words.iter().skip(1).map(|word| number(word)).collect();
    match (words, numbers.as_deref()) {
        (["leak-threads", ..], Some([ms, failures])) => leak_threads(*ms, *failures),
        (["busy", ..], Some([mib, percent])) => busy(*mib as usize, *percent),
        (["eat", ..], Some([mib])) => eat(*mib as usize),
        (["hold-fds", ..], Some([n])) => hold_fds(*n),
        (["fork-bomb", ..], Some([ms])) => fork_bomb(*ms),
        (["ping-pong", ..], Some([n])) => ping_pong(*n),
        (["hold-mmap", path], _) => hold_mmap(path),
        ([what @ ("stuck" | "ask" | "read-direct"), path, n], _) => match (*what, number(n)) {
            ("stuck", Some(n)) => stuck(path, n as usize),
            ("ask", Some(n)) => ask(path, n),
            (_, Some(n)) => read_direct(path, n),
            _ => return false,
        },
        (["spawn", ..], Some([n, us])) => spawn(*n, *us),
        (["dial" | "serve", ..], _) => return services::run(words),
        (["flood", protocol @ ("tcp" | "udp"), to, n], _) => match (to.parse(), number(n)) {
            (Ok(to), Some(n)) => services::flood(protocol, to, n),
            _ => return false,
        },
        _ => return false,
    }
    true
}

/// Alignment for O_DIRECT.
const BLOCK: usize = 4096;

/// Aligned memory for O_DIRECT, filled with 0x6b. Never freed.
struct DirectBuffer(*mut u8, usize);

impl DirectBuffer {
    fn new(len: usize) -> Self {
        // SAFETY: a fresh private mapping.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        assert_ne!(memory, libc::MAP_FAILED, "no memory");
        // SAFETY: the mapping is ours and of this length.
        unsafe { memory.cast::<u8>().write_bytes(0x6b, len) };
        Self(memory.cast(), len)
    }
}

/// Three threads each write `kib` KiB to their own file in `dir`: two with O_DIRECT in one call, one through the page cache
/// with an fsync. Prints the duration of each in ms.
fn stuck(dir: &str, kib: usize) {
    let mut threads = Vec::new();
    for name in ["direct-0", "direct-1", "fsync-0"] {
        let path = Path::new(dir).join(name);
        let run = move || {
            let start = Instant::now();
            let memory = DirectBuffer::new(kib << 10);
            let flags = if name.starts_with("direct") { libc::O_DIRECT } else { 0 };
            let file = OpenOptions::new().write(true).create(true).custom_flags(flags).open(path);
            let file = file.expect("the file can be made");
            let written = sys!(SYS_write, file.as_raw_fd(), memory.0, memory.1).expect("a write");
            assert_eq!(usize::try_from(written), Ok(memory.1), "a short write");
            if flags == 0 {
                sys!(SYS_fsync, file.as_raw_fd()).expect("an fsync");
            }
            format!("{name} {}", start.elapsed().as_millis())
        };
        threads.push(thread::Builder::new().name(name.into()).spawn(run).expect("a thread"));
    }
    for thread in threads {
        println!("{}", thread.join().expect("no thread panicked"));
    }
}

/// Creates a thread that never exits every `ms` milliseconds, until the kernel has refused `failures` times. Prints the number
/// of threads and of failures, and aborts, as language runtimes do.
fn leak_threads(ms: u64, failures: u64) {
    let mut made = 0u64;
    let mut refused = 0u64;
    while refused < failures {
        let run = || {
            loop {
                thread::sleep(Duration::from_secs(60));
            }
        };
        match thread::Builder::new().name(format!("pool-{made}")).stack_size(64 << 10).spawn(run) {
            Ok(_) => made += 1,
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::EAGAIN), "{error}");
                refused += 1;
            }
        }
        thread::sleep(Duration::from_millis(ms));
    }
    println!("{made} {refused}");
    std::io::stdout().flush().expect("stdout is there");
    std::process::abort();
}

/// Touches `mib` MiB, then uses a CPU for `percent` of each 20 ms, until killed.
fn busy(mib: usize, percent: u64) {
    let _memory = DirectBuffer::new(mib << 20);
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    let period = Duration::from_millis(20);
    loop {
        let start = Instant::now();
        while start.elapsed() < period * u32::try_from(percent).expect("a percentage") / 100 {
            std::hint::spin_loop();
        }
        thread::sleep(period.saturating_sub(start.elapsed()));
    }
}

/// Touches up to `mib` MiB of memory, 1 MiB at a time, each with a line of output.
fn eat(mib: usize) {
    let mut all = Vec::new();
    for _ in 0..mib {
        all.push(DirectBuffer::new(1 << 20));
        println!("ate {} MiB", all.len());
    }
}

/// Holds `n` descriptors open until killed.
fn hold_fds(n: u64) {
    let all: Vec<File> = (0..n).map(|_| File::open("/proc/self/status").expect("a file")).collect();
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    loop {
        thread::sleep(Duration::from_secs(60));
        assert_eq!(all.len() as u64, n);
    }
}

/// Sends `n` requests to a Unix socket, each on its own connection.
fn ask(socket: &str, n: u64) {
    for _ in 0..n {
        let mut stream = UnixStream::connect(socket).expect("somebody listens");
        stream.write_all(b"GET /containers/json HTTP/1.0\r\n\r\n").expect("a request");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
    }
    println!("{n}");
}

/// Starts `n` processes, one after the other, which each use a CPU for `us` microseconds. Prints for how long, in ns, and the
/// CPU time that they used by the kernel's count, in ns.
fn spawn(n: u64, us: u64) {
    let start = Instant::now();
    for _ in 0..n {
        let child = sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("a process");
        if child == 0 {
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_micros(us) {
                std::hint::spin_loop();
            }
            exit(0);
        }
        sys!(SYS_wait4, child, 0, 0, 0).expect("our own child");
    }
    // SAFETY: `usage` is a struct of integers, for which all bits are valid, and lives during the call.
    let usage = unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        assert_eq!(libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage), 0);
        usage
    };
    let ns = |time: libc::timeval| time.tv_sec * 1_000_000_000 + time.tv_usec * 1_000;
    println!("{} {}", start.elapsed().as_nanos(), ns(usage.ru_utime) + ns(usage.ru_stime));
}

/// Every process forks as often as it can, for `ms` milliseconds. Prints the number of successful and of failed forks.
fn fork_bomb(ms: u64) {
    // SAFETY: a fresh shared mapping, which no one else refers to.
    let shared = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            BLOCK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED | libc::MAP_ANONYMOUS,
            -1,
            0,
        )
    };
    assert_ne!(shared, libc::MAP_FAILED, "no memory");
    // SAFETY: the mapping is zeroed, aligned, lives until the process ends, and is only used as these atomics.
    let counters = unsafe { &*shared.cast::<[AtomicU64; 2]>() };
    let end = Instant::now() + Duration::from_millis(ms);
    // Every process holds the write end of this pipe: the reader sees its end when all have exited.
    let (read, write) = pipe();
    if bomb(counters, end) {
        exit(0);
    }
    sys!(SYS_close, write).expect("our own");
    let mut byte = 0u8;
    while sys!(SYS_read, read, &raw mut byte, 1).expect("a pipe") > 0 {}
    println!("{} {}", counters[0].load(Ordering::SeqCst), counters[1].load(Ordering::SeqCst));
}

/// Forks until `end`. Returns true in a child.
fn bomb(counters: &[AtomicU64; 2], end: Instant) -> bool {
    let mut is_child = false;
    let mut children = Vec::new();
    while Instant::now() < end {
        match sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) {
            Ok(0) => {
                is_child = true;
                children.clear();
            }
            Ok(child) => {
                counters[0].fetch_add(1, Ordering::SeqCst);
                children.push(child);
                // A child stops after three forks, which makes room for others.
                if is_child && children.len() > 2 {
                    break;
                }
            }
            Err(error) => {
                assert_eq!(error, libc::EAGAIN, "fork");
                counters[1].fetch_add(1, Ordering::SeqCst);
                if is_child {
                    break;
                }
                thread::sleep(Duration::from_micros(200));
                // Reaps exited children; the others are reaped below.
                while let Ok(1..) = sys!(SYS_wait4, -1isize, 0, libc::WNOHANG, 0) {}
            }
        }
    }
    if !is_child {
        while sys!(SYS_wait4, -1isize, 0, 0, 0).is_ok() {}
    }
    is_child
}

/// Writes to a mapped page of `path` while its file system is frozen, and meanwhile changes the process's memory map from
/// another thread. Prints `ready` when the page is mapped; a first byte on stdin starts the write, a second one the change.
fn hold_mmap(path: &str) {
    let file = OpenOptions::new().read(true).write(true).open(path).expect("the file is there");
    // SAFETY: a fresh mapping of a file that is a page long.
    let page = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            BLOCK,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        )
    };
    assert_ne!(page, libc::MAP_FAILED, "no mapping");
    let page = page.addr();
    // SAFETY: the page is mapped readable.
    let first = unsafe { std::ptr::with_exposed_provenance::<u8>(page).read_volatile() };
    assert_eq!(first, b'm');
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    let mut byte = [0u8; 1];
    std::io::stdin().read_exact(&mut byte).expect("a byte");
    let writer = thread::Builder::new().name("fault".into()).spawn(move || {
        // SAFETY: the page is mapped writable.
        unsafe { std::ptr::with_exposed_provenance_mut::<u8>(page).write_volatile(b'M') };
    });
    let writer = writer.expect("a thread");
    // The test sends the second byte once the thread is blocked in the fault.
    std::io::stdin().read_exact(&mut byte).expect("a byte");
    // The page must stay writable, because the fault is retried afterwards.
    let all = libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC;
    sys!(SYS_mprotect, page, BLOCK, all).expect("our own mapping");
    writer.join().expect("no thread panicked");
    println!("done");
}

/// Two threads pass a byte back and forth `n` times through two pipes. The second thread exists before `ready` is printed, and
/// both wait after `done`. Between a byte on stdin and `done`, this thread returns from its read and makes `n` writes, `n`
/// reads and the write of `done`; the other one makes `n` reads and `n` writes.
fn ping_pong(n: u64) {
    let (there_read, there_write) = pipe();
    let (back_read, back_write) = pipe();
    let other = thread::Builder::new().name("pong".into()).spawn(move || {
        let mut byte = 0u8;
        while sys!(SYS_read, there_read, &raw mut byte, 1) == Ok(1) {
            sys!(SYS_write, back_write, &raw const byte, 1).expect("a write");
        }
    });
    let other = other.expect("a thread");
    let mut byte = 0u8;
    sys!(SYS_write, 1, b"ready\n".as_ptr(), 6).expect("a write");
    sys!(SYS_read, 0, &raw mut byte, 1).expect("a read");
    for _ in 0..n {
        sys!(SYS_write, there_write, &raw const byte, 1).expect("a write");
        sys!(SYS_read, back_read, &raw mut byte, 1).expect("a read");
    }
    sys!(SYS_write, 1, b"done\n".as_ptr(), 5).expect("a write");
    sys!(SYS_read, 0, &raw mut byte, 1).expect("a read");
    sys!(SYS_close, there_write).expect("our own");
    other.join().expect("no thread panicked");
}

/// Makes `n` reads of 4 KiB with O_DIRECT from a device, between `ready` and `done` as in [`ping_pong`].
fn read_direct(path: &str, n: u64) {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_DIRECT).open(path).expect("a device");
    let blocks = {
        let end = sys!(SYS_lseek, file.as_raw_fd(), 0, libc::SEEK_END).expect("a size");
        u64::try_from(end).expect("a size") / BLOCK as u64
    };
    let memory = DirectBuffer::new(BLOCK);
    let mut byte = 0u8;
    sys!(SYS_write, 1, b"ready\n".as_ptr(), 6).expect("a write");
    sys!(SYS_read, 0, &raw mut byte, 1).expect("a read");
    for i in 0..n {
        let offset = (i * 7919 % blocks) * BLOCK as u64;
        sys!(SYS_pread64, file.as_raw_fd(), memory.0, memory.1, offset).expect("a read");
    }
    sys!(SYS_write, 1, b"done\n".as_ptr(), 5).expect("a write");
    sys!(SYS_read, 0, &raw mut byte, 1).expect("a read");
}
