//! The connections that have not been written yet, and how they are found.

mod retire;
mod socks;

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use rustc_hash::{FxHashMap, FxHashSet};

use super::connection::{Conn, End, NONE, OPEN, Proto};
use crate::derive::Range;

/// Most pairs of datagram sockets that are compared with one.
const MOST_CANDIDATES: usize = 64;
/// Paths and ports of which something is remembered.
const MOST_NAMES: usize = 65_536;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) conn: u32,
    pub(super) side: usize,
}

/// What datagrams are sent to: by port, or by path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Port(u16),
    Path(Box<[u8]>),
}

/// What is known of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Receiver {
    /// Bytes and calls of senders that are known.
    pub(super) sent: [u64; 2],
    /// The end that receives.
    task: u32,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) range: Range,
    slots: Vec<Option<Conn>>,
    free: Vec<u32>,
    udp: usize,
    next_id: u64,
    /// Ends by the number of their socket among calls.
    by_socket: FxHashMap<u64, Place>,
    /// The same among `net` events.
    by_sock: FxHashMap<u64, Place>,
    /// Of datagrams, by socket and peer.
    by_peer: FxHashMap<(u64, u64), Place>,
    /// The same in order, so that all of a socket are found.
    by_datagram_socket: BTreeSet<(u64, u32)>,
    /// TCP by both addresses, the lesser one first.
    by_addresses: FxHashMap<(SocketAddr, SocketAddr), Vec<u32>>,
    /// UDP of which one end is known, by its address and the other one's port.
    by_ports: BTreeSet<(SocketAddr, u16, u32)>,
    /// Unix sockets whose other end is missing, by process and peer, each with its number.
    waiting: FxHashMap<(u32, u32), VecDeque<(u32, u64)>>,
    by_pid: BTreeSet<(u32, u32)>,
    /// Ended, with their numbers, in the order of their ends.
    lingering: VecDeque<(u32, u64, u64)>,
    ended: FxHashSet<u64>,
    ended_order: VecDeque<u64>,
    /// Those to be written.
    pub(super) ready: Vec<Conn>,
    pub(super) receivers: FxHashMap<Name, Receiver>,
    /// Who accepts at a path.
    pub(super) listeners: FxHashMap<Box<[u8]>, u32>,
    /// Ports at which some socket listens.
    pub(super) ports: FxHashSet<u16>,
    /// Addresses that sockets of this host have.
    local: FxHashSet<IpAddr>,
}

fn sorted<T: Ord>(a: T, b: T) -> (T, T) {
    if a <= b { (a, b) } else { (b, a) }
}

impl Table {
    pub(super) fn new(range: Range) -> Self {
        Self {
            range,
            slots: Vec::new(),
            free: Vec::new(),
            udp: 0,
            next_id: 1,
            by_socket: FxHashMap::default(),
            by_sock: FxHashMap::default(),
            by_peer: FxHashMap::default(),
            by_datagram_socket: BTreeSet::new(),
            by_addresses: FxHashMap::default(),
            by_ports: BTreeSet::new(),
            waiting: FxHashMap::default(),
            by_pid: BTreeSet::new(),
            lingering: VecDeque::new(),
            ended: FxHashSet::default(),
            ended_order: VecDeque::new(),
            ready: Vec::new(),
            receivers: FxHashMap::default(),
            listeners: FxHashMap::default(),
            ports: FxHashSet::default(),
            local: FxHashSet::default(),
        }
    }

    pub(super) fn get(&self, conn: u32) -> Option<&Conn> {
        self.slots.get(conn as usize)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, conn: u32) -> Option<&mut Conn> {
        self.slots.get_mut(conn as usize)?.as_mut()
    }

    /// The end of a call's socket.
    pub(super) fn of_socket(&self, socket: u64) -> Option<Place> {
        self.by_socket.get(&socket).copied()
    }

    /// The end of a socket that exchanges datagrams with this peer.
    pub(super) fn of_peer(&self, socket: u64, peer: u64) -> Option<Place> {
        self.by_peer.get(&(socket, peer)).copied()
    }

    /// Whether a socket belongs to a connection that has got its row.
    pub(super) fn has_ended(&self, socket: u64) -> bool {
        self.ended.contains(&socket)
    }

