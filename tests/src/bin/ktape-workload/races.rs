//! Calls beside which something else changes what they are about.

use std::cell::Cell;
use std::ffi::CString;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::{hint, thread};

use crate::sys;

/// Calls that have to be made while the other thread runs.
const RACES: u64 = 5000;

/// Makes calls while another thread writes two values to a byte in turn, as fast as it can, and prints how many.
fn while_it_flips(at: &AtomicU8, values: [u8; 2], call: impl Fn()) {
    let (flips, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for value in values {
                    at.store(value, Ordering::Relaxed);
                    flips.fetch_add(1, Ordering::Relaxed);
                    // Some 50 ns.
                    (0..30).for_each(|_| hint::black_box(()));
                }
            }
        });
        let (mut calls, mut races) = (0, 0);
        while races < RACES {
            let before = flips.load(Ordering::Relaxed);
            call();
            calls += 1;
            races += u64::from(flips.load(Ordering::Relaxed) != before);
        }
        stop.store(true, Ordering::Relaxed);
        println!("{calls}");
    });
}

/// `access`, `stat`, `link` and `execve` of DIR/a, which exists, or DIR/b, which does not: they fail in different ways. Then `connect`
/// to one of two addresses, after which `getpeername` has the right one.
pub fn flip(dir: &str) {
    let dir = Path::new(dir);
    std::fs::write(dir.join("a"), "").expect("a file");
    let mut path = CString::new(dir.join("a").as_os_str().as_bytes()).expect("no NUL").into_bytes_with_nul();
    let last = path.len() - 2;
    let path = path.as_mut_ptr();
    // SAFETY: a byte of the path, which lives until the end, and which nothing else in this process uses.
    let letter = unsafe { AtomicU8::from_ptr(path.add(last)) };
    while_it_flips(letter, *b"ab", || {
        let _ = sys!(SYS_access, path, libc::R_OK);
    });
    // SAFETY: all-zero is a valid stat.
    let mut state: libc::stat = unsafe { std::mem::zeroed() };
    let state = &raw mut state;
    while_it_flips(letter, *b"ab", || {
        let _ = sys!(SYS_stat, path, state);
    });
    let existing = CString::new(dir.as_os_str().as_bytes()).expect("no NUL");
    while_it_flips(letter, *b"ab", || {
        let _ = sys!(SYS_link, path, existing.as_ptr());
    });
    // DIR/a cannot be executed.
    let args = [path.cast_const(), std::ptr::null()];
    while_it_flips(letter, *b"ab", || {
        let _ = sys!(SYS_execve, path, args.as_ptr(), args[1..].as_ptr());
    });
    let mut to = sys::address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0x0102));
    let peer = Cell::new(sys::address(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)));
    let len = size_of_val(&to) as u32;
    let socket = sys!(SYS_socket, libc::AF_INET, libc::SOCK_DGRAM, 0).expect("a socket");
    let to = &raw mut to;
    // SAFETY: the second byte of the port, as above.
    let port = unsafe { AtomicU8::from_ptr((&raw mut (*to).sin_port).cast::<u8>().add(1)) };
    while_it_flips(port, [2, 3], || {
        sys!(SYS_connect, socket, to, len).expect("no packet is sent");
        let mut room = len;
        sys!(SYS_getpeername, socket, peer.as_ptr(), &raw mut room).expect("a peer");
    });
}

/// Calls `getppid` on CPU 0 in a loop until the end of stdin. For each byte there, it prints a line after a thousand calls
/// more.
pub fn spin() {
    let calls = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(1) = std::io::stdin().read(&mut [0]) {
                let enough = calls.load(Ordering::Relaxed) + 1000;
                while calls.load(Ordering::Relaxed) < enough {
                    thread::yield_now();
                }
                println!("spins");
            }
            stop.store(true, Ordering::Relaxed);
        });
        sys::pin(0);
        while !stop.load(Ordering::Relaxed) {
            sys!(SYS_getppid).expect("it cannot fail");
            calls.fetch_add(1, Ordering::Relaxed);
        }
    });
}
