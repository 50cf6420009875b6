//! The programs that tests record. Each does a known number of things, and prints what only it knows.

mod addresses;
mod bench;
mod block;
mod calls;
mod conns;
mod descriptors;
mod given;
mod identity;
mod incidents;
mod killing;
mod neighbour;
mod net;
mod paths;
mod procs;
mod races;
mod sched;
mod seccomp;
mod services;
mod signals;
mod sockets;
mod structs;
mod sys;
mod uring;

use std::process::ExitCode;

const USAGE: &str = "ktape-workload:
  getppid N [--cpu C] [--gate]   call getppid N times between two marker calls
  rate PER_SECOND SECONDS        call getppid at this rate
  incident NAME ...              reproduce an incident, see incidents.rs
  threads N                      run N threads that share a lock
  sleepers N                     start N processes that sleep until stdin is closed
  read-block                     block in a read from an empty pipe
  futex-block                    block on a futex that is never woken
  exec-from-thread               call execve from a thread other than the leader
  hello                          print hello; executed by other programs
  fork-tree                      create children with fork, vfork, clone, clone3, and threads
  signals                        interrupt calls with signals, kill a child in a call
  fail                           make calls that fail, one per errno
  seccomp                        make calls that a seccomp filter rejects
  compat                         make 32-bit calls from 64-bit code
  paths DIR                      make calls with long and unusual paths
  sockets DIR                    make calls with socket addresses
  structs DIR                    make calls with structures in memory
  exit STATUS                    exit with this status
  now                            print the wall-clock time, ns since 1970
  addresses                      make calls that receive socket addresses: whole, cut, or none
  receive                        wait for a datagram with room for a part of the sender's address
  failed-execs DIR               call execve and execveat on programs that cannot be executed
  orphan [subreaper]             end the parent of a process; with `subreaper`, become its new parent
  orphan-hang                    end the parent of a process that waits uninterruptibly, after bytes on stdin
  new-name                       rename the parent of a process
  die                            kill itself with SIGSEGV
  tcp-serve IP N M               serve one connection: receive N bytes, send M bytes
  tcp-many N                     make N connections in a new network namespace
  tcp-retransmit                 lose data on a connection in a new network namespace
  tcp-refused ADDRESS            make a connection that is refused
  tcp-unreachable                make connections to hosts that do not answer in a new network namespace
  tcp-hold ADDRESS               connect after a line on stdin, and wait until the server closes
  conns-serve DIR                serve TCP, UDP and unix sockets until DIR/done exists
  conns-client DIR N             use them, N connections of a few bytes among them, and print a line for each
  tcp-prefork IP                 serve one connection in a child of the process that listens
  signal-origins                 receive signals of every origin
  uring DIR                      make requests of io_uring, keep one in flight until stdin is closed
  eat-memory BYTES               allocate memory after a line on stdin
  rename NAME                    change its process name
  token N                        pass a byte between two threads N times, print their switches
  turns                          run two threads of different scheduling classes on one CPU
  yields N                       run two threads that yield one CPU to each other N times
  vforks N                       put N threads into uninterruptible sleep until a byte on stdin
  direct-write PATH BYTES        write with O_DIRECT after a byte on stdin
  given DIR                      paths and addresses that change during the call; the last one waits until a byte on stdin
  flip DIR                       make calls with a path, and with an address, that another thread changes all the time
  spin                           call getppid on CPU 0 until the end of stdin; a line after 1,000 more for each byte there
  change-identity                change group, session, terminal and capabilities after a byte on stdin; wait for another one
  change-user                    become another user, with calls before and after
  descriptors DIR                open a descriptor of every kind; use each after a line on stdin, see descriptors.rs
  descriptor-race DIR N READS    run N threads that replace the files behind the same descriptors, and read from these
  descriptors-move DIR N         move a mount N times, and use a file in it after each time
  descriptor-load DIR            use files, pipes and sockets until the end of stdin
  neighbour ACTION ARG           turns, signal, cgroup or start: act on another container, see neighbour.rs
  block ...                      send requests to block devices, see block.rs
  bench ...                      run a benchmark, see bench.rs";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let number = |text: &str| text.parse::<u64>().ok();
    match words.as_slice() {
        ["getppid", n, rest @ ..] => match (number(n), calls::GetppidOptions::parse(rest)) {
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
        ["structs", dir] => structs::structs(dir),
        ["exit", status] => match status.parse::<u8>() {
            Ok(status) => return ExitCode::from(status),
            Err(_) => return usage(),
        },
        ["now"] => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            println!("{}", now.expect("a clock that is set").as_nanos());
        }
        ["addresses"] => addresses::addresses(),
        ["receive"] => addresses::receive(),
        ["given", dir] => given::given(dir),
        ["flip", dir] => races::flip(dir),
        ["spin"] => races::spin(),
        ["descriptors", dir] => descriptors::descriptors(dir),
        ["descriptors-receive", mark] => match mark.parse() {
            Ok(mark) => descriptors::received(mark),
            Err(_) => return usage(),
        },
        ["descriptors-inherit", fd, mark] => match (fd.parse(), mark.parse()) {
            (Ok(fd), Ok(mark)) => descriptors::inherited(fd, mark),
            _ => return usage(),
        },
        ["descriptor-race", dir, threads, reads] => match (number(threads), number(reads)) {
            (Some(threads), Some(reads)) => descriptors::race(dir, threads, reads),
            _ => return usage(),
        },
        ["descriptors-move", dir, times] => match number(times) {
            Some(times) => descriptors::on_moving_mount(dir, times),
            None => return usage(),
        },
        ["descriptor-load", dir] => descriptors::load(dir),
        ["change-identity"] => identity::change(),
        ["change-user"] => procs::change_user(),
        ["failed-execs", dir] => procs::failed_execs(dir),
        ["orphan"] => procs::orphan(false),
        ["orphan", "subreaper"] => procs::orphan(true),
        ["orphan-hang"] => procs::orphan_hang(),
        ["new-name"] => procs::new_name(),
        ["die"] => signals::die(),
        ["tcp-serve", address, bytes, answer] => match (number(bytes), number(answer)) {
            (Some(bytes), Some(answer)) => net::serve(address, bytes, answer),
            _ => return usage(),
        },
        ["tcp-many", n] => match number(n) {
            Some(n) => net::many(n),
            None => return usage(),
        },
        ["conns-serve", dir] => conns::serve(dir),
        ["conns-client", dir, needless] => match number(needless) {
            Some(needless) => conns::client(dir, needless),
            None => return usage(),
        },
        ["tcp-retransmit"] => net::retransmit(),
        ["tcp-refused", address] => net::refused(address),
        ["tcp-unreachable"] => net::unreachable(),
        ["tcp-hold", address] => net::hold(address),
        ["tcp-prefork", address] => net::prefork(address),
        ["uring", dir] => uring::requests(dir),
        ["signal-origins"] => killing::signal_origins(),
        ["eat-memory", bytes] => match number(bytes) {
            Some(bytes) => killing::eat(bytes),
            None => return usage(),
        },
        ["rename", name] => procs::rename(name),
        ["neighbour", what, _] => match *what {
            "turns" => neighbour::take_turns(),
            "signal" => neighbour::signal_other(),
            "cgroup" => neighbour::use_cgroup_of_other(),
            "start" => neighbour::start_in_cgroup_of_other(),
            _ => return usage(),
        },
        // The third argument is only recorded.
        ["exit", status, _] => match status.parse::<u8>() {
            Ok(status) => return ExitCode::from(status),
            Err(_) => return usage(),
        },
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
