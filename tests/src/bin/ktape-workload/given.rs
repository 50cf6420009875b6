//! Calls whose path or address is no longer in memory when they return, or was not when they were entered.

use std::ffi::CString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

use crate::sys;

/// How many bytes the buffers have that are overwritten.
const ROOM: usize = 4096;
/// What is written over paths.
const DECOY: &[u8] = b"/var/decoy\0";

/// A buffer with a path in it.
fn buffer(path: &Path) -> Vec<u8> {
    let mut buffer = path.as_os_str().as_bytes().to_vec();
    buffer.resize(ROOM, 0);
    buffer
}

/// Lets another thread work as soon as this one sleeps in a call; `work` gets the address of a buffer.
fn while_in_call<T>(at: usize, work: impl FnOnce(usize) + Send + 'static, call: impl FnOnce() -> T) -> T {
    // SAFETY: takes no arguments.
    let tid = unsafe { libc::gettid() };
    let other = thread::spawn(move || {
        while !sys::is_blocked(tid) {
            thread::yield_now();
        }
        work(at);
    });
    let result = call();
    other.join().expect("the other thread");
    result
}

fn overwrite(at: usize, bytes: &[u8]) {
    // SAFETY: a buffer of ROOM bytes that lives until the call returns; the kernel alone uses it meanwhile.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
}

/// Makes the calls in this directory, and prints the port that is connected to.
pub fn given(dir: &str) {
    let dir = Path::new(dir);
    let link = dir.join("link");
    std::os::unix::fs::symlink("target-of-the-link", &link).expect("a link");
    // The result is written over the path.
    let mut path = buffer(&link);
    let at = path.as_mut_ptr();
    // SAFETY: a path with its NUL, and a buffer of that size.
    unsafe { libc::readlink(at.cast(), at.cast(), ROOM - 1) };
    let mut path = buffer(&link);
    let at = path.as_mut_ptr();
    // SAFETY: a path with its NUL in a buffer that is larger than the result.
    unsafe { libc::syscall(libc::SYS_lstat, at, at) };
    waiting_open(&dir.join("fifo"));
    waiting_connect();
    cold(&dir.join("cold"));
    println!("done");
    hang(&dir.join("never"));
}

fn fifo(path: &Path) {
    let name = CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    // SAFETY: a path with its NUL.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
}

fn waiting_open(path: &Path) {
    fifo(path);
    let mut name = buffer(path);
    let other_end = path.to_path_buf();
    let at = name.as_mut_ptr() as usize;
    let work = move |at: usize| {
        overwrite(at, DECOY);
        drop(File::options().write(true).open(other_end).expect("the other end"));
    };
    // SAFETY: a path with its NUL.
    let fd = while_in_call(at, work, || unsafe { libc::open(at as *const _, libc::O_RDONLY) });
    assert!(fd >= 0);
    // SAFETY: ours.
    drop(unsafe { File::from_raw_fd(fd) });
}

fn waiting_connect() {
    // SAFETY: no pointers.
    let listener = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0) };
    let any = sys::address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0));
    let len = size_of_val(&any) as u32;
    // SAFETY: an address and its length. One connection fits into the queue.
    unsafe {
        assert_eq!(libc::bind(listener, (&raw const any).cast(), len), 0);
        assert_eq!(libc::listen(listener, 0), 0);
    }
    // SAFETY: ours.
    let listener = unsafe { TcpListener::from_raw_fd(listener) };
    let port = listener.local_addr().expect("an address").port();
    println!("{port}");
    let connect = |address: usize| {
        // SAFETY: no pointers, and an address with its length.
        unsafe {
            let socket = libc::socket(libc::AF_INET, libc::SOCK_STREAM, 0);
            libc::connect(socket, address as *const _, len)
        }
    };
    let mut to = sys::address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
    let at = (&raw mut to) as usize;
    assert_eq!(connect(at), 0);
    static LISTENER: AtomicI32 = AtomicI32::new(-1);
    LISTENER.store(listener.as_raw_fd(), Ordering::Relaxed);
    let work = |at: usize| {
        let other = sys::address(SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 9), 9));
        // SAFETY: the address that the other thread connects to, which the kernel has copied.
        unsafe { (at as *mut libc::sockaddr_in).write(other) };
        // SAFETY: no room for an address is given.
        unsafe { libc::accept(LISTENER.load(Ordering::Relaxed), std::ptr::null_mut(), std::ptr::null_mut()) };
    };
    assert_eq!(while_in_call(at, work, || connect(at)), 0);
}

/// A path in memory that is not resident before the kernel reads it.
fn cold(path: &Path) {
    let mut file = File::create_new(path).expect("a new file");
    let mut bytes = vec![0; ROOM];
    bytes[..10].copy_from_slice(b"/none/cold");
    file.write_all(&bytes).expect("room");
    let file = File::open(path).expect("the file");
    // SAFETY: a new mapping of a file of that size, which is not touched but by the kernel.
    unsafe {
        let at =
            libc::mmap(std::ptr::null_mut(), ROOM, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(at, libc::MAP_FAILED);
        libc::access(at.cast(), libc::R_OK);
    }
}

/// An open that does not return.
fn hang(path: &Path) {
    fifo(path);
    println!("hangs");
    std::io::stdout().flush().expect("a reader");
    thread::spawn(|| {
        let mut byte = [0];
        let _ = std::io::stdin().read(&mut byte);
        std::process::exit(0);
    });
    drop(File::open(path));
}