    /// Adds a connection of which one end is known; it is found by what that end has.
    pub(super) fn add(&mut self, mut conn: Conn) -> Place {
        conn.id = self.next_id;
        self.next_id += 1;
        conn.ends[0].is_seen = true;
        if conn.proto == Proto::Udp {
            self.udp += 1;
        }
        let at = match self.free.pop() {
            Some(at) => at,
            None => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
        };
        let place = Place { conn: at, side: 0 };
        let end = &conn.ends[0];
        match end.peer {
            Some(peer) => {
                self.by_peer.insert((end.socket, peer), place);
                self.by_datagram_socket.insert((end.socket, at));
            }
            None if end.socket != 0 => _ = self.by_socket.insert(end.socket, place),
            None => {}
        }
        if end.sock != 0 {
            self.by_sock.insert(end.sock, place);
        }
        if end.pid != 0 {
            self.by_pid.insert((end.pid, at));
        }
        self.slots[at as usize] = Some(conn);
        self.make_room();
        place
    }

    /// The call's socket of an end becomes known.
    pub(super) fn set_socket(&mut self, place: Place, socket: u64) {
        if let Some(conn) = self.get_mut(place.conn) {
            conn.ends[place.side].socket = socket;
            self.by_socket.insert(socket, place);
        }
    }

    /// The thread of an end: the first one, or the first of another process that transfers data.
    pub(super) fn set_task(&mut self, place: Place, (task, pid): (u32, u32), is_user: bool) {
        let Some(conn) = self.slots.get_mut(place.conn as usize).and_then(Option::as_mut) else { return };
        let end = &mut conn.ends[place.side];
        let is_better =
            end.task == NONE || end.pid != pid && (is_user || !end.is_user) || is_user && !end.is_user;
        if !is_better || task == NONE {
            return;
        }
        let old = end.pid;
        (end.task, end.pid) = (task, pid);
        end.is_user |= is_user;
        if old != pid {
            if conn.ends[1 - place.side].pid != old {
                self.by_pid.remove(&(old, place.conn));
            }
            if pid != 0 {
                self.by_pid.insert((pid, place.conn));
            }
        }
    }

    /// The addresses of an end and of its peer, as far as they are known by now: looks for the other end if they are new.
    pub(super) fn set_addresses(
        &mut self,
        place: Place,
        local: Option<SocketAddr>,
        remote: Option<SocketAddr>,
    ) -> Place {
        if let Some(local) =
            local.filter(|local| !local.ip().is_unspecified() && self.local.len() < MOST_NAMES)
        {
            self.local.insert(local.ip());
        }
        let Some(conn) = self.get_mut(place.conn) else { return place };
        let before = conn.addresses(place.side);
        let is_vague = |known: &Option<SocketAddr>| {
            known.is_none_or(|known| known.port() == 0 || known.ip().is_unspecified())
        };
        for (side, address) in [(place.side, local), (1 - place.side, remote)] {
            let known = &mut conn.ends[side].address;
            if address.is_some() && is_vague(known) && *known != address {
                *known = address;
            }
        }
        let Some((own, far)) = conn.addresses(place.side).filter(|both| Some(*both) != before) else {
            return place;
        };
        let (proto, is_single) = (conn.proto, !conn.is_paired());
        if own.port() == 0 || far.port() == 0 {
            return place;
        }
        if let Some((own, far)) = before {
            self.forget_addresses(place.conn, proto, (own, far));
        }
        if let Some(other) = self.other_end(place, proto, (own, far)) {
            return self.merge(other, place.conn);
        }
        match proto {
            Proto::Tcp => self.by_addresses.entry(sorted(own, far)).or_default().push(place.conn),
            Proto::Udp if is_single => _ = self.by_ports.insert((own, far.port(), place.conn)),
            Proto::Udp | Proto::Unix => {}
        }
        place
    }

