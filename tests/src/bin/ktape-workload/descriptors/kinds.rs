//! The kinds of descriptors.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use super::{Opened, c};
use crate::sys;

/// Directories of the deep path.
const DEPTH: usize = 200;

/// One of each kind.
pub struct Kinds {
    /// All of them; the first one is a file.
    pub all: Vec<Opened>,
}

impl Kinds {
    /// Opens them, with files in `dir`, which is the working directory.
    pub fn open(dir: &Path) -> Self {
        let mut kinds = Self { all: Vec::new() };
        kinds.files(dir);
        kinds.special_files(dir);
        kinds.anonymous();
        kinds.unix(dir);
        kinds.inet("tcp v4", "ipv4", Ipv4Addr::LOCALHOST.into());
        kinds.inet("tcp v6", "ipv6", Ipv6Addr::LOCALHOST.into());
        kinds
    }

    /// Gives some of the files other names, and deletes one. Returns those whose names have changed.
    pub fn change(self: &Kinds, dir: &Path) -> Vec<Opened> {
        let again = |what: &str, now: &'static str| {
            let old = self.all.iter().find(|opened| opened.what == what).expect("it is open");
            Opened { what: now, ty: old.ty, fd: old.fd.try_clone().expect("a copy"), name: None }
        };
        fs::rename(dir.join("relative"), dir.join("relative, renamed meanwhile")).expect("a new name");
        fs::rename(dir.join("deep"), dir.join("deep, renamed meanwhile")).expect("a new name");
        fs::remove_file(dir.join("dup")).expect("deleted");
        vec![
            again("relative path", "file renamed meanwhile"),
            again("deep path", "parent renamed meanwhile"),
            again("dup", "file deleted meanwhile"),
            again("renamed file", "file renamed before"),
        ]
    }

    fn add(&mut self, what: &'static str, ty: &'static str, fd: impl Into<OwnedFd>) {
        self.all.push(Opened { what, ty, fd: fd.into(), name: None });
    }

    fn named(&mut self, what: &'static str, ty: &'static str, fd: impl Into<OwnedFd>, name: String) {
        self.all.push(Opened { what, ty, fd: fd.into(), name: Some(name) });
    }

    fn files(&mut self, dir: &Path) {
        let make = |path: &Path| {
            fs::write(path, "x").expect("a file");
            File::open(path).expect("the file")
        };
        self.add("absolute path", "file", make(&dir.join("absolute")));
        self.add("relative path", "file", make(Path::new("relative")));
        self.add("directory", "directory", File::open(dir).expect("the directory"));
        let file = make(&dir.join("dup"));
        self.add("dup", "file", file.try_clone().expect("a copy"));

        let deleted = dir.join("deleted");
        self.add("deleted file", "file", make(&deleted));
        fs::remove_file(deleted).expect("deleted");
        let old = dir.join("old name");
        self.add("renamed file", "file", make(&old));
        fs::rename(&old, dir.join("new <name>")).expect("a new name");
        fs::create_dir(dir.join("old parent")).expect("a directory");
        self.add("file in a renamed directory", "file", make(&dir.join("old parent/file")));
        fs::rename(dir.join("old parent"), dir.join("new parent")).expect("a new name");

        let deep: PathBuf = dir.join("deep").join(["d"; DEPTH - 2].join("/"));
        fs::create_dir_all(&deep).expect("directories");
        self.add("deep path", "file", make(&deep.join("file")));
        self.add("long name", "file", make(&dir.join("n".repeat(255))));
        self.add("file on another mount", "file", make(&mount(dir).join("file")));
        self.add("file of /proc", "file", File::open("/proc/self/status").expect("/proc is mounted"));

        let nameless = OpenOptions::new().write(true).custom_flags(libc::O_TMPFILE).open(dir);
        match nameless {
            Ok(file) => self.add("file without a name", "file", file),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::EOPNOTSUPP), "O_TMPFILE"),
        }
    }

    fn special_files(&mut self, dir: &Path) {
        let (fifo, path) = (dir.join("fifo"), c(&dir.join("fifo")));
        sys!(SYS_mknodat, libc::AT_FDCWD, path.as_ptr(), libc::S_IFIFO | 0o600, 0).expect("a fifo");
        let both = OpenOptions::new().read(true).write(true).open(fifo);
        self.add("fifo", "pipe", both.expect("the fifo"));
        let link = dir.join("link");
        std::os::unix::fs::symlink("absolute", &link).expect("a link");
        let link = OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_NOFOLLOW).open(link);
        self.add("symbolic link", "file", link.expect("the link"));
        self.add("device", "file", File::open("/dev/null").expect("the device"));
    }

    fn anonymous(&mut self) {
        let (read, write) = io::pipe().expect("a pipe");
        self.add("pipe, read", "pipe", read);
        self.add("pipe, write", "pipe", write);
        self.add("eventfd", "event", made(sys!(SYS_eventfd2, 0, libc::EFD_CLOEXEC)));
        self.add("epoll", "eventpoll", made(sys!(SYS_epoll_create1, libc::EPOLL_CLOEXEC)));
        let timer = sys!(SYS_timerfd_create, libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC);
        self.add("timerfd", "timerfd", made(timer));
        let none = 0u64;
        let signals = sys!(SYS_signalfd4, -1isize, &raw const none, size_of_val(&none), libc::SFD_CLOEXEC);
        self.add("signalfd", "signalfd", made(signals));
        self.add("inotify", "inotify", made(sys!(SYS_inotify_init1, libc::IN_CLOEXEC)));
        self.add("memfd", "memfd", made(sys!(SYS_memfd_create, c"memory".as_ptr(), libc::MFD_CLOEXEC)));
        self.add("pidfd", "pidfd", made(sys!(SYS_pidfd_open, std::process::id(), 0)));
    }

    fn unix(&mut self, dir: &Path) {
        let path = dir.join("socket");
        let name = || path.to_str().expect("text").to_owned();
        let listener = UnixListener::bind(&path).expect("a socket");
        self.named("unix stream, connected", "unix", UnixStream::connect(&path).expect("a server"), name());
        self.named("unix stream, accepted", "unix", listener.accept().expect("a client").0, name());
        self.named("unix stream, listening", "unix", listener, name());

        // Tests that run at the same time have other directories.
        let text = format!("ktape {}", dir.display());
        let address = SocketAddr::from_abstract_name(&text).expect("a short name");
        let listener = UnixListener::bind_addr(&address).expect("a socket");
        let client = UnixStream::connect_addr(&address).expect("a server");
        self.named("unix stream, connected, abstract", "unix", client, format!("@{text}"));
        self.named("unix stream, listening, abstract", "unix", listener, format!("@{text}"));

        let path = dir.join("datagrams");
        let name = || path.to_str().expect("text").to_owned();
        let bound = UnixDatagram::bind(&path).expect("a socket");
        let client = UnixDatagram::unbound().expect("a socket");
        client.connect(&path).expect("a server");
        self.named("unix dgram, connected", "unix", client, name());
        self.named("unix dgram, bound", "unix", bound, name());
        self.add("unix dgram, unbound", "unix", UnixDatagram::unbound().expect("a socket"));
        let (one, _) = UnixStream::pair().expect("two sockets");
        self.add("unix stream, one of a pair", "unix", one);
    }

    fn inet(&mut self, what: &'static str, ty: &'static str, ip: IpAddr) {
        let listener = match TcpListener::bind((ip, 0)) {
            Ok(listener) => listener,
            // A kernel without IPv6.
            Err(error) => {
                assert_eq!(ty, "ipv6", "{error}");
                return;
            }
        };
        let server = listener.local_addr().expect("bound");
        let client = TcpStream::connect(server).expect("a server");
        let (accepted, from) = listener.accept().expect("a client");
        self.named(what, ty, listener, server.to_string());
        self.named(what, ty, client, format!("{from}->{server}"));
        self.named(what, ty, accepted, format!("{server}->{from}"));
        let family = if ip.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
        self.add("tcp, new", ty, made(sys!(SYS_socket, family, kind, 0)));

        let bound = UdpSocket::bind((ip, 0)).expect("a port");
        let server = bound.local_addr().expect("bound");
        let client = UdpSocket::bind((ip, 0)).expect("a port");
        client.connect(server).expect("an address");
        let from = client.local_addr().expect("bound");
        self.named("udp, bound", ty, bound, server.to_string());
        self.named("udp, connected", ty, client, format!("{from}->{server}"));
        self.add("udp, new", ty, made(sys!(SYS_socket, family, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0)));
    }
}

fn made(result: Result<i64, i32>) -> OwnedFd {
    let fd = result.expect("a descriptor");
    // SAFETY: the kernel has just made it.
    unsafe { OwnedFd::from_raw_fd(fd as RawFd) }
}

/// Mounts a file system that no other process sees, which ends with this one.
pub fn mount(dir: &Path) -> PathBuf {
    let at = dir.join("mount");
    fs::create_dir(&at).expect("a directory");
    sys!(SYS_unshare, libc::CLONE_NEWNS).expect("needs root");
    let (none, path) = (c"none".as_ptr(), c(&at));
    sys!(SYS_mount, none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, 0)
        .expect("mounts of its own");
    sys!(SYS_mount, none, path.as_ptr(), c"tmpfs".as_ptr(), 0, 0).expect("a tmpfs");
    at
}
