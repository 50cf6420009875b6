use std::sync::Arc;

use capture_format::Chunk;
use events::{Kind, KindSet, UNKNOWN, flags};

use super::connection::{sockaddr, unix_sockaddr};
use super::*;
use crate::derive::{Derivation, Wanted};
use crate::model::event_table;
use crate::model::testing::{TestCall, TestChunk, TestFile, call, header};

/// The whole time.
const ALL: Range = Range { from: 0, to: u64::MAX };
const S: u64 = 1_000_000_000;

fn ip(text: &str) -> Vec<u8> {
    sockaddr(text.parse().unwrap())
}

/// A capture under construction, with a client (10) and a server (20) on the host.
struct Made {
    header: Header,
    chunk: TestChunk,
    client: u32,
    server: u32,
}

impl Made {
    /// One with these kinds of events, as the recorder notes them; none for all.
    fn new(events: Option<&str>) -> Self {
        let mut header = header(1);
        header.options.extend(events.map(|events| ("events".to_owned(), events.to_owned())));
        let mut chunk = TestChunk::new(&header);
        let cgroup = chunk.cgroup(1, "/a", &[]);
        let (client, server) = (chunk.task(10, 11, "curl", cgroup), chunk.task(20, 21, "nginx", cgroup));
        Self { header, chunk, client, server }
    }

    fn socket(&mut self, proto: &str, ino: u64, [local, remote]: [&str; 2]) -> u32 {
        let bytes = |text: &str| if text.is_empty() { Vec::new() } else { ip(text) };
        let (local, remote) = (bytes(local), bytes(remote));
        self.chunk.file(&TestFile {
            ty: "ipv4",
            proto,
            ino,
            local: &local,
            remote: &remote,
            ..TestFile::default()
        })
    }

    fn unix(&mut self, ino: u64, path: &str, peer_pid: u64) -> u32 {
        self.chunk.file(&TestFile { ty: "unix", ino, path, peer_pid, ..TestFile::default() })
    }

    /// A call about a file that takes 1 ms.
    fn call(&mut self, time: u64, task: u32, name: &'static str, (file, ret): (u32, i64)) {
        let made = TestCall { files: [file, 0], dur: 1_000_000, ..call(name, &[3, 1, 100], ret) };
        self.chunk.call(time, task, &made);
    }