    /// A connection of which the end that an end with these addresses talks to is known, and no other.
    fn other_end(&self, place: Place, proto: Proto, (own, far): (SocketAddr, SocketAddr)) -> Option<u32> {
        let this = self.get(place.conn).filter(|this| !this.is_paired())?;
        let is_same = |a: SocketAddr, b: SocketAddr| match proto {
            Proto::Udp => {
                a.port() == b.port()
                    && (a.ip() == b.ip() || a.ip().is_unspecified() || b.ip().is_unspecified())
            }
            _ => a == b,
        };
        let fits = |at: &u32| {
            let Some(other) = self.get(*at).filter(|_| *at != place.conn) else { return false };
            let Some((near, its_far)) = other.addresses(0) else { return false };
            // Each namespace has a loopback device of its own.
            let namespaces = [this.ends[0].netns, other.ends[0].netns];
            let is_apart = own.ip().is_loopback()
                && namespaces[0] != namespaces[1]
                && !namespaces.contains(&events::UNKNOWN);
            // A port that is used again soon.
            let is_earlier =
                proto == Proto::Tcp && this.knows_start && other.end.is_some_and(|end| end < this.start);
            let is_single = !other.is_paired() && !other.is_from_anyone;
            is_single && is_same(near, far) && is_same(its_far, own) && !is_apart && !is_earlier
        };
        if proto == Proto::Tcp {
            return self.by_addresses.get(&sorted(own, far))?.iter().rev().copied().find(fits);
        }
        // The other end may be bound to all addresses.
        let any = match far.ip() {
            IpAddr::V4(_) => IpAddr::from([0; 4]),
            IpAddr::V6(_) => IpAddr::from([0; 16]),
        };
        let ends = [far, SocketAddr::new(any, far.port()), SocketAddr::from(([0; 16], far.port()))];
        ends.into_iter().find_map(|end| {
            let list = self.by_ports.range((end, own.port(), 0)..=(end, own.port(), NONE));
            list.rev().map(|(.., at)| *at).take(MOST_CANDIDATES).find(fits)
        })
    }

    /// The end of a TCP connection with these addresses whose socket is not known by the number that it is looked for with.
    pub(super) fn of_addresses(
        &self,
        (own, far): (SocketAddr, SocketAddr),
        pid: u32,
        is_free: impl Fn(&End) -> bool,
    ) -> Option<Place> {
        let list = self.by_addresses.get(&sorted(own, far))?;
        let places = list.iter().rev().filter_map(|at| {
            let conn = self.get(*at)?;
            let side = (0..2).find(|side| conn.addresses(*side) == Some((own, far)))?;
            let end = &conn.ends[side];
            // The other end of it alone is found by a connection of its own.
            (end.is_seen && is_free(end)).then_some((Place { conn: *at, side }, end.pid))
        });
        let mut any = None;
        for (place, owner) in places {
            if owner == pid {
                return Some(place);
            }
            any = any.or(Some(place));
        }
        any
    }

    /// Puts two connections of one known end each together; returns the place of the end of the second one.
    pub(super) fn merge(&mut self, first: u32, second: u32) -> Place {
        let place = Place { conn: first, side: 1 };
        let Some(other) = self.slots.get_mut(second as usize).and_then(Option::take) else { return place };
        self.free.push(second);
        if other.proto == Proto::Udp {
            self.udp -= 1;
        }
        if let Some((own, far)) = other.addresses(0) {
            self.forget_addresses(second, other.proto, (own, far));
        }
        let end = &other.ends[0];
        if end.pid != 0 {
            self.by_pid.remove(&(end.pid, second));
            self.by_pid.insert((end.pid, first));
        }
        match end.peer {
            Some(peer) => {
                self.by_peer.insert((end.socket, peer), place);
                self.by_datagram_socket.remove(&(end.socket, second));
                self.by_datagram_socket.insert((end.socket, first));
            }
            None if end.socket != 0 => _ = self.by_socket.insert(end.socket, place),
            None => {}
        }
        self.move_sock(end.sock, second, place);
        if let Some((own, far)) =
            self.get(first).filter(|conn| conn.proto == Proto::Udp).and_then(|conn| conn.addresses(0))
        {
            self.forget_addresses(first, Proto::Udp, (own, far));
        }
        let Some(conn) = self.get_mut(first) else { return place };
        let was_closed = conn.end.is_some();
        let other_end = other.end;
        conn.absorb(other);
        conn.end = if conn.is_closed() { conn.end.max(other_end) } else { None };
        let (id, end) = (conn.id, conn.end);
        if let (false, Some(end)) = (was_closed, end) {
            self.lingering.push_back((first, id, end));
        }
        place
    }

    fn forget_addresses(&mut self, conn: u32, proto: Proto, (own, far): (SocketAddr, SocketAddr)) {
        fn remove<K: std::hash::Hash + Eq>(map: &mut FxHashMap<K, Vec<u32>>, key: K, conn: u32) {
            if let Some(list) = map.get_mut(&key) {
                list.retain(|known| *known != conn);
                if list.is_empty() {
                    map.remove(&key);
                }
            }
        }
        match proto {
            Proto::Tcp => remove(&mut self.by_addresses, sorted(own, far), conn),
            Proto::Udp => _ = self.by_ports.remove(&(own, far.port(), conn)),
            Proto::Unix => {}
        }
    }

