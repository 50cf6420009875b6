//! Calls that have room for a socket address, and get a whole one, a part of one, or none.

use std::ffi::CString;
use std::io::{self, Write};
use std::mem::zeroed;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;

use crate::calls::{int80, low_page};
use crate::sys;

/// What is in the buffers before each call: an address that nothing has.
const STALE: u8 = 6;

/// Where the buffers are: below 4 GiB, so that 32-bit calls reach them.
struct Room {
    page: *mut u8,
}

impl Room {
    /// Room for `size` bytes of an address, with a stale one of IPv4 in it.
    fn fill(&self, size: u32) {
        // SAFETY: the page is ours, and used as laid out by the methods below.
        unsafe {
            ptr::write_bytes(self.address(), STALE, 256);
            self.address().cast::<u16>().write(libc::AF_INET as u16);
            self.length().write(size);
        }
    }

    fn address(&self) -> *mut u8 {
        self.page
    }

    fn length(&self) -> *mut u32 {
        self.page.wrapping_add(512).cast()
    }

    fn data(&self) -> *mut u8 {
        self.page.wrapping_add(1024)
    }

    /// A message header for `recvmmsg` and `recvmsg`.
    fn message(&self, room: u32) -> *mut libc::mmsghdr {
        let part = self.page.wrapping_add(2048).cast::<libc::iovec>();
        let message = self.page.wrapping_add(2560).cast::<libc::mmsghdr>();
        // SAFETY: the page is ours; all-zero is a valid header.
        unsafe {
            part.write(libc::iovec { iov_base: self.data().cast(), iov_len: 64 });
            let mut header: libc::mmsghdr = zeroed();
            header.msg_hdr.msg_name = self.address().cast();
            header.msg_hdr.msg_namelen = room;
            header.msg_hdr.msg_iov = part;
            header.msg_hdr.msg_iovlen = 1;
            message.write(header);
        }
        message
    }

    /// The same for 32-bit callers.
    fn message32(&self, room: u32) -> u32 {
        let part = self.page.wrapping_add(2048).cast::<[u32; 2]>();
        let message = self.page.wrapping_add(2560).cast::<[u32; 8]>();
        // SAFETY: the page is ours.
        unsafe {
            part.write([low(self.data()), 64]);
            message.write([low(self.address()), room, low(part.cast()), 1, 0, 0, 0, 0]);
        }
        low(message.cast())
    }
}

fn low(pointer: *mut u8) -> u32 {
    u32::try_from(pointer.addr()).expect("an address below 4 GiB")
}

/// Marks the next call in the recording, and prints what address it gets: `NAME ADDRESS`.
fn step(name: &str, address: &str) {
    let path = CString::new(format!("/none/{name}")).expect("no NUL inside");
    let _ = sys!(SYS_faccessat, libc::AT_FDCWD, path.as_ptr(), 0);
    println!("{name} {address}");
}

