//! What follows from calls for connections.

use std::hash::{Hash, Hasher};
use std::net::SocketAddr;

use rustc_hash::FxHasher;

use super::actions::{Action, NO_DATA};
use super::connection::{CLOSED, Conn, End, Evidence, Proto, inet, libc_errno, peer_number, state_after};
use super::table::{Name, Place, Table};
use crate::model::FileRow;
use crate::syscalls::sockaddr::SockAddr;

/// Which number of bytes.
const SENT: usize = 0;
const RECEIVED: usize = 1;

/// A socket, as a call found it.
#[derive(Clone, Debug)]
pub(super) struct Socket {
    /// Its inode number, or what stands for it in captures without one.
    pub(super) number: u64,
    pub(super) proto: Proto,
    local: Option<SocketAddr>,
    remote: Option<SocketAddr>,
    path: Option<Box<[u8]>>,
    peer_pid: u32,
}

/// The protocol of a file; `None` if it is no socket that connections are of.
pub(super) fn protocol(file: &FileRow<'_>) -> Option<Proto> {
    match (file.ty, file.proto) {
        (b"unix", _) => Some(Proto::Unix),
        (b"ipv4" | b"ipv6", b"tcp" | b"mptcp") => Some(Proto::Tcp),
        (b"ipv4" | b"ipv6", b"udp" | b"udplite") => Some(Proto::Udp),
        _ => None,
    }
}

impl Socket {
    /// That of a file which a process has.
    pub(super) fn of(file: &FileRow<'_>, pid: u32) -> Option<Self> {
        let proto = protocol(file)?;
        let number = match file.ino {
            0 | events::UNKNOWN => {
                let mut hasher = FxHasher::default();
                (pid, file.local, file.remote, file.path).hash(&mut hasher);
                hasher.finish() | 1 << 63
            }
            ino => ino,
        };
        let path = (!file.path.is_empty()).then(|| shown_path(file.path));
        let peer_pid = file.peer_pid as u32;
        Some(Self { number, proto, local: inet(file.local), remote: inet(file.remote), path, peer_pid })
    }
}

/// A path; an abstract name with `@` in the place of its NUL.
fn shown_path(path: &[u8]) -> Box<[u8]> {
    match path.split_first() {
        Some((0, name)) => [b"@", name].concat().into(),
        _ => path.into(),
    }
}

/// A call that is about a socket.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// When it returned and when it was entered, boot-clock ns.
    pub(super) time: u64,
    pub(super) start: u64,
    /// Row of the carried tasks, and process id.
    pub(super) thread: (u32, u32),
    pub(super) action: Action,
    /// Negative for an error.
    pub(super) result: i64,
    pub(super) sockets: [Option<Socket>; 2],
    /// Addresses among its arguments.
    pub(super) addresses: Vec<SockAddr<'a>>,
    /// Flags of a call that receives.
    pub(super) flags: u64,
}

impl Call<'_> {
    /// The error, if it failed with one that is more than news of what has not happened yet.
    fn error(&self) -> Option<u32> {
        let error = u32::try_from(self.result.checked_neg()?).ok().filter(|error| *error > 0)?;
        let is_wait = matches!(
            error,
            libc_errno::EAGAIN | libc_errno::EINPROGRESS | libc_errno::EALREADY | libc_errno::EINTR
        );
        (!is_wait && error < libc_errno::RESTART).then_some(error)
    }
}

impl Table {
    /// Takes note of a call. `has_net`: whether `net` events have the beginnings and ends of TCP connections.
    pub(super) fn call(&mut self, mut call: Call<'_>, has_net: bool) {
        let [first, second] = [call.sockets[0].take(), call.sockets[1].take()];
        let bytes = u64::try_from(call.result).ok();
        match (call.action, first, second) {
            (Action::Send, Some(socket), _) => self.data(&call, &socket, SENT, bytes, has_net),
            (Action::Receive { .. }, Some(socket), _) if call.flags & NO_DATA == 0 => {
                self.data(&call, &socket, RECEIVED, bytes, has_net);
            }
            (Action::SendMany, Some(socket), _) => self.data(&call, &socket, SENT, None, has_net),
            (Action::ReceiveMany, Some(socket), _) => self.data(&call, &socket, RECEIVED, None, has_net),
            (Action::SendFile, to, from) | (Action::Splice, from, to) => {
                if let Some(socket) = from {
                    self.data(&call, &socket, RECEIVED, bytes, has_net);
                }
                if let Some(socket) = to {
                    self.data(&call, &socket, SENT, bytes, has_net);
                }
            }
            (Action::Connect, Some(socket), _) => self.connect(&call, &socket, has_net),
            (Action::Accept, listener, Some(socket)) if call.result >= 0 => {
                self.accept(&call, listener, socket, has_net);
            }
            (Action::Pair, Some(first), Some(second)) if call.result == 0 => {
                self.socketpair(&call, first, &second);
            }
            (Action::Close, Some(socket), _) => self.close_descriptor(&call, &socket),
            (_, Some(socket), _) => self.failed(&call, &socket),
            _ => {}
        }
    }

