//! A small web server, and clients that keep it busy. The server works as nginx does: a thread per CPU waits for its
//! connections with epoll, opens the file for each request, sends it with `sendfile`, and writes a line to a log.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd as _, AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::thread;

use crate::timed;

/// Clients at the same time.
const CLIENTS: u64 = 8;
/// Requests of each client over one connection that is kept open; then follow [`SHORT`] over connections of their own.
const KEPT: u64 = 50;
/// See [`KEPT`].
const SHORT: u64 = 10;

/// Makes `n` requests, with the server in another process.
pub fn client(n: u64, file: &str, log: &str) {
    let size = std::fs::metadata(file).expect("the file exists").len() as usize;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let address = listener.local_addr().expect("it is bound");
    let own = std::env::current_exe().expect("this program has a path");
    let mut serve = Command::new(own);
    serve.args(["serve", file, log]).stdin(Stdio::from(OwnedFd::from(listener)));
    let mut server = serve.spawn().expect("a process");
    // Waits until the server answers.
    request(&mut connect(address), size, true);
    timed(|| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| requests(address, n / CLIENTS, size));
            }
        });
    });
    server.kill().expect("the server still runs");
    server.wait().expect("it is a child");
}

fn requests(address: SocketAddr, n: u64, size: usize) {
    let mut kept = None;
    for i in 0..n {
        let at = i % (KEPT + SHORT);
        if at >= KEPT {
            kept = None;
            request(&mut connect(address), size, true);
        } else {
            request(kept.get_or_insert_with(|| connect(address)), size, false);
        }
    }
}

fn connect(address: SocketAddr) -> BufReader<TcpStream> {
    BufReader::new(TcpStream::connect(address).expect("the server listens"))
}

/// Makes one request and reads the answer. With `last`, the server closes the connection.
fn request(stream: &mut BufReader<TcpStream>, size: usize, last: bool) {
    let connection = if last { "close" } else { "keep-alive" };
    let text = format!("GET /file HTTP/1.1\r\nHost: localhost\r\nConnection: {connection}\r\n\r\n");
    stream.get_mut().write_all(text.as_bytes()).expect("the server reads");
    let mut line = String::new();
    while line != "\r\n" {
        line.clear();
        assert!(stream.read_line(&mut line).expect("an answer") > 0, "the answer is whole");
    }
    let mut body = vec![0; size];
    stream.read_exact(&mut body).expect("the file");
}

/// Serves the file on the socket at stdin, until it is killed.
pub fn serve(file: &str, log: &str) {
    let socket = std::io::stdin().as_fd().try_clone_to_owned().expect("stdin is open");
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true).expect("a socket");
    let log = OpenOptions::new().create(true).append(true).open(log).expect("the log can be written");
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| Worker::new(&listener, file, &log).run());
        }
    });
}

/// A thread of the server, with the connections that it accepted.
struct Worker<'a> {
    listener: &'a TcpListener,
    file: &'a str,
    log: &'a File,
    epoll: OwnedFd,
    streams: HashMap<RawFd, TcpStream>,
}

impl<'a> Worker<'a> {
    fn new(listener: &'a TcpListener, file: &'a str, log: &'a File) -> Self {
        // SAFETY: epoll_create1 has no preconditions.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        assert!(epoll >= 0, "an epoll descriptor");
        // SAFETY: a new descriptor that nothing else owns.
        let epoll = unsafe { OwnedFd::from_raw_fd(epoll) };
        let worker = Self { listener, file, log, epoll, streams: HashMap::new() };
        worker.watch(listener.as_raw_fd(), libc::EPOLLIN | libc::EPOLLEXCLUSIVE);
        worker
    }

    fn watch(&self, fd: RawFd, events: i32) {
        let mut event = libc::epoll_event { events: events.cast_unsigned(), u64: fd.unsigned_abs().into() };
        // SAFETY: `event` is valid for the call.
        let added =
            unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        assert_eq!(added, 0, "the descriptor can be watched");
    }

    fn run(mut self) -> ! {
        const EVENTS: usize = 64;
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS];
        loop {
            // SAFETY: `events` has room for this number of events.
            let ready = unsafe {
                libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS as libc::c_int, -1)
            };
            for event in events.iter().take(ready.max(0).unsigned_abs() as usize) {
                let fd = event.u64 as RawFd;
                if fd == self.listener.as_raw_fd() {
                    self.accept();
                } else if !self.answer(fd) {
                    // Closing the descriptor removes it from the epoll instance.
                    self.streams.remove(&fd);
                }
            }
        }
    }

    fn accept(&mut self) {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true).expect("a socket");
                    stream.set_nodelay(true).expect("a TCP socket");
                    self.watch(stream.as_raw_fd(), libc::EPOLLIN);
                    self.streams.insert(stream.as_raw_fd(), stream);
                }
                // Another thread may have been faster.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => panic!("cannot accept: {error}"),
            }
        }
    }

    /// Answers one request; returns whether the connection stays open.
    fn answer(&mut self, fd: RawFd) -> bool {
        let Some(stream) = self.streams.get_mut(&fd) else { return true };
        let mut buffer = [0; 1024];
        // A request is one segment.
        let read = match stream.read(&mut buffer) {
            Ok(read) if read > 0 => &buffer[..read],
            _ => return false,
        };
        let last = read.windows(5).any(|word| word == b"close");
        let file = File::open(self.file).expect("the file exists");
        let size = file.metadata().expect("it is open").len();
        let header = format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n");
        stream.write_all(header.as_bytes()).expect("the client reads");
        // SAFETY: both descriptors are open; without an offset, nothing is written to memory.
        let sent = unsafe { libc::sendfile(fd, file.as_raw_fd(), std::ptr::null_mut(), size as usize) };
        assert_eq!(sent.cast_unsigned() as u64, size, "the socket has room for the file");
        let mut log = self.log;
        log.write_all(b"127.0.0.1 \"GET /file HTTP/1.1\" 200\n").expect("the log can be written");
        !last
    }
}
