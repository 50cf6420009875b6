//! TCP sockets.

use agent_ebpf::records::net::{Net, ending, role, tcp};
use capture_format::ChunkBuilder;
use events::{Kind, UNKNOWN};

use super::{RowWriter, col};
use crate::record::decode;
use crate::record::processes::Subject;

/// `AF_INET6`, the same on every machine.
const AF_INET6: u16 = 10;
/// The largest socket address of these: `struct sockaddr_in6`.
const ADDRESS_MAX: usize = 28;

impl RowWriter {
    pub(super) fn net(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record: Net = decode::record(bytes)?;
        self.net_row(builder, &record);
        Some(())
    }

    /// Writes the counters of connections that are open.
    pub(super) fn open_connections(&mut self, builder: &mut ChunkBuilder, connections: &[Net]) {
        for record in connections {
            let mut record = *record;
            // That of the thread that lists them means nothing.
            record.head.cpu = u16::MAX;
            self.net_row(builder, &record);
        }
    }

    fn net_row(&mut self, builder: &mut ChunkBuilder, record: &Net) {
        // The kernel side selects by process: sockets that the recorded command's children listen on are theirs,
        // whoever accepts.
        if !self.wants_cgroup(Kind::Net, record.head.cgroup) {
            return;
        }
        self.count(record.head.cgroup);
        let (head, new) = (record.head, u32::from(record.new));
        let subject = Subject { pid: head.pid, tid: head.tid, cgroup: head.cgroup, uid: Some(record.uid) };
        let task = self.task(builder, subject);
        let index = if new == tcp::OPEN {
            // It is ahead of the ring buffers, as other events of the agent are.
            self.common_columns(builder, Kind::Net, &head, task)
        } else {
            self.common_of(builder, Kind::Net, &head, task)
        };
        let counted = (new == tcp::CLOSE || new == tcp::OPEN) && record.counted != 0;
        let counter = |value: u64| if counted { value } else { UNKNOWN };
        let error = if new == tcp::CLOSE { u64::from(record.error) } else { 0 };
        let reason = builder.intern(reason(record).as_bytes());
        let age = match record.birth {
            0 => UNKNOWN,
            birth => record.head.time.saturating_sub(birth),
        };
        let netns = if record.netns == 0 { UNKNOWN } else { u64::from(record.netns) };
        let old = builder.intern(state_name(record.old).as_bytes());
        let new = builder.intern(state_name(record.new).as_bytes());
        let role = builder.intern(role_name(record.role).as_bytes());
        let mut buffer = [0; ADDRESS_MAX];
        let local = builder.intern(address(record, Side::Local, &mut buffer));
        let remote = builder.intern(address(record, Side::Remote, &mut buffer));
        let table = builder.table_at(index);
        table.push_u64(col!(Net, "dur"), age);
        table.push_bytes(col!(Net, "old"), old);
        table.push_bytes(col!(Net, "new"), new);
        table.push_bytes(col!(Net, "role"), role);
        table.push_bytes(col!(Net, "local"), local);
        table.push_bytes(col!(Net, "remote"), remote);
        table.push_u64(col!(Net, "sock"), record.sock);
        table.push_u64(col!(Net, "netns"), netns);
        table.push_u64(col!(Net, "sent"), counter(record.sent));
        table.push_u64(col!(Net, "received"), counter(record.received));
        table.push_u64(col!(Net, "retrans"), counter(u64::from(record.retrans)));
        table.push_u64(col!(Net, "error"), error);
        table.push_bytes(col!(Net, "reason"), reason);
        table.end_row();
    }
}

/// The kernel's name for a state.
fn state_name(state: u8) -> &'static str {
    match u32::from(state) {
        tcp::ESTABLISHED => "ESTABLISHED",
        tcp::SYN_SENT => "SYN_SENT",
        tcp::SYN_RECV => "SYN_RECV",
        tcp::FIN_WAIT1 => "FIN_WAIT1",
        tcp::FIN_WAIT2 => "FIN_WAIT2",
        6 => "TIME_WAIT",
        tcp::CLOSE => "CLOSE",
        tcp::CLOSE_WAIT => "CLOSE_WAIT",
        tcp::LAST_ACK => "LAST_ACK",
        tcp::LISTEN => "LISTEN",
        tcp::CLOSING => "CLOSING",
        12 => "NEW_SYN_RECV",
        13 => "BOUND_INACTIVE",
        tcp::OPEN => "OPEN",
        _ => "unknown",
    }
}