    fn is_counted(&self, time: u64) -> bool {
        time >= self.range.from
    }

    /// A call that sent or received bytes, or failed to. `bytes` is `None` if their number is not recorded.
    fn data(&mut self, call: &Call<'_>, socket: &Socket, way: usize, bytes: Option<u64>, has_net: bool) {
        if call.result < 0 {
            return self.failed(call, socket);
        }
        // The end of a stream, or an empty message.
        if call.result == 0 && socket.proto != Proto::Udp {
            return;
        }
        if socket.proto != Proto::Udp {
            if let Some(place) = self.stream(call, socket, way, has_net) {
                self.transferred(call, place, socket, (way, bytes, true));
            }
            return;
        }
        let given: Vec<SocketAddr> = call.addresses.iter().filter_map(address).collect();
        let own = if given.is_empty() { socket.remote.into_iter().collect() } else { given };
        let mut peers: Vec<Option<SocketAddr>> = Vec::new();
        for peer in own {
            if !peers.contains(&Some(peer)) {
                peers.push(Some(peer));
            }
        }
        if peers.is_empty() {
            if way == SENT {
                return;
            }
            peers.push(None);
        }
        for (at, peer) in peers.into_iter().enumerate() {
            let place = self.datagrams(call, socket, way, peer);
            self.transferred(call, place, socket, (way, bytes, at == 0));
        }
    }

    /// Counts what a call transferred. `is_first`: whether it counts as a call, too.
    fn transferred(
        &mut self,
        call: &Call<'_>,
        place: Place,
        socket: &Socket,
        (way, bytes, is_first): (usize, Option<u64>, bool),
    ) {
        self.set_task(place, call.thread, true);
        self.is_used(place);
        let remote = if socket.proto == Proto::Tcp { socket.remote } else { None };
        let place = self.set_addresses(place, socket.local, remote);
        let is_counted = self.is_counted(call.time);
        let Some(conn) = self.get_mut(place.conn) else { return };
        conn.last = call.time;
        if !is_counted {
            return;
        }
        conn.calls += u64::from(is_first);
        let end = &mut conn.ends[place.side];
        match bytes {
            Some(bytes) => end.bytes[way] += bytes,
            None => end.is_uncounted[way] = true,
        }
        if way != SENT || conn.is_paired() {
            return;
        }
        let far = conn.ends[1 - place.side].address;
        let name = match (socket.proto, conn.path.clone(), far) {
            (Proto::Unix, Some(path), _) => Name::Path(path),
            (Proto::Udp, _, Some(far)) if self.is_of_this_host(far.ip()) => Name::Port(far.port()),
            _ => return,
        };
        if let Some(receiver) = self.receiver(name) {
            receiver.sent[0] += bytes.unwrap_or(0);
            receiver.sent[1] += u64::from(is_first);
        }
    }

    /// The end of a TCP or unix socket that transfers data.
    fn stream(&mut self, call: &Call<'_>, socket: &Socket, way: usize, has_net: bool) -> Option<Place> {
        if socket.proto == Proto::Unix
            && let Some(path) = call.addresses.iter().find_map(unix_path).filter(|_| way == SENT)
        {
            let peer = peer_number(&path);
            return Some(self.of_peer(socket.number, peer).unwrap_or_else(|| {
                let mut conn = Conn { path: Some(path), ..Conn::new(Proto::Unix, call.start) };
                conn.knows_start = true;
                conn.is_client(0, Evidence::First);
                (conn.ends[0].socket, conn.ends[0].peer) = (socket.number, Some(peer));
                self.add(conn)
            }));
        }
        if let Some(place) = self.of_socket(socket.number) {
            return Some(place);
        }
        if socket.proto == Proto::Unix {
            return Some(self.unix_before(call, socket, way));
        }
        let (local, remote) = socket.local.zip(socket.remote)?;
        if self.has_ended(socket.number) {
            return None;
        }
        if let Some(place) = self.of_addresses((local, remote), call.thread.1, |end| end.socket == 0) {
            self.set_socket(place, socket.number);
            return Some(place);
        }
        Some(self.tcp(call, socket, has_net, None))
    }

