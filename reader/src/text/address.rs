//! IP addresses and networks as people write them. An IPv4 address that is mapped into IPv6 (`::ffff:10.0.0.5`) is the
//! IPv4 address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[cfg(test)]
mod tests;

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// No address and no network.
    #[error("`{0}` is not an IP address: write 10.0.0.5, 2001:db8::1, or a network such as 10.0.0.0/8")]
    Ip(String),
    /// A network with more bits than the address has, or none that can be read.
    #[error("`{0}` is not a network: the prefix of this address is a number from 0 to {1}, as in 10.0.0.0/8")]
    Prefix(String, u8),
    /// No address with a port.
    #[error(
        "`{0}` is not a socket address: write 10.0.0.5:443 or [2001:db8::1]:443; without a port, any port fits"
    )]
    Endpoint(String),
    /// An IPv6 address that may end with a port.
    #[error(
        "`{address}:{port}` may be an address alone or one with a port: write [{address}:{port}] or [{address}]:{port}"
    )]
    Ambiguous {
        /// What stands before the last colon.
        address: String,
        /// What stands after it.
        port: u16,
    },
}

/// A network, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    prefix: u8,
}

impl Network {
    /// Reads an address, or a network in the notation of CIDR. Bits after the prefix are ignored.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let ip: IpAddr = address.parse().map_err(|_| AddressError::Ip(text.to_owned()))?;
        let bits = width(ip);
        let prefix = match prefix {
            None => bits,
            Some(digits) => decimal(digits)
                .and_then(|prefix| u8::try_from(prefix).ok())
                .filter(|prefix| *prefix <= bits)
                .ok_or_else(|| AddressError::Prefix(text.to_owned(), bits))?,
        };
        // A network among the mapped addresses is one of IPv4.
        Ok(match (ip.to_canonical(), bits) {
            (base @ IpAddr::V4(_), 128) if prefix >= 96 => Self { base, prefix: prefix - 96 },
            (IpAddr::V4(_), 128) => Self { base: ip, prefix },
            (base, _) => Self { base, prefix },
        })
    }

    /// Whether an address is in it. A network of IPv6 contains no IPv4 address, mapped or not.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.base, ip.to_canonical()) {
            (IpAddr::V4(base), IpAddr::V4(ip)) => same_prefix(v4_bits(base), v4_bits(ip), self.prefix),
            (IpAddr::V6(base), IpAddr::V6(ip)) => same_prefix(v6_bits(base), v6_bits(ip), self.prefix),
            _ => false,
        }
    }
}

fn width(ip: IpAddr) -> u8 {
    match ip {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

/// The bits of an address, aligned to the left.
fn v4_bits(ip: Ipv4Addr) -> u128 {
    u128::from(ip.to_bits()) << 96
}

fn v6_bits(ip: Ipv6Addr) -> u128 {
    ip.to_bits()
}

fn same_prefix(a: u128, b: u128, prefix: u8) -> bool {
    let differing = a ^ b;
    differing.leading_zeros() >= u32::from(prefix)
}

/// A number without sign.
fn decimal(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// An address or a network, with a port or with any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    network: Network,
    /// Any, if there is none.
    port: Option<u16>,
    /// The interface of a link-local address; any, if there is none.
    scope: Option<u32>,
}

impl From<Network> for Endpoint {
    fn from(network: Network) -> Self {
        Self { network, port: None, scope: None }
    }
}

impl Endpoint {
    /// Reads `10.0.0.5:443`, `[2001:db8::1]:443`, `[fe80::1%2]:443`, or an address or a network alone, which stands for any
    /// port.
    ///
    /// # Errors
    /// If the text is none of them, or an IPv6 address without brackets that may end with a port.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let bad = || AddressError::Endpoint(text.to_owned());
        if let Some(rest) = text.strip_prefix('[') {
            let (inside, after) = rest.split_once(']').ok_or_else(bad)?;
            let (address, scope) = match inside.split_once('%') {
                Some((address, scope)) => (address, Some(decimal(scope).ok_or_else(bad)?)),
                None => (inside, None),
            };
            let ip: Ipv6Addr = address.parse().map_err(|_| bad())?;
            let network = Network { base: IpAddr::from(ip).to_canonical(), prefix: 0 };
            let network = Network { prefix: width(network.base), ..network };
            let port = match after.strip_prefix(':') {
                Some(port) => Some(read_port(port).ok_or_else(bad)?),
                None if after.is_empty() => None,
                None => return Err(bad()),
            };
            return Ok(Self { network, port, scope });
        }
        if let Some((address, port)) = text.rsplit_once(':')
            && let Some(port) = read_port(port)
        {
            if address.parse::<Ipv4Addr>().is_ok() {
                return Ok(Self { port: Some(port), ..Self::from(Network::parse(address)?) });
            }
            if address.parse::<Ipv6Addr>().is_ok() && text.parse::<Ipv6Addr>().is_ok() {
                return Err(AddressError::Ambiguous { address: address.to_owned(), port });
            }
        }
        match Network::parse(text) {
            Err(AddressError::Ip(_)) => Err(bad()),
            network => network.map(Self::from),
        }
    }

    /// Whether the address of a socket matches.
    pub fn contains(&self, ip: IpAddr, port: u16, scope: u32) -> bool {
        self.port.is_none_or(|wanted| wanted == port)
            && self.scope.is_none_or(|wanted| wanted == scope)
            && self.network.contains(ip)
    }
}

fn read_port(text: &str) -> Option<u16> {
    decimal(text).and_then(|port| u16::try_from(port).ok())
}
