//! Requests of io_uring, without a library.

use std::ffi::CString;
use std::io::stdin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use crate::sys;
use crate::sys::pipe;

/// Entries of a submission queue.
const ENTRIES: u32 = 8;
/// Entries of a completion queue: twice as many.
const COMPLETIONS: usize = 16;
/// Offsets for mmap: of both queues, and of the entries.
const OFF_SQ_RING: i64 = 0;
const OFF_CQ_RING: i64 = 0x800_0000;
const OFF_SQES: i64 = 0x1000_0000;
const SETUP_SQPOLL: u32 = 1 << 1;
const ENTER_GETEVENTS: usize = 1;
const ENTER_SQ_WAKEUP: usize = 1 << 1;
/// In the flags of a submission queue: the thread that polls it sleeps.
const SQ_NEED_WAKEUP: u32 = 1;
const REGISTER_FILES: usize = 2;
const FIXED_FILE: u8 = 1;
const ASYNC: u8 = 1 << 4;
const SKIP_SUCCESS: u8 = 1 << 6;
/// The time for which a read waits.
const WAIT: Duration = Duration::from_millis(50);
const AT_FDCWD: i32 = libc::AT_FDCWD;

/// Operations.
mod op {
    pub const NOP: u8 = 0;
    pub const FSYNC: u8 = 3;
    pub const POLL_ADD: u8 = 6;
    pub const SENDMSG: u8 = 9;
    pub const ACCEPT: u8 = 13;
    pub const CONNECT: u8 = 16;
    pub const OPENAT: u8 = 18;
    pub const CLOSE: u8 = 19;
    pub const STATX: u8 = 21;
    pub const READ: u8 = 22;
    pub const WRITE: u8 = 23;
    pub const SEND: u8 = 26;
    pub const RENAMEAT: u8 = 35;
    pub const UNLINKAT: u8 = 36;
    pub const MKDIRAT: u8 = 37;
}

/// `struct io_uring_sqe`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sqe {
    opcode: u8,
    flags: u8,
    ioprio: u16,
    fd: i32,
    off: u64,
    addr: u64,
    len: u32,
    op_flags: u32,
    user_data: u64,
    buf_index: u16,
    personality: u16,
    file_index: u32,
    addr3: u64,
    pad: u64,
}

/// `struct io_uring_cqe`.
#[repr(C)]
#[derive(Clone, Copy)]
struct Cqe {
    user_data: u64,
    res: i32,
    flags: u32,
}

/// `struct io_uring_params`, with the offsets of both queues.
#[repr(C)]
#[derive(Default)]
struct Params {
    sq_entries: u32,
    cq_entries: u32,
    flags: u32,
    sq_thread_cpu: u32,
    sq_thread_idle: u32,
    features: u32,
    wq_fd: u32,
    reserved: [u32; 3],
    /// head, tail, mask, entries, flags, dropped, array, reserved
    sq: [u32; 10],
    /// head, tail, mask, entries, overflow, cqes, flags, reserved
    cq: [u32; 10],
}

struct Ring {
    fd: i64,
    params: Params,
    sq: *mut u8,
    cq: *mut u8,
    sqes: *mut Sqe,
}

fn map(fd: i64, len: usize, offset: i64) -> *mut u8 {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let at = sys!(SYS_mmap, 0, len, protection, libc::MAP_SHARED, fd, offset);
    at.expect("the queues are mapped") as *mut u8
}

impl Ring {
    fn new(flags: u32) -> Result<Self, i32> {
        let mut params = Params { flags, sq_thread_idle: 50, ..Params::default() };
        let fd = sys!(SYS_io_uring_setup, ENTRIES, &raw mut params)?;
        let sq = map(fd, params.sq[6] as usize + ENTRIES as usize * 4, OFF_SQ_RING);
        let cq = map(fd, params.cq[5] as usize + COMPLETIONS * size_of::<Cqe>(), OFF_CQ_RING);
        let sqes = map(fd, ENTRIES as usize * size_of::<Sqe>(), OFF_SQES).cast();
        Ok(Self { fd, params, sq, cq, sqes })
    }

