//! Socket addresses as the kernel lays them out in memory.

use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

// Numbers of the Linux ABI, not of the reading machine, which may run another system.
const AF_UNSPEC: u16 = 0;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const AF_NETLINK: u16 = 16;
const AF_PACKET: u16 = 17;
const AF_VSOCK: u16 = 40;

/// The addresses of several messages, each stored with its length before it; an empty one is none.
pub fn addresses(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (len, after) = rest.split_first()?;
        let (address, next) = after.split_at_checked(usize::from(*len))?;
        rest = next;
        Some(address)
    })
}

/// The same without what stands for messages without an address at the end.
pub fn without_last_empty(bytes: &[u8]) -> &[u8] {
    let (mut at, mut end) = (0, 0);
    for address in addresses(bytes) {
        at += 1 + address.len();
        if !address.is_empty() {
            end = at;
        }
    }
    &bytes[..end]
}

/// A socket address, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SockAddr<'a> {
    /// `AF_UNSPEC`: `connect` with it dissolves the association of a socket.
    Unspec,
    /// A path in the file system.
    UnixPath(&'a [u8]),
    /// An abstract name, without the leading NUL; any bytes.
    UnixAbstract(&'a [u8]),
    /// A unix socket without a name.
    UnixUnnamed,
    /// IPv4 or IPv6.
    Inet {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: u16,
        /// The interface of a link-local address, else 0.
        scope: u32,
    },
    /// Netlink.
    Netlink {
        /// The port, usually a process id; 0 is the kernel.
        pid: u32,
        /// Multicast groups, as bits.
        groups: u32,
    },
    /// A packet socket.
    Packet {
        /// Ethernet protocol.
        protocol: u16,
        /// Interface number.
        ifindex: i32,
    },
    /// A vsock address, between virtual machines and their host.
    Vsock {
        /// Context id of the machine.
        cid: u32,
        /// The port.
        port: u32,
    },
    /// Another family, or too few bytes for the stated one.
    Other {
        /// The family's number.
        family: u16,
    },
}

fn take<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

impl<'a> SockAddr<'a> {
    /// Decodes `bytes`, which have the length of the address; `None` if they are too short for a family.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let family = u16::from_le_bytes(take(bytes, 0)?);
        Some(Self::parse_family(family, bytes).unwrap_or(Self::Other { family }))
    }

    fn parse_family(family: u16, bytes: &'a [u8]) -> Option<Self> {
        let le32 = |at| take(bytes, at).map(u32::from_le_bytes);
        let be16 = |at| take(bytes, at).map(u16::from_be_bytes);
        Some(match family {
            AF_UNSPEC => Self::Unspec,
            AF_UNIX => Self::parse_unix(&bytes[2..]),
            AF_INET => {
                Self::Inet { ip: Ipv4Addr::from(take::<4>(bytes, 4)?).into(), port: be16(2)?, scope: 0 }
            }
            AF_INET6 => Self::Inet {
                ip: Ipv6Addr::from(take::<16>(bytes, 8)?).into(),
                port: be16(2)?,
                // The kernel also accepts the older layout without a scope.
                scope: le32(24).unwrap_or(0),
            },
            AF_NETLINK => Self::Netlink { pid: le32(4)?, groups: le32(8)? },
            AF_PACKET => Self::Packet { protocol: be16(2)?, ifindex: le32(4)? as i32 },
            AF_VSOCK => Self::Vsock { port: le32(4)?, cid: le32(8)? },
            _ => return None,
        })
    }

    fn parse_unix(path: &'a [u8]) -> Self {
        match path.split_first() {
            None => Self::UnixUnnamed,
            Some((0, name)) => Self::UnixAbstract(name),
            Some(_) => Self::UnixPath(path.split(|&b| b == 0).next().unwrap_or_default()),
        }
    }

    /// The family's number.
    pub fn family(&self) -> u16 {
        match self {
            Self::Unspec => AF_UNSPEC,
            Self::UnixPath(_) | Self::UnixAbstract(_) | Self::UnixUnnamed => AF_UNIX,
            Self::Inet { ip: IpAddr::V4(_), .. } => AF_INET,
            Self::Inet { ip: IpAddr::V6(_), .. } => AF_INET6,
            Self::Netlink { .. } => AF_NETLINK,
            Self::Packet { .. } => AF_PACKET,
            Self::Vsock { .. } => AF_VSOCK,
            Self::Other { family } => *family,
        }
    }

    /// The IP address of IPv4 and IPv6.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Inet { ip, .. } => Some(*ip),
            _ => None,
        }
    }

    /// The port of IPv4 and IPv6.
    pub fn port(&self) -> Option<u16> {
        match self {
            Self::Inet { port, .. } => Some(*port),
            _ => None,
        }
    }

    /// The path or abstract name (without the leading NUL) of a unix socket.
    pub fn path(&self) -> Option<&'a [u8]> {
        match self {
            Self::UnixPath(path) | Self::UnixAbstract(path) => Some(path),
            _ => None,
        }
    }

    /// Appends the address in its usual notation. Names of unix sockets may contain any bytes and are not escaped; the
    /// caller has to escape the result before printing it.
    pub fn format(&self, out: &mut Vec<u8>) {
        // Writing to a `Vec` cannot fail.
        let _ = match *self {
            Self::Unspec => out.write_all(b"unspec"),
            Self::UnixPath(path) => out.write_all(path),
            Self::UnixAbstract(name) => out.write_all(b"@").and_then(|()| out.write_all(name)),
            Self::UnixUnnamed => out.write_all(b"unix (unnamed)"),
            Self::Inet { ip: IpAddr::V4(ip), port, .. } => write!(out, "{ip}:{port}"),
            Self::Inet { ip: IpAddr::V6(ip), port, scope: 0 } => write!(out, "[{ip}]:{port}"),
            Self::Inet { ip: IpAddr::V6(ip), port, scope } => write!(out, "[{ip}%{scope}]:{port}"),
            Self::Netlink { pid, groups } => write!(out, "netlink pid={pid} groups={groups:#x}"),
            Self::Packet { protocol, ifindex } => {
                write!(out, "packet protocol={protocol:#06x} ifindex={ifindex}")
            }
            Self::Vsock { cid, port } => write!(out, "vsock {cid}:{port}"),
            Self::Other { family } => write!(out, "family {family}"),
        };
    }
}

/// Appends the address in `bytes` in its usual notation, see [`SockAddr::format`]; nothing if `bytes` is not an address.
pub fn format(bytes: &[u8], out: &mut Vec<u8>) {
    if let Some(address) = SockAddr::parse(bytes) {
        address.format(out);
    }
}
