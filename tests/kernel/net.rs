//! TCP sockets: connections, roles, and bytes in each direction.

mod ends;
mod open;
mod owners;

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;
use ktape_tests::workload::{Workload, run};

fn own_netns() -> i64 {
    let link = std::fs::read_link("/proc/self/ns/net").unwrap();
    let link = link.to_string_lossy();
    link.trim_start_matches("net:[").trim_end_matches(']').parse().unwrap()
}

/// The events of the sockets of which an end has this port, by socket in the order of their first event.
fn sockets(file: &Path, port: u16) -> Vec<Vec<Value>> {
    let expression = format!("net.local.port={port} or net.remote.port={port}");
    let mut sockets: Vec<Vec<Value>> = Vec::new();
    for event in ktape::replay_json(file, &["-e", "net", &expression]) {
        let same = |known: &&mut Vec<Value>| int(&known[0], "net.sock") == int(&event, "net.sock");
        match sockets.iter_mut().find(same) {
            Some(known) => known.push(event),
            None => sockets.push(vec![event]),
        }
    }
    sockets
}

fn of_role<'a>(sockets: &'a [Vec<Value>], role: &str) -> &'a [Value] {
    let mut found = sockets.iter().filter(|events| text(&events[0], "net.role") == Some(role));
    let events = found.next().unwrap_or_else(|| panic!("no {role}: {sockets:#?}"));
    assert!(found.next().is_none(), "more than one {role}: {sockets:#?}");
    assert!(events.iter().all(|event| text(event, "net.role") == Some(role)), "{events:#?}");
    events
}

fn states(events: &[Value]) -> Vec<(&str, &str)> {
    events.iter().map(|event| (text(event, "net.old").unwrap(), text(event, "net.new").unwrap())).collect()
}

/// Wait until no TCP socket but those that wait for nothing has this port.
fn closed(port: u16) {
    until("the sockets to be closed", TIMEOUT, || {
        let listed = Command::new("ss")
            .args(["-Htan", &format!("( sport = {port} or dport = {port} )")])
            .output()
            .unwrap();
        let listed = String::from_utf8(listed.stdout).unwrap();
        listed.lines().all(|line| line.starts_with("TIME-WAIT")).then_some(())
    });
}

/// One connection from this process to another one, with all that is known of it. Where two packets of the handshake met on
/// two CPUs, the kernel made a socket for each and dropped one of them again, which is recorded, too: then the exchange is
/// repeated.
fn exchange(ip: &str, all_kinds: bool) {
    for _ in 0..5 {
        if exchange_once(ip, all_kinds) {
            return;
        }
        eprintln!("once more: the kernel made two sockets of one connection");
    }
    panic!("the kernel made two sockets each time");
}

/// The kernel's count of retransmitted TCP segments, of all connections in this network namespace.
fn retransmitted_segments() -> i64 {
    let text = std::fs::read_to_string("/proc/net/snmp").unwrap();
    let mut tcp = text.lines().filter_map(|line| line.strip_prefix("Tcp: ")).map(|line| line.split(' '));
    let (mut names, mut values) = (tcp.next().unwrap(), tcp.next().unwrap());
    let at = names.position(|name| name == "RetransSegs").unwrap();
    values.nth(at).unwrap().parse().unwrap()
}