    /// A unix socket that was connected before anything of it was seen, or that receives datagrams from anyone.
    fn unix_before(&mut self, call: &Call<'_>, socket: &Socket, way: usize) -> Place {
        let pid = call.thread.1;
        if way == RECEIVED && socket.peer_pid == 0 && socket.path.is_some() {
            return self.received_from_anyone(call, socket);
        }
        let mut conn = Conn { path: socket.path.clone(), ..Conn::new(Proto::Unix, call.start) };
        (conn.ends[0].socket, conn.ends[0].pid) = (socket.number, pid);
        (conn.ends[0].task, conn.peer_pid) = (call.thread.0, socket.peer_pid);
        if socket.path.as_ref().and_then(|path| self.listeners.get(path)) == Some(&pid) {
            conn.is_client(1, Evidence::First);
        }
        let place = self.add(conn);
        if socket.peer_pid == 0 {
            return place;
        }
        self.pair_unix(place, (pid, socket.peer_pid), (socket.peer_pid, pid))
    }

    /// The datagrams that a socket gets without it being known from whom.
    fn received_from_anyone(&mut self, call: &Call<'_>, socket: &Socket) -> Place {
        if let Some(place) = self.of_peer(socket.number, 0) {
            return place;
        }
        let mut conn = Conn { path: socket.path.clone(), ..Conn::new(socket.proto, call.time) };
        conn.is_from_anyone = true;
        conn.knows_start = true;
        conn.is_client(1, Evidence::Proof);
        (conn.ends[0].socket, conn.ends[0].peer) = (socket.number, Some(0));
        conn.ends[0].address = socket.local;
        let name = match (socket.proto, &socket.path, socket.local) {
            (Proto::Unix, Some(path), _) => Some(Name::Path(path.clone())),
            (_, _, Some(local)) => Some(Name::Port(local.port())),
            _ => None,
        };
        if let Some(name) = name {
            self.set_receiver(name, call.thread.0);
        }
        self.add(conn)
    }

    /// The end of a UDP socket that exchanges datagrams with a peer.
    fn datagrams(&mut self, call: &Call<'_>, socket: &Socket, way: usize, peer: Option<SocketAddr>) -> Place {
        let Some(far) = peer else { return self.received_from_anyone(call, socket) };
        let number = peer_number(&far);
        if let Some(place) = self.of_peer(socket.number, number) {
            return place;
        }
        let start = if way == SENT { call.start } else { call.time };
        let mut conn = Conn::new(Proto::Udp, start);
        conn.knows_start = true;
        conn.ends[1].address = Some(far);
        conn.is_client(usize::from(way == RECEIVED), Evidence::First);
        (conn.ends[0].socket, conn.ends[0].peer) = (socket.number, Some(number));
        self.add(conn)
    }

    /// A new TCP connection of which a call is the first sign. `far` is its other end, if the socket does not know it yet.
    fn tcp(&mut self, call: &Call<'_>, socket: &Socket, has_net: bool, far: Option<SocketAddr>) -> Place {
        let mut conn = Conn::new(Proto::Tcp, call.start);
        conn.has_net = has_net;
        conn.ends[0].socket = socket.number;
        conn.ends[1].address = far;
        (conn.ends[0].task, conn.ends[0].pid) = call.thread;
        let place = self.add(conn);
        self.set_addresses(place, socket.local, far.or(socket.remote))
    }

    fn connect(&mut self, call: &Call<'_>, socket: &Socket, has_net: bool) {
        let error = call.error();
        let known = self.of_socket(socket.number);
        if error == Some(libc_errno::EISCONN) {
            return self.failed(call, socket);
        }
        // A second try has a row of its own.
        let is_open = |place: Place| self.get(place.conn).is_some_and(|conn| conn.end.is_none());
        if known.is_some_and(is_open) {
            return;
        }
        let place = match socket.proto {
            // Without data, nothing leaves the host.
            Proto::Udp => return,
            Proto::Tcp => {
                if has_net {
                    return;
                }
                let Some(far) = call.addresses.iter().find_map(address) else { return };
                self.tcp(call, socket, false, Some(far))
            }
            Proto::Unix => {
                let Some(path) = call.addresses.iter().find_map(unix_path) else { return };
                if call.result < 0 && error.is_none() {
                    return;
                }
                let mut conn = Conn { path: Some(path), ..Conn::new(Proto::Unix, call.start) };
                conn.ends[0].socket = socket.number;
                (conn.ends[0].task, conn.ends[0].pid) = call.thread;
                self.add(conn)
            }
        };
        let is_counted = self.is_counted(call.time);
        let Some(conn) = self.get_mut(place.conn) else { return };
        conn.knows_start = true;
        conn.is_client(place.side, Evidence::Proof);
        if let Some(error) = error {
            (conn.errors, conn.error) = (u64::from(is_counted), error);
            self.close(place, call.time, state_after(error));
        } else if socket.proto == Proto::Unix {
            let pid = call.thread.1;
            self.pair_unix(place, (pid, 0), (0, pid));
        }
    }

