//! Why connections end.

use std::io::{Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::process::Command;

use ktape_tests::guard::Guard;
use ktape_tests::ktape::{self, Capture, int, text};
use ktape_tests::wait::{TIMEOUT, until};

use super::{closed, in_new_namespace, sockets};

/// How a connection is expected to end.
struct End {
    /// What was done.
    what: &'static str,
    /// The client's port.
    port: u16,
    /// Whose end.
    role: &'static str,
    reason: &'static str,
    error: Option<&'static str>,
}

fn end(
    what: &'static str,
    port: u16,
    role: &'static str,
    reason: &'static str,
    error: Option<&'static str>,
) -> End {
    End { what, port, role, reason, error }
}

struct Pair {
    listener: TcpListener,
    client: TcpStream,
    server: TcpStream,
    /// The client's.
    port: u16,
}

fn pair(ip: IpAddr) -> Pair {
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (server, _) = listener.accept().unwrap();
    for stream in [&client, &server] {
        stream.set_read_timeout(Some(TIMEOUT)).unwrap();
    }
    let port = client.local_addr().unwrap().port();
    Pair { listener, client, server, port }
}

fn set<T>(socket: &impl AsRawFd, level: i32, option: i32, value: &T) {
    // SAFETY: an open socket, and a value of the size given.
    let set = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            std::ptr::from_ref(value).cast(),
            size_of::<T>() as u32,
        )
    };
    assert_eq!(set, 0);
}

/// Closing it resets the connection.
fn do_not_linger(socket: &impl AsRawFd) {
    set(socket, libc::SOL_SOCKET, libc::SO_LINGER, &libc::linger { l_onoff: 1, l_linger: 0 });
}

/// Waits until this many bytes can be read.
fn until_readable(stream: &TcpStream, bytes: i32) {
    until("data", TIMEOUT, || {
        let mut there = 0i32;
        // SAFETY: an open socket, and room for an int.
        assert_eq!(unsafe { libc::ioctl(stream.as_raw_fd(), libc::FIONREAD, &raw mut there) }, 0);
        (there >= bytes).then_some(())
    });
}

/// Connections that were established, each ended in another way.
fn established(ip: IpAddr, ends: &mut Vec<End>) {
    let Pair { client, mut server, port, .. } = pair(ip);
    drop(client);
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    drop(server);
    ends.push(end("the client closes first", port, "client", "closed", None));
    ends.push(end("the client closes first", port, "server", "closed", None));

    let Pair { mut client, mut server, port, .. } = pair(ip);
    server.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.read(&mut [0; 1]).unwrap(), 0);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    ends.push(end("both shut down before they close", port, "client", "closed", None));
    ends.push(end("both shut down before they close", port, "server", "closed", None));

    let Pair { client, mut server, port, .. } = pair(ip);
    server.write_all(b"unread").unwrap();
    until_readable(&client, 6);
    drop(client);
    assert!(server.read(&mut [0; 1]).is_err());
    ends.push(end("closed with unread data", port, "client", "aborted", None));
    ends.push(end("closed with unread data", port, "server", "reset", Some("ECONNRESET")));

    let Pair { client, mut server, port, .. } = pair(ip);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    server.write_all(b"unread").unwrap();
    until_readable(&client, 6);
    drop(client);
    until("the reset", TIMEOUT, || server.take_error().unwrap());
    ends.push(end("shut down, then closed with unread data", port, "client", "aborted", None));
    ends.push(end("shut down, then closed with unread data", port, "server", "reset", Some("EPIPE")));

    let Pair { mut client, server, port, .. } = pair(ip);
    do_not_linger(&server);
    drop(server);
    assert!(client.read(&mut [0; 1]).is_err());
    ends.push(end("closed without lingering", port, "server", "aborted", None));
    ends.push(end("closed without lingering", port, "client", "reset", Some("ECONNRESET")));

    let Pair { client, mut server, port, .. } = pair(ip);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.read(&mut [0; 1]).unwrap(), 0);
    do_not_linger(&server);
    drop(server);
    until("the reset", TIMEOUT, || client.take_error().unwrap());
    ends.push(end("reset after it was shut down", port, "server", "aborted", None));
    ends.push(end("reset after it was shut down", port, "client", "reset", Some("ECONNRESET")));

    let Pair { listener, client, server, port } = pair(ip);
    let destroyed = Command::new("ss").args(["-HKtn", &format!("sport = {port}")]).output().unwrap();
    assert!(destroyed.status.success(), "{destroyed:?}");
    // The kernel may be built without it; then the client closes first.
    let is_destroyed = client.take_error().unwrap().is_some();
    drop((client, server, listener));
    if is_destroyed {
        ends.push(end("destroyed by ss -K", port, "client", "aborted", Some("ECONNABORTED")));
        ends.push(end("destroyed by ss -K", port, "server", "reset", Some("ECONNRESET")));
    }

    // Never accepted.
    let listener = TcpListener::bind((ip, 0)).unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let port = client.local_addr().unwrap().port();
    drop(listener);
    assert!(client.read(&mut [0; 1]).is_err());
    ends.push(end("the listener closes before it accepts", port, "server", "aborted", None));
    ends.push(end("the listener closes before it accepts", port, "client", "reset", Some("ECONNRESET")));
}

/// A socket that is bound, and its port.
fn bound(ip: IpAddr, flags: i32) -> (OwnedFd, u16) {
    let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: integers only.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | flags, 0) };
    assert!(fd >= 0);
    // SAFETY: a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(fd) };
    let (address, len) = sockaddr(SocketAddr::new(ip, 0));
    // SAFETY: an open socket, and an address of the length given.
    assert_eq!(unsafe { libc::bind(fd, (&raw const address).cast(), len) }, 0);
    let stream = TcpStream::from(socket);
    let port = stream.local_addr().unwrap().port();
    (stream.into(), port)
}