/// Prints `NAME ADDRESS` for each call: the address that the kernel gives, `part` where it gives less than that, and `none`.
pub fn addresses() {
    let room = Room { page: low_page() };
    let local = |ip| UdpSocket::bind(SocketAddrV4::new(ip, 0)).expect("a port");
    let receiver = local(Ipv4Addr::LOCALHOST);
    let sender = local(Ipv4Addr::new(127, 0, 0, 2));
    receiver.set_nonblocking(true).expect("a socket");
    let (fd, sending_fd) = (receiver.as_raw_fd(), sender.as_raw_fd());
    let whole = sender.local_addr().expect("bound").to_string();
    let to = receiver.local_addr().expect("bound");
    let send = || sender.send_to(b"x", to).expect("a datagram");

    let recvfrom = |name: &str, size, address: &str| {
        room.fill(size);
        step(name, address);
        sys!(SYS_recvfrom, fd, room.data(), 64, 0, room.address(), room.length())
    };
    send();
    assert_eq!(recvfrom("recvfrom-whole", 16, &whole), Ok(1));
    sys::fails("nothing is there", recvfrom("recvfrom-EAGAIN", 16, "none"), libc::EAGAIN);
    send();
    assert_eq!(recvfrom("recvfrom-4-bytes", 4, "part"), Ok(1));
    send();
    assert_eq!(recvfrom("recvfrom-no-room", 0, "none"), Ok(1));
    send();
    assert_eq!(recvfrom("recvfrom-more-room", 200, &whole), Ok(1));

    let recvmsg = |name: &str, size, address: &str| {
        room.fill(size);
        let message = room.message(size);
        step(name, address);
        sys!(SYS_recvmsg, fd, message, 0)
    };
    sys::fails("nothing is there", recvmsg("recvmsg-EAGAIN", 16, "none"), libc::EAGAIN);
    send();
    assert_eq!(recvmsg("recvmsg-4-bytes", 4, "part"), Ok(1));
    send();
    assert_eq!(recvmsg("recvmsg-whole", 16, &whole), Ok(1));

    let recvmmsg = |name: &str, size, messages: usize, address: &str| {
        room.fill(size);
        let message = room.message(size);
        step(name, address);
        sys!(SYS_recvmmsg, fd, message, messages, 0, 0)
    };
    sys::fails("nothing is there", recvmmsg("recvmmsg-EAGAIN", 16, 1, "none"), libc::EAGAIN);
    assert_eq!(recvmmsg("recvmmsg-of-none", 16, 0, "none"), Ok(0));
    send();
    assert_eq!(recvmmsg("recvmmsg-4-bytes", 4, 1, "part"), Ok(1));

    let named = |name: &str, number: libc::c_long, fd, size, address: &str| {
        room.fill(size);
        step(name, address);
        sys::call(number, [fd, room.address() as usize, room.length() as usize, 0, 0, 0])
    };
    let sending = sending_fd as usize;
    // All that the text of an address needs is there.
    assert_eq!(named("getsockname-8-bytes", libc::SYS_getsockname, sending, 8, &whole), Ok(0));
    assert_eq!(named("getsockname-no-room", libc::SYS_getsockname, sending, 0, "none"), Ok(0));
    let closed = named("getsockname-EBADF", libc::SYS_getsockname, 999, 16, "none");
    sys::fails("no descriptor", closed, libc::EBADF);
    let alone = named("getpeername-ENOTCONN", libc::SYS_getpeername, sending, 16, "none");
    sys::fails("no peer", alone, libc::ENOTCONN);
    let (one, _other) = UnixStream::pair().expect("sockets");
    let unnamed = "unix (unnamed)";
    let pair = one.as_raw_fd() as usize;
    assert_eq!(named("getpeername-unnamed", libc::SYS_getpeername, pair, 110, unnamed), Ok(0));
    let refused = named("accept4-EINVAL", libc::SYS_accept4, pair, 16, "none");
    sys::fails("it does not listen", refused, libc::EINVAL);
    let refused = named("accept-EINVAL", libc::SYS_accept, pair, 16, "none");
    sys::fails("it does not listen", refused, libc::EINVAL);

    // The numbers of the 32-bit table: recvfrom, recvmsg, recvmmsg, getsockname.
    let (fd, sending_fd) = (fd.cast_unsigned(), sending_fd.cast_unsigned());
    let recvfrom = |name: &str, size, address: &str| {
        room.fill(size);
        step(name, address);
        int80(371, [fd, low(room.data()), 64, 0, low(room.address()), low(room.length().cast())])
    };
    assert_eq!(recvfrom("i386-recvfrom-EAGAIN", 16, "none"), -libc::EAGAIN);
    send();
    assert_eq!(recvfrom("i386-recvfrom-4-bytes", 4, "part"), 1);
    send();
    assert_eq!(recvfrom("i386-recvfrom-whole", 16, &whole), 1);
    let message = |name: &str, number, size, address: &str| {
        room.fill(size);
        let message = room.message32(size);
        step(name, address);
        int80(number, [fd, message, u32::from(number == 337), 0, 0, 0])
    };
    assert_eq!(message("i386-recvmsg-EAGAIN", 372, 16, "none"), -libc::EAGAIN);
    send();
    assert_eq!(message("i386-recvmsg-4-bytes", 372, 4, "part"), 1);
    send();
    assert_eq!(message("i386-recvmmsg-whole", 337, 16, &whole), 1);
    room.fill(16);
    step("i386-getsockname-EBADF", "none");
    assert_eq!(int80(367, [999, low(room.address()), low(room.length().cast()), 0, 0, 0]), -libc::EBADF);
    room.fill(16);
    step("i386-getsockname-whole", &whole);
    assert_eq!(int80(367, [sending_fd, low(room.address()), low(room.length().cast()), 0, 0, 0]), 0);
}

/// Prints its port, then waits for a datagram with room for a part of the sender's address.
pub fn receive() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    println!("{}\nready", socket.local_addr().expect("bound").port());
    io::stdout().flush().expect("stdout is there");
    let mut address = [STALE; 128];
    address[..2].copy_from_slice(&(libc::AF_INET as u16).to_ne_bytes());
    let (mut data, mut length) = ([0u8; 16], 4u32);
    let got = sys!(
        SYS_recvfrom,
        socket.as_raw_fd(),
        data.as_mut_ptr(),
        16,
        0,
        address.as_mut_ptr(),
        &raw mut length
    );
    assert_eq!((got, length), (Ok(1), 16));
}