    /// A number of a queue that the kernel uses, too.
    fn shared(queue: *mut u8, offset: u32) -> &'static AtomicU32 {
        // SAFETY: the queues are mapped until the program ends, and have aligned numbers at these offsets.
        unsafe { &*queue.add(offset as usize).cast::<AtomicU32>() }
    }

    fn submit(&self, sqe: Sqe) {
        let tail = Self::shared(self.sq, self.params.sq[1]);
        let place = tail.load(Ordering::Relaxed) & (ENTRIES - 1);
        // SAFETY: below the number of entries, of which the kernel has taken all that were submitted.
        unsafe { self.sqes.add(place as usize).write_volatile(sqe) };
        Self::shared(self.sq, self.params.sq[6] + 4 * place).store(place, Ordering::Relaxed);
        tail.fetch_add(1, Ordering::Release);
        if self.params.flags & SETUP_SQPOLL == 0 {
            assert_eq!(sys!(SYS_io_uring_enter, self.fd, 1, 0, 0, 0, 0), Ok(1));
            return;
        }
        std::sync::atomic::fence(Ordering::SeqCst);
        if Self::shared(self.sq, self.params.sq[4]).load(Ordering::Relaxed) & SQ_NEED_WAKEUP != 0 {
            sys!(SYS_io_uring_enter, self.fd, 1, 0, ENTER_SQ_WAKEUP, 0, 0).expect("the thread wakes up");
        }
    }

    /// Waits for a completion and prints it.
    fn complete(&self) -> Cqe {
        let (head, tail) =
            (Self::shared(self.cq, self.params.cq[0]), Self::shared(self.cq, self.params.cq[1]));
        while head.load(Ordering::Relaxed) == tail.load(Ordering::Acquire) {
            sys!(SYS_io_uring_enter, self.fd, 0, 1, ENTER_GETEVENTS, 0, 0).expect("a completion");
        }
        let place = head.load(Ordering::Relaxed) as usize & (COMPLETIONS - 1);
        // SAFETY: the kernel has written this entry.
        let cqe = unsafe { self.cq.add(self.params.cq[5] as usize).cast::<Cqe>().add(place).read_volatile() };
        head.fetch_add(1, Ordering::Release);
        println!("cqe {} {} {}", cqe.user_data, cqe.res, cqe.flags);
        cqe
    }

    fn run(&self, sqe: Sqe) -> i32 {
        self.submit(sqe);
        self.complete().res
    }
}

/// A path for a request, which is never freed.
fn path(text: &str) -> u64 {
    CString::new(text).expect("no NUL").into_raw() as u64
}

/// Makes requests in the directory, prints their completions, and keeps one in flight until stdin is closed.
pub fn requests(dir: &str) {
    std::env::set_current_dir(dir).expect("the directory exists");
    let Ok(ring) = Ring::new(0) else {
        println!("none");
        return;
    };
    files(&ring);
    sockets(&ring);
    waits(&ring);
    polled();
    let (silent, _) = pipe();
    let unfinished =
        Sqe { opcode: op::POLL_ADD, fd: silent as i32, op_flags: 1, user_data: 90, ..Sqe::default() };
    ring.submit(unfinished);
    println!("ready");
    let _ = stdin().read_line(&mut String::new());
}

fn files(ring: &Ring) {
    let at = |opcode, user_data| Sqe { opcode, fd: AT_FDCWD, user_data, ..Sqe::default() };
    let created = libc::O_CREAT | libc::O_RDWR;
    let open = Sqe { addr: path("a"), len: 0o640, op_flags: created as u32, ..at(op::OPENAT, 1) };
    let fd = ring.run(open);
    let mut buffer = *b"hello";
    let on = |opcode, user_data| Sqe { opcode, fd, user_data, ..Sqe::default() };
    let mut data = |sqe: Sqe| Sqe { addr: buffer.as_mut_ptr() as u64, len: 5, ..sqe };
    ring.run(data(on(op::WRITE, 2)));
    ring.run(data(on(op::READ, 3)));
    ring.run(on(op::FSYNC, 4));
    let mut attributes = [0u64; 32];
    let stat = Sqe { addr: path("a"), len: 0x7ff, off: attributes.as_mut_ptr() as u64, ..at(op::STATX, 5) };
    ring.run(stat);
    let rename =
        Sqe { addr: path("a"), off: path("b"), len: AT_FDCWD.cast_unsigned(), ..at(op::RENAMEAT, 6) };
    ring.run(rename);
    ring.run(Sqe { addr: path("d"), len: 0o755, ..at(op::MKDIRAT, 7) });
    let register = sys!(SYS_io_uring_register, ring.fd, REGISTER_FILES, &raw const fd, 1);
    register.expect("the file is registered");
    ring.run(data(Sqe { flags: FIXED_FILE, fd: 0, ..on(op::READ, 8) }));
    ring.run(data(Sqe { flags: ASYNC, ..on(op::READ, 9) }));
    ring.run(Sqe { addr: path("missing"), ..at(op::OPENAT, 10) });
    // Something is wrong with these flags.
    ring.run(Sqe { addr: path("b"), op_flags: 0xff, ..at(op::UNLINKAT, 11) });
    ring.run(Sqe { addr: path("b"), ..at(op::UNLINKAT, 12) });
    ring.run(on(op::CLOSE, 13));
}

