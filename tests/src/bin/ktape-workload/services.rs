//! Clients and servers that count what they do, and measure how long it takes.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Runs the program that `words` name; returns false if they are invalid.
pub fn run(words: &[&str]) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    match words {
        ["dial", to, n, bytes, ms] => match (to.parse(), number(n), number(bytes), number(ms)) {
            (Ok(to), Some(n), Some(bytes), Some(ms)) => {
                dial(to, n, bytes as usize, Duration::from_millis(ms));
            }
            _ => return false,
        },
        ["serve", listen, backend, log, n] => match (listen.parse(), backend.parse(), number(n)) {
            (Ok(listen), Ok(backend), Some(n)) => serve(listen, backend, log, n),
            _ => return false,
        },
        _ => return false,
    }
    true
}

/// Opens and closes `n` connections, or sends `n` datagrams from one socket. Prints how many, and how many in each second since
/// 1970.
pub fn flood(protocol: &str, to: SocketAddr, n: u64) {
    let mut seconds: BTreeMap<u64, u64> = BTreeMap::new();
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    for _ in 0..n {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
        *seconds.entry(now.as_secs()).or_default() += 1;
        if protocol == "udp" {
            // If the receiver's buffer is full, the kernel drops the datagram there.
            socket.send_to(b"flood", to).expect("a datagram");
        } else {
            drop(TcpStream::connect(to).expect("the server accepts"));
        }
    }
    println!("{n}");
    seconds.iter().for_each(|(second, n)| println!("{second} {n}"));
}

/// Makes `n` connections, one after the other. Each sends `bytes`, receives as many, and is closed after `life`.
fn dial(to: SocketAddr, n: u64, bytes: usize, life: Duration) {
    let data = vec![b'k'; bytes];
    for _ in 0..n {
        let start = Instant::now();
        let mut stream = TcpStream::connect(to).expect("the server accepts");
        stream.write_all(&data).expect("a request");
        let mut answer = vec![0; bytes];
        stream.read_exact(&mut answer).expect("an answer");
        thread::sleep(life.saturating_sub(start.elapsed()));
    }
    println!("{n}");
}

/// How long the parts of a server's work last, ns.
#[derive(Default)]
struct Times(BTreeMap<&'static str, Vec<u128>>);

impl Times {
    fn measure<T>(&mut self, name: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        self.0.entry(name).or_default().push(start.elapsed().as_nanos());
        result
    }

    /// Prints a line for each: name, number, sum, p50, p99, longest.
    fn print(mut self) {
        for (name, times) in &mut self.0 {
            times.sort_unstable();
            let at = |percent: usize| times[(times.len() - 1) * percent / 100];
            let sum: u128 = times.iter().sum();
            println!("{name} {} {sum} {} {} {}", times.len(), at(50), at(99), at(100));
        }
    }
}

/// Answers `n` requests, one after the other: reads a byte, sends one to `backend` and reads its answer, writes a line to `log`
/// with an fsync, answers. Prints what the parts of it lasted.
fn serve(listen: SocketAddr, backend: SocketAddr, log: &str, n: u64) {
    let listener = TcpListener::bind(listen).expect("a port");
    let mut log = OpenOptions::new().append(true).create(true).open(log).expect("the file can be made");
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    let mut times = Times::default();
    let mut byte = [0u8; 1];
    for _ in 0..n {
        let (mut client, _) = times.measure("accept4", || listener.accept().expect("a client"));
        times.measure("client", || client.read_exact(&mut byte).expect("a request"));
        let mut upstream = TcpStream::connect(backend).expect("the backend accepts");
        upstream.write_all(&byte).expect("a question");
        times.measure("backend", || upstream.read_exact(&mut byte).expect("an answer"));
        log.write_all(b"GET / 200\n").expect("a line");
        times.measure("fsync", || log.sync_all().expect("an fsync"));
        client.write_all(&byte).expect("an answer");
        client.shutdown(Shutdown::Both).expect("a connection");
    }
    times.print();
}
