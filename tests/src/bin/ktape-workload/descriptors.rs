//! Opens a descriptor of every kind, and makes a call on each that a test recognises by a number.
//!
//! Of each such call it prints a line of fields separated by tabs: number, process, what it is, type, inode, whether it was
//! deleted, and name. Names are those of `/proc/self/fd`; of sockets that have addresses, these.

mod kinds;
mod load;
mod race;

use std::fs;
use std::io::Write;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::sys;
use kinds::Kinds;

pub use load::load;
pub use race::race;

/// The first number of a call.
const FIRST: u32 = 1_000_000;

/// A descriptor.
pub struct Opened {
    /// What it is, for people.
    what: &'static str,
    /// What `fd.type` shows of it.
    ty: &'static str,
    fd: OwnedFd,
    /// Its name, if it is not that of `/proc/self/fd`.
    name: Option<String>,
}

/// Makes the call on a descriptor, and prints its line.
fn mark(fd: RawFd, number: u32, what: &str, ty: &str, name: Option<&str>) {
    const WHENCE: i32 = 99;
    assert!(sys!(SYS_lseek, fd, number, WHENCE).is_err(), "a position relative to nothing");
    let link = fs::read_link(format!("/proc/self/fd/{fd}")).expect("/proc is mounted");
    let link = link.to_string_lossy();
    let (link, is_deleted) = match link.strip_suffix(" (deleted)") {
        Some(link) => (link, true),
        None => (&*link, false),
    };
    // SAFETY: an all-zero `stat` is valid, and the kernel fills it in.
    let inode = unsafe {
        let mut stat: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(fd, &raw mut stat), 0);
        stat.st_ino
    };
    let name = name.unwrap_or(link);
    println!("{number}\t{}\t{what}\t{ty}\t{inode}\t{is_deleted}\t{name}", std::process::id());
}

fn next_number() -> u32 {
    static NUMBER: AtomicU32 = AtomicU32::new(FIRST);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

impl Opened {
    /// Makes the call on it.
    fn mark(&self) {
        mark(self.fd.as_raw_fd(), next_number(), self.what, self.ty, self.name.as_deref());
    }
}

fn wait_for_line() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).expect("stdin can be read");
}

/// Opens everything, prints `ready`, and makes the calls after a line on stdin.
pub fn descriptors(dir: &str) {
    let dir = fs::canonicalize(dir).expect("the directory exists");
    std::env::set_current_dir(&dir).expect("a directory");
    let receiver = Receiver::start();
    let kinds = Kinds::open(&dir);
    println!("ready");
    wait_for_line();
    kinds.all.iter().for_each(Opened::mark);
    kinds.change(&dir).iter().for_each(Opened::mark);
    receiver.give(kinds.all[0].fd.as_raw_fd());
    inherit(kinds.all[0].fd.as_raw_fd());
}

/// A process that marks a descriptor that it receives. It is there before the descriptor is.
struct Receiver {
    child: Child,
    ours: UnixStream,
}

impl Receiver {
    fn start() -> Self {
        let (ours, theirs) = UnixStream::pair().expect("two sockets");
        let child = itself(&["descriptors-receive", &next_number().to_string()])
            .stdin(OwnedFd::from(theirs))
            .spawn()
            .expect("another process");
        Self { child, ours }
    }

    fn give(mut self, fd: RawFd) {
        send(self.ours.as_raw_fd(), fd);
        assert!(self.child.wait().expect("our child").success());
    }
}

fn itself(args: &[&str]) -> Command {
    std::io::stdout().flush().expect("stdout is there");
    let mut command = Command::new("/proc/self/exe");
    command.arg0("ktape-workload").args(args);
    command
}

/// A new program marks a descriptor that was open before.
fn inherit(fd: RawFd) {
    sys!(SYS_fcntl, fd, libc::F_SETFD, 0).expect("it is open");
    let args = ["descriptors-inherit", &fd.to_string(), &next_number().to_string()];
    assert!(itself(&args).stdin(Stdio::null()).status().expect("another process").success());
}

/// Marks a descriptor that was open before this program.
pub fn inherited(fd: RawFd, number: u32) {
    mark(fd, number, "inherited", "file", None);
}

/// Marks the descriptor that comes with a message on stdin.
pub fn received(number: u32) {
    let fd = receive(0);
    mark(fd.as_raw_fd(), number, "received", "file", None);
}

/// Room for one descriptor beside a message, aligned for its header.
type Control = [u64; 4];

fn message(part: &mut libc::iovec, control: &mut Control) -> libc::msghdr {
    // SAFETY: an all-zero `msghdr` is valid.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    // SAFETY: a computation.
    message.msg_controllen = unsafe { libc::CMSG_LEN(size_of::<RawFd>() as u32) } as usize;
    message
}

fn send(socket: RawFd, fd: RawFd) {
    let (mut byte, mut control) = (0u8, Control::default());
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let message = message(&mut part, &mut control);
    // SAFETY: there is room for a header and a descriptor.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        (*header).cmsg_level = libc::SOL_SOCKET;
        (*header).cmsg_type = libc::SCM_RIGHTS;
        (*header).cmsg_len = message.msg_controllen;
        libc::CMSG_DATA(header).cast::<RawFd>().write_unaligned(fd);
    }
    sys!(SYS_sendmsg, socket, &raw const message, 0).expect("the other process lives");
}

fn receive(socket: RawFd) -> OwnedFd {
    let (mut byte, mut control) = (0u8, Control::default());
    let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    let mut message = message(&mut part, &mut control);
    sys!(SYS_recvmsg, socket, &raw mut message, 0).expect("a message");
    // SAFETY: the other process sends one descriptor.
    unsafe {
        let header = libc::CMSG_FIRSTHDR(&raw const message);
        assert!(!header.is_null(), "no descriptor came");
        OwnedFd::from_raw_fd(libc::CMSG_DATA(header).cast::<RawFd>().read_unaligned())
    }
}

/// A path as the kernel takes it.
fn c(path: &Path) -> std::ffi::CString {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL inside")
}

/// Moves a mount back and forth `times` times, and makes the call on a file in it after each time.
pub fn on_moving_mount(dir: &str, times: u64) {
    let dir = Path::new(dir);
    let mut from = kinds::mount(dir);
    let mut to = dir.join("other");
    fs::create_dir(&to).expect("a directory");
    fs::write(from.join("file"), "x").expect("a file");
    for _ in 0..times {
        let file = fs::File::open(from.join("file")).expect("the file");
        mark(file.as_raw_fd(), next_number(), "file on a mount", "file", None);
        let paths = [&from, &to].map(|path| c(path));
        sys!(SYS_mount, paths[0].as_ptr(), paths[1].as_ptr(), 0, libc::MS_MOVE, 0).expect("moved");
        mark(file.as_raw_fd(), next_number(), "file on a mount that was moved", "file", None);
        std::mem::swap(&mut from, &mut to);
    }
}