fn sockets(ring: &Ring) {
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as u16,
        sin_port: 0,
        sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes([127, 0, 0, 78]) },
        sin_zero: [0; 8],
    };
    let socket = || sys!(SYS_socket, libc::AF_INET, libc::SOCK_STREAM, 0).expect("a socket") as i32;
    let listener = socket();
    let mut len = size_of::<libc::sockaddr_in>() as u32;
    let mut bound = address;
    sys!(SYS_bind, listener, &raw const address, len).expect("an address");
    sys!(SYS_listen, listener, 1).expect("a listener");
    sys!(SYS_getsockname, listener, &raw mut bound, &raw mut len).expect("its address");
    println!("port {}", u16::from_be(bound.sin_port));
    ring.submit(Sqe { opcode: op::ACCEPT, fd: listener, user_data: 20, ..Sqe::default() });
    let to = Sqe { opcode: op::CONNECT, addr: &raw const bound as u64, off: len.into(), ..Sqe::default() };
    ring.submit(Sqe { fd: socket(), user_data: 21, ..to });
    ring.complete();
    ring.complete();
    let datagrams = sys!(SYS_socket, libc::AF_INET, libc::SOCK_DGRAM, 0).expect("a socket") as i32;
    let target = libc::sockaddr_in { sin_port: 9u16.to_be(), ..address };
    let mut part = libc::iovec { iov_base: (&raw const target).cast_mut().cast(), iov_len: 4 };
    // SAFETY: zeroes are a message without anything.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_name, message.msg_namelen) = ((&raw const target).cast_mut().cast(), len);
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    let send = Sqe { fd: datagrams, addr: &raw const message as u64, len: 1, ..Sqe::default() };
    ring.run(Sqe { opcode: op::SENDMSG, user_data: 22, ..send });
    // Kernels before 6.0 ignore the address, or refuse it.
    let send = Sqe { addr: part.iov_base as u64, len: 4, off: &raw const target as u64, ..send };
    ring.run(Sqe { opcode: op::SEND, user_data: 23, file_index: len, ..send });
}

fn waits(ring: &Ring) {
    let (read_end, write_end) = pipe();
    let fd = read_end as i32;
    let mut byte = 0u8;
    let read = Sqe { opcode: op::READ, fd, addr: &raw mut byte as u64, len: 1, ..Sqe::default() };
    ring.submit(Sqe { user_data: 30, off: u64::MAX, ..read });
    sleep(WAIT);
    sys!(SYS_write, write_end, b"x".as_ptr(), 1).expect("a byte is written");
    ring.complete();
    // A poll that completes each time.
    let poll = Sqe { opcode: op::POLL_ADD, fd, len: 1, op_flags: libc::POLLIN as u32, ..Sqe::default() };
    ring.submit(Sqe { user_data: 31, ..poll });
    for _ in 0..2 {
        sys!(SYS_write, write_end, b"x".as_ptr(), 1).expect("a byte is written");
        if ring.complete().res < 0 {
            break;
        }
    }
    // No completion; its memory is used again by what follows.
    ring.submit(Sqe { opcode: op::NOP, flags: SKIP_SUCCESS, user_data: 32, ..Sqe::default() });
    let skips = ring.params.features & 1 << 11 != 0;
    println!("skips {skips}");
    if !skips {
        ring.complete();
    }
    for _ in 0..ENTRIES * 8 {
        ring.run(Sqe { opcode: op::NOP, user_data: 33, ..Sqe::default() });
    }
}

/// A ring whose submission queue a thread polls.
fn polled() {
    let Ok(ring) = Ring::new(SETUP_SQPOLL) else {
        println!("no polling");
        return;
    };
    let open = Sqe { opcode: op::OPENAT, fd: AT_FDCWD, addr: path("/etc/hostname"), ..Sqe::default() };
    ring.run(Sqe { user_data: 40, ..open });
}
