//! When connections leave the table: at their ends, or when there are too many.

use std::mem;
use std::net::SocketAddr;

use super::{Name, Table};
use crate::derive::conn::connection::{Conn, Evidence, NONE, Proto};

/// How long a connection that has ended waits for what still belongs to it: calls that return late, and the other end.
const LINGER: u64 = 5_000_000_000;
/// Most that wait.
const MOST_LINGERING: usize = 16_384;
/// Most connections in memory. If there are more, those without data for the longest time get their row.
const MOST: usize = 65_536;
/// The same of pairs of datagram sockets.
const MOST_UDP: usize = 16_384;
/// Numbers of sockets that have ended, to recognise what comes later.
const MOST_ENDED: usize = 65_536;

impl Table {
    /// Passes those that have ended and need not wait any more to [`Self::ready`].
    pub(in crate::derive::conn) fn expire(&mut self, now: u64) {
        while let Some((at, id, end)) = self.lingering.front().copied() {
            if end.saturating_add(LINGER) > now && self.lingering.len() <= MOST_LINGERING {
                return;
            }
            self.lingering.pop_front();
            // It may be in use again, or part of another one.
            if self.get(at).is_some_and(|conn| conn.id == id && conn.end.is_some()) {
                self.remove(at);
            }
        }
    }

    /// Passes all to [`Self::ready`].
    pub(in crate::derive::conn) fn finish(&mut self) {
        (0..self.slots.len() as u32).for_each(|at| self.remove(at));
    }

    /// How many there are.
    pub(in crate::derive::conn) fn live(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn make_room(&mut self) {
        if self.udp <= MOST_UDP && self.live() <= MOST {
            return;
        }
        // Of datagrams, more rows of the same pair do the least harm.
        let only_udp = self.udp > MOST_UDP / 2;
        let fits = |conn: &&Conn| !only_udp || conn.proto == Proto::Udp;
        let mut times: Vec<u64> = self.slots.iter().flatten().filter(fits).map(|conn| conn.last).collect();
        let quarter = times.len() / 4;
        let (_, limit, _) = times.select_nth_unstable(quarter);
        let limit = *limit;
        let newest = self.next_id - 1;
        for at in 0..self.slots.len() as u32 {
            if self
                .get(at)
                .as_ref()
                .filter(|conn| fits(conn))
                .is_some_and(|conn| conn.last <= limit && conn.id != newest)
            {
                self.remove(at);
            }
        }
    }

    fn remove(&mut self, at: u32) {
        let Some(conn) = self.slots.get_mut(at as usize).and_then(Option::take) else { return };
        self.free.push(at);
        if conn.proto == Proto::Udp {
            self.udp -= 1;
        }
        if let Some((own, far)) = conn.addresses(0) {
            self.forget_addresses(at, conn.proto, (own, far));
        }
        for end in &conn.ends {
            if end.pid != 0 {
                self.by_pid.remove(&(end.pid, at));
            }
            self.remove_sock(end.sock, at);
            if let Some(peer) = end.peer {
                self.by_peer.remove(&(end.socket, peer));
                self.by_datagram_socket.remove(&(end.socket, at));
            } else if self.by_socket.get(&end.socket).is_some_and(|place| place.conn == at) {
                self.by_socket.remove(&end.socket);
                if conn.has_net && conn.end.is_some() {
                    self.has_got_its_row(end.socket);
                }
            }
        }
        self.ready.push(conn);
    }

    fn has_got_its_row(&mut self, socket: u64) {
        if self.ended.insert(socket) {
            self.ended_order.push_back(socket);
        }
        if self.ended_order.len() > MOST_ENDED
            && let Some(oldest) = self.ended_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// Completes a connection before its row is written: its direction, and what other connections know of it. `None` if there
    /// is nothing about it.
    pub(in crate::derive::conn) fn complete(&self, mut conn: Conn) -> Option<Conn> {
        let name = self.name_of_server(&conn);
        if conn.is_from_anyone {
            let known = name.and_then(|name| self.receivers.get(&name)).map_or([0; 2], |known| known.sent);
            let received = &mut conn.ends[0].bytes[1];
            *received = received.saturating_sub(known[0]);
            let rest = *received;
            conn.calls = conn.calls.saturating_sub(known[1]);
            if rest == 0 && conn.errors == 0 {
                return None;
            }
        } else if !conn.is_paired()
            && conn.client == 0
            && let Some(receiver) = name.and_then(|name| self.receivers.get(&name))
        {
            let is_here = |far: SocketAddr| self.is_of_this_host(far.ip());
            if conn.proto == Proto::Unix || conn.ends[1].address.is_some_and(is_here) {
                conn.ends[1].task = receiver.task;
            }
        }
        if conn.evidence < Evidence::Ports {
            conn.orient_by_ports(|port| self.ports.contains(&port));
        }
        Some(conn)
    }

    /// What the other end of a connection is bound to; of datagrams from anyone, the end that receives.
    fn name_of_server(&self, conn: &Conn) -> Option<Name> {
        match conn.proto {
            Proto::Tcp => None,
            Proto::Udp => Some(Name::Port(conn.ends[usize::from(!conn.is_from_anyone)].address?.port())),
            Proto::Unix => Some(Name::Path(conn.path.clone()?)),
        }
    }

    /// The rows of carried tasks that are in use, to be renumbered.
    pub(in crate::derive::conn) fn tasks(&mut self) -> impl Iterator<Item = &mut u32> {
        let ends = self.slots.iter_mut().flatten().flat_map(|conn| &mut conn.ends).map(|end| &mut end.task);
        let receivers = self.receivers.values_mut().map(|receiver| &mut receiver.task);
        ends.chain(receivers).filter(|task| **task != NONE)
    }

    /// Takes those to be written.
    pub(in crate::derive::conn) fn take_ready(&mut self) -> Vec<Conn> {
        mem::take(&mut self.ready)
    }
}
