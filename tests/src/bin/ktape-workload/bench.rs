//! The workloads of `ktape-bench`. Each prints `ready`, waits for a byte on stdin, works, and prints `done` with the
//! duration of the work in ns, which includes neither start nor exit of the process.

use std::collections::hash_map::DefaultHasher;
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash as _, Hasher as _};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::block::Buffer;
use crate::calls::{bare_getppid, pin};
use crate::net;
use crate::sys;
use crate::sys::{exit, pipe, wait};

/// Runs the workload that `words` name; returns false if they are invalid:
///
/// - `getppid N CPU`: calls of `getppid` on one CPU
/// - `pipe N`: two processes on one CPU pass a byte back and forth
/// - `direct N PATH`: direct reads of 4 KiB
/// - `buffered N FILE`: buffered writes of 4 KiB, and an `fsync`
/// - `connections N`: connections over loopback in this network namespace, one after the other, on one CPU
/// - `mix N FILE`: on each CPU, executes processes and reads the file
/// - `noted N SEED FILE`: random calls, each noted with its times, arguments and result
/// - `nothing`: exits; executed by `mix`
pub fn command(words: &[&str]) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    match *words {
        ["nothing"] => {}
        [what, n, ref rest @ ..] => {
            let Some(n) = number(n) else { return false };
            match (what, rest) {
                ("getppid", [cpu]) => {
                    let Some(cpu) = number(cpu) else { return false };
                    pin(cpu as usize);
                    timed(|| (0..n).for_each(|_| bare_getppid()));
                }
                ("pipe", []) => ping_pong(n),
                ("buffered", [path]) => buffered(path, n),
                ("connections", []) => connections(n),
                ("mix", [path]) => mix(n, path),
                ("noted", [seed, path]) => {
                    let Some(seed) = number(seed) else { return false };
                    noted(n, seed, path);
                }
                ("direct", [path]) => direct(path, n),
                _ => return false,
            }
        }
        _ => return false,
    }
    true
}

fn print_line(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("stdout is there");
}

fn timed(work: impl FnOnce()) {
    print_line("ready");
    let mut byte = [0u8; 1];
    std::io::stdin().read_exact(&mut byte).expect("a byte");
    let start = Instant::now();
    work();
    print_line(&format!("done {}", start.elapsed().as_nanos()));
}

/// Passes a byte back and forth `n` times between two processes, so that each pass switches the address space.
fn ping_pong(n: u64) {
    pin(0);
    let (there, back) = (pipe(), pipe());
    let child = sys!(SYS_clone, libc::SIGCHLD, 0, 0, 0, 0).expect("another process");
    let mut byte = [0u8; 1];
    if child == 0 {
        for _ in 0..n {
            sys!(SYS_read, there.0, byte.as_mut_ptr(), 1).expect("a read");
            sys!(SYS_write, back.1, byte.as_ptr(), 1).expect("a write");
        }
        exit(0);
    }
    timed(|| {
        for _ in 0..n {
            sys!(SYS_write, there.1, byte.as_ptr(), 1).expect("a write");
            sys!(SYS_read, back.0, byte.as_mut_ptr(), 1).expect("a read");
        }
    });
    assert_eq!(wait(child), 0, "the other process");
}

fn open(path: &str, flags: i32) -> i64 {
    let path = std::ffi::CString::new(path).expect("no NUL inside");
    sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600).expect("it can be opened")
}

fn direct(path: &str, n: u64) {
    const BLOCK: usize = 4096;
    pin(0);
    let fd = open(path, libc::O_RDONLY | libc::O_DIRECT);
    let buffer = Buffer::new(BLOCK);
    timed(|| {
        for i in 0..n {
            let at = i % 1024 * BLOCK as u64;
            assert_eq!(sys!(SYS_pread64, fd, buffer.at(), BLOCK, at), Ok(BLOCK as i64));
        }
    });
}

fn buffered(path: &str, n: u64) {
    let fd = open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC);
    let block = [0x5au8; 4096];
    timed(|| {
        for _ in 0..n {
            assert_eq!(sys!(SYS_write, fd, block.as_ptr(), block.len()), Ok(4096));
        }
        sys!(SYS_fsync, fd).expect("fsync");
    });
}

