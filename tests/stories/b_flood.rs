//! b. A service is flooded: which containers made how many connections to it, and how many datagrams, in which second?

use std::collections::BTreeMap;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::thread;

use ktape_tests::container::{Container, Options, Runtime, on_host_network};
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;

use super::{at, cgroup, id, now, short};

/// How many the program made in each second, by its own log.
type Seconds = BTreeMap<String, i64>;

fn flood(from: &Container, protocol: &str, to: &str, n: u64) -> Seconds {
    let n = n.to_string();
    let out = from.exec(&["/bin/ktape-workload", "incident", "flood", protocol, to, &n]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let output = String::from_utf8_lossy(&out.stdout).into_owned();
    let (sum, seconds) = output.split_once('\n').unwrap();
    assert_eq!(sum, n);
    let number = |text: &str| text.parse::<i64>().unwrap();
    let second = |text: &str| at(number(text) * 1_000_000_000);
    seconds.lines().filter_map(|line| line.split_once(' ')).map(|(at, n)| (second(at), number(n))).collect()
}

/// Datagrams that this network namespace has sent, as the kernel counts them.
fn sent_datagrams() -> i64 {
    let text = fs::read_to_string("/proc/net/snmp").unwrap();
    let numbers = text.lines().filter(|line| line.starts_with("Udp:")).nth(1).unwrap();
    numbers.split_whitespace().nth(4).unwrap().parse().unwrap()
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
    let sent_before = sent_datagrams();
    let of_heavy = flood(&heavy, "udp", &udp_to, 40_000);
    let of_light = flood(&light, "udp", &udp_to, 300);
    let sent = sent_datagrams() - sent_before;
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

    // Which containers sent how many datagrams in which second?
    let between = ["--from", from.as_str(), "--to", to.as_str()];
    let datagrams = format!("evt.type = sendto and fd.name = {udp_to:?} and evt.failed = false");
    let by_second =
        ["--by", "container.id", "--per", "1s", "-c", "datagrams = count,bytes = sum(evt.buflen)"];
    let mut seen: BTreeMap<String, Seconds> = BTreeMap::new();
    let mut all = 0;
    for row in ktape::stats_json(&file, &[&[datagrams.as_str()], &between[..], &by_second].concat()) {
        let (second, n) = (text(&row, "evt.time").unwrap().to_owned(), int(&row, "datagrams").unwrap());
        assert_eq!(int(&row, "bytes"), Some(5 * n), "{row}");
        seen.entry(text(&row, "container.id").unwrap().to_owned()).or_default().insert(second, n);
        all += n;
    }
    let logged = BTreeMap::from([(short('b'), of_heavy), (short('c'), of_light)]);
    assert_eq!(seen.keys().collect::<Vec<_>>(), logged.keys().collect::<Vec<_>>());
    for (container, logged) in &logged {
        let seen = &seen[container];
        assert_eq!(seen.values().sum::<i64>(), logged.values().sum::<i64>());
        for second in seen.keys().chain(logged.keys()) {
            let of = |seconds: &Seconds| seconds.get(second).copied().unwrap_or(0);
            // The program looks at the clock just before each call.
            assert!((of(seen) - of(logged)).abs() <= 1, "{second}: {seen:?} {logged:?}");
        }
    }
    // The kernel counts those of other programs, too.
    assert!((all..all + 50).contains(&sent), "{all} were recorded, the kernel counted {sent}");

    // Which containers connected how often?
    let connects = format!("evt.type = connect and fd.name = {tcp_to:?}");
    let by_container = ["--by", "container.id", "-c", "count"];
    let rows = ktape::stats_json(&file, &[&[connects.as_str()], &between[..], &by_container].concat());
    let counts: Vec<_> =
        rows.iter().map(|row| (text(row, "container.id").unwrap(), int(row, "count").unwrap())).collect();
    assert_eq!(counts, [(&*short('b'), 1_500), (&*short('c'), 20)]);

    // The same by peer, without knowing what to look for; a selection by container works for it as for anything else.
    let rows = ktape::stats_json(
        &file,
        &[&["endpoints", "--container", &id('b')[..6], "fd.l4proto = tcp"], &between[..]].concat(),
    );
    let ours = rows.iter().find(|row| int(row, "connects") == Some(1_500)).expect("its connections");
    assert_eq!(text(ours, "fd.rip"), Some("127.0.0.1"), "{ours}");
}