fn sockaddr(address: SocketAddr) -> (libc::sockaddr_storage, u32) {
    // SAFETY: a struct of integers, for which zeroes are valid.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage has room for every kind of address.
            let to = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in>() };
            to.sin_family = libc::AF_INET as u16;
            to.sin_port = v4.port().to_be();
            to.sin_addr.s_addr = u32::from_ne_bytes(v4.ip().octets());
            (storage, size_of::<libc::sockaddr_in>() as u32)
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let to = unsafe { &mut *(&raw mut storage).cast::<libc::sockaddr_in6>() };
            to.sin6_family = libc::AF_INET6 as u16;
            to.sin6_port = v6.port().to_be();
            to.sin6_addr.s6_addr = v6.ip().octets();
            (storage, size_of::<libc::sockaddr_in6>() as u32)
        }
    }
}

/// The error of connect.
fn connect(socket: &OwnedFd, address: SocketAddr) -> Option<i32> {
    let (address, len) = sockaddr(address);
    // SAFETY: an open socket, and an address of the length given.
    let result = unsafe { libc::connect(socket.as_raw_fd(), (&raw const address).cast(), len) };
    if result == 0 { None } else { std::io::Error::last_os_error().raw_os_error() }
}

/// Connections that were not established.
fn not_established(ip: IpAddr, ends: &mut Vec<End>) {
    let free = TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap();
    let (socket, port) = bound(ip, 0);
    assert_eq!(connect(&socket, free), Some(libc::ECONNREFUSED));
    ends.push(end("nothing listens", port, "client", "refused", Some("ECONNREFUSED")));

    // A listener that takes no more.
    let listener = TcpListener::bind((ip, 0)).unwrap();
    // SAFETY: integers only.
    assert_eq!(unsafe { libc::listen(listener.as_raw_fd(), 0) }, 0);
    let full = listener.local_addr().unwrap();
    let _first = TcpStream::connect(full).unwrap();

    let (socket, port) = bound(ip, libc::SOCK_NONBLOCK);
    assert_eq!(connect(&socket, full), Some(libc::EINPROGRESS));
    drop(socket);
    ends.push(end("closed while it connects", port, "client", "given_up", None));

    let (socket, port) = bound(ip, 0);
    set(&socket, libc::IPPROTO_TCP, libc::TCP_SYNCNT, &1i32);
    set(&socket, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, &300u32);
    assert_eq!(connect(&socket, full), Some(libc::ETIMEDOUT));
    ends.push(end("no answer", port, "client", "timed_out", Some("ETIMEDOUT")));
}

fn check(file: &Path, wanted: &End) {
    let at = if wanted.role == "client" { "local" } else { "remote" };
    // Of two sockets for one connection, the kernel drops one at once.
    let expression = format!(
        "net.{at}.port={} and net.role={} and net.new=CLOSE and net.old!=SYN_RECV",
        wanted.port, wanted.role
    );
    let found = ktape::replay_json(file, &["-e", "net", &expression]);
    assert_eq!(found.len(), 1, "{} ({}): {found:#?}", wanted.what, wanted.role);
    let is = (text(&found[0], "net.reason"), text(&found[0], "net.error"));
    assert_eq!(is, (Some(wanted.reason), wanted.error), "{}: {}", wanted.what, found[0]);
    assert_eq!(int(&found[0], "proc.pid"), Some(i64::from(std::process::id())), "{}", found[0]);
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn ends_have_a_reason_and_an_error() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "net"]);
    let mut ends = Vec::new();
    for ip in ["127.0.0.1", "::1"] {
        established(ip.parse().unwrap(), &mut ends);
        not_established(ip.parse().unwrap(), &mut ends);
    }
    for end in &ends {
        closed(end.port);
    }
    capture.stop();
    for end in &ends {
        check(&file, end);
    }
    // Only ends have a reason, and a listener has none.
    assert_eq!(ktape::count(&file, "net.reason exists and net.new!=CLOSE"), 0);
    assert_eq!(ktape::count(&file, "net.reason exists and net.role=listener"), 0);
    assert_eq!(ktape::count(&file, "net.error exists and net.reason=closed"), 0);
    let port = ends.iter().find(|end| end.reason == "refused").unwrap().port;
    let lines = ktape::stdout(&[
        "replay",
        file.to_str().unwrap(),
        &format!("net.local.port={port} and net.new=CLOSE"),
    ]);
    assert!(lines.contains(&format!(" net 127.0.0.1:{port} -> 127.0.0.1:")), "{lines}");
    assert!(lines.contains(" SYN_SENT -> CLOSE, refused "), "{lines}");
}

#[test]
#[ignore = "needs root and a kernel with BTF"]
fn hosts_that_do_not_answer_are_unreachable() {
    let _guard = Guard::exclusive();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.ktape");
    let capture = Capture::start(&file, &["-e", "net"]);
    let printed = in_new_namespace(&["tcp-unreachable"]);
    capture.stop();
    let expression = format!("net.netns={} and net.new=CLOSE", printed[0]);
    let ends = ktape::replay_json(&file, &["-e", "net", &expression]);
    assert_eq!(ends.len(), 2, "{ends:#?}");
    for end in &ends {
        assert_eq!(text(end, "net.reason"), Some("unreachable"), "{end}");
        assert_eq!(text(end, "net.error"), Some("EHOSTUNREACH"), "{end}");
    }
    assert_eq!(sockets(&file, 9).len(), 2);
}
