//! `ktape conns` is compared with what the programs at both ends noted, and with ss(8).

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use ktape_tests::container::{Container, Options, Runtime, on_host_network, with_mount};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;

const NEEDLESS: usize = 200;
const CLIENT: &str = "c1c2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f90";
const SERVER: &str = "d0d1d2d3d4d5d6d7d8d9dadbdcdddedfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf";

/// A line of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Noted {
    proto: String,
    port: i64,
    bytes: [i64; 2],
    ns: i64,
}

fn noted(output: &str) -> Vec<Noted> {
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        Noted { proto: words[0].to_owned(), port: number(1), bytes: [number(2), number(3)], ns: number(4) }
    };
    output.lines().map(line).collect()
}

/// The columns of a connection.
const FIELDS: [&str; 15] = [
    "conn.proto",
    "conn.client",
    "conn.client_addr",
    "conn.server",
    "conn.server_addr",
    "conn.path",
    "conn.sent",
    "conn.received",
    "conn.dur",
    "conn.state",
    "conn.calls",
    "conn.errors",
    "conn.error",
    "conn.retrans",
    "conn.id",
];

/// All that is known of one connection. There is no error, and on a slow machine a segment may be sent again.
const ALL: &str = "sent=sum(conn.sent),received=sum(conn.received),state=last(conn.state),age=max(conn.dur),\
                   calls=sum(conn.calls),errors=sum(conn.errors),error=last(conn.error),retrans=max(conn.retrans)";