/// False if the kernel made two sockets.
fn exchange_once(ip: &str, all_kinds: bool) -> bool {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let kinds = if all_kinds { "net,accept,accept4" } else { "net" };
    let capture = Capture::start(&file, &["-e", kinds]);
    let retransmitted = retransmitted_segments();
    let mut server = Workload::start(workload!(), &["tcp-serve", ip, "1000", "70000"]);
    let port: u16 = server.line().parse().unwrap();
    let server_pid = i64::from(server.pid());
    let address = SocketAddr::new(ip.parse::<IpAddr>().unwrap(), port);
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(TIMEOUT)).unwrap();
    client.write_all(&[b'q'; 1000]).unwrap();
    client.read_exact(&mut vec![0; 70000]).unwrap();
    let own = client.local_addr().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    drop(client);
    server.finish();
    closed(port);
    let retransmitted = retransmitted_segments() - retransmitted;
    capture.stop();

    let sockets = sockets(&file, port);
    let is_dropped = |events: &Vec<Value>| {
        let both = events.iter().map(|event| (text(event, "net.old"), text(event, "net.new")));
        both.eq([(Some("SYN_RECV"), Some("CLOSE"))])
    };
    if sockets.iter().any(is_dropped) {
        return false;
    }
    let own_pid = i64::from(std::process::id());
    let (listener, client, server) =
        (of_role(&sockets, "listener"), of_role(&sockets, "client"), of_role(&sockets, "server"));
    assert_eq!(sockets.len(), 3, "{sockets:#?}");

    assert_eq!(states(listener), [("CLOSE", "LISTEN"), ("LISTEN", "CLOSE")]);
    for event in listener {
        assert_eq!(int(event, "proc.pid"), Some(server_pid), "{event}");
        assert_eq!(text(event, "net.local"), Some(address.to_string().as_str()), "{event}");
        assert_eq!(text(event, "net.remote"), None, "{event}");
        for field in ["net.sent", "net.received", "net.retrans"] {
            assert_eq!(int(event, field), None, "{event}");
        }
    }

    assert_eq!(
        states(client),
        [
            ("CLOSE", "SYN_SENT"),
            ("SYN_SENT", "ESTABLISHED"),
            ("ESTABLISHED", "FIN_WAIT1"),
            ("FIN_WAIT1", "FIN_WAIT2"),
            ("FIN_WAIT2", "CLOSE")
        ]
    );
    for (number, event) in client.iter().enumerate() {
        assert_eq!(int(event, "proc.pid"), Some(own_pid), "{event}");
        assert_eq!(text(event, "net.remote"), Some(address.to_string().as_str()), "{event}");
        // The kernel chooses the port after the change.
        let local = if number == 0 { SocketAddr::new(own.ip(), 0) } else { own };
        assert_eq!(text(event, "net.local"), Some(local.to_string().as_str()), "{event}");
    }
    let end = client.last().unwrap();
    assert_eq!((int(end, "net.sent"), int(end, "net.received")), (Some(1000), Some(70000)), "{end}");

    assert_eq!(
        states(server),
        [
            ("SYN_RECV", "ESTABLISHED"),
            ("ESTABLISHED", "CLOSE_WAIT"),
            ("CLOSE_WAIT", "LAST_ACK"),
            ("LAST_ACK", "CLOSE")
        ]
    );
    for event in server {
        assert_eq!(int(event, "proc.pid"), Some(server_pid), "{event}");
        assert_eq!(text(event, "proc.name"), Some("ktape-workload"), "{event}");
        assert_eq!(text(event, "net.local"), Some(address.to_string().as_str()), "{event}");
        assert_eq!(text(event, "net.remote"), Some(own.to_string().as_str()), "{event}");
        // The socket itself has the cgroup that it was made in.
        assert_eq!(int(event, "cgroup.id"), int(&listener[0], "cgroup.id"), "{event}");
    }
    let end = server.last().unwrap();
    assert_eq!((int(end, "net.sent"), int(end, "net.received")), (Some(70000), Some(1000)), "{end}");
    // Mostly 0; on a slow machine, the kernel can send again what was only late.
    let by_both = [end, client.last().unwrap()].map(|event| int(event, "net.retrans").unwrap());
    assert!(by_both.iter().all(|&count| count >= 0), "{by_both:?}");
    assert!(by_both.iter().sum::<i64>() <= retransmitted, "{by_both:?} of {retransmitted}: {end}");

    for events in [listener, client, server] {
        let time = |event: &Value| int(event, "evt.rawtime").unwrap();
        for event in events {
            assert_eq!(int(event, "net.netns"), Some(own_netns()), "{event}");
        }
        let ages: Vec<i64> = events.iter().map(|event| int(event, "net.dur").unwrap()).collect();
        assert!(ages.is_sorted(), "{ages:?}");
        // evt.time is when the socket was born: end minus age.
        let births: Vec<i64> = events.iter().map(time).collect();
        assert!(births[births.len() - 1] >= births[0] && ages[0] < 1_000_000_000, "{births:?} {ages:?}");
        assert!(*ages.last().unwrap() < Duration::from_secs(60).as_nanos() as i64, "{ages:?}");
    }
    assert_eq!(int(&ktape::info(&file), "lost"), Some(0));
    true
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn ipv4_connection_is_recorded() {
    let _guard = Guard::exclusive();
    exchange("127.0.0.1", false);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn ipv6_connection_and_accept_are_recorded() {
    let _guard = Guard::exclusive();
    exchange("::1", true);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn refused_reset_and_preexisting_connections_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    // There before the capture.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut old = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut old_server, _) = listener.accept().unwrap();
    let old_port = old.local_addr().unwrap().port();
    // An unused port.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();

    let capture = Capture::start(&file, &["-e", "net"]);
    run(workload!(), &["tcp-refused", &free.to_string()]);
    old.write_all(b"123").unwrap();
    old_server.read_exact(&mut [0; 3]).unwrap();
    drop(old);
    assert_eq!(old_server.read(&mut [0; 1]).unwrap(), 0);
    drop(old_server);
    // By a mapped address, and reset by closing without lingering.
    let mapped: SocketAddr = format!("[::ffff:127.0.0.1]:{port}").parse().unwrap();
    let client = TcpStream::connect(mapped).unwrap();
    let (mut server, _) = listener.accept().unwrap();
    let reset_port = client.local_addr().unwrap().port();
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    // SAFETY: an open socket and a struct of the size given.
    let set = unsafe {
        libc::setsockopt(
            client.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_LINGER,
            (&raw const linger).cast(),
            size_of_val(&linger) as u32,
        )
    };
    assert_eq!(set, 0);
    drop(client);
    server.set_read_timeout(Some(TIMEOUT)).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), std::io::ErrorKind::ConnectionReset);
    drop(server);
    drop(listener);
    closed(port);
    capture.stop();
    let own_pid = Some(i64::from(std::process::id()));

    let refused = sockets(&file, free.port());
    assert_eq!(refused.len(), 1, "{refused:#?}");
    assert_eq!(states(&refused[0]), [("CLOSE", "SYN_SENT"), ("SYN_SENT", "CLOSE")]);
    for event in &refused[0] {
        assert_eq!(text(event, "proc.name"), Some("ktape-workload"), "{event}");
        assert_eq!(text(event, "net.role"), Some("client"), "{event}");
    }
    assert_eq!(int(&refused[0][1], "net.sent"), Some(0), "{}", refused[0][1]);

    let older = sockets(&file, old_port);
    assert_eq!(older.len(), 2, "{older:#?}");
    for events in &older {
        let end = events.last().unwrap();
        assert_eq!(text(end, "net.role"), Some("unknown"), "{end}");
        assert_eq!(int(end, "net.dur"), None, "{end}");
        assert_eq!(int(end, "proc.pid"), own_pid, "{end}");
        let is_client = int(end, "net.local.port") == Some(i64::from(old_port));
        let bytes = if is_client { (Some(3), Some(0)) } else { (Some(0), Some(3)) };
        assert_eq!((int(end, "net.sent"), int(end, "net.received")), bytes, "{end}");
    }

    let reset = sockets(&file, reset_port);
    let (client, server) = (of_role(&reset, "client"), of_role(&reset, "server"));
    // It had no port yet when it began to connect.
    assert_eq!(states(client), [("SYN_SENT", "ESTABLISHED"), ("ESTABLISHED", "CLOSE")]);
    let end = &client[1];
    assert_eq!(int(end, "proc.pid"), own_pid, "{end}");
    let local = format!("[::ffff:127.0.0.1]:{reset_port}");
    assert_eq!(text(end, "net.local"), Some(local.as_str()), "{end}");
    assert_eq!(text(end, "net.remote"), Some(mapped.to_string().as_str()), "{end}");
    assert_eq!(states(server), [("SYN_RECV", "ESTABLISHED"), ("ESTABLISHED", "CLOSE")]);
    // By the other side's segment, in an interrupt: it belongs to the process that listens.
    assert!(server.iter().all(|event| int(event, "proc.pid") == own_pid), "{server:#?}");

    let listener = sockets(&file, port);
    let listener: Vec<_> =
        listener.iter().flatten().filter(|event| text(event, "net.role") == Some("listener")).collect();
    assert_eq!(listener.len(), 1, "{listener:#?}");
    assert_eq!(int(listener[0], "net.dur"), None, "{}", listener[0]);
    assert_eq!(int(listener[0], "proc.pid"), own_pid, "{}", listener[0]);
}

