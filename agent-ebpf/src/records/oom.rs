//! What the hook of the kernel's choice of a victim sends.

use super::{Header, plain};

/// What ran out of memory ([`Oom::scope`]).
pub mod scope {
    /// Nothing is known.
    pub const UNKNOWN: u32 = 0;
    /// A cgroup, at its limit.
    pub const CGROUP: u32 = 1;
    /// The host.
    pub const HOST: u32 = 2;
}

/// The choice of a victim. The header's subject is the victim. 160 bytes.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Oom {
    /// Common part.
    pub head: Header,
    /// The cgroup of the thread that needed memory.
    pub trigger_cgroup: u64,
    /// The id of the cgroup whose limit was reached, 0 if not known.
    pub limited: u64,
    /// Pages that it uses.
    pub memory: u64,
    /// Pages that it may use.
    pub limit: u64,
    /// The victim's pages by `MM_FILEPAGES`, `MM_ANONPAGES`, `MM_SWAPENTS`, `MM_SHMEMPAGES`.
    pub pages: [i64; 4],
    /// Bytes of its page tables.
    pub page_tables: u64,
    /// Its process.
    pub trigger_pid: u32,
    /// Its thread.
    pub trigger_tid: u32,
    /// Its user id.
    pub trigger_uid: u32,
    /// The victim's user id.
    pub uid: u32,
    /// The victim's `oom_score_adj`.
    pub score_adj: i32,
    /// One of [`scope`].
    pub scope: u32,
    /// 1 if the counters of the victim are known.
    pub counted: u32,
    /// 1 if memory and limit are known.
    pub limited_known: u32,
    /// Always 0.
    pub reserved: u64,
    /// Always 0.
    pub reserved2: u64,
}

plain! {
    Oom = 32 + 32 + 32 + 8 + 32 + 16;
}