    /// Looks for the other end of a unix socket among those of `theirs`, which are in the order of their beginnings; if there is
    /// none, the socket waits among those of `own`. Returns its place.
    pub(super) fn pair_unix(&mut self, place: Place, own: (u32, u32), theirs: (u32, u32)) -> Place {
        let Some(this) = self.get(place.conn).filter(|this| !this.is_paired()) else { return place };
        let is_same_path = |path: &Option<Box<[u8]>>| match (&this.path, path) {
            // A path may be relative, or lead through links.
            (Some(a), Some(b)) => last_part(a) == last_part(b),
            _ => true,
        };
        let found = self.waiting.get(&theirs).and_then(|list| {
            list.iter().position(|(at, id)| {
                let other = self.get(*at).filter(|other| other.id == *id && *at != place.conn);
                other.is_some_and(|other| !other.is_paired() && is_same_path(&other.path))
            })
        });
        let id = this.id;
        if let Some((at, _)) = found.and_then(|found| self.waiting.get_mut(&theirs)?.remove(found)) {
            return self.merge(at, place.conn);
        }
        let slots = &self.slots;
        let list = self.waiting.entry(own).or_default();
        if list.len() >= 16 && list.len().is_power_of_two() {
            let is_there = |at: u32, id: u64| slots[at as usize].as_ref().is_some_and(|conn| conn.id == id);
            list.retain(|(at, id)| is_there(*at, *id));
        }
        list.push_back((place.conn, id));
        if self.waiting.len() > MOST_NAMES {
            self.waiting.clear();
        }
        place
    }

    /// Both ends of a connection are known at once.
    pub(super) fn add_second(&mut self, conn: u32, end: End) {
        let place = Place { conn, side: 1 };
        if end.socket != 0 {
            self.by_socket.insert(end.socket, place);
        }
        if end.pid != 0 {
            self.by_pid.insert((end.pid, conn));
        }
        if let Some(conn) = self.get_mut(conn) {
            conn.ends[1] = End { is_seen: true, ..end };
        }
    }

    /// Notes that an end is closed.
    pub(super) fn close(&mut self, place: Place, time: u64, state: u8) {
        let Some(conn) = self.get_mut(place.conn) else { return };
        conn.ends[place.side].state = state;
        if conn.is_closed() && conn.end.is_none() {
            conn.end = Some(time);
            let id = conn.id;
            self.lingering.push_back((place.conn, id, time));
        }
    }

    /// Notes that an end is in use, though it seemed to be closed: another process has it, too.
    pub(super) fn is_used(&mut self, place: Place) {
        let Some(conn) = self.get_mut(place.conn) else { return };
        if !conn.has_net && conn.ends[place.side].state != OPEN {
            conn.ends[place.side].state = OPEN;
            conn.end = None;
        }
    }

    /// All connections in which a process has an end.
    pub(super) fn of_process(&self, pid: u32) -> Vec<Place> {
        let found =
            self.by_pid.range((pid, 0)..=(pid, NONE)).filter_map(|(_, at)| Some((*at, self.get(*at)?)));
        let sides = found.flat_map(|(conn, of)| {
            (0..2)
                .filter(|side| of.ends[*side].pid == pid)
                .map(move |side| Place { conn, side })
                .collect::<Vec<_>>()
        });
        sides.collect()
    }

    /// All ends of a socket of datagrams, each with another peer.
    pub(super) fn of_datagram_socket(&self, socket: u64) -> Vec<Place> {
        let found = self.by_datagram_socket.range((socket, 0)..=(socket, NONE));
        let places = found.filter_map(|(_, conn)| {
            let side =
                self.get(*conn)?.ends.iter().position(|end| end.socket == socket && end.peer.is_some())?;
            Some(Place { conn: *conn, side })
        });
        places.collect()
    }

    /// What is known of the receiver of datagrams; `None` if there are too many.
    pub(super) fn receiver(&mut self, name: Name) -> Option<&mut Receiver> {
        if self.receivers.len() >= MOST_NAMES && !self.receivers.contains_key(&name) {
            return None;
        }
        Some(self.receivers.entry(name).or_insert(Receiver { sent: [0; 2], task: NONE }))
    }

    /// Whether some socket of this host has the address.
    pub(super) fn is_of_this_host(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.local.contains(&ip)
    }

    /// The thread that receives at a name.
    pub(super) fn set_receiver(&mut self, name: Name, task: u32) {
        if let Some(receiver) = self.receiver(name) {
            receiver.task = task;
        }
    }
}

fn last_part(path: &[u8]) -> &[u8] {
    path.rsplit(|byte| *byte == b'/').next().unwrap_or(path)
}
