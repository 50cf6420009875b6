//! g. What does this server wait for: in which calls, for which files and peers, for how long?

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use ktape_tests::container::{Options, Runtime, on_host_network, with_mount};
use ktape_tests::device::Loop;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::until;
use ktape_tests::workload;

use super::{TIMEOUT, cgroup, ended, id, printed};

const REQUESTS: u64 = 60;

/// Where the server answers its clients, and where another one answers the server.
const FRONT: &str = "127.0.0.2";
const BACK: &str = "127.0.0.3";

/// Answers in 10 ms, and each tenth time in 80 ms.
fn backend(listener: &TcpListener) {
    for n in 0..REQUESTS {
        let (mut stream, _) = listener.accept().unwrap();
        let mut byte = [0u8; 1];
        stream.read_exact(&mut byte).unwrap();
        thread::sleep(Duration::from_millis(if n % 10 == 9 { 80 } else { 10 }));
        stream.write_all(&byte).unwrap();
    }
}

/// Sends requests, one after the other, each 3 ms after it has connected.
fn clients(to: SocketAddr) {
    for _ in 0..REQUESTS {
        let mut stream = TcpStream::connect(to).unwrap();
        thread::sleep(Duration::from_millis(3));
        stream.write_all(b"x").unwrap();
        let mut byte = [0u8; 1];
        stream.read_exact(&mut byte).unwrap();
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn g_what_a_server_waits_for() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let disk = Loop::make(64 << 20, true);
    let mount = disk.mount();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let back = TcpListener::bind((BACK, 0)).unwrap();
    let back_to = back.local_addr().unwrap().to_string();
    let front: SocketAddr = TcpListener::bind((FRONT, 0)).unwrap().local_addr().unwrap();
    let capture = Capture::start(&file, &[]);
    let (listen, requests) = (front.to_string(), REQUESTS.to_string());
    let args = ["/bin/ktape-workload", "incident", "serve", &listen, &back_to, "/data/access.log", &requests];
    let options = Options { cgroup: &cgroup('9'), args: &args, seccomp: false };
    let server = runtime.start_with("server", &options, |config| {
        on_host_network(config);
        with_mount(config, mount.path(), "/data");
    });
    printed(&server, "ready");
    let upstream = thread::spawn(move || backend(&back));
    clients(front);
    upstream.join().unwrap();
    ended(&server);
    let output = until("the server's times", TIMEOUT, || {
        let output = server.output();
        output.contains("fsync").then_some(output)
    });
    eprintln!("{output}");
    drop(server);
    capture.stop();

    // In which calls, for which files and peers?
    let rows =
        ktape::stats_json(&file, &["waits", "--container", &id('9')[..6], "proc.name = ktape-workload"]);
    // By the program's own clock: it has the time from before the call until after it.
    for (name, call, what) in [
        ("backend", "recvfrom", BACK),
        ("fsync", "fsync", "/data/access.log"),
        // Clients have all addresses of the loopback device in common.
        ("client", "recvfrom", "127.0.0.1"),
    ] {
        let logged = output.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        let logged: Vec<i64> = logged.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let row = rows.iter().find(|row| {
            text(row, "uring.call|evt.type") == Some(call) && text(row, "fd.rip|fd.name") == Some(what)
        });
        let row = row.unwrap_or_else(|| panic!("no {call} of {what}: {rows:#?}"));
        assert_eq!(int(row, "calls"), Some(logged[0]), "{row}");
        // Each call lasts a little less than what the program measures around it, and percentiles are 1 % off at most.
        for (column, logged) in ["time", "p50", "p99", "longest"].iter().zip(&logged[1..]) {
            let calls = if *column == "time" { REQUESTS as i64 } else { 1 };
            let (seen, around) = (int(row, column).unwrap(), 2_000_000 * calls);
            let bounds = logged - logged / 50 - around..logged + logged / 50;
            assert!(bounds.contains(&seen), "{column} of {name}: {seen}, logged {logged}");
        }
    }
    // What it waits for most is the backend: 54 times 10 ms and 6 times 80 ms.
    let first = rows.iter().find(|row| text(row, "uring.call|evt.type") != Some("accept4")).unwrap();
    assert_eq!(text(first, "fd.rip|fd.name"), Some(BACK), "{rows:#?}");
    let p99 = int(first, "p99").unwrap();
    assert!((80_000_000..120_000_000).contains(&p99), "{first}");
}
