//! Calls with socket addresses.

use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use crate::sys;

/// Makes one call per kind of address. Prints `NAME PORT` of the servers tcp, tcp6 and udp.
pub fn sockets(dir: &str) {
    let dir = Path::new(dir);
    let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
    connect("tcp", &tcp);
    match TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) {
        Ok(tcp6) => connect("tcp6", &tcp6),
        Err(error) => println!("tcp6 {error}"),
    }

    let unix = dir.join("unix socket");
    let listener = UnixListener::bind(&unix).expect("a socket");
    let client = UnixStream::connect(&unix).expect("a server");
    listener.accept().expect("a client");
    drop(client);
    assert!(UnixStream::connect(dir.join("no socket")).is_err());
    abstract_address();

    let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = udp.local_addr().expect("bound");
    println!("udp {}", to.port());
    let sender = UdpSocket::bind("127.0.0.1:0").expect("a port");
    sender.send_to(b"sendto", to).expect("a datagram");
    sendmsg(&sender, to);
    let mut bytes = [0u8; 16];
    assert_eq!(udp.recv_from(&mut bytes).expect("a datagram").0, 6);
    assert_eq!(udp.recv_from(&mut bytes).expect("a datagram").0, 7);
    UnixDatagram::unbound()
        .expect("a socket")
        .send_to(b"x", dir.join("no socket"))
        .expect_err("no such socket");
}

fn connect(name: &str, listener: &TcpListener) {
    let address = listener.local_addr().expect("bound");
    println!("{name} {}", address.port());
    let _client = TcpStream::connect(address).expect("a server");
    listener.accept().expect("a client");
}

fn abstract_address() {
    let socket = UnixDatagram::unbound().expect("a socket");
    let mut address = [0u8; 18];
    address[0] = libc::AF_UNIX as u8;
    address[3..].copy_from_slice(b"abstract ktape.");
    let result = sys!(SYS_connect, socket.as_raw_fd(), address.as_ptr(), address.len());
    assert_eq!(result, Err(libc::ECONNREFUSED));
}

fn sendmsg(socket: &UdpSocket, to: SocketAddr) {
    let mut address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: to.port().to_be(),
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 1]) },
        sin_zero: [0; 8],
    };
    let mut data = *b"sendmsg";
    let mut part = libc::iovec { iov_base: data.as_mut_ptr().cast(), iov_len: data.len() };
    // SAFETY: an all-zero msghdr is valid; what it points to lives until the call returns.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_name = (&raw mut address).cast();
    message.msg_namelen = size_of_val(&address) as u32;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    assert_eq!(sys!(SYS_sendmsg, socket.as_raw_fd(), &raw const message, 0), Ok(7));
}
