//! b. A service is flooded: which containers made how many connections to it, and how many datagrams, between
//! two points in time?

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::thread;
use std::time::Duration;

use ktape_tests::container::{Container, Options, Runtime, on_host_network};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use serde_json::Value;

use super::{cgroup, container, count, id, now, short};

fn flood(from: &Container, protocol: &str, to: &str, n: u64) {
    let n = n.to_string();
    let out = from.exec(&["/bin/ktape-workload", "incident", "flood", protocol, to, &n]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), n);
}

fn is_loss(event: &Value) -> bool {
    text(event, "evt.type") == Some("loss")
}

/// How many changes of TCP sockets a loss row counts.
fn lost_sockets(event: &Value) -> u64 {
    if text(event, "loss.kind") == Some("net") {
        int(event, "loss.count").expect("a loss has a number").unsigned_abs()
    } else {
        0
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn b_connections_and_datagrams() {
    let _guard = Guard::exclusive();
    let runtime = Runtime::new(&[workload!()]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_to = tcp.local_addr().unwrap().to_string();
    let tcp_port = tcp.local_addr().unwrap().port();
    let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
    let udp_to = udp.local_addr().unwrap().to_string();
    let serve = thread::spawn(move || {
        // The connection of one byte is the last.
        for stream in tcp.incoming() {
            let mut byte = [0u8; 1];
            if std::io::Read::read(&mut stream.unwrap(), &mut byte).unwrap() == 1 {
                break;
            }
        }
    });

    let capture = Capture::start(&file, &[]);
    let start = |digit: char, name: &str| {
        let options = Options { cgroup: &cgroup(digit), args: &["/bin/sleep", "100"], seccomp: false };
        runtime.start_with(name, &options, on_host_network)
    };
    let (heavy, light) = (start('b', "heavy"), start('c', "light"));
    flood(&light, "udp", &udp_to, 11);
    flood(&heavy, "tcp", &tcp_to, 13);
    let from = now();
    flood(&heavy, "udp", &udp_to, 40_000);
    flood(&light, "udp", &udp_to, 300);
    flood(&heavy, "tcp", &tcp_to, 1_500);
    flood(&light, "tcp", &tcp_to, 20);
    let to = now();
    flood(&heavy, "udp", &udp_to, 17);
    flood(&light, "tcp", &tcp_to, 19);
    drop((heavy, light));
    std::io::Write::write_all(&mut std::net::TcpStream::connect(&tcp_to).unwrap(), b"x").unwrap();
    serve.join().unwrap();
    drop(udp);
    let ended = capture.stop();
    eprintln!("{}", ended.stderr);

    let between = ["--from", from.as_str(), "--to", to.as_str()];
    let counted = |digit: char, expression: &str| {
        let id = id(digit);
        let mut args = between.to_vec();
        args.extend(["--container", &id[..6], expression]);
        count(&file, &args)
    };
    let datagrams = format!("evt.type = sendto and fd.name = {udp_to:?}");
    assert_eq!((counted('b', &datagrams), counted('c', &datagrams)), (40_000, 300));
    let connects = format!("evt.type = connect and fd.name = {tcp_to:?}");
    assert_eq!((counted('b', &connects), counted('c', &connects)), (1_500, 20));
    // In all, the ones before and after included.
    assert_eq!(count(&file, &[&datagrams]), 40_000 + 300 + 11 + 17);

    // The same from the sockets' side: which containers, without knowing which to look for.
    let opened = format!("net.role = client and net.new = ESTABLISHED and net.remote = {tcp_to:?}");
    let mut args = between.to_vec();
    args.push(&opened);
    let mut by_container: BTreeMap<String, u64> = BTreeMap::new();
    // A busy CPU may have skipped the program that watches sockets; the file then counts them, in a row that
    // passes every filter.
    let events = ktape::replay_json(&file, &[&opened]);
    let lost: u64 = events.iter().filter(|event| is_loss(event)).map(lost_sockets).sum();
    for event in ktape::replay_json(&file, &args).into_iter().filter(|event| !is_loss(event)) {
        assert_eq!(int(&event, "net.remote.port"), Some(i64::from(tcp_port)), "{event}");
        assert_eq!(text(&event, "net.remote.ip"), Some("127.0.0.1"), "{event}");
        *by_container.entry(container(&event).to_owned()).or_default() += 1;
    }
    let mut missing = 0;
    for (digit, made) in [('b', 1_500), ('c', 20)] {
        let seen = by_container.remove(&short(digit)).unwrap_or_default();
        assert!(seen <= made, "{seen} of {made}");
        missing += made - seen;
    }
    assert!(missing <= lost, "{missing} connections are missing, and {lost} changes of sockets told as lost");
    // Whose a connection is follows from its first change, which may be among the lost.
    assert!(by_container.values().sum::<u64>() <= lost, "{by_container:?}");
    // How long such a connection lasted.
    let closed = format!("net.role = client and net.new = CLOSE and net.remote = {tcp_to:?}");
    let mut ages = ktape::replay_json(&file, &[&closed, "--container", &id('b')[..6]]);
    ages.retain(|event| !is_loss(event));
    assert!(ages.len() as u64 + lost >= 1_500, "{}", ages.len());
    let second = i64::try_from(Duration::from_secs(10).as_nanos()).unwrap();
    let dated = ages.iter().filter(|event| int(event, "net.dur").is_some_and(|ns| (0..second).contains(&ns)));
    assert!(dated.count() as u64 + lost >= ages.len() as u64);
}
