//! One connection: its two ends, and what follows from them.

use std::hash::{Hash, Hasher};
use std::net::{IpAddr, SocketAddr};

use events::UNKNOWN;
use rustc_hash::FxHasher;

use crate::syscalls::sockaddr::SockAddr;

/// No row, and no connection.
pub(super) const NONE: u32 = u32::MAX;

/// The protocol of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Proto {
    Tcp,
    Udp,
    Unix,
}

impl Proto {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Unix => "unix",
        }
    }
}

/// Values of `conn.state`: `open`, then the reasons in the order in which one end's goes before the other's.
pub(super) const STATES: [&str; 9] =
    ["open", "closed", "aborted", "error", "given_up", "unreachable", "timed_out", "reset", "refused"];
/// Of a connection that has not ended.
pub(super) const OPEN: u8 = 0;
/// It ended in order.
pub(super) const CLOSED: u8 = 1;

/// The state with this name.
pub(super) fn state(name: &[u8]) -> u8 {
    let at = STATES.iter().position(|known| known.as_bytes() == name);
    at.map_or(CLOSED, |at| at as u8)
}

/// Why a connection without `net` events ended whose last error is this one.
pub(super) fn state_after(errno: u32) -> u8 {
    let name: &str = match errno {
        0 => "closed",
        libc_errno::ECONNREFUSED => "refused",
        libc_errno::ECONNRESET | libc_errno::EPIPE => "reset",
        libc_errno::ETIMEDOUT => "timed_out",
        libc_errno::EHOSTUNREACH | libc_errno::ENETUNREACH => "unreachable",
        _ => "error",
    };
    state(name.as_bytes())
}

/// Numbers of errors, the same on every machine that ktape records on.
pub(super) mod libc_errno {
    pub(in super::super) const EINTR: u32 = 4;
    pub(in super::super) const EAGAIN: u32 = 11;
    pub(in super::super) const EPIPE: u32 = 32;
    pub(in super::super) const ENETUNREACH: u32 = 101;
    pub(in super::super) const ECONNRESET: u32 = 104;
    pub(in super::super) const EISCONN: u32 = 106;
    pub(in super::super) const ETIMEDOUT: u32 = 110;
    pub(in super::super) const ECONNREFUSED: u32 = 111;
    pub(in super::super) const EHOSTUNREACH: u32 = 113;
    pub(in super::super) const EALREADY: u32 = 114;
    pub(in super::super) const EINPROGRESS: u32 = 115;
    /// From here on, the kernel's own, which stand for a call that starts again.
    pub(in super::super) const RESTART: u32 = 512;
}

/// One end of a connection.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Whether this end's socket was seen.
    pub(super) is_seen: bool,
    /// Its thread: a row of the carried tasks, or [`NONE`].
    pub(super) task: u32,
    /// Its process, 0 if unknown.
    pub(super) pid: u32,
    /// Whether the thread is one that transferred data: closer to the truth than one that only made the socket.
    pub(super) is_user: bool,
    pub(super) address: Option<SocketAddr>,
    /// The number of its socket among calls, 0 if unknown; usually the inode number.
    pub(super) socket: u64,
    /// Of datagrams: the number of the peer, so that the end is found by both; 0 is anyone.
    pub(super) peer: Option<u64>,
    /// The same among `net` events.
    pub(super) sock: u64,
    /// Its network namespace, or [`UNKNOWN`].
    pub(super) netns: u64,
    /// Bytes that its calls sent and received, in the time range.
    pub(super) bytes: [u64; 2],
    /// Whether calls sent or received bytes of which the number is not recorded.
    pub(super) is_uncounted: [bool; 2],
    /// The kernel's counters: bytes sent and received, segments that were sent again.
    pub(super) counters: Option<[u64; 3]>,
    /// Why it ended, one of [`STATES`]; [`OPEN`] if it has not.
    pub(super) state: u8,
}

impl End {
    pub(super) const fn new() -> Self {
        Self {
            is_seen: false,
            task: NONE,
            pid: 0,
            is_user: false,
            address: None,
            socket: 0,
            peer: None,
            sock: 0,
            netns: UNKNOWN,
            bytes: [0; 2],
            is_uncounted: [false; 2],
            counters: None,
            state: OPEN,
        }
    }
}

