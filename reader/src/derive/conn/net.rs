//! What follows from `net` events for TCP connections.

use std::net::SocketAddr;

use events::UNKNOWN;

use super::connection::{Conn, Evidence, Proto, state};
use super::table::Table;

/// A `net` event.
#[derive(Clone, Copy, Debug)]
pub(super) struct Net<'a> {
    pub(super) time: u64,
    /// Row of the carried tasks, and process id.
    pub(super) thread: (u32, u32),
    /// The age, or [`UNKNOWN`].
    pub(super) age: u64,
    pub(super) old: &'a [u8],
    pub(super) new: &'a [u8],
    pub(super) role: &'a [u8],
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) sock: u64,
    pub(super) netns: u64,
    /// Bytes sent and received, segments that were sent again; each may be [`UNKNOWN`].
    pub(super) counters: [u64; 3],
    pub(super) error: u32,
    pub(super) reason: &'a [u8],
}

impl Table {
    /// Takes note of an event.
    pub(super) fn net(&mut self, net: &Net<'_>) {
        if net.role == b"listener" {
            self.ports.extend(net.local.map(|local| local.port()));
            return;
        }
        let is_end = net.new == b"CLOSE";
        if net.old == b"CLOSE" {
            // If another socket had the number, its end was lost.
            self.forget_sock(net.sock);
        }
        let place = self.of_sock(net.sock).or_else(|| {
            let both = net.local.zip(net.remote)?;
            let place = self.of_addresses(both, net.thread.1, |end| end.sock == 0)?;
            self.set_sock(place, net.sock);
            Some(place)
        });
        let place = match place {
            Some(place) => place,
            // A request that came to nothing: the kernel makes two sockets of one now and then.
            None if is_end && net.old == b"SYN_RECV" => return,
            None => {
                let mut conn = Conn::new(Proto::Tcp, net.time);
                conn.ends[0].sock = net.sock;
                conn.ends[0].netns = net.netns;
                (conn.ends[0].task, conn.ends[0].pid) = net.thread;
                if net.age != UNKNOWN {
                    (conn.start, conn.knows_start) = (net.time.saturating_sub(net.age), true);
                }
                self.add(conn)
            }
        };
        let place = self.set_addresses(place, net.local, net.remote);
        self.set_task(place, net.thread, false);
        let is_counted = net.time >= self.range.from;
        let Some(conn) = self.get_mut(place.conn) else { return };
        conn.has_net = true;
        conn.last = net.time;
        conn.ends[place.side].netns = net.netns;
        if net.age != UNKNOWN && !conn.knows_start {
            (conn.start, conn.knows_start) = (net.time.saturating_sub(net.age), true);
        }
        match net.role {
            b"client" => conn.is_client(place.side, Evidence::Proof),
            b"server" => conn.is_client(1 - place.side, Evidence::Proof),
            _ => {}
        }
        if net.counters != [UNKNOWN; 3] {
            conn.ends[place.side].counters = Some(net.counters);
        }
        if net.error != 0 {
            conn.error = net.error;
            // A connect that failed, perhaps after it had returned.
            conn.errors += u64::from(is_counted && net.old == b"SYN_SENT");
        }
        if is_end {
            self.close(place, net.time, state(net.reason));
            self.forget_sock(net.sock);
        }
    }
}
