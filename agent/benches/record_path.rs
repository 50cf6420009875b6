//! What the recorder's core costs per event, by kind and stage, from the bytes in the ring buffers to the written block.
//! Needs neither root nor a kernel with BPF:
//!
//! ```text
//! cargo bench -p ktape --bench record_path
//! ```
//!
//! Each workload is one chunk from two CPUs. Every round does all stages on the same bytes; the figures are medians over
//! the rounds, in ns of CPU time per event, so that other load on the machine matters little. `rows` is merge, decode and columns; `encode` the encoder with zstd at its fastest
//! level, which searches for no matches; `compress` what level 1, the level of captures, takes on top of it; `write`
//! the block into memory. `bytes` is what an event takes in the file.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use agent_ebpf::records::block::{Block, Request, origin};
use agent_ebpf::records::cpu::{SwitchWords, sort};
use agent_ebpf::records::net::{Net, tcp};
use agent_ebpf::records::sched::class;
use agent_ebpf::records::signals::Signal;
use agent_ebpf::records::{EXEC_ARGS_SIZES, EXEC_PATH, Exec, ExecArgs, Exit, Fork, Header, Rename};
use capture_format::{Header as FileHeader, SegmentWriter};
use events::{Kind, syscall_key};
use ktape::record::testing::{CallWords, RecordPath, RingSort, bytes_of, identity_record, switch_record};
use ktape_reader::syscalls::table;

/// Events of a workload: fewer than a chunk may have.
const EVENTS: u64 = 60_000;
/// The same for lifecycle records, of which 16 MiB may wait; in threes: fork, exec, exit.
const LIFECYCLE_EVENTS: u64 = 9_000;
const CPUS: u64 = 2;
const ROUNDS: usize = 15;
/// The level of captures.
const LEVEL: i32 = 1;
/// zstd's fastest level (`ZSTD_minCLevel`).
const LEVEL_FASTEST: i32 = -131_072;
const RING_BYTES: usize = 512 << 20;

/// A record and where it goes.
struct Record {
    sort: RingSort,
    /// What says whose it is, if that has to be said.
    identity: Option<Vec<u8>>,
    bytes: Vec<u8>,
}

struct Workload {
    name: &'static str,
    events: u64,
    record: fn(u64) -> Record,
}

const WORKLOADS: [Workload; 11] = [
    Workload { name: "syscall, no arguments", events: EVENTS, record: getppid },
    Workload { name: "syscall, 3 arguments", events: EVENTS, record: read },
    Workload { name: "syscall, 6 arguments", events: EVENTS, record: futex },
    Workload { name: "syscall, 1 string", events: EVENTS, record: openat },
    Workload { name: "syscall, 2 strings", events: EVENTS, record: rename_call },
    Workload { name: "switch", events: EVENTS, record: switch },
    Workload { name: "block", events: EVENTS, record: block },
    Workload { name: "net", events: EVENTS, record: net },
    Workload { name: "signal", events: EVENTS, record: signal },
    Workload { name: "rename", events: EVENTS, record: rename },
    Workload { name: "fork, exec, exit", events: LIFECYCLE_EVENTS, record: lifecycle },
];

/// Medians of one workload, ns per event.
struct Figures {
    rows: f64,
    encode: f64,
    compress: f64,
    write: f64,
    bytes: f64,
}

fn main() {
    // `cargo test --benches` runs this too: one round shows that it works.
    let rounds = if std::env::args().any(|arg| arg == "--bench") { ROUNDS } else { 1 };
    println!(
        "{:<24}{:>9}{:>9}{:>10}{:>9}{:>9}{:>9}",
        "ns per event", "rows", "encode", "compress", "write", "sum", "bytes"
    );
    for workload in &WORKLOADS {
        let Figures { rows, encode, compress, write, bytes } = measure(workload, rounds);
        let sum = rows + encode + compress + write;
        println!(
            "{:<24}{rows:>9.1}{encode:>9.1}{compress:>10.1}{write:>9.1}{sum:>9.1}{bytes:>9.2}",
            workload.name
        );
    }
}