fn role_name(role: u32) -> &'static str {
    match role {
        role::CLIENT => "client",
        role::SERVER => "server",
        role::LISTENER => "listener",
        _ => "unknown",
    }
}

/// Why a connection ended; empty for other events.
fn reason(record: &Net) -> &'static str {
    let old = u32::from(record.old);
    if u32::from(record.new) != tcp::CLOSE || record.role == role::LISTENER || old == tcp::LISTEN {
        return "";
    }
    match i32::from(record.error) {
        0 => end_without_error(record, old),
        libc::ECONNREFUSED => "refused",
        // A reset of a connection whose other side had sent its FIN is a broken pipe.
        libc::ECONNRESET | libc::EPIPE => "reset",
        // By a request to the kernel, as that of `ss -K`.
        libc::ECONNABORTED => "aborted",
        libc::ETIMEDOUT => "timed_out",
        libc::EHOSTUNREACH | libc::ENETUNREACH | libc::EHOSTDOWN | libc::ENETDOWN => "unreachable",
        _ => "error",
    }
}

/// The same where the socket has no error: a process closed it, or the FINs of both sides were exchanged.
fn end_without_error(record: &Net, old: u32) -> &'static str {
    match old {
        // There was no port left, or no route: the call to connect has the error.
        tcp::SYN_SENT if record.local_port == 0 => "error",
        tcp::SYN_SENT | tcp::SYN_RECV => "given_up",
        // Closing sends a FIN first and leads to another state, unless data is unread or nothing is to linger.
        tcp::ESTABLISHED | tcp::CLOSE_WAIT => "aborted",
        // A socket that no process has is done as soon as its FIN is acknowledged: a smaller one waits in its place.
        _ if record.unacked == 0 && record.ending & (ending::FIN_RECEIVED | ending::ORPHANED) != 0 => {
            "closed"
        }
        _ => "aborted",
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Local,
    Remote,
}