/// How sure it is which end is the client; the greater one decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Evidence {
    /// It was seen first.
    None,
    /// It sent the first datagram, or the other end has the path of a server.
    First,
    /// By the ports.
    Ports,
    /// It connected, or the other end accepted.
    Proof,
}

/// A connection.
#[derive(Clone, Debug)]
pub(super) struct Conn {
    /// Its number in the capture.
    pub(super) id: u64,
    pub(super) proto: Proto,
    /// The end that was seen first, then the other one.
    pub(super) ends: [End; 2],
    /// Which of them is the client.
    pub(super) client: usize,
    pub(super) evidence: Evidence,
    /// Path or name of a unix socket.
    pub(super) path: Option<Box<[u8]>>,
    /// When it began, boot-clock ns; before that, if `knows_start` is not set.
    pub(super) start: u64,
    pub(super) knows_start: bool,
    /// The last event of it.
    pub(super) last: u64,
    /// When it ended.
    pub(super) end: Option<u64>,
    pub(super) calls: u64,
    pub(super) errors: u64,
    /// The last error.
    pub(super) error: u32,
    /// The process that made the peer of the first end, 0 if unknown.
    pub(super) peer_pid: u32,
    /// Whether it consists of datagrams that a socket got from senders that are not known.
    pub(super) is_from_anyone: bool,
    /// Whether `net` events have its end.
    pub(super) has_net: bool,
}

impl Conn {
    pub(super) const fn new(proto: Proto, time: u64) -> Self {
        Self {
            id: 0,
            proto,
            ends: [End::new(), End::new()],
            client: 0,
            evidence: Evidence::None,
            path: None,
            start: time,
            knows_start: false,
            last: time,
            end: None,
            calls: 0,
            errors: 0,
            error: 0,
            peer_pid: 0,
            is_from_anyone: false,
            has_net: false,
        }
    }

    /// Takes note of which end is the client.
    pub(super) fn is_client(&mut self, side: usize, evidence: Evidence) {
        if evidence > self.evidence {
            (self.client, self.evidence) = (side, evidence);
        }
    }

    /// Whether both ends are known.
    pub(super) fn is_paired(&self) -> bool {
        self.ends[0].is_seen && self.ends[1].is_seen
    }

    /// Both addresses, that of the end first.
    pub(super) fn addresses(&self, side: usize) -> Option<(SocketAddr, SocketAddr)> {
        Some((self.ends[side].address?, self.ends[1 - side].address?))
    }

    /// Whether all ends that were seen are closed.
    pub(super) fn is_closed(&self) -> bool {
        self.ends.iter().all(|end| !end.is_seen || end.state != OPEN)
    }

    /// Makes the only end of another connection the second one of this one: they are the same.
    pub(super) fn absorb(&mut self, other: Self) {
        let (own, [end, far]) = (&mut self.ends, other.ends);
        // What either end knows of the other one's address is more precise where that is bound to any.
        let of_second = precise(end.address, own[1].address);
        let of_first = precise(own[0].address, far.address);
        own[1] = end;
        (own[0].address, own[1].address) = (of_first, of_second);
        if other.evidence > self.evidence {
            (self.client, self.evidence) = (1 - other.client, other.evidence);
        }
        // That of the server is the same for all of its clients.
        self.path = match other.client {
            1 => other.path.or(self.path.take()),
            _ => self.path.take().or(other.path),
        };
        // Which of two without it began earlier means nothing.
        if other.knows_start && (!self.knows_start || other.start < self.start) {
            self.start = other.start;
        } else if !self.knows_start {
            self.start = self.start.min(other.start);
        }
        self.knows_start |= other.knows_start;
        self.last = self.last.max(other.last);
        self.calls += other.calls;
        self.errors += other.errors;
        if self.error == 0 {
            self.error = other.error;
        }
        self.has_net |= other.has_net;
    }

    /// Bytes from an end to the other one. `is_ranged`: only those of calls in a time range, where there are some.
    pub(super) fn sent(&self, from: usize, is_ranged: bool) -> u64 {
        let (near, far) = (&self.ends[from], &self.ends[1 - from]);
        let of_calls = near.bytes[0].max(far.bytes[1]);
        let counter =
            |end: &End, at: usize| end.counters.map(|all| all[at]).filter(|bytes| *bytes != UNKNOWN);
        let counted = [counter(near, 0), counter(far, 1)].into_iter().flatten().max();
        match counted {
            Some(counted) if !is_ranged || self.calls == 0 => match self.end {
                Some(_) => counted,
                // The counters are those of the last minute.
                None => counted.max(of_calls),
            },
            _ if of_calls == 0 && (near.is_uncounted[0] || far.is_uncounted[1]) => UNKNOWN,
            // No call of either end was seen, and no counter.
            None if self.calls == 0 && self.has_net => UNKNOWN,
            _ => of_calls,
        }
    }

