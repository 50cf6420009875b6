//! Threads that put files behind the same descriptors, while others read from these.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use super::c;
use crate::sys;

/// Files, of which each contains its number. Many, so that a descriptor that is replaced twice rarely has the same file again.
const FILES: u64 = 1024;
/// The descriptors that all threads use.
const SLOTS: std::ops::Range<u64> = 200..208;
/// What a file contains.
const SIZE: usize = 8;
/// What the first read asks for; each asks for one byte more.
const FIRST: u64 = 1 << 20;

/// Each thread opens a file, puts it behind one of the descriptors, and reads from another one, until there were `reads`
/// reads in all. Prints `COUNT FILE` of each read that succeeded: the number of bytes that it asked for, and what it read.
pub fn race(dir: &str, threads: u64, reads: u64) {
    let paths: Vec<_> = (0..FILES)
        .map(|number| {
            let path = Path::new(dir).join(format!("file-{number}"));
            fs::write(&path, format!("{number:SIZE$}")).expect("a file");
            c(&path)
        })
        .collect();
    let paths = Arc::new(paths);
    let made = Arc::new(AtomicU64::new(0));
    let start = Arc::new(Barrier::new(threads as usize));
    let all: Vec<_> = (0..threads)
        .map(|seed| {
            let (paths, made, start) = (Arc::clone(&paths), Arc::clone(&made), Arc::clone(&start));
            thread::spawn(move || {
                start.wait();
                let mut numbers = Numbers(seed + 1);
                let mut text = String::new();
                loop {
                    let number = made.fetch_add(1, Ordering::Relaxed);
                    if number >= reads {
                        return text;
                    }
                    replace(&paths[numbers.below(FILES) as usize], &mut numbers);
                    let slot = SLOTS.start + numbers.below(SLOTS.end - SLOTS.start);
                    if let Some(file) = read(slot, FIRST + number) {
                        let _ = writeln!(text, "{} {file}", FIRST + number);
                    }
                }
            })
        })
        .collect();
    for thread in all {
        print!("{}", thread.join().expect("no thread panicked"));
    }
}

/// Puts another file behind one of the descriptors, or closes one.
fn replace(path: &std::ffi::CStr, numbers: &mut Numbers) {
    let slot = SLOTS.start + numbers.below(SLOTS.end - SLOTS.start);
    if numbers.below(16) == 0 {
        // Another thread may have closed it.
        let _ = sys!(SYS_close, slot);
        return;
    }
    let fd = sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), libc::O_RDONLY).expect("the file");
    // EBUSY: another thread is opening a file there.
    let _ = sys!(SYS_dup3, fd, slot, libc::O_CLOEXEC);
    sys!(SYS_close, fd).expect("it is open");
}

/// The number in the file behind a descriptor; `None` if it is closed.
fn read(fd: u64, count: u64) -> Option<u64> {
    let mut bytes = [0u8; SIZE];
    // No file has more bytes than the buffer, whatever the count is.
    match sys!(SYS_pread64, fd, bytes.as_mut_ptr(), count, 0) {
        Ok(read) => {
            assert_eq!(read, SIZE as i64);
            std::str::from_utf8(&bytes).expect("text").trim().parse().ok()
        }
        Err(error) => {
            assert_eq!(error, libc::EBADF);
            None
        }
    }
}

/// Random numbers (xorshift).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % end
    }
}