fn measure(workload: &Workload, rounds: usize) -> Figures {
    let mut path = filled(workload, LEVEL);
    let mut fastest = filled(workload, LEVEL_FASTEST);
    let header = FileHeader { schema: Arc::new(ktape_reader::model::schema()), ..FileHeader::default() };
    let (mut rows, mut encode, mut compressed, mut write) = (vec![], vec![], vec![], vec![]);
    let mut bytes = 0;
    for _ in 0..rounds {
        path.rewind();
        let (events, taken) = time(|| path.fill());
        assert_eq!((events, path.damaged()), (workload.events, 0), "{}", workload.name);
        rows.push(taken);
        fastest.rewind();
        fastest.fill();
        let (block, taken) = time(|| fastest.encode().unwrap());
        black_box(block);
        encode.push(taken);
        let (mut block, taken) = time(|| path.encode().unwrap());
        compressed.push(taken);
        bytes = block.size();
        let mut segment = SegmentWriter::new(Vec::with_capacity(64 << 20), &header).unwrap();
        let (offset, taken) = time(|| segment.write_block(&mut block).unwrap());
        black_box(offset);
        write.push(taken);
    }
    let events = workload.events as f64;
    let median = |mut times: Vec<Duration>| {
        times.sort_unstable();
        times[times.len() / 2].as_nanos() as f64 / events
    };
    let encode = median(encode);
    Figures {
        rows: median(rows),
        encode,
        compress: (median(compressed) - encode).max(0.0),
        write: median(write),
        bytes: bytes as f64 / events,
    }
}

fn filled(workload: &Workload, level: i32) -> RecordPath {
    let mut path = RecordPath::new(CPUS as usize, RING_BYTES, level).unwrap();
    for i in 0..workload.events {
        let Record { sort, identity, bytes } = (workload.record)(i);
        for record in identity.iter().chain([&bytes]) {
            // Runs of one CPU, as a pass of the drain finds them.
            assert!(path.push((i / 64 % CPUS) as usize, sort, record), "the ring buffer is large enough");
        }
    }
    path
}

/// The CPU time that this takes.
fn time<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = cpu_time();
    let result = work();
    (result, cpu_time() - began)
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a valid pointer to a timespec. It cannot fail for the clock of the calling thread.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    Duration::new(now.tv_sec as u64, now.tv_nsec as u32)
}

/// A number below a limit that does not compress: the generator of splitmix64.
fn noise(i: u64, below: u64) -> u64 {
    let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % below
}

/// Twenty threads in four cgroups; times with the jitter of a busy machine.
fn head(kind: Kind, i: u64) -> Header {
    let thread = i / 16 % 20;
    Header {
        time: 1_000_000_000 + i * 1000 + noise(i, 700),
        cgroup: 4000 + thread % 4,
        pid: 100 + thread as u32,
        tid: 100 + thread as u32,
        cpu: (i / 64 % CPUS) as u16,
        kind: kind as u8,
        ..Header::default()
    }
}

fn event(bytes: &[u8]) -> Record {
    Record { sort: RingSort::Events, identity: None, bytes: bytes.to_vec() }
}

/// A call of a thread that makes 16 of them before another one gets the CPU.
fn call(i: u64, name: &str, ret: i64, args: &[u64], strings: Option<[&[u8]; 2]>) -> Record {
    let (abi, nr) = table().by_name(name)[0];
    let Header { time, cgroup, pid, tid, .. } = head(Kind::Syscall, i);
    let sort = if strings.is_some() { sort::STRINGS } else { sort::CALL };
    let (dur, key) = (200 + noise(i + 1, 3000), syscall_key(abi, nr));
    let call = CallWords { sort, time, dur, ret, key, args, strings, flags: 0, files: [0; 2] };
    let identity = i.is_multiple_of(16).then(|| identity_record(time, cgroup, [pid, tid], 1000));
    Record { sort: RingSort::Cpu, identity, bytes: call.record() }
}

fn getppid(i: u64) -> Record {
    call(i, "getppid", 99, &[], None)
}

fn read(i: u64) -> Record {
    let args = [i % 9 + 3, 0x7f00_0000_0000 + i % 5 * 4096, 4096];
    call(i, "read", noise(i, 4096) as i64, &args, None)
}

fn futex(i: u64) -> Record {
    call(i, "futex", 0, &[0x7f00_0000_0000 + i % 40 * 64, 0x80 + i % 2, i % 3, 0, 0, 0], None)
}

/// A path of 200 different ones.
fn path(i: u64) -> String {
    format!("/var/lib/service/data/{}/file-{}.json", i % 10, i % 200)
}

fn openat(i: u64) -> Record {
    let args = [-100i64 as u64, 0x7f00_0000_0000, 0x8_0000, 0, 0, 0];
    call(i, "openat", (i % 50) as i64, &args, Some([path(i).as_bytes(), b""]))
}

fn rename_call(i: u64) -> Record {
    let args = [0x7f00_0000_0000, 0x7f00_0000_1000, 0, 0, 0, 0];
    call(i, "rename", 0, &args, Some([path(i).as_bytes(), path(i + 1).as_bytes()]))
}

