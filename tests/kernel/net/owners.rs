//! Owners of the connections of servers.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;

use serde_json::Value;

use ktape_tests::cgroup::Cgroup;
use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::workload;
use ktape_tests::workload::Workload;

use super::{closed, states};

/// Makes a request of one byte and reads the answer; returns the client's address.
fn request(server: SocketAddr) -> SocketAddr {
    let mut client = TcpStream::connect(server).unwrap();
    let own = client.local_addr().unwrap();
    client.write_all(b"q").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    own
}

/// The events of the server's end of a client's connection.
fn of_server(file: &Path, client: SocketAddr) -> Vec<Value> {
    let expression = format!("net.remote.port={} and net.role=server", client.port());
    let mut events = ktape::replay_json(file, &["-e", "net", &expression]);
    // Of two sockets for one connection, the kernel drops one at once.
    events.retain(|event| {
        (text(event, "net.old"), text(event, "net.new")) != (Some("SYN_RECV"), Some("CLOSE"))
    });
    events
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn connections_belong_to_a_listener_that_existed_before_the_capture() {
    let _guard = Guard::exclusive();
    for ip in ["127.0.0.1", "::1"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ktape");
        let mut server = Workload::start(workload!(), &["tcp-serve", ip, "1", "2"]);
        let port: u16 = server.line().parse().unwrap();
        let pid = i64::from(server.pid());
        let capture = Capture::start(&file, &["-e", "net"]);
        let own = request(SocketAddr::new(ip.parse().unwrap(), port));
        server.finish();
        closed(port);
        capture.stop();
        let events = of_server(&file, own);
        assert_eq!(states(&events)[0], ("SYN_RECV", "ESTABLISHED"), "{events:#?}");
        assert!(events.iter().all(|event| int(event, "proc.pid") == Some(pid)), "{events:#?}");
        assert_eq!(text(&events[0], "proc.name"), Some("ktape-workload"), "{}", events[0]);
        assert!(int(&events[0], "net.dur").is_some(), "{}", events[0]);
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn accepted_connections_belong_to_the_worker() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "net,accept,accept4"]);
    let mut server = Workload::start(workload!(), &["tcp-prefork", "127.0.0.1"]);
    let port: u16 = server.line().parse().unwrap();
    let worker: i64 = server.line().parse().unwrap();
    let parent = i64::from(server.pid());
    let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let own = client.local_addr().unwrap();
    // Ends only after the worker has accepted.
    let accepted = format!("evt.type = accept4 and proc.pid={worker}");
    ktape_tests::wait::until("accept", ktape_tests::wait::TIMEOUT, || {
        (ktape::count(&file, &accepted) > 0).then_some(())
    });
    drop(client);
    server.finish();
    closed(port);
    capture.stop();
    let events = of_server(&file, own);
    assert_eq!(
        states(&events),
        [
            ("SYN_RECV", "ESTABLISHED"),
            ("ESTABLISHED", "CLOSE_WAIT"),
            ("CLOSE_WAIT", "LAST_ACK"),
            ("LAST_ACK", "CLOSE")
        ]
    );
    let pids: Vec<Option<i64>> = events.iter().map(|event| int(event, "proc.pid")).collect();
    assert_eq!(pids, [Some(parent), Some(worker), Some(worker), Some(worker)], "{events:#?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn connections_of_a_container_are_recorded_from_the_first_state_on() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let id = "5e".repeat(32);
    let cgroup = Cgroup::make(&format!("/ktape-net/{id}"));
    // A server in the container and a client on the host; then the other way round, and established before the capture.
    let mut server = Workload::start(workload!(), &["tcp-serve", "127.0.0.1", "1", "2"]);
    let port: u16 = server.line().parse().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut holder = Workload::start(workload!(), &["tcp-hold", &address.to_string()]);
    cgroup.attach(server.pid());
    cgroup.attach(holder.pid());
    holder.go();
    let (held, held_by) = listener.accept().unwrap();
    let (server_pid, holder_pid) = (i64::from(server.pid()), i64::from(holder.pid()));

    let capture = Capture::start(&file, &["-e", "net", "--container", &id]);
    let own = request(SocketAddr::from(([127, 0, 0, 1], port)));
    server.finish();
    closed(port);
    capture.stop();
    drop(held);
    holder.finish();

    let events = of_server(&file, own);
    assert_eq!(states(&events)[0], ("SYN_RECV", "ESTABLISHED"), "{events:#?}");
    assert!(events.iter().all(|event| int(event, "proc.pid") == Some(server_pid)), "{events:#?}");
    // Of the connection from the container to this process, which does nothing, only the container's end.
    let open = ktape::replay_json(&file, &["-e", "net", "net.new=OPEN"]);
    assert_eq!(open.len(), 1, "{open:#?}");
    assert_eq!(int(&open[0], "proc.pid"), Some(holder_pid), "{}", open[0]);
    assert_eq!(text(&open[0], "container.full_id"), Some(id.as_str()), "{}", open[0]);
    assert_eq!(text(&open[0], "net.local"), Some(held_by.to_string().as_str()), "{}", open[0]);
    assert_eq!(ktape::count(&file, &format!("evt.type=net and container.full_id!={id}")), 0);
}