/// A client and a server exchange one byte each way per connection. On one CPU, because the time to wake an idle CPU varies.
fn connections(n: u64) {
    pin(0);
    net::enter();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = thread::spawn(move || {
        for _ in 0..n {
            let (mut client, _) = listener.accept().expect("a client");
            client.read_exact(&mut [0; 1]).expect("a question");
            client.write_all(b"a").expect("an answer");
        }
    });
    timed(|| {
        for _ in 0..n {
            let mut stream = TcpStream::connect(address).expect("a server");
            stream.write_all(b"q").expect("a question");
            // Waits until the server has closed, so that TIME_WAIT stays on the server's side.
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("an answer");
        }
        server.join().expect("the server");
    });
}

/// On each CPU, `n` times: executes a program, and twenty times opens, reads, seeks in and closes a file.
fn mix(n: u64, path: &str) {
    let own = std::env::current_exe().expect("a program");
    let cpus = thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        let mut buffer = [0u8; 4096];
        let file = std::ffi::CString::new(path).expect("no NUL inside");
        for _ in 0..n {
            let status = Command::new(&own).args(["bench", "nothing"]).status().expect("a process");
            assert!(status.success(), "{status}");
            for _ in 0..20 {
                let fd = sys!(SYS_openat, libc::AT_FDCWD, file.as_ptr(), libc::O_RDONLY).expect("a file");
                sys!(SYS_read, fd, buffer.as_mut_ptr(), buffer.len()).expect("a read");
                sys!(SYS_lseek, fd, 0, libc::SEEK_SET).expect("a place");
                sys!(SYS_close, fd).expect("it is open");
            }
        }
    };
    timed(|| {
        thread::scope(|scope| {
            for _ in 0..cpus {
                scope.spawn(work);
            }
        });
    });
}

/// `CLOCK_REALTIME` in ns since 1970, as in the times of a capture.
fn wall_clock() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    sys!(SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now).expect("it always succeeds");
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// Makes `n` calls whose types, arguments and pauses depend on the seed. Then prints a line per call: times before and after
/// it (ns since 1970), thread ID, name, result, three arguments.
fn noted(n: u64, seed: u64, path: &str) {
    const SIZE: u64 = 1 << 20;
    fs::write(path, vec![0x5a; SIZE as usize]).expect("a file");
    let fd = open(path, libc::O_RDONLY);
    let missing = std::ffi::CString::new(format!("{path}.missing")).expect("no NUL inside");
    let mut buffer = [0u8; 4096];
    let mut notes = String::with_capacity(n as usize * 100);
    let tid = sys!(SYS_gettid).expect("it always succeeds");
    let mut random = seed;
    let mut next = |below: u64| {
        let mut hasher = DefaultHasher::new();
        random.hash(&mut hasher);
        random = hasher.finish();
        random % below
    };
    let mut work = || {
        for _ in 0..n {
            let (which, a, b) = (next(4), next(SIZE), 1 + next(4096));
            thread::sleep(Duration::from_micros(next(1000)));
            let before = wall_clock();
            let (name, result, args) = match which {
                0 => ("lseek", sys!(SYS_lseek, fd, a, libc::SEEK_SET), [fd as u64, a, 0]),
                1 => ("pread64", sys!(SYS_pread64, fd, buffer.as_mut_ptr(), b, a), [fd as u64, b, a]),
                2 => {
                    let flags = (libc::O_RDONLY | libc::O_CLOEXEC) as u64;
                    let result = sys!(SYS_openat, libc::AT_FDCWD, missing.as_ptr(), flags);
                    ("openat", result, [libc::AT_FDCWD as u64, flags, 0])
                }
                _ => ("kill", sys!(SYS_kill, std::process::id(), 0), [u64::from(std::process::id()), 0, 0]),
            };
            let after = wall_clock();
            let result = result.unwrap_or_else(|error| -i64::from(error));
            let _ =
                writeln!(notes, "{before} {after} {tid} {name} {result} {} {} {}", args[0], args[1], args[2]);
        }
    };
    timed(&mut work);
    print_line(notes.trim_end());
}