fn switch(i: u64) -> Record {
    let Header { time, cgroup, pid, tid, .. } = head(Kind::Switch, i);
    let next = (i / 16 + 1) % 20;
    let next_id = 100 + next as u32;
    let switch = SwitchWords {
        ids: [pid, tid],
        cgroup,
        ran: 3000 + noise(i + 1, 90_000),
        off_cpu: noise(i + 2, 1_000_000),
        runnable: noise(i + 3, 5000),
        next_cgroup: 4000 + next % 4,
        next_ids: [next_id; 2],
        flags: 0,
        class: class((i % 2) as u8, i.is_multiple_of(7)),
    };
    Record { sort: RingSort::Cpu, identity: None, bytes: switch_record(time, &switch) }
}

fn block(i: u64) -> Record {
    let head = head(Kind::Block, i);
    let mut request = Request {
        first_issue: head.time - 90_000 - noise(i, 9000),
        last_issue: head.time - 90_000 - noise(i, 9000),
        sector: noise(i + 4, 1 << 30),
        done: 4096,
        bytes: 4096,
        devno: 254 << 20,
        bios: 1,
        issues: 1,
        ..Request::default()
    };
    request.origin.first = request.first_issue - 2000;
    (request.origin.owner, request.origin.bits) = (head.cgroup, origin::OWNER_BIO);
    event(bytes_of(&Block { head, request }))
}

fn net(i: u64) -> Record {
    let closes = i % 2 == 1;
    let mut net =
        Net { head: head(Kind::Net, i), sock: i / 2, birth: 900_000_000 + i, family: 2, ..Net::default() };
    (net.local[0], net.remote[0]) = (0x0100_007f, 0x0100_000a + ((i as u32 % 30) << 24));
    (net.local_port, net.remote_port) = (30_000 + (i / 2 % 20_000) as u16, 443);
    let (old, new) = if closes { (tcp::ESTABLISHED, tcp::CLOSE) } else { (tcp::SYN_SENT, tcp::ESTABLISHED) };
    (net.old, net.new, net.counted) = (old as u8, new as u8, u32::from(closes));
    (net.sent, net.received) = (i % 900, noise(i + 5, 90_000));
    event(bytes_of(&net))
}

fn signal(i: u64) -> Record {
    let target = (i / 16 + 3) % 20;
    let id = 100 + target as u32;
    event(bytes_of(&Signal {
        head: head(Kind::Signal, i),
        target_cgroup: 4000 + target % 4,
        target_pid: id,
        target_tid: id,
        signal: 15,
        ..Signal::default()
    }))
}

fn rename(i: u64) -> Record {
    let mut comm = [0; 16];
    comm[..8].copy_from_slice(format!("worker{:02}", i % 100).as_bytes());
    let record = Rename { head: head(Kind::Rename, i), comm, ..Rename::default() };
    Record { sort: RingSort::Lifecycle, identity: None, bytes: bytes_of(&record).to_vec() }
}

/// A shell that starts one command after another: fork, exec and exit of each.
fn lifecycle(i: u64) -> Record {
    let child = 10_000 + (i / 3 % 20_000) as u32;
    let shell = Header { pid: 99, tid: 99, ..head(Kind::Fork, i) };
    let own = |kind| Header { pid: child, tid: child, cgroup: shell.cgroup, ..head(kind, i) };
    let bytes = match i % 3 {
        0 => bytes_of(&Fork {
            head: shell,
            child_cgroup: shell.cgroup,
            child_start: shell.time,
            child_pid: child,
            child_tid: child,
            child_ppid: 99,
            comm: *b"sh\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ..Fork::default()
        })
        .to_vec(),
        1 => {
            let (path, args) = ("/usr/bin/sed", format!("sed\0-e\0s/a/{}/\0", i % 500));
            let mut exec = ExecArgs {
                exec: Exec {
                    head: own(Kind::Exec),
                    old_tid: child,
                    uid: 1000,
                    path_len: path.len() as u32,
                    args_len: args.len() as u32,
                    comm: *b"sed\0\0\0\0\0\0\0\0\0\0\0\0\0",
                    ppid: 99,
                    reserved: 0,
                    exe: 0,
                    details: Default::default(),
                    path: [0; EXEC_PATH],
                },
                args: [0; EXEC_ARGS_SIZES[0]],
            };
            exec.exec.path[..path.len()].copy_from_slice(path.as_bytes());
            exec.args[..args.len()].copy_from_slice(args.as_bytes());
            bytes_of(&exec).to_vec()
        }
        _ => bytes_of(&Exit { head: own(Kind::Exit), process: 1, ..Exit::default() }).to_vec(),
    };
    Record { sort: RingSort::Lifecycle, identity: None, bytes }
}