    fn accept(&mut self, call: &Call<'_>, listener: Option<Socket>, mut socket: Socket, has_net: bool) {
        let place = match socket.proto {
            Proto::Udp => return,
            Proto::Tcp => {
                let Some(both) = socket.local.zip(socket.remote) else { return };
                self.ports.insert(both.0.port());
                let known = self.of_addresses(both, call.thread.1, |end| end.socket == 0);
                if let Some(place) = known {
                    self.set_socket(place, socket.number);
                }
                known.unwrap_or_else(|| self.tcp(call, &socket, has_net, None))
            }
            Proto::Unix => {
                socket.path = socket.path.or_else(|| listener?.path);
                if let Some(path) = socket.path.clone().filter(|_| self.listeners.len() < 4096) {
                    self.listeners.insert(path, call.thread.1);
                }
                let mut conn = Conn { path: socket.path.clone(), ..Conn::new(Proto::Unix, call.time) };
                (conn.ends[0].socket, conn.peer_pid) = (socket.number, socket.peer_pid);
                let place = self.add(conn);
                let client = socket.peer_pid;
                if client == 0 { place } else { self.pair_unix(place, (0, client), (client, 0)) }
            }
        };
        self.set_task(place, call.thread, false);
        let Some(conn) = self.get_mut(place.conn) else { return };
        if !conn.knows_start {
            (conn.start, conn.knows_start) = (call.time, true);
        }
        conn.is_client(1 - place.side, Evidence::Proof);
    }

    fn socketpair(&mut self, call: &Call<'_>, first: Socket, second: &Socket) {
        let mut conn = Conn { path: first.path, ..Conn::new(Proto::Unix, call.time) };
        conn.knows_start = true;
        let end = |number: u64| {
            let (task, pid) = call.thread;
            End { socket: number, task, pid, ..End::new() }
        };
        conn.ends[0] = end(first.number);
        let place = self.add(conn);
        self.add_second(place.conn, end(second.number));
    }

    fn close_descriptor(&mut self, call: &Call<'_>, socket: &Socket) {
        let own = self.of_socket(socket.number);
        for place in own.into_iter().chain(self.of_datagram_socket(socket.number)) {
            // Only here does a socket that has sent one datagram show its port.
            let place = self.set_addresses(place, socket.local, None);
            self.leave(place, call.thread.1, call.time);
        }
    }

    /// A process has no more use for an end.
    fn leave(&mut self, place: Place, pid: u32, time: u64) {
        let Some(conn) = self.get(place.conn) else { return };
        if conn.ends[place.side].pid != pid || conn.has_net {
            return;
        }
        let state = match conn.proto {
            // The answer of a host at whose port nothing listens.
            Proto::Udp if conn.ends[place.side].bytes[RECEIVED] > 0 => CLOSED,
            _ => state_after(conn.error),
        };
        // Errors are of calls, too, that have nothing to do with the end.
        let state = if state == super::connection::state(b"error") { CLOSED } else { state };
        self.close(place, time, state);
    }

    /// A process has ended.
    pub(super) fn exit(&mut self, pid: u32, time: u64) {
        for place in self.of_process(pid) {
            self.leave(place, pid, time);
        }
    }

    fn failed(&mut self, call: &Call<'_>, socket: &Socket) {
        let Some(error) = call.error() else { return };
        let is_counted = self.is_counted(call.time);
        let peer = call.addresses.iter().find_map(address).or(socket.remote);
        let of_peer = || self.of_peer(socket.number, peer_number(&peer?));
        let Some(place) = self.of_socket(socket.number).or_else(of_peer) else { return };
        let Some(conn) = self.get_mut(place.conn) else { return };
        conn.error = error;
        conn.last = call.time;
        conn.errors += u64::from(is_counted);
    }
}

fn address(given: &SockAddr<'_>) -> Option<SocketAddr> {
    match given {
        SockAddr::Inet { ip, port, .. } if *port != 0 => Some(SocketAddr::new(ip.to_canonical(), *port)),
        _ => None,
    }
}

fn unix_path(given: &SockAddr<'_>) -> Option<Box<[u8]>> {
    match given {
        SockAddr::UnixPath(path) => Some((*path).into()),
        SockAddr::UnixAbstract(name) => Some([b"@", *name].concat().into()),
        _ => None,
    }
}
