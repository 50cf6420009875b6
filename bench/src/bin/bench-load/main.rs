//! The load of some rows of `ktape-bench`; the other rows use `ktape-workload`. Each command but `serve` prints `ready`,
//! waits for a byte on stdin, works, and prints `done` with the duration of the work in ns.

mod processes;
mod rate;
mod web;

use std::ffi::CString;
use std::io::{Read as _, Write as _};
use std::process::ExitCode;
use std::time::Instant;

const USAGE: &str = "bench-load:
  open-close N FILE        on one CPU, open and close the file
  exec-storm N             on each CPU, execute `true`, sometimes with many arguments and a search along PATH
  web-server N FILE LOG    requests for the file over loopback, in this network namespace
  serve FILE LOG           the server of `web-server`; stdin is the listening socket
  rate PER_SECOND MS CPU   on one busy CPU, call getppid at this rate; 0: as often as possible";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    if run(&words).is_none() {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    }
    ExitCode::SUCCESS
}

/// Runs a command; `None` if it is invalid.
fn run(words: &[&str]) -> Option<()> {
    match *words {
        ["open-close", n, file] => open_close(n.parse().ok()?, file),
        ["exec-storm", n] => processes::storm(n.parse().ok()?),
        ["web-server", n, file, log] => web::client(n.parse().ok()?, file, log),
        ["serve", file, log] => web::serve(file, log),
        ["rate", per_second, ms, cpu] => {
            rate::paced(per_second.parse().ok()?, ms.parse().ok()?, cpu.parse().ok()?);
        }
        _ => return None,
    }
    Some(())
}

fn print_line(line: &str) {
    println!("{line}");
    std::io::stdout().flush().expect("stdout is a pipe");
}

/// Waits for the start signal, works, and prints how long the work took.
fn timed(work: impl FnOnce()) {
    print_line("ready");
    std::io::stdin().read_exact(&mut [0]).expect("the benchmark sends a byte");
    let start = Instant::now();
    work();
    print_line(&format!("done {}", start.elapsed().as_nanos()));
}

/// Keeps this thread on one CPU.
fn pin(cpu: usize) {
    // SAFETY: cpu_set_t is an array of integers, so all zeroes is a valid value; CPU_SET checks its bounds.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        set
    };
    // SAFETY: `set` is valid for the call.
    let pinned = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
    assert_eq!(pinned, 0, "CPU {cpu} exists");
}

fn open_close(n: u64, file: &str) {
    pin(0);
    let file = CString::new(file).expect("no NUL inside");
    timed(|| {
        for _ in 0..n {
            // SAFETY: `file` is a NUL-terminated string, and the descriptor is used nowhere else.
            let closed = unsafe { libc::close(libc::open(file.as_ptr(), libc::O_RDONLY)) };
            assert_eq!(closed, 0, "the file exists");
        }
    });
}
