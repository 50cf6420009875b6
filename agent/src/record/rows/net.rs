//! TCP sockets.

use agent_ebpf::records::net::{Net, role, tcp};
use capture_format::ChunkBuilder;
use events::{Kind, UNKNOWN};

use super::{RowWriter, col};
use crate::record::decode;

/// `AF_INET6`, the same on every machine.
const AF_INET6: u16 = 10;
/// The largest socket address of these: `struct sockaddr_in6`.
const ADDRESS_MAX: usize = 28;

impl RowWriter {
    pub(super) fn net(&mut self, builder: &mut ChunkBuilder, bytes: &[u8]) -> Option<()> {
        let record: Net = decode::record(bytes)?;
        // The kernel side selects by process: sockets that the recorded command's children listen on are theirs,
        // whoever accepts.
        if !self.wants_cgroup(Kind::Net, record.head.cgroup) {
            return Some(());
        }
        self.count(record.head.cgroup);
        let index = self.common(builder, Kind::Net, &record.head, record.uid);
        let closed = u32::from(record.new) == tcp::CLOSE && record.counted != 0;
        let at_end = |value: u64| if closed { value } else { UNKNOWN };
        let age = match record.birth {
            0 => UNKNOWN,
            birth => record.head.time.saturating_sub(birth),
        };
        let netns = if record.netns == 0 { UNKNOWN } else { u64::from(record.netns) };
        let old = builder.intern(state_name(record.old).as_bytes());
        let new = builder.intern(state_name(record.new).as_bytes());
        let role = builder.intern(role_name(record.role).as_bytes());
        let mut buffer = [0; ADDRESS_MAX];
        let local = builder.intern(address(&record, Side::Local, &mut buffer));
        let remote = builder.intern(address(&record, Side::Remote, &mut buffer));
        let table = builder.table_at(index);
        table.push_u64(col!(Net, "dur"), age);
        table.push_bytes(col!(Net, "old"), old);
        table.push_bytes(col!(Net, "new"), new);
        table.push_bytes(col!(Net, "role"), role);
        table.push_bytes(col!(Net, "local"), local);
        table.push_bytes(col!(Net, "remote"), remote);
        table.push_u64(col!(Net, "sock"), record.sock);
        table.push_u64(col!(Net, "netns"), netns);
        table.push_u64(col!(Net, "sent"), at_end(record.sent));
        table.push_u64(col!(Net, "received"), at_end(record.received));
        table.push_u64(col!(Net, "retrans"), at_end(u64::from(record.retrans)));
        table.end_row();
        Some(())
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
        assert!((0..=u8::MAX).all(|state| words::TCP_STATES.find(state_name(state)).is_some()));
        assert!((0..=9).all(|role| words::NET_ROLES.find(role_name(role)).is_some()));
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
