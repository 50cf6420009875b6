//! Ids: what the name of a file or socket depends on, as one number.

use super::{AF_INET, AF_INET6, AF_UNIX, short, word};
use crate::maps::config;
use crate::task::has;

/// Odd numbers without a pattern.
const FACTORS: [u64; 8] = [
    0x9e37_79b9_7f4a_7c15,
    0xc2b2_ae3d_27d4_eb4f,
    0x1656_67b1_9e37_79f9,
    0xd6e8_feb8_6659_fd93,
    0xff51_afd7_ed55_8ccd,
    0xc4ce_b9fe_1a85_ec53,
    0xbf58_476d_1ce4_e5b9,
    0x94d0_49bb_1331_11eb,
];

/// The id of a name in a mount. `ops`: how an open file works, which alone distinguishes anonymous files.
#[inline(always)]
pub fn id_of_name(dentry: u64, mnt: u64, ops: u64) -> u64 {
    let parent = word(dentry, config!(offsets.dentry_parent));
    let hash = word(dentry, config!(offsets.dentry_hash));
    let inode = word(dentry, config!(offsets.dentry_inode));
    let exists = word(dentry, config!(offsets.dentry_pprev)) != 0;
    let ino = word(inode, config!(offsets.inode_ino));
    let generation = word(inode, config!(offsets.inode_generation)) as u32;
    let ops = if parent == dentry { ops } else { 0 };
    dentry
        .wrapping_mul(FACTORS[0])
        .wrapping_add(mnt.wrapping_mul(FACTORS[1]))
        .wrapping_add(parent.wrapping_add(u64::from(exists)).wrapping_mul(FACTORS[2]))
        .wrapping_add(hash.wrapping_mul(FACTORS[3]))
        .wrapping_add(ino.wrapping_mul(FACTORS[4]))
        .wrapping_add((ops ^ u64::from(generation) << 32).wrapping_mul(FACTORS[5]))
}

/// The port of a socket in network order, which it keeps when it gives the port up.
#[inline(always)]
pub fn local_port(sk: u64) -> u16 {
    short(sk, config!(offsets.inet_sport))
}

/// The id of a socket.
#[inline(always)]
pub fn id_of_socket(sk: u64, ino: u64) -> u64 {
    let family = short(sk, config!(offsets.sk_family));
    let id = sk.wrapping_mul(FACTORS[6]).wrapping_add(ino.wrapping_mul(FACTORS[7]));
    if family == AF_UNIX {
        if !has(config!(offsets.unix_addr)) {
            return id;
        }
        let address = word(sk, config!(offsets.unix_addr));
        let peer = word(sk, config!(offsets.unix_peer));
        return id.wrapping_add(address.wrapping_mul(FACTORS[0])).wrapping_add(peer.wrapping_mul(FACTORS[1]));
    }
    if family != AF_INET && family != AF_INET6 {
        return id;
    }
    let ports = u64::from(short(sk, config!(offsets.sk_dport)))
        | u64::from(local_port(sk)) << 16
        | u64::from(family) << 32;
    let id = id.wrapping_add(ports.wrapping_mul(FACTORS[2]));
    if family == AF_INET {
        let local = word(sk, config!(offsets.sk_saddr)) as u32;
        let remote = word(sk, config!(offsets.sk_daddr)) as u32;
        return id.wrapping_add((u64::from(local) | u64::from(remote) << 32).wrapping_mul(FACTORS[3]));
    }
    if !has(config!(offsets.sk_v6_saddr)) {
        return id;
    }
    let (local, remote) = (config!(offsets.sk_v6_saddr), config!(offsets.sk_v6_daddr));
    id.wrapping_add(word(sk, local).wrapping_mul(FACTORS[3]))
        .wrapping_add(word(sk, local + 8).wrapping_mul(FACTORS[4]))
        .wrapping_add(word(sk, remote).wrapping_mul(FACTORS[5]))
        .wrapping_add(word(sk, remote + 8).wrapping_mul(FACTORS[0]))
}