    /// The same with an address.
    fn with_address(
        &mut self,
        time: u64,
        task: u32,
        (name, address): (&'static str, &[u8]),
        (file, ret): (u32, i64),
    ) {
        let args: &[u64] = if name == "connect" { &[3, 1, 16] } else { &[3, 1, 100, 0, 1, 16] };
        let strs = vec![address.to_vec()];
        self.chunk.call(
            time,
            task,
            &TestCall { files: [file, 0], strs, dur: 1_000_000, ..call(name, args, ret) },
        );
    }

    fn accept(&mut self, time: u64, task: u32, file: u32) {
        let made = TestCall { files: [0, file], ..call("accept4", &[3, 0, 0, 0], 4) };
        self.chunk.call(time, task, &made);
    }

    /// A `net` event: states, role, addresses, number, age, counters, reason.
    fn net(&mut self, time: u64, task: u32, event: &TestNet<'_>) {
        let texts = [event.states[0], event.states[1], event.role, event.reason];
        let [old, new, role, reason] = texts.map(|text| self.chunk.builder.intern(text.as_bytes()));
        let [local, remote] = event.addresses.map(|text| self.chunk.builder.intern(&ip(text)));
        let table = self.chunk.builder.table(event_table(Kind::Net));
        table.push_u64(0, time);
        table.push_u64(1, 1);
        table.push_ref(2, task);
        table.push_u64(3, 0);
        table.push_u64(4, event.age);
        [(5, old), (6, new), (7, role), (8, local), (9, remote)]
            .into_iter()
            .for_each(|(column, text)| table.push_bytes(column, text));
        table.push_u64(10, event.sock);
        table.push_u64(11, event.netns);
        (12..15).zip(event.counters).for_each(|(column, value)| table.push_u64(column, value));
        table.push_u64(15, event.error);
        table.push_bytes(16, reason);
        table.end_row();
    }

    fn rows(self, range: Range) -> Vec<String> {
        let header = self.header.clone();
        rows(&header, vec![self.chunk], range)
    }
}

#[derive(Clone, Copy)]
struct TestNet<'a> {
    states: [&'a str; 2],
    role: &'a str,
    addresses: [&'a str; 2],
    sock: u64,
    netns: u64,
    age: u64,
    counters: [u64; 3],
    error: u64,
    reason: &'a str,
}

const NET: TestNet<'_> = TestNet {
    states: ["SYN_SENT", "ESTABLISHED"],
    role: "client",
    addresses: ["10.0.0.1:40000", "10.0.0.2:80"],
    sock: 1,
    netns: 1,
    age: UNKNOWN,
    counters: [UNKNOWN; 3],
    error: 0,
    reason: "",
};
const CLOSE: TestNet<'_> = TestNet { states: ["LAST_ACK", "CLOSE"], reason: "closed", ..NET };

/// The connections, a line each.
fn rows(header: &Header, chunks: Vec<TestChunk>, range: Range) -> Vec<String> {
    let mut derivation =
        Derivation::new(header, Wanted { kinds: KindSet::of(&[Kind::Conn]), files: true }, range).unwrap();
    let binding = Binding::new(Arc::new(header.clone()));
    let mut made: Vec<Chunk> = Vec::new();
    for chunk in chunks {
        let chunk = chunk.chunk();
        made.extend(derivation.chunk(&ChunkView::open(&chunk, &binding).unwrap()).unwrap());
    }
    made.extend(derivation.finish().unwrap());
    let mut lines = Vec::new();
    for chunk in &made {
        let view = ChunkView::open(chunk, derivation.binding()).unwrap();
        for rows in view.tables() {
            lines.extend(
                (0..rows.len()).map(|row| (rows.number(own!(Conn, "id"), row), line(&view, rows, row))),
            );
        }
    }
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

fn line(view: &ChunkView<'_>, rows: &Rows<'_>, row: usize) -> String {
    let text = |own: u16| String::from_utf8_lossy(rows.bytes(own, row).unwrap()).into_owned();
    let number = |own: u16| match rows.number(own, row).unwrap() {
        UNKNOWN => "?".to_owned(),
        number => number.to_string(),
    };
    let task = |own: u16| match view.task(rows.reference(own, row).unwrap()) {
        task if task.tid == 0 => "?".to_owned(),
        task => String::from_utf8_lossy(task.name).into_owned(),
    };
    let address = |own: u16| {
        let bytes = rows.bytes(own, row).unwrap();
        let mut text = Vec::new();
        crate::syscalls::sockaddr::format(bytes, &mut text);
        String::from_utf8(text).unwrap()
    };
    let age = match rows.flags(row) & flags::START_UNKNOWN {
        0 => format!("{}ms", rows.durations()[row] / 1_000_000),
        _ => "?".to_owned(),
    };
    format!(
        "{} {} {} -> {} {}: {}/{} {} calls {} errors {} {age}",
        text(own!(Conn, "proto")),
        task(own!(Conn, "client")),
        address(own!(Conn, "client_addr")),
        task(own!(Conn, "server")),
        address(own!(Conn, "server_addr")),
        number(own!(Conn, "sent")),
        number(own!(Conn, "received")),
        number(own!(Conn, "calls")),
        number(own!(Conn, "errors")),
        text(own!(Conn, "state")),
    )
}

/// Both ends of a TCP connection from 1 s to 3 s, in `net` events.
fn both_ends(made: &mut Made, at: u64, socks: [u64; 2]) {
    let (client, server) = (made.client, made.server);
    let start = TestNet {
        states: ["CLOSE", "SYN_SENT"],
        addresses: ["10.0.0.1:0", "10.0.0.2:80"],
        sock: socks[0],
        age: 0,
        ..NET
    };
    made.net(at + S, client, &start);
    let near = TestNet { sock: socks[0], ..NET };
    let far = TestNet { role: "server", addresses: ["10.0.0.2:80", "10.0.0.1:40000"], sock: socks[1], ..NET };
    made.net(at + S + 1, server, &TestNet { states: ["SYN_RECV", "ESTABLISHED"], ..far });
    made.net(at + S + 2, client, &near);
    let close =
        |of: TestNet<'static>, counters| TestNet { counters, states: CLOSE.states, reason: "closed", ..of };
    made.net(at + 3 * S, client, &close(TestNet { sock: socks[0], ..NET }, [100, 2000, 1]));
    let far = TestNet { role: "server", addresses: ["10.0.0.2:80", "10.0.0.1:40000"], sock: socks[1], ..NET };
    made.net(at + 3 * S + 1_000_000, server, &close(far, [2000, 100, 2]));
}

#[test]
fn both_ends_of_a_tcp_connection_are_one_row() {
    let mut made = Made::new(None);
    both_ends(&mut made, 0, [1, 2]);
    let (client, server) = (made.client, made.server);
    let near = made.socket("tcp", 101, ["10.0.0.1:40000", "10.0.0.2:80"]);
    let far = made.socket("tcp", 102, ["10.0.0.2:80", "10.0.0.1:40000"]);
    made.accept(S + 1000, server, far);
    made.call(2 * S, client, "write", (near, 100));
    made.call(2 * S + 1, server, "read", (far, 100));
    made.call(2 * S + 2, server, "read", (far, -11));
    made.call(2 * S + 3, server, "write", (far, 2000));
    made.call(2 * S + 4, client, "read", (near, 2000));
    // After the kernel's end of it, and at the end of the stream.
    made.call(3 * S + 5, client, "read", (near, -104));
    made.call(3 * S + 6, client, "read", (near, 0));
    let row = "tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 100/2000 4 calls 1 errors closed 2001ms";
    assert_eq!(made.rows(ALL), [row]);
}

#[test]
fn a_pair_of_ports_that_is_used_again_is_another_row() {
    // The kernel may use sockets again, too, and the other way round.
    for socks in [[3, 4], [1, 2], [2, 1]] {
        let mut made = Made::new(Some("net"));
        both_ends(&mut made, 0, [1, 2]);
        both_ends(&mut made, 4 * S, socks);
        let row = "tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 100/2000 0 calls 0 errors closed 2001ms";
        assert_eq!(made.rows(ALL), [row; 2]);
    }
}

#[test]
fn loopback_devices_of_namespaces_are_apart() {
    let mut made = Made::new(Some("net"));
    let (client, server) = (made.client, made.server);
    let near = TestNet { addresses: ["127.0.0.1:40000", "127.0.0.1:80"], age: 0, ..NET };
    made.net(S, client, &near);
    let far =
        TestNet { role: "server", addresses: ["127.0.0.1:80", "127.0.0.1:40000"], sock: 2, netns: 2, ..near };
    made.net(2 * S, server, &far);
    assert_eq!(
        made.rows(ALL),
        [
            "tcp curl 127.0.0.1:40000 -> ? 127.0.0.1:80: ?/? 0 calls 0 errors open 1000ms",
            "tcp ? 127.0.0.1:40000 -> nginx 127.0.0.1:80: ?/? 0 calls 0 errors open 0ms",
        ]
    );
}

#[test]
fn one_end_is_enough() {
    let mut made = Made::new(None);
    let (client, server) = (made.client, made.server);
    // Refused; the peer is on another host.
    let refused =
        TestNet { states: ["SYN_SENT", "CLOSE"], age: 5_000_000, error: 111, reason: "refused", ..NET };
    made.net(S, client, &refused);
    // Older than the capture, and open at its end.
    let open = TestNet {
        states: ["ESTABLISHED", "OPEN"],
        role: "unknown",
        addresses: ["10.0.0.2:80", "10.9.0.1:50000"],
        sock: 9,
        counters: [5, 6, 0],
        ..NET
    };
    made.net(2 * S, server, &open);
    // A request that came to nothing.
    made.net(2 * S, server, &TestNet { states: ["SYN_RECV", "CLOSE"], role: "server", sock: 10, ..NET });
    // One that only calls have seen.
    let other = made.socket("tcp", 103, ["10.0.0.2:55555", "10.9.0.1:443"]);
    made.call(2 * S, server, "sendto", (other, 7));
    assert_eq!(
        made.rows(ALL),
        [
            "tcp curl 10.0.0.1:40000 -> ? 10.0.0.2:80: ?/? 0 calls 1 errors refused 5ms",
            "tcp ? 10.9.0.1:50000 -> nginx 10.0.0.2:80: 6/5 0 calls 0 errors open ?",
            "tcp nginx 10.0.0.2:55555 -> ? 10.9.0.1:443: 7/0 1 calls 0 errors open ?",
        ]
    );
}

#[test]
fn calls_are_enough_for_tcp() {
    let mut made = Made::new(Some("syscall"));
    let (client, server) = (made.client, made.server);
    let new = made.socket("tcp", 101, ["", ""]);
    made.with_address(S, client, ("connect", &ip("10.0.0.2:80")), (new, 0));
    let far = made.socket("tcp", 102, ["10.0.0.2:80", "10.0.0.1:40000"]);
    made.accept(S + 1000, server, far);
    let near = made.socket("tcp", 101, ["10.0.0.1:40000", "10.0.0.2:80"]);
    made.call(2 * S, client, "write", (near, 100));
    made.call(2 * S + 1, server, "recvfrom", (far, 100));
    made.call(3 * S, client, "close", (near, 0));
    made.call(4 * S, server, "close", (far, 0));
    // Refused, then tried again with the same socket.
    let new = made.socket("tcp", 105, ["", ""]);
    made.with_address(5 * S, client, ("connect", &ip("10.0.0.2:81")), (new, -111));
    made.with_address(6 * S, client, ("connect", &ip("10.0.0.2:81")), (new, -115));
    assert_eq!(
        made.rows(ALL),
        [
            "tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 100/0 2 calls 0 errors closed 3001ms",
            "tcp curl  -> ? 10.0.0.2:81: 0/0 0 calls 1 errors refused 1ms",
            "tcp curl  -> ? 10.0.0.2:81: 0/0 0 calls 0 errors open 1ms",
        ]
    );
}

#[test]
fn datagrams_have_a_row_for_each_peer() {
    let mut made = Made::new(None);
    let (client, server) = (made.client, made.server);
    let (dns, other) = (ip("10.0.0.2:53"), ip("10.7.7.7:53"));
    // The first time, the socket has no port yet.
    let new = made.socket("udp", 101, ["", ""]);
    let bound = made.socket("udp", 101, ["0.0.0.0:40000", ""]);
    let any = made.socket("udp", 102, ["0.0.0.0:53", ""]);
    let from = ip("10.0.0.1:40000");
    made.with_address(S, client, ("sendto", &dns), (new, 30));
    made.with_address(S + 1, server, ("recvfrom", &from), (any, 30));
    made.with_address(2 * S, server, ("sendto", &from), (any, 90));
    made.with_address(2 * S + 1, client, ("recvfrom", &dns), (bound, 90));
    made.with_address(3 * S, client, ("sendto", &other), (bound, 5));
    made.with_address(4 * S, client, ("sendto", &other), (bound, -101));
    made.call(5 * S, client, "close", (bound, 0));
    assert_eq!(
        made.rows(ALL),
        [
            "udp curl 10.0.0.1:40000 -> nginx 10.0.0.2:53: 30/90 4 calls 0 errors open 1001ms",
            "udp curl 0.0.0.0:40000 -> ? 10.7.7.7:53: 5/0 1 calls 1 errors unreachable 1001ms",
        ]
    );
}

#[test]
fn datagrams_from_anyone_are_those_of_unknown_senders() {
    let mut made = Made::new(None);
    let (client, server) = (made.client, made.server);
    let sender = made.socket("udp", 101, ["127.0.0.1:40000", "127.0.0.1:514"]);
    let log = made.socket("udp", 102, ["0.0.0.0:514", ""]);
    made.call(S, client, "write", (sender, 10));
    made.call(S + 1, server, "read", (log, 10));
    made.call(2 * S, server, "read", (log, 7));
    assert_eq!(
        made.rows(ALL),
        [
            "udp curl 127.0.0.1:40000 -> nginx 127.0.0.1:514: 10/0 1 calls 0 errors open 1ms",
            "udp ?  -> nginx 0.0.0.0:514: 7/0 1 calls 0 errors open 999ms",
        ]
    );
}

#[test]
fn unix_sockets_are_paired_in_the_order_of_the_queue() {
    let mut made = Made::new(None);
    let (client, server) = (made.client, made.server);
    let path = unix_sockaddr(b"../run/s");
    for (at, inos) in [(0, [101, 201]), (1, [102, 202])] {
        let new = made.unix(inos[0], "", 0);
        let accepted = made.unix(inos[1], "/run/s", 10);
        // The second one is accepted before `connect` returns.
        made.accept(S + at * 990_000, server, accepted);
        made.with_address(S + at * 1_000_000, client, ("connect", &path), (new, 0));
    }
    for (ino, bytes) in [(101, 5), (102, 6)] {
        let near = made.unix(ino, "/run/s", 20);
        made.call(2 * S, client, "write", (near, bytes));
        made.call(3 * S, client, "close", (near, 0));
    }
    for (ino, bytes) in [(201, 50), (202, 60)] {
        let far = made.unix(ino, "/run/s", 10);
        made.call(2 * S + 1, server, "sendmsg", (far, bytes));
        made.call(3 * S, server, "close", (far, 0));
    }
    let none = made.unix(103, "", 0);
    made.with_address(4 * S, client, ("connect", &unix_sockaddr(b"@x")), (none, -111));
    assert_eq!(
        made.rows(ALL),
        [
            "unix curl  -> nginx /run/s: 5/50 2 calls 0 errors closed 2001ms",
            "unix curl  -> nginx /run/s: 6/60 2 calls 0 errors closed 2000ms",
            "unix curl  -> ? @x: 0/0 0 calls 1 errors refused 1ms",
        ]
    );
}

#[test]
fn a_socketpair_belongs_to_those_who_use_it() {
    let mut made = Made::new(None);
    let (parent, child) = (made.client, made.server);
    let (one, two) = (made.unix(101, "", 10), made.unix(102, "", 10));
    made.chunk.call(S, parent, &TestCall { files: [one, two], ..call("socketpair", &[1, 1, 0, 1], 0) });
    made.call(S + 1, parent, "close", (two, 0));
    made.call(2 * S, child, "write", (two, 9));
    made.call(2 * S + 1, parent, "read", (one, 9));
    made.chunk.exit(3 * S, child, 0, 0);
    made.chunk.exit(4 * S, parent, 0, 0);
    assert_eq!(made.rows(ALL), ["unix curl  -> nginx : 0/9 2 calls 0 errors closed 3000ms"]);
}

#[test]
fn a_range_has_the_calls_in_it_and_the_state_at_its_end() {
    let made = || {
        let mut made = Made::new(None);
        both_ends(&mut made, 0, [1, 2]);
        let client = made.client;
        let near = made.socket("tcp", 101, ["10.0.0.1:40000", "10.0.0.2:80"]);
        made.call(S + 500_000_000, client, "write", (near, 60));
        made.call(2 * S + 500_000_000, client, "write", (near, 40));
        made
    };
    let part = made().rows(Range { from: 2 * S, to: 2 * S + 900_000_000 });
    assert_eq!(part, ["tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 40/0 1 calls 0 errors open 1900ms"]);
    assert_eq!(made().rows(Range { from: 4 * S, to: u64::MAX }), Vec::<String>::new());
    assert_eq!(made().rows(Range { from: 0, to: S / 2 }), Vec::<String>::new());
    // Without calls in the range, there are the kernel's counters.
    let end = made().rows(Range { from: 2 * S + 900_000_000, to: 5 * S });
    assert_eq!(
        end,
        ["tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 100/2000 0 calls 0 errors closed 2001ms"]
    );
}

#[test]
fn what_was_read_without_being_taken_is_not_counted_twice() {
    let mut made = Made::new(None);
    let client = made.client;
    let near = made.socket("tcp", 101, ["10.0.0.1:40000", "10.0.0.2:80"]);
    let peek = TestCall { files: [near, 0], ..call("recvfrom", &[3, 1, 100, 2, 0, 0], 50) };
    made.chunk.call(S, client, &peek);
    made.call(S + 1, client, "read", (near, 50));
    made.chunk.request(
        S + 2,
        client,
        ["SEND", ""],
        &TestCall { files: [near, 0], ..call("sendto", &[3, 1, 8, 0, 0, 0], 8) },
    );
    // Several messages, of which only the number is recorded.
    let many = TestCall { files: [near, 0], ..call("sendmmsg", &[3, 1, 2, 0], 2) };
    made.chunk.call(S + 3, client, &many);
    assert_eq!(made.rows(ALL), ["tcp curl 10.0.0.1:40000 -> ? 10.0.0.2:80: 8/50 3 calls 0 errors open ?"]);
}

#[test]
fn threads_of_earlier_chunks_are_in_later_rows() {
    let mut first = Made::new(None);
    let (client, server) = (first.client, first.server);
    let near = first.socket("tcp", 101, ["10.0.0.1:40000", "10.0.0.2:80"]);
    let far = first.socket("tcp", 102, ["10.0.0.2:80", "10.0.0.1:40000"]);
    first.call(S, client, "write", (near, 10));
    first.call(S + 1, server, "read", (far, 10));
    // Another one ends in the first chunk, so that its row is written there.
    first.net(S, client, &TestNet { addresses: ["10.0.0.1:40001", "10.0.0.2:80"], age: 5, ..CLOSE });
    let mut second = Made::new(None);
    let (_, server) = (second.client, second.server);
    let far = second.socket("tcp", 102, ["10.0.0.2:80", "10.0.0.1:40000"]);
    second.call(100 * S, server, "read", (far, 5));
    let header = first.header.clone();
    assert_eq!(
        rows(&header, vec![first.chunk, second.chunk], ALL),
        [
            "tcp curl 10.0.0.1:40001 -> ? 10.0.0.2:80: ?/? 0 calls 0 errors closed 0ms",
            "tcp curl 10.0.0.1:40000 -> nginx 10.0.0.2:80: 15/0 3 calls 0 errors open ?",
        ]
    );
}

#[test]
fn many_peers_get_rows_before_there_are_too_many() {
    let mut table = Table::new(ALL);
    for peer in 0..200_000u32 {
        let mut conn = Conn::new(connection::Proto::Udp, peer.into());
        (conn.ends[0].socket, conn.ends[0].peer) = (7, Some(u64::from(peer) + 1));
        table.add(conn);
        assert!(table.live() <= 16_384, "{peer}");
    }
    table.finish();
    assert_eq!(table.ready.len(), 200_000);
    assert_eq!(table.live(), 0);
}
