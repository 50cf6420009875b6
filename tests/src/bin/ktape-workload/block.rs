//! Known numbers of requests to block devices.

use std::alloc::Layout;
use std::ffi::CString;
use std::io::Write;

use crate::sys;

/// Runs the command that `words` name; returns false if they are invalid:
///
/// - `direct PATH read|write|dsync BYTES BLOCK OFFSET`: I/O with O_DIRECT
/// - `buffered FILE BYTES`: writes a new file, then `fsync`
/// - `flush PATH`: `fsync`
/// - `merge PATH N up|down`: N adjacent writes in one call
/// - `pile PATH N`: N separate writes in flight at the same time
pub fn command(words: &[&str]) -> bool {
    let number = |text: &str| text.parse::<u64>().ok();
    match *words {
        ["direct", path, how, total, block, offset] => {
            let (Some(total), Some(block), Some(offset)) = (number(total), number(block), number(offset))
            else {
                return false;
            };
            direct(path, how, total, block, offset);
        }
        ["flush", path] => flush(path),
        [what, path, n, ref rest @ ..] => {
            let Some(n) = number(n) else { return false };
            match (what, rest) {
                ("buffered", []) => buffered(path, n),
                ("merge", [way @ ("up" | "down")]) => merge(path, n, *way == "down"),
                ("pile", []) => pile(path, n),
                _ => return false,
            }
        }
        _ => return false,
    }
    true
}

/// Alignment of addresses, sizes and offsets for direct I/O.
const ALIGN: usize = 4096;

/// Aligned memory for direct I/O.
pub struct Buffer {
    at: *mut u8,
    layout: Layout,
}

impl Buffer {
    /// Allocates `bytes` bytes, zeroed. `bytes` must not be 0.
    pub fn new(bytes: usize) -> Self {
        let layout = Layout::from_size_align(bytes, ALIGN).expect("a size");
        // SAFETY: the size is not 0.
        let at = unsafe { std::alloc::alloc_zeroed(layout) };
        assert!(!at.is_null(), "no memory");
        Self { at, layout }
    }

    /// Address of the memory.
    pub fn at(&self) -> *mut u8 {
        self.at
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(self.at, self.layout) };
    }
}

fn open(path: &str, flags: i32) -> usize {
    let path = CString::new(path).expect("no NUL inside");
    let fd = sys!(SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags, 0o600).expect("the file opens");
    usize::try_from(fd).expect("a descriptor")
}

/// Reads or writes blocks from `offset` on with O_DIRECT (`dsync`: writes with O_DSYNC too). Prints the first error and stops.
fn direct(path: &str, how: &str, bytes: u64, block: u64, offset: u64) {
    let extra = if how == "dsync" { libc::O_DSYNC } else { 0 };
    let fd = open(path, libc::O_RDWR | libc::O_DIRECT | extra);
    let size = usize::try_from(block).expect("a size");
    let buffer = Buffer::new(size);
    for at in (offset..offset + bytes).step_by(size) {
        let result = if how == "read" {
            sys!(SYS_pread64, fd, buffer.at, size, at)
        } else {
            sys!(SYS_pwrite64, fd, buffer.at, size, at)
        };
        match result {
            Ok(done) if done.cast_unsigned() == block => {}
            other => {
                println!("{other:?}");
                return;
            }
        }
    }
    println!("done");
}

/// Writes a new file through the page cache, then calls `fsync`.
fn buffered(path: &str, bytes: u64) {
    let fd = open(path, libc::O_WRONLY | libc::O_CREAT | libc::O_TRUNC);
    let block = vec![0x5a; 1 << 20];
    for _ in 0..bytes / block.len() as u64 {
        assert_eq!(sys!(SYS_write, fd, block.as_ptr(), block.len()), Ok(1 << 20));
    }
    sys!(SYS_fsync, fd).expect("fsync");
}

/// Calls `fsync` on a device.
fn flush(path: &str) {
    let fd = open(path, libc::O_RDWR);
    sys!(SYS_fsync, fd).expect("fsync");
}

/// `struct iocb` of linux/aio_abi.h.
#[repr(C)]
#[derive(Default)]
struct Iocb {
    data: u64,
    key: u32,
    rw_flags: u32,
    opcode: u16,
    priority: i16,
    fd: u32,
    buffer: u64,
    bytes: u64,
    offset: u64,
    reserved: u64,
    flags: u32,
    event_fd: u32,
}

const IOCB_CMD_PWRITE: u16 = 1;
/// `sizeof(struct io_event)`.
const EVENT: usize = 32;

fn iocbs(fd: usize, buffer: &Buffer, offsets: impl Iterator<Item = u64>) -> Vec<Iocb> {
    let one = |offset| Iocb {
        opcode: IOCB_CMD_PWRITE,
        fd: u32::try_from(fd).expect("a descriptor"),
        buffer: buffer.at.addr() as u64,
        bytes: ALIGN as u64,
        offset,
        ..Iocb::default()
    };
    offsets.map(one).collect()
}

fn context(events: usize) -> usize {
    let mut context = 0usize;
    sys!(SYS_io_setup, events, &raw mut context).expect("asynchronous I/O");
    context
}

fn wait(context: usize, count: usize) {
    let mut events = vec![0u8; count * EVENT];
    let mut done = 0;
    while done < count {
        let got = sys!(SYS_io_getevents, context, count - done, count - done, events.as_mut_ptr(), 0);
        done += usize::try_from(got.expect("events")).expect("a count");
    }
}

/// Submits `count` adjacent writes of 4 KiB in one call, in ascending or descending order. The kernel merges them.
fn merge(path: &str, count: u64, downwards: bool) {
    let fd = open(path, libc::O_RDWR | libc::O_DIRECT);
    let buffer = Buffer::new(ALIGN);
    let offset = |i: u64| (if downwards { count - 1 - i } else { i }) * ALIGN as u64;
    let iocbs = iocbs(fd, &buffer, (0..count).map(offset));
    let list: Vec<*const Iocb> = iocbs.iter().map(std::ptr::from_ref).collect();
    let context = context(list.len());
    let sent = sys!(SYS_io_submit, context, list.len(), list.as_ptr()).expect("io_submit");
    assert_eq!(sent.cast_unsigned(), count);
    wait(context, list.len());
}

/// After a byte on stdin, submits `count` separate writes of 4 KiB, one per call, and then waits for all.
fn pile(path: &str, count: u64) {
    let fd = open(path, libc::O_RDWR | libc::O_DIRECT);
    let buffer = Buffer::new(ALIGN);
    let iocbs = iocbs(fd, &buffer, (0..count).map(|i| i * 2 * ALIGN as u64));
    let context = context(iocbs.len());
    println!("ready");
    std::io::stdout().flush().expect("stdout is there");
    let mut byte = [0u8; 1];
    sys!(SYS_read, 0, byte.as_mut_ptr(), 1).expect("a read");
    for iocb in &iocbs {
        let list = [std::ptr::from_ref(iocb)];
        assert_eq!(sys!(SYS_io_submit, context, 1, list.as_ptr()), Ok(1));
    }
    wait(context, iocbs.len());
    println!("done");
}