/// The address as a `struct sockaddr_in` or `struct sockaddr_in6`; empty if there is none.
fn address<'a>(record: &Net, side: Side, buffer: &'a mut [u8; ADDRESS_MAX]) -> &'a [u8] {
    let (words, port) = match side {
        Side::Local => (record.local, record.local_port),
        Side::Remote => (record.remote, record.remote_port),
    };
    // A listener has no peer.
    if side == Side::Remote && port == 0 {
        return &[];
    }
    buffer.fill(0);
    buffer[..2].copy_from_slice(&record.family.to_le_bytes());
    buffer[2..4].copy_from_slice(&port.to_be_bytes());
    if record.family != AF_INET6 {
        // Addresses lie in memory as on the wire.
        buffer[4..8].copy_from_slice(&words[0].to_ne_bytes());
        return &buffer[..16];
    }
    for (to, word) in buffer[8..24].chunks_exact_mut(4).zip(words) {
        to.copy_from_slice(&word.to_ne_bytes());
    }
    let link_local = buffer[8] == 0xfe && buffer[9] & 0xc0 == 0x80;
    if link_local {
        buffer[24..28].copy_from_slice(&record.scope.to_le_bytes());
    }
    buffer.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ktape_reader::fields::words;
    use ktape_reader::syscalls::sockaddr::format;

    fn printed(record: &Net, side: Side) -> String {
        let mut out = Vec::new();
        format(address(record, side, &mut [0; ADDRESS_MAX]), &mut out);
        String::from_utf8(out).unwrap()
    }

    fn words(bytes: [u8; 16]) -> [u32; 4] {
        std::array::from_fn(|i| u32::from_ne_bytes(bytes[i * 4..i * 4 + 4].try_into().unwrap()))
    }

    #[test]
    fn filters_know_every_state_and_role() {
        assert!((0..=u8::MAX).all(|state| words::NET_CHANGES.find(state_name(state)).is_some()));
        assert!((0..=20).all(|state| words::TCP_STATES.find(state_name(state)).is_some()));
        assert!((0..=9).all(|role| words::NET_ROLES.find(role_name(role)).is_some()));
    }

    #[test]
    fn filters_know_every_reason() {
        for old in 0..=13 {
            for error in 0..200 {
                let reason = reason(&Net { old, new: tcp::CLOSE as u8, error, ..Net::default() });
                assert!(reason.is_empty() || words::NET_REASONS.find(reason).is_some(), "{reason}");
            }
        }
    }

    #[test]
    fn reasons_follow_from_error_and_state() {
        let end_of = |old: u32, error: i32, unacked: u32, ending: u16| {
            let (old, new, error) = (old as u8, tcp::CLOSE as u8, error as u16);
            reason(&Net { old, new, error, unacked, ending, local_port: 1, ..Net::default() })
        };
        assert_eq!(end_of(tcp::LAST_ACK, 0, 0, ending::FIN_RECEIVED), "closed");
        assert_eq!(end_of(tcp::FIN_WAIT2, 0, 0, ending::FIN_RECEIVED), "closed");
        assert_eq!(end_of(tcp::FIN_WAIT2, 0, 0, ending::ORPHANED), "closed");
        assert_eq!(end_of(tcp::FIN_WAIT2, 0, 0, 0), "aborted");
        assert_eq!(end_of(tcp::FIN_WAIT1, 0, 1, ending::ORPHANED), "aborted");
        assert_eq!(end_of(tcp::LAST_ACK, 0, 1, ending::FIN_RECEIVED), "aborted");
        let end = |old: u32, error: i32, unacked: u32| end_of(old, error, unacked, 0);
        assert_eq!(end(tcp::ESTABLISHED, 0, 0), "aborted");
        assert_eq!(end(tcp::ESTABLISHED, libc::ECONNRESET, 0), "reset");
        assert_eq!(end(tcp::CLOSE_WAIT, libc::EPIPE, 0), "reset");
        assert_eq!(end(tcp::ESTABLISHED, libc::ECONNABORTED, 0), "aborted");
        assert_eq!(end(tcp::SYN_SENT, libc::ECONNREFUSED, 0), "refused");
        assert_eq!(end(tcp::SYN_SENT, libc::ETIMEDOUT, 0), "timed_out");
        assert_eq!(end(tcp::SYN_SENT, libc::EHOSTUNREACH, 0), "unreachable");
        assert_eq!(end(tcp::SYN_SENT, 0, 0), "given_up");
        assert_eq!(end(tcp::SYN_SENT, libc::EACCES, 0), "error");
        assert_eq!(end(tcp::LISTEN, 0, 0), "");
        let no_port = Net { old: tcp::SYN_SENT as u8, new: tcp::CLOSE as u8, ..Net::default() };
        assert_eq!(reason(&no_port), "error");
        let open = Net { old: tcp::ESTABLISHED as u8, new: tcp::OPEN as u8, ..Net::default() };
        assert_eq!(reason(&open), "");
    }

    #[test]
    fn addresses_are_written_as_the_kernel_has_them() {
        let mut record = Net { family: 2, local_port: 80, ..Net::default() };
        record.local[0] = u32::from_ne_bytes([127, 0, 0, 1]);
        assert_eq!(printed(&record, Side::Local), "127.0.0.1:80");
        assert_eq!(printed(&record, Side::Remote), "");

        let v6 = |address: &str| words(address.parse::<std::net::Ipv6Addr>().unwrap().octets());
        let record = Net {
            family: AF_INET6,
            local: v6("::ffff:10.0.0.1"),
            remote: v6("fe80::1"),
            remote_port: 443,
            scope: 3,
            ..Net::default()
        };
        assert_eq!(printed(&record, Side::Local), "[::ffff:10.0.0.1]:0");
        assert_eq!(printed(&record, Side::Remote), "[fe80::1%3]:443");
    }
}
