//! TCP connections with known amounts of data and known outcomes.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

/// For operations that take milliseconds.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Serves one connection on this IP address: prints the port, reads `bytes` bytes, sends `answer` bytes, and closes after the
/// client.
pub fn serve(address: &str, bytes: u64, answer: u64) {
    let ip: IpAddr = address.parse().expect("an address");
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    let (mut stream, _) = listener.accept().expect("a client");
    stream.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let mut data = vec![0; bytes as usize];
    stream.read_exact(&mut data).expect("the client sends");
    stream.write_all(&vec![b'a'; answer as usize]).expect("the client reads");
    // Waits until the client has closed or reset the connection.
    let _ = stream.read(&mut [0; 1]);
}

/// A counter in section `Tcp` of `/proc/net/snmp`, for this network namespace.
fn counter(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/net/snmp").expect("/proc is mounted");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("Tcp: "));
    let (names, values) = (lines.next().expect("names"), lines.next().expect("values"));
    let place = names.split(' ').position(|word| word == name).expect("a counter of that name");
    values.split(' ').nth(place).and_then(|value| value.parse().ok()).expect("a number")
}

fn tool(command: &str) {
    let status = Command::new("/bin/sh").args(["-c", command]).status().expect("a shell");
    assert!(status.success(), "{command}: {status}");
}

/// Enables loopback and prints the inode of the network namespace, which must be a new one.
pub fn enter() {
    tool("ip link set lo up");
    let link = std::fs::read_link("/proc/self/ns/net").expect("a namespace");
    println!("{}", link.to_string_lossy().trim_start_matches("net:[").trim_end_matches(']'));
}

/// In a new network namespace, makes connections one after the other, with a byte each way. Prints the namespace, and the
/// growth of the kernel's counters of active and passive opens.
pub fn many(connections: u64) {
    enter();
    let before = (counter("ActiveOpens"), counter("PassiveOpens"));
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    for _ in 0..connections {
        let mut client = TcpStream::connect(address).expect("a server");
        let (mut server, _) = listener.accept().expect("a client");
        client.write_all(b"q").expect("sent");
        server.read_exact(&mut [0; 1]).expect("received");
        server.write_all(b"a").expect("sent");
        client.read_exact(&mut [0; 1]).expect("received");
    }
    println!("{} {}", counter("ActiveOpens") - before.0, counter("PassiveOpens") - before.1);
}

/// In a new network namespace, sends 5000 bytes over a connection that temporarily loses all packets. Prints the namespace,
/// and the number of segments that the kernel has retransmitted.
pub fn retransmit() {
    enter();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut client = TcpStream::connect(listener.local_addr().expect("bound")).expect("a server");
    let (mut server, _) = listener.accept().expect("a client");
    server.set_read_timeout(Some(TIMEOUT)).expect("a timeout");
    let before = counter("RetransSegs");
    tool("/sbin/tc qdisc add dev lo root blackhole");
    client.write_all(&[b'x'; 5000]).expect("the socket has room");
    let start = Instant::now();
    while counter("RetransSegs") < before + 2 && start.elapsed() < TIMEOUT {
        std::thread::sleep(Duration::from_millis(2));
    }
    tool("/sbin/tc qdisc del dev lo root");
    server.read_exact(&mut [0; 5000]).expect("it arrives after all");
    client.shutdown(Shutdown::Write).expect("open");
    assert_eq!(server.read(&mut [0; 1]).expect("the end"), 0);
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).expect("the end"), 0);
    drop(client);
    println!("{}", counter("RetransSegs") - before);
}

/// Connects to an address on which nothing listens.
pub fn refused(address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    TcpStream::connect(address).expect_err("a refusal");
}

/// In a new network namespace, connects to neighbours that do not exist, by IPv4 and IPv6. Prints the namespace.
pub fn unreachable() {
    enter();
    tool("ip link add v0 type veth peer name v1 && ip link set v0 up && ip link set v1 up");
    tool("ip addr add 10.9.8.1/24 dev v0 && ip -6 addr add fd09::1/64 dev v0 nodad");
    for address in ["10.9.8.7:9", "[fd09::7]:9"] {
        let address: SocketAddr = address.parse().expect("an address");
        let error = TcpStream::connect(address).expect_err("no route to the neighbour");
        assert_eq!(error.raw_os_error(), Some(libc::EHOSTUNREACH), "{error}");
    }
}

/// After a line on stdin, connects and waits until the server closes the connection.
pub fn hold(address: &str) {
    let address: SocketAddr = address.parse().expect("an address");
    std::io::stdin().read_line(&mut String::new()).expect("a line");
    let mut stream = TcpStream::connect(address).expect("a server");
    stream.read_to_end(&mut Vec::new()).expect("the server closes");
}

/// Listens on this IP address and prints the port. A child prints its process id, accepts one connection, reads a byte and
/// waits for the end of the connection.
pub fn prefork(address: &str) {
    let ip: IpAddr = address.parse().expect("an address");
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    println!("{}", listener.local_addr().expect("bound").port());
    // SAFETY: this process has one thread.
    let child = unsafe { libc::fork() };
    if child == 0 {
        println!("{}", std::process::id());
        let (mut stream, _) = listener.accept().expect("a client");
        stream.read_to_end(&mut Vec::new()).expect("the client closes");
        drop(stream);
        std::process::exit(0);
    }
    assert_eq!(crate::sys::wait(i64::from(child)), 0);
}