    /// Segments that both ends sent again.
    pub(super) fn retransmitted(&self) -> u64 {
        let known = self.ends.iter().filter_map(|end| end.counters.map(|all| all[2]));
        known.filter(|count| *count != UNKNOWN).reduce(|a, b| a + b).unwrap_or(UNKNOWN)
    }

    /// One of [`STATES`].
    pub(super) fn state(&self) -> u8 {
        if self.end.is_none() {
            return OPEN;
        }
        // What the client saw, unless it saw an orderly end.
        let (client, server) = (self.ends[self.client].state, self.ends[1 - self.client].state);
        if client > CLOSED { client } else { client.max(server).max(CLOSED) }
    }

    /// Decides by the ports, if nothing better is known.
    pub(super) fn orient_by_ports(&mut self, is_listening: impl Fn(u16) -> bool) {
        let Some((first, second)) = self.addresses(0) else { return };
        let rank = |port: u16| match port {
            port if is_listening(port) => 3,
            0..1024 => 2,
            // Where Linux takes a client's ports from, unless it is configured.
            1024..32_768 => 1,
            _ => 0,
        };
        let (first, second) = (rank(first.port()), rank(second.port()));
        if first != second {
            self.is_client(usize::from(first > second), Evidence::Ports);
        }
    }
}

/// The one that is not bound to any address.
fn precise(a: Option<SocketAddr>, b: Option<SocketAddr>) -> Option<SocketAddr> {
    let is_precise = |address: &SocketAddr| !address.ip().is_unspecified() && address.port() != 0;
    a.filter(is_precise).or(b.filter(is_precise)).or(a).or(b)
}

/// An IPv4 or IPv6 address with its port, in one form for both: IPv4 as such.
pub(super) fn inet(bytes: &[u8]) -> Option<SocketAddr> {
    match SockAddr::parse(bytes)? {
        SockAddr::Inet { ip, port, .. } if port != 0 || !ip.is_unspecified() => {
            Some(SocketAddr::new(ip.to_canonical(), port))
        }
        _ => None,
    }
}

/// A number that stands for a peer of datagrams.
pub(super) fn peer_number(peer: &impl Hash) -> u64 {
    let mut hasher = FxHasher::default();
    peer.hash(&mut hasher);
    hasher.finish().max(1)
}

/// The address as a `struct sockaddr_in` or `struct sockaddr_in6`.
pub(super) fn sockaddr(address: SocketAddr) -> Vec<u8> {
    let port = address.port().to_be_bytes();
    let mut bytes = Vec::with_capacity(28);
    match address.ip() {
        IpAddr::V4(ip) => {
            bytes.extend_from_slice(&[2, 0, port[0], port[1]]);
            bytes.extend_from_slice(&ip.octets());
            bytes.extend_from_slice(&[0; 8]);
        }
        IpAddr::V6(ip) => {
            bytes.extend_from_slice(&[10, 0, port[0], port[1], 0, 0, 0, 0]);
            bytes.extend_from_slice(&ip.octets());
            bytes.extend_from_slice(&[0; 4]);
        }
    }
    bytes
}

/// The path or name of a unix socket as a `struct sockaddr_un`.
pub(super) fn unix_sockaddr(path: &[u8]) -> Vec<u8> {
    let family = [1, 0];
    match path.split_first() {
        Some((b'@', name)) => [&family[..], &[0], name].concat(),
        _ => [&family[..], path].concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_one_form() {
        let round_trip = |text: &str| inet(&sockaddr(text.parse().unwrap()));
        assert_eq!(round_trip("[::ffff:10.0.0.1]:80"), Some("10.0.0.1:80".parse().unwrap()));
        assert_eq!(round_trip("[2001:db8::1]:80"), Some("[2001:db8::1]:80".parse().unwrap()));
        assert_eq!(round_trip("0.0.0.0:0"), None);
    }
}
