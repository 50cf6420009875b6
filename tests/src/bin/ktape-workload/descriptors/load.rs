//! A mixed load on descriptors.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::thread;

use super::itself;

/// Rounds between two lines.
const ROUNDS: u64 = 50;

/// Reads files, sends bytes through pipes and sockets, and runs programs, until stdin ends. Prints `ready`, and a line after
/// every 50 rounds.
pub fn load(dir: &str) {
    let dir = Path::new(dir);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("bound");
    echo(move || listener.accept().expect("a client").0);
    let mut tcp = TcpStream::connect(address).expect("a server");
    let (mut unix, theirs) = UnixStream::pair().expect("two sockets");
    echo(move || theirs);
    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = udp.local_addr().expect("bound");
    let (mut read, mut write) = std::io::pipe().expect("a pipe");
    thread::spawn(|| {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        std::process::exit(0);
    });
    println!("ready");
    let mut bytes = [0u8; 64];
    for round in 1u64.. {
        let path = dir.join(format!("file-{}", round % 97));
        fs::write(&path, bytes).expect("a file");
        assert_eq!(fs::read(&path).expect("the file").len(), bytes.len());
        fs::read_dir(dir).expect("the directory").for_each(drop);
        fs::read("/proc/self/stat").expect("/proc is mounted");
        fs::remove_file(&path).expect("deleted");
        write.write_all(&bytes).expect("the pipe has room");
        read.read_exact(&mut bytes).expect("bytes in the pipe");
        for stream in [&mut tcp as &mut dyn Stream, &mut unix] {
            stream.write_all(&bytes).expect("the other thread reads");
            stream.read_exact(&mut bytes).expect("the other thread answers");
        }
        udp.send_to(&bytes, to).expect("sent");
        udp.recv_from(&mut bytes).expect("a datagram");
        if round % ROUNDS == 0 {
            assert!(itself(&["exit", "0"]).status().expect("another process").success());
            let mut out = std::io::stdout();
            if writeln!(out, "{round}").and_then(|()| out.flush()).is_err() {
                return;
            }
        }
    }
}

trait Stream: Read + Write {}
impl<T: Read + Write> Stream for T {}

/// A thread that sends back what it receives.
fn echo<S: Stream>(open: impl FnOnce() -> S + Send + 'static) {
    thread::spawn(move || {
        let mut stream = open();
        let mut bytes = [0; 64];
        while stream.read_exact(&mut bytes).and_then(|()| stream.write_all(&bytes)).is_ok() {}
    });
}