/// The rows of `ktape conns`.
fn conns(file: &Path, args: &[&str]) -> Vec<Value> {
    let mut all = vec!["conns", file.to_str().unwrap()];
    all.extend(args);
    all.extend(["--format", "json", "--top", "0"]);
    ktape::stdout(&all).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn ss(args: &[&str]) -> String {
    let output = Command::new("ss").args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The processes in `users:(("name",pid=1,fd=3))`.
fn users(line: &str) -> Vec<i64> {
    let pids = line.split("pid=").skip(1);
    pids.map(|rest| rest.split(',').next().unwrap().parse().unwrap()).collect()
}

/// Server and client, each in a container of its own, with a directory in common.
struct Pair {
    dir: tempfile::TempDir,
    server: Container,
    client: Container,
}

impl Pair {
    fn start(runtime: &Runtime, needless: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let inside = "/shared";
        let start = |name: &str, id: &str, args: &[&str]| {
            let options = Options { cgroup: &format!("/docker/{id}"), args, seccomp: false };
            runtime.start_with(name, &options, |config| {
                on_host_network(config);
                with_mount(config, dir.path(), inside);
            })
        };
        let server = start("conns-server", SERVER, &["/bin/ktape-workload", "conns-serve", inside]);
        let needless = needless.to_string();
        let client =
            start("conns-client", CLIENT, &["/bin/ktape-workload", "conns-client", inside, &needless]);
        Self { dir, server, client }
    }

    /// What the client has noted, when all but the open connections have ended.
    fn ready(&self) -> Vec<Noted> {
        until("the client", TIMEOUT, || self.dir.path().join("ready").exists().then_some(()));
        noted(&self.client.output())
    }

    fn port(&self) -> String {
        let ports = fs::read_to_string(self.dir.path().join("ports")).unwrap();
        ports.split(' ').next().unwrap().to_owned()
    }

    fn finish(self) {
        fs::write(self.dir.path().join("done"), "").unwrap();
        until("the containers' ends", TIMEOUT, || {
            (self.client.has_ended() && self.server.has_ended()).then_some(())
        });
    }
}

/// Looks at a row with all that holds for each of them.
fn is_between(row: &Value, pair: (u32, u32)) {
    assert_eq!(text(row, "conn.client.container"), Some(&CLIENT[..12]), "{row}");
    assert_eq!(text(row, "conn.server.container"), Some(&SERVER[..12]), "{row}");
    assert_eq!(int(row, "conn.client.pid"), Some(pair.0.into()), "{row}");
    assert_eq!(int(row, "conn.server.pid"), Some(pair.1.into()), "{row}");
    assert_eq!(int(row, "errors"), Some(0), "{row}");
}

#[test]
#[ignore = "needs root, a kernel with BTF, runc and busybox"]
fn connections_between_containers_are_those_of_their_logs() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--net-interval", "0"]);
    let pair = Pair::start(&runtime, NEEDLESS);
    let logged = pair.ready();
    let port = pair.port();
    let pids = (pair.client.pid, pair.server.pid);
    capture.stop();
    pair.finish();

    let of_proto = |proto: &str| {
        let filter = format!("conn.proto = {proto} and conn.client.container = {}", &CLIENT[..12]);
        let rows = conns(&file, &[&filter]);
        rows.iter().for_each(|row| is_between(row, pids));
        rows
    };
    let logged_of = |proto: &'static str| logged.iter().filter(move |line| line.proto == proto);
    // TCP: a row for each line of the log, by the client's port.
    let rows = of_proto("tcp");
    assert_eq!(rows.len(), logged_of("tcp").count());
    assert_eq!(rows.len(), NEEDLESS + 2);
    for line in logged_of("tcp") {
        let address = format!("127.0.0.1:{}", line.port);
        let mut same = rows.iter().filter(|row| text(row, "conn.client_addr") == Some(&address));
        let row = same.next().unwrap_or_else(|| panic!("no row of {line:?}"));
        assert!(same.next().is_none(), "a port that was used twice: {line:?}");
        assert_eq!(text(row, "conn.server_addr"), Some(format!("127.0.0.1:{port}").as_str()), "{row}");
        assert_eq!([int(row, "sent").unwrap(), int(row, "received").unwrap()], line.bytes, "{row}");
        assert_eq!(text(row, "state"), Some(if line.ns == 0 { "open" } else { "closed" }), "{row}");
        let age = int(row, "age").unwrap();
        if line.bytes[0] == 100_000 {
            // It was idle for 300 ms. The server closes its end after the client.
            assert!((300_000_000..line.ns + 1_000_000_000).contains(&age), "{row} {line:?}");
        }
    }
    // UDP: all datagrams of the pair.
    let rows = of_proto("udp");
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let line = logged_of("udp").next().unwrap();
    assert_eq!(text(&rows[0], "conn.client_addr"), Some(format!("127.0.0.1:{}", line.port).as_str()));
    assert_eq!([int(&rows[0], "sent").unwrap(), int(&rows[0], "received").unwrap()], line.bytes);
    assert_eq!(int(&rows[0], "calls"), Some(20), "{}", rows[0]);
    assert!(int(&rows[0], "age").unwrap() <= line.ns, "{} {line:?}", rows[0]);
    // Unix: in the order of the log.
    let by_start = "conn.id,evt.time,conn.proto,conn.client.pid,conn.server.pid,conn.client.container,conn.server.container";
    let rows = conns(
        &file,
        &[
            // runc has others.
            "conn.path = /shared/socket",
            "--by",
            by_start,
            "-c",
            ALL,
            "--sort",
            "evt.time",
        ],
    );
    let bytes: Vec<[i64; 2]> =
        rows.iter().map(|row| [int(row, "sent").unwrap(), int(row, "received").unwrap()]).collect();
    assert_eq!(bytes, logged_of("unix").map(|line| line.bytes).collect::<Vec<_>>(), "{rows:#?}");
    for (row, line) in rows.iter().zip(logged_of("unix")) {
        is_between(row, pids);
        assert_eq!(text(row, "state"), Some(if line.ns == 0 { "open" } else { "closed" }), "{row}");
        assert_eq!((text(row, "error"), int(row, "retrans")), (None, None), "{row}");
        assert!(line.ns == 0 || int(row, "age").unwrap() <= line.ns + 1_000_000_000, "{row} {line:?}");
    }
    // Grouped, they are counted.
    let all =
        conns(&file, &[&format!("conn.server_addr.port = {port}"), "--by", "conn.server_addr,conn.client"]);
    assert_eq!(all.len(), 1, "{all:#?}");
    assert_eq!(int(&all[0], "conns"), Some(NEEDLESS as i64 + 2), "{}", all[0]);
    assert_eq!(int(&all[0], "open"), Some(1), "{}", all[0]);
    assert_eq!(int(&all[0], "sent"), Some(NEEDLESS as i64 * 16 + 105_000), "{}", all[0]);
    // Requests to disks are no part of a connection: the kernel skips some on some machines (docs/kernels.md).
    assert_eq!(ktape::count(&file, "evt.category = loss and loss.kind != block"), 0);
}

#[test]
#[ignore = "needs root, a kernel with BTF, runc and busybox"]
fn open_connections_are_those_of_ss() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["--net-interval", "0"]);
    let pair = Pair::start(&runtime, 1);
    pair.ready();
    let port = pair.port();
    let tcp = ss(&["-Htin", &format!("( sport = {port} or dport = {port} )")]);
    let unix = ss(&["-Hxp"]);
    let (client, server) = (pair.client.pid, pair.server.pid);
    capture.stop();
    pair.finish();

    let open = format!("conn.state = open and conn.client.pid = {client}");
    let rows = conns(&file, &[&format!("{open} and conn.proto = tcp")]);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let address = text(&rows[0], "conn.client_addr").unwrap();
    let local = |line: &str| line.split_whitespace().nth(3).map(str::to_owned);
    let lines: Vec<&str> = tcp.lines().collect();
    let counters = |is_client: bool| {
        let mut found = lines.chunks(2).filter(|pair| {
            pair[0].starts_with("ESTAB") && (local(pair[0]).as_deref() == Some(address)) == is_client
        });
        let pair = found.next().unwrap_or_else(|| panic!("{tcp}"));
        assert!(found.next().is_none(), "{tcp}");
        let words = pair[1].split_whitespace();
        { words }.find_map(|word| word.strip_prefix("bytes_received:")).unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(int(&rows[0], "sent"), Some(counters(false)), "{tcp}");
    assert_eq!(int(&rows[0], "received"), Some(counters(true)), "{tcp}");

    // The ends of a unix connection are two lines, each with its own inode number and that of the other one.
    let rows = conns(&file, &[&format!("{open} and conn.path = /shared/socket")]);
    assert_eq!(rows.len(), 1, "{rows:#?}");
    let path = text(&rows[0], "conn.server_addr").unwrap();
    let of_process = |pid: u32| unix.lines().filter(move |line| users(line) == [i64::from(pid)]);
    let numbers = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[5].to_owned(), words[7].to_owned())
    };
    let mut ends = of_process(server).filter(|line| line.contains(path) && line.contains("ESTAB"));
    let end = ends.next().unwrap_or_else(|| panic!("{path}: {unix}"));
    assert!(ends.next().is_none(), "{unix}");
    let (own, peer) = numbers(end);
    assert!(of_process(client).any(|line| numbers(line) == (peer.clone(), own.clone())), "{unix}");
}

