//! A server and a client with connections of every kind and known amounts of data. The client prints a line for each.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// Bytes of datagrams, each way.
const DATAGRAMS: [usize; 2] = [40, 70];
/// How long one of the connections is idle.
const IDLE: Duration = Duration::from_millis(300);

/// Waits for a file.
fn wait_for(path: &Path) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !path.exists() {
        assert!(Instant::now() < deadline, "no {}", path.display());
        thread::sleep(Duration::from_millis(5));
    }
}

/// Publishes a file at once.
fn publish(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("a file");
    fs::rename(&new, path).expect("the same directory");
}

/// Serves a stream: reads how much it has to read and to answer, does so, and waits for the client's end.
fn serve_stream(stream: &mut (impl Read + Write)) {
    let mut head = [0; 16];
    stream.read_exact(&mut head).expect("a request");
    let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().expect("8 bytes")) as usize;
    stream.read_exact(&mut vec![0; number(0)]).expect("a request");
    stream.write_all(&vec![b'a'; number(8)]).expect("the client reads");
    let _ = stream.read(&mut [0; 1]);
}

/// Serves TCP, UDP and unix sockets until the file `done` appears in the directory; publishes its ports there.
pub fn serve(dir: &str) {
    let dir = Path::new(dir);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    let udp = UdpSocket::bind("0.0.0.0:0").expect("a port");
    let unix = UnixListener::bind(dir.join("socket")).expect("a socket");
    let port = |address: std::io::Result<std::net::SocketAddr>| address.expect("bound").port();
    publish(&dir.join("ports"), &format!("{} {}", port(tcp.local_addr()), port(udp.local_addr())));
    thread::spawn(move || {
        while let Ok((mut stream, _)) = tcp.accept() {
            serve_stream(&mut stream);
        }
    });
    thread::spawn(move || {
        let mut bytes = [0; 2 * DATAGRAMS[0]];
        while let Ok((_, from)) = udp.recv_from(&mut bytes) {
            udp.send_to(&[b'a'; DATAGRAMS[1]], from).expect("a datagram");
        }
    });
    thread::spawn(move || {
        while let Ok((mut stream, _)) = unix.accept() {
            serve_stream(&mut stream);
        }
    });
    wait_for(&dir.join("done"));
}

/// Exchanges bytes; the first 16 of `there` say how many.
fn exchange(stream: &mut (impl Read + Write), there: usize, back: usize) {
    let mut request = vec![b'q'; there];
    request[..8].copy_from_slice(&(there as u64 - 16).to_ne_bytes());
    request[8..16].copy_from_slice(&(back as u64).to_ne_bytes());
    stream.write_all(&request).expect("the server reads");
    stream.read_exact(&mut vec![0; back]).expect("the server answers");
}

fn tcp(port: u16, there: usize, back: usize) -> (TcpStream, u16) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a server");
    exchange(&mut stream, there, back);
    let own = stream.local_addr().expect("connected").port();
    (stream, own)
}

/// Uses what [`serve`] offers: `needless` connections of a few bytes, larger ones, datagrams, unix sockets. Prints
/// `PROTO PORT SENT RECEIVED NS` of each, with the time from before its beginning to after its end, at last those that stay open
/// until the file `done` appears, with 0 ns.
pub fn client(dir: &str, needless: u64) {
    let dir = Path::new(dir);
    let ports = dir.join("ports");
    wait_for(&ports);
    let ports = fs::read_to_string(ports).expect("ports");
    let (port, udp_port) = ports.split_once(' ').expect("two ports");
    let (port, udp_port) = (port.parse::<u16>().expect("a port"), udp_port.parse::<u16>().expect("a port"));
    for _ in 0..needless {
        let begin = Instant::now();
        let own = tcp(port, 16, 0).1;
        println!("tcp {own} 16 0 {}", begin.elapsed().as_nanos());
    }
    let begin = Instant::now();
    let (stream, own) = tcp(port, 100_000, 300_000);
    thread::sleep(IDLE);
    drop(stream);
    println!("tcp {own} 100000 300000 {}", begin.elapsed().as_nanos());
    let begin = Instant::now();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for _ in 0..5 {
        socket.send_to(&[b'q'; DATAGRAMS[0]], ("127.0.0.1", udp_port)).expect("a datagram");
        socket.recv_from(&mut [0; 2 * DATAGRAMS[1]]).expect("an answer");
    }
    let own = socket.local_addr().expect("bound").port();
    drop(socket);
    println!("udp {own} {} {} {}", 5 * DATAGRAMS[0], 5 * DATAGRAMS[1], begin.elapsed().as_nanos());
    for (there, back) in [(1000, 20), (2000, 30), (3000, 0)] {
        let begin = Instant::now();
        let mut stream = UnixStream::connect(dir.join("socket")).expect("a server");
        exchange(&mut stream, there, back);
        drop(stream);
        println!("unix 0 {there} {back} {}", begin.elapsed().as_nanos());
    }
    let (_open, own) = tcp(port, 5000, 6000);
    println!("tcp {own} 5000 6000 0");
    let mut stream = UnixStream::connect(dir.join("socket")).expect("a server");
    exchange(&mut stream, 700, 800);
    println!("unix 0 700 800 0");
    publish(&dir.join("ready"), "");
    wait_for(&dir.join("done"));
}
