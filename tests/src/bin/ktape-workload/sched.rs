//! Threads that switch in known ways, which the kernel also counts.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Duration;

use ktape_tests::workload::{BEGIN, END, MARKER};

use crate::sys;
use crate::sys::{fails, pipe};

/// The kernel's counters of the calling thread.
struct ThreadUsage {
    voluntary: i64,
    involuntary: i64,
    cpu: u64,
}

fn usage() -> ThreadUsage {
    // SAFETY: rusage is a struct of integers, so all zeroes is a valid value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    sys!(SYS_getrusage, libc::RUSAGE_THREAD, &raw mut usage).expect("it always succeeds");
    ThreadUsage { voluntary: usage.ru_nvcsw, involuntary: usage.ru_nivcsw, cpu: 0 }
}

/// Time on a CPU and on a run queue, ns, from the scheduler.
fn schedstat() -> (u64, u64) {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("the kernel counts");
    let mut words = text.split(' ').map(|word| word.parse().expect("a number"));
    (words.next().expect("the time"), words.next().expect("the wait"))
}

fn tid() -> i64 {
    sys!(SYS_gettid).expect("it always succeeds")
}

/// Uses this much CPU time.
fn burn(time: Duration) {
    let now = || {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        sys!(SYS_clock_gettime, libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now).expect("it always succeeds");
        Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
    };
    let start = now();
    while now() - start < time {
        std::hint::spin_loop();
    }
}

/// Two threads pass a byte back and forth `n` times. Each prints its ID, its voluntary and involuntary switches between two
/// calls of `getrusage`, its CPU time and its run queue time, both in ns.
///
/// Both run on one CPU. If one wakes the other on an idle CPU, the kernel charges the time from the wakeup on, including the
/// latency of the interrupt, and perf misses some of the switches from and to the idle task.
pub fn token(n: u64) {
    pin();
    let (there, back) = (pipe(), pipe());
    let begin = Arc::new(Barrier::new(2));
    let player = move |begin: Arc<Barrier>, from: usize, to: usize, first: bool| {
        let mut byte = [0u8; 1];
        begin.wait();
        fails("the marker", sys!(SYS_prctl, MARKER, BEGIN), libc::EINVAL);
        let (cpu, wait) = schedstat();
        let before = usage();
        for _ in 0..n {
            if first {
                sys!(SYS_write, to, byte.as_ptr(), 1).expect("a write");
            }
            sys!(SYS_read, from, byte.as_mut_ptr(), 1).expect("a read");
            if !first {
                sys!(SYS_write, to, byte.as_ptr(), 1).expect("a write");
            }
        }
        let mut after = usage();
        let (cpu_after, wait_after) = schedstat();
        fails("the marker", sys!(SYS_prctl, MARKER, END), libc::EINVAL);
        after.cpu = cpu_after - cpu;
        println!(
            "{} {} {} {} {}",
            tid(),
            after.voluntary - before.voluntary,
            after.involuntary - before.involuntary,
            after.cpu,
            wait_after - wait,
        );
    };
    let other = {
        let begin = begin.clone();
        thread::spawn(move || player(begin, there.0, back.1, false))
    };
    player(begin, back.0, there.1, true);
    other.join().expect("no thread panicked");
}

/// On one CPU: B sleeps in a read. A, which is SCHED_FIFO, wakes B, runs for another 40 ms, sleeps for 20 ms while B runs,
/// preempts B, and exits. Prints the thread IDs of A and B.
pub fn turns() {
    pin();
    let (from, to) = pipe();
    let (ids, id) = std::sync::mpsc::channel();
    let worker = thread::spawn(move || {
        ids.send(tid()).expect("somebody waits");
        let mut byte = [0u8; 1];
        sys!(SYS_read, from, byte.as_mut_ptr(), 1).expect("a read");
        burn(Duration::from_millis(80));
    });
    println!("{} {}", tid(), id.recv().expect("the thread says who it is"));
    let parameter = 10i32;
    sys!(SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &raw const parameter).expect("the right to it");
    thread::sleep(Duration::from_millis(60));
    sys!(SYS_write, to, b"x".as_ptr(), 1).expect("a write");
    burn(Duration::from_millis(40));
    thread::sleep(Duration::from_millis(20));
    worker.join().expect("no thread panicked");
}

/// Two threads on one CPU call `sched_yield` `n` times each. Prints their IDs.
pub fn yields(n: u64) {
    pin();
    let begin = Arc::new(Barrier::new(2));
    let play = move |begin: Arc<Barrier>| {
        begin.wait();
        for _ in 0..n {
            sys!(SYS_sched_yield).expect("it always succeeds");
        }
        println!("{}", tid());
    };
    let other = {
        let begin = begin.clone();
        thread::spawn(move || play(begin))
    };
    play(begin);
    other.join().expect("no thread panicked");
}

fn pin() {
    let mut set = [0u64; 16];
    set[0] = 1;
    sys!(SYS_sched_setaffinity, 0, size_of_val(&set), set.as_ptr()).expect("CPU 0 exists");
}

/// `n` threads wait uninterruptibly for a vfork child that has neither called execve nor exited. Prints the IDs of all threads
/// and `ready`. After a byte on stdin, the children and then the threads exit. No child lives longer than 30 s.
pub fn vforks(n: usize) {
    let (from, to) = pipe();
    let threads: Vec<_> = (0..n)
        .map(|_| {
            thread::spawn(move || {
                println!("{}", tid());
                // Without CLONE_VM, the child has its own memory, but the parent still waits.
                let child = sys!(SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0).expect("a child");
                if child == 0 {
                    let ready = libc::pollfd { fd: from as i32, events: libc::POLLIN, revents: 0 };
                    let _ = sys!(SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                    let limit = libc::timespec { tv_sec: 30, tv_nsec: 0 };
                    let _ = sys!(SYS_ppoll, &raw const ready, 1, &raw const limit, 0, 0);
                    // Does not read the byte, so that all children see it.
                    sys::exit(0);
                }
                sys::wait(child);
            })
        })
        .collect();
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    let mut byte = [0u8; 1];
    let _ = sys!(SYS_read, 0, byte.as_mut_ptr(), 1);
    sys!(SYS_write, to, byte.as_ptr(), 1).expect("a write");
    for thread in threads {
        thread.join().expect("no thread panicked");
    }
}

/// Prints its thread ID, waits for a byte on stdin, and writes `bytes` bytes to a file with O_DIRECT.
pub fn direct_write(path: &str, bytes: usize) {
    use std::os::unix::fs::OpenOptionsExt;
    println!("{}", tid());
    let mut byte = [0u8; 1];
    let _ = sys!(SYS_read, 0, byte.as_mut_ptr(), 1);
    let file = fs::OpenOptions::new().write(true).custom_flags(libc::O_DIRECT).open(path).expect("the file");
    let layout = std::alloc::Layout::from_size_align(bytes, 4096).expect("a layout");
    // SAFETY: the layout is not empty; the memory is written to the file and never freed.
    let memory = unsafe { std::slice::from_raw_parts(std::alloc::alloc_zeroed(layout), bytes) };
    (&file).write_all(memory).expect("a write");
}
