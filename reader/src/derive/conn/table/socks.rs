//! Sockets by their numbers among `net` events. The kernel uses the memory of a socket again as soon as the socket is gone, and with
//! it the number.

use super::{Place, Table};

impl Table {
    /// The end of a socket that is not closed.
    pub(in crate::derive::conn) fn of_sock(&self, sock: u64) -> Option<Place> {
        self.by_sock.get(&sock).copied()
    }

    /// The number of an end becomes known.
    pub(in crate::derive::conn) fn set_sock(&mut self, place: Place, sock: u64) {
        if let Some(conn) = self.get_mut(place.conn) {
            conn.ends[place.side].sock = sock;
            self.by_sock.insert(sock, place);
        }
    }

    /// From now on, the number is that of another socket.
    pub(in crate::derive::conn) fn forget_sock(&mut self, sock: u64) {
        self.by_sock.remove(&sock);
    }

    /// The only end of a connection becomes that of another one.
    pub(super) fn move_sock(&mut self, sock: u64, from: u32, to: Place) {
        if let Some(place) = self.by_sock.get_mut(&sock).filter(|place| place.conn == from) {
            *place = to;
        }
    }

    /// A connection leaves. The number of its socket may be that of another one by now.
    pub(super) fn remove_sock(&mut self, sock: u64, conn: u32) {
        if self.by_sock.get(&sock).is_some_and(|place| place.conn == conn) {
            self.by_sock.remove(&sock);
        }
    }
}