#[test]
#[ignore = "needs root, a kernel with BTF, runc and busybox"]
fn calls_alone_and_net_events_alone_find_the_same_connections() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    for events in ["net", "connect,accept4,read,write,recvfrom,sendto,close,exit"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ktape");
        let capture = Capture::start(&file, &["-e", events, "--net-interval", "0"]);
        let pair = Pair::start(&runtime, 20);
        let logged = pair.ready();
        let client = pair.client.pid;
        capture.stop();
        pair.finish();
        let rows = conns(&file, &[&format!("conn.proto = tcp and conn.client.pid = {client}")]);
        let sorted = |mut bytes: Vec<[i64; 2]>| {
            bytes.sort_unstable();
            bytes
        };
        let bytes = rows.iter().map(|row| [int(row, "sent").unwrap(), int(row, "received").unwrap()]);
        let tcp = logged.iter().filter(|line| line.proto == "tcp").map(|line| line.bytes);
        assert_eq!(sorted(bytes.collect()), sorted(tcp.collect()), "{events}: {rows:#?}");
        let states = rows.iter().filter(|row| text(row, "state") == Some("open")).count();
        assert_eq!(states, 1, "{events}: {rows:#?}");
        assert!(rows.iter().all(|row| text(row, "conn.server") == Some("ktape-workload")), "{rows:#?}");
        // Each column has a value, but for the path of a TCP socket, an error, and what the calls alone do not have.
        let rows = conns(
            &file,
            &[&format!("conn.proto = tcp and conn.client.pid = {client}"), "--by", &FIELDS.join(",")],
        );
        let absent = ["conn.path", "conn.error", "conn.retrans", "conn.calls"];
        for field in FIELDS.iter().filter(|field| !absent.contains(field)) {
            let has = |row: &Value| !row[field].is_null();
            assert!(rows.iter().any(has), "{events}: {field}: {rows:#?}");
        }
    }
}
