//! Connections that are still open.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::path::Path;

use serde_json::Value;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};
use ktape_tests::workload;

/// A connection within this process.
struct Connection {
    client: TcpStream,
    server: TcpStream,
}

impl Connection {
    fn to(listener: &TcpListener) -> Self {
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        Self { client, server }
    }

    fn port(&self) -> u16 {
        self.client.local_addr().unwrap().port()
    }

    /// Sends bytes each way, and waits until all are acknowledged.
    fn exchange(&mut self, there: usize, back: usize) {
        self.client.write_all(&vec![b'q'; there]).unwrap();
        self.server.read_exact(&mut vec![0; there]).unwrap();
        self.server.write_all(&vec![b'a'; back]).unwrap();
        self.client.read_exact(&mut vec![0; back]).unwrap();
        for stream in [&self.client, &self.server] {
            until("acknowledgement", TIMEOUT, || {
                let mut unacked = 0i32;
                // SAFETY: an open socket, and room for an int.
                assert_eq!(unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut unacked) }, 0);
                (unacked == 0).then_some(())
            });
        }
    }
}

/// The kernel's count of segments that were sent again: none, except on a slow machine.
fn retransmitted(stream: &TcpStream) -> i64 {
    // SAFETY: a struct of integers, for which zeroes are a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut len = size_of_val(&info) as libc::socklen_t;
    // SAFETY: an open socket, and room of the size that is passed.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut len,
        )
    };
    assert_eq!(result, 0);
    info.tcpi_total_retrans.into()
}

/// The rows of the client's and of the server's end with counters of a connection that is open.
fn open_rows(file: &Path, port: u16) -> [Vec<Value>; 2] {
    ["local", "remote"].map(|side| {
        let expression = format!("net.new=OPEN and net.{side}.port={port}");
        ktape::replay_json(file, &["-e", "net", &expression])
    })
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn open_connections_have_their_counters_at_the_end() {
    let _guard = Guard::exclusive();
    for ip in ["127.0.0.1", "::1"] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x.ktape");
        let listener = TcpListener::bind(SocketAddr::new(ip.parse().unwrap(), 0)).unwrap();
        let mut older = Connection::to(&listener);
        older.exchange(3, 5000);
        let capture = Capture::start(&file, &["-e", "net", "--net-interval", "0"]);
        let mut newer = Connection::to(&listener);
        newer.exchange(1000, 70_000);
        older.exchange(4, 0);
        // Descriptors of the same socket make no further row.
        let copy = newer.client.try_clone().unwrap();
        capture.stop();
        drop(copy);

        for (connection, bytes, is_new) in [(&older, (7, 5000), false), (&newer, (1000, 70_000), true)] {
            let [client, server] = open_rows(&file, connection.port());
            assert_eq!((client.len(), server.len()), (1, 1), "{client:#?} {server:#?}");
            let ends = [
                (&client[0], bytes, &connection.client, "client"),
                (&server[0], (bytes.1, bytes.0), &connection.server, "server"),
            ];
            for (event, (sent, received), stream, role) in ends {
                assert_eq!(text(event, "net.old"), Some("ESTABLISHED"), "{event}");
                assert_eq!(int(event, "net.sent"), Some(sent), "{event}");
                assert_eq!(int(event, "net.received"), Some(received), "{event}");
                assert_eq!(int(event, "net.retrans"), Some(retransmitted(stream)), "{event}");
                assert_eq!(int(event, "proc.pid"), Some(i64::from(std::process::id())), "{event}");
                assert_eq!(text(event, "net.role"), Some(if is_new { role } else { "unknown" }), "{event}");
                assert_eq!(int(event, "net.dur").is_some(), is_new, "{event}");
                assert_eq!((text(event, "net.reason"), text(event, "net.error")), (None, None), "{event}");
            }
        }
        let port = listener.local_addr().unwrap().port();
        assert_eq!(ktape::count(&file, &format!("net.new=ESTABLISHED and net.local.port={port}")), 1);
        assert_eq!(ktape::count(&file, &format!("net.old=LISTEN and net.local.port={port}")), 0);
        assert_eq!(int(&ktape::info(&file), "lost"), Some(0));
        let lines = ktape::stdout(&[
            "replay",
            file.to_str().unwrap(),
            &format!("net.local.port={} and net.new=OPEN", newer.port()),
        ]);
        assert!(lines.contains(" ESTABLISHED, open "), "{lines}");
        // A copy has them, too.
        let copy = dir.path().join("copy.ktape");
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        ktape::stdout(&["replay", &path(&file), "-w", &path(&copy), "net.new=OPEN"]);
        let counters = |file: &Path| {
            let number = |event: &Value, field| int(event, field).unwrap();
            open_rows(file, newer.port()).map(|rows| {
                let fields = ["net.sent", "net.received", "proc.pid", "net.sock"];
                rows.iter().map(|event| fields.map(|field| number(event, field))).collect::<Vec<_>>()
            })
        };
        assert_eq!(counters(&copy), counters(&file));
    }
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn open_connections_have_their_counters_from_time_to_time() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut connection = Connection::to(&listener);
    let port = connection.port();
    let capture = Capture::start(&file, &["-e", "net", "--net-interval", "50ms"]);
    let sent = || -> Vec<i64> {
        open_rows(&file, port)[0].iter().filter_map(|event| int(event, "net.sent")).collect()
    };
    until("the first rows", TIMEOUT, || (!sent().is_empty()).then_some(()));
    connection.exchange(1000, 1);
    until("rows after the exchange", TIMEOUT, || sent().ends_with(&[1000, 1000]).then_some(()));
    capture.stop();
    let sent = sent();
    assert_eq!(sent[0], 0, "{sent:?}");
    assert!(sent.is_sorted(), "{sent:?}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn only_open_connections_of_the_command_are_recorded() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let script = format!("echo | {} tcp-hold {address}", workload!().display());
    let capture =
        Capture::start(&file, &["-e", "net", "--net-interval", "50ms", "--", "/bin/sh", "-c", &script]);
    let (server, client) = listener.accept().unwrap();
    until("rows of the client", TIMEOUT, || (!open_rows(&file, client.port())[0].is_empty()).then_some(()));
    drop(server);
    assert!(capture.wait().status.success());
    let [client_rows, server_rows] = open_rows(&file, client.port());
    assert!(!client_rows.is_empty() && server_rows.is_empty(), "{server_rows:#?}");
    let names = client_rows.iter().map(|event| text(event, "proc.name"));
    assert!(names.clone().all(|name| name == Some("ktape-workload")), "{client_rows:#?}");
    assert_eq!(ktape::count(&file, "evt.type=net and proc.name!=ktape-workload"), 0);
}