/// Run the workload in a new network namespace; what it printed.
fn in_new_namespace(args: &[&str]) -> Vec<String> {
    let out = Command::new("timeout")
        .args(["30", "unshare", "-n"])
        .arg(workload!())
        .args(args)
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(out.status.success(), "{args:?}: {}: {}", out.status, String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap().split_whitespace().map(str::to_owned).collect()
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn connection_counts_equal_those_of_the_kernel() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "net"]);
    let printed = in_new_namespace(&["tcp-many", "2000"]);
    capture.stop();
    assert_eq!(int(&ktape::info(&file), "lost"), Some(0));
    let netns = &printed[0];
    let number = |place: usize| printed[place].parse::<u64>().unwrap();
    let (active, passive) = (number(1), number(2));
    assert_eq!((active, passive), (2000, 2000));
    let count = |expression: &str| ktape::count(&file, &format!("net.netns={netns} and {expression}"));
    assert_eq!(count("net.old=CLOSE and net.new=SYN_SENT"), active);
    assert_eq!(count("net.old=SYN_RECV and net.new=ESTABLISHED"), passive);
    assert_eq!(count("net.old=SYN_SENT and net.new=ESTABLISHED and net.role=client"), active);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn retransmissions_are_counted() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "net"]);
    let printed = in_new_namespace(&["tcp-retransmit"]);
    capture.stop();
    let again: i64 = printed[1].parse().unwrap();
    assert!(again >= 2, "{printed:?}");
    let expression = format!("net.netns={} and net.new=CLOSE and net.role=client", printed[0]);
    let ends = ktape::replay_json(&file, &["-e", "net", &expression]);
    assert_eq!(ends.len(), 1, "{ends:#?}");
    assert_eq!(int(&ends[0], "net.retrans"), Some(again), "{}", ends[0]);
    assert_eq!(int(&ends[0], "net.sent"), Some(5000), "{}", ends[0]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn sockets_of_other_processes_are_filtered_out() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    // Another process connects all the while.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                drop(TcpStream::connect(address).unwrap());
                drop(listener.accept().unwrap());
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let unix = dir.path().to_str().unwrap();
        ktape::record(&file, &["-e", "net"], &[workload!().to_str().unwrap(), "sockets", unix]);
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    // tcp and tcp6.
    assert_eq!(ktape::count(&file, "evt.type=net and net.new=SYN_SENT"), 2);
    assert_eq!(ktape::count(&file, "evt.type=net and net.new=LISTEN"), 2);
    assert_eq!(ktape::count(&file, "evt.type=net and net.role=client and net.new=CLOSE"), 2);
    assert_eq!(ktape::count(&file, "evt.type=net and proc.name!=ktape-workload"), 0);
}
