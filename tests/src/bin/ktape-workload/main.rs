//! Programs to be recorded. Each does a known thing, and tells on stdout what only it can know.

mod bench;
mod block;
mod calls;
mod incidents;
mod killing;
mod net;
mod paths;
mod procs;
mod sched;
mod seccomp;
mod signals;
mod sockets;
mod sys;

use std::process::ExitCode;

const USAGE: &str = "ktape-workload:
  getppid N [--cpu C] [--gate]   N times getppid between two marker calls
  rate PER_SECOND SECONDS        that many harmless calls a second
  incident NAME ...              what goes wrong in production: see incidents.rs
  threads N                      N threads that share a lock
  sleepers N                     N processes that sleep until stdin ends
  read-block                     read from a pipe that nobody writes to
  futex-block                    wait for a futex that nobody wakes
  exec-from-thread               a thread other than the leader executes another program
  hello                          what it executes
  fork-tree                      children by fork, vfork, clone, clone3, threads
  signals                        calls interrupted by signals, a child killed in a call
  fail                           calls that fail, one for each way to fail
  seccomp                        calls that a filter answers
  compat                         32-bit calls from 64-bit code
  paths DIR                      calls with long and nasty paths
  sockets DIR                    calls with socket addresses
  exit STATUS                    exit with this status
  now                            print the clock on the wall, ns
  die                            kill itself by SIGSEGV
  tcp-serve IP N M               one connection: N bytes in, M bytes out
  tcp-many N                     N connections in a new network namespace
  tcp-retransmit                 a connection that loses data, in a new network namespace
  tcp-refused ADDRESS            a connection that nobody takes
  signal-origins                 signals from every origin
  eat-memory BYTES               use memory, after a line on stdin
  rename NAME                    take another name
  token N                        two threads pass a byte N times and tell their switches
  turns                          two threads of different classes on one CPU
  yields N                       two threads give a CPU to each other
  vforks N                       N threads in uninterruptible sleep until a byte comes
  direct-write PATH BYTES        write past the page cache when a byte comes
  block ...                      requests to block devices, see block.rs
  bench ...                      what is timed, see bench.rs";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words.as_slice() {
        ["getppid", n, rest @ ..] => match (number(n), calls::Options::parse(rest)) {
            (Some(n), Some(options)) => calls::getppid(n, &options),
            _ => return usage(),
        },
        ["rate", rate, seconds] => match (number(rate), number(seconds)) {
            (Some(rate), Some(seconds)) => calls::rate(rate, seconds),
            _ => return usage(),
        },
        ["incident", rest @ ..] if incidents::run(rest) => {}
        ["threads", n] => match number(n) {
            Some(n) => procs::threads(n),
            None => return usage(),
        },
        ["sleepers", n] => match number(n) {
            Some(n) => procs::sleepers(n),
            None => return usage(),
        },
        ["read-block"] => calls::read_block(),
        ["futex-block"] => calls::futex_block(),
        ["exec-from-thread"] => procs::exec_from_thread(),
        ["hello"] => println!("hello"),
        ["fork-tree"] => procs::fork_tree(),
        ["signals"] => signals::signals(),
        ["fail"] => calls::fail(),
        ["seccomp"] => seccomp::seccomp(),
        ["compat"] => calls::compat(),
        ["paths", dir] => paths::paths(dir),
        ["sockets", dir] => sockets::sockets(dir),
        ["exit", status] => match status.parse::<u8>() {
            Ok(status) => return ExitCode::from(status),
            Err(_) => return usage(),
        },
        ["now"] => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            println!("{}", now.expect("a clock that is set").as_nanos());
        }
        ["die"] => signals::die(),
        ["tcp-serve", address, bytes, answer] => match (number(bytes), number(answer)) {
            (Some(bytes), Some(answer)) => net::serve(address, bytes, answer),
            _ => return usage(),
        },
        ["tcp-many", n] => match number(n) {
            Some(n) => net::many(n),
            None => return usage(),
        },
        ["tcp-retransmit"] => net::retransmit(),
        ["tcp-refused", address] => net::refused(address),
        ["signal-origins"] => killing::signal_origins(),
        ["eat-memory", bytes] => match number(bytes) {
            Some(bytes) => killing::eat(bytes),
            None => return usage(),
        },
        ["rename", name] => procs::rename(name),
        ["block", rest @ ..] => {
            if !block::command(rest) {
                return usage();
            }
        }
        ["bench", rest @ ..] => {
            if !bench::command(rest) {
                return usage();
            }
        }
        ["token", n] => match number(n) {
            Some(n) => sched::token(n),
            None => return usage(),
        },
        ["turns"] => sched::turns(),
        ["yields", n] => match number(n) {
            Some(n) => sched::yields(n),
            None => return usage(),
        },
        ["vforks", n] => match number(n) {
            Some(n) => sched::vforks(n as usize),
            None => return usage(),
        },
        ["direct-write", path, bytes] => match number(bytes) {
            Some(bytes) => sched::direct_write(path, bytes as usize),
            None => return usage(),
        },
        _ => return usage(),
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(2)
}
