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

/// What the name of a file depends on.
#[derive(Clone, Copy)]
pub struct Name {
    /// The name in its directory.
    pub dentry: u64,
    /// The mount.
    pub mnt: u64,
    /// How an open file works, which alone distinguishes some anonymous files.
    pub ops: u64,
    /// What has the name.
    pub inode: u64,
    /// The directory.
    pub parent: u64,
    /// The hash and the length of the name.
    pub hash: u64,
    /// Whether it was not removed.
    pub exists: bool,
    /// The number of the inode.
    pub ino: u64,
}

impl Name {
    /// The name of an open file.
    #[inline(always)]
    pub fn of_file(open: u64) -> Self {
        let dentry = word(open, config!(offsets.file_dentry));
        let mnt = word(open, config!(offsets.file_mnt));
        Self::with(dentry, mnt, word(open, config!(offsets.file_op)), word(open, config!(offsets.file_inode)))
    }

    /// The name of a directory in a mount.
    #[inline(always)]
    pub fn of_directory(dentry: u64, mnt: u64) -> Self {
        Self::with(dentry, mnt, 0, word(dentry, config!(offsets.dentry_inode)))
    }

    #[inline(always)]
    fn with(dentry: u64, mnt: u64, ops: u64, inode: u64) -> Self {
        Self {
            dentry,
            mnt,
            ops,
            inode,
            parent: word(dentry, config!(offsets.dentry_parent)),
            hash: word(dentry, config!(offsets.dentry_hash)),
            exists: word(dentry, config!(offsets.dentry_pprev)) != 0,
            ino: word(inode, config!(offsets.inode_ino)),
        }
    }

    /// How it works, if that tells it from others of its name, else 0.
    #[inline(always)]
    pub fn own_ops(&self) -> u64 {
        if self.parent == self.dentry { self.ops } else { 0 }
    }

    /// The id.
    #[inline(always)]
    pub fn id(self) -> u64 {
        let generation = word(self.inode, config!(offsets.inode_generation)) as u32;
        let ops = self.own_ops();
        self.dentry
            .wrapping_mul(FACTORS[0])
            .wrapping_add(self.mnt.wrapping_mul(FACTORS[1]))
            .wrapping_add(self.parent.wrapping_add(u64::from(self.exists)).wrapping_mul(FACTORS[2]))
            .wrapping_add(self.hash.wrapping_mul(FACTORS[3]))
            .wrapping_add(self.ino.wrapping_mul(FACTORS[4]))
            .wrapping_add((ops ^ u64::from(generation) << 32).wrapping_mul(FACTORS[5]))
    }
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
